//! A session as bytes, so that a conversation goes on later, elsewhere, or in several ways, without being evaluated again.
//!
//! ```text
//! 8   magic and version            32  identity of the model (`Gguf::identity`)
//! 1   type of keys and values      12  layers, heads, elements of a head
//!     tokens: count, ids               how many of them are evaluated
//!     segments: count, then for each a tag, and a control token's id or a text's length and bytes
//!     marks: count, then for each tokens, segments, bytes of the last segment
//!     pages of keys and values, places without a token zero
//! 32  BLAKE3 of everything before
//! ```
//!
//! Numbers are 32 bits, little-endian. The hash finds what was damaged; what was made up to harm is found by the checks of
//! each number, but a file with other keys and values than the model's, made by somebody who knows this format, is only
//! found by [`Session::verify`].

use std::sync::Arc;

use super::{Mark, Session};
use crate::cache::{KvCache, KvType};
use crate::loaded::LoadedModel;
use crate::tokenizer::Segment;
use crate::{LlmError, Logits, Sequence};

/// The first bytes; the last of them is the version.
const MAGIC: &[u8; 8] = b"GHCHAT\0\x01";
/// Bytes of a hash.
const HASH: usize = 32;

const TEXT: u8 = 0;
const CONTROL: u8 = 1;

fn refused(problem: impl Into<String>) -> LlmError {
    LlmError::SavedSession { problem: problem.into() }
}

fn kv_tag(kind: KvType) -> u8 {
    match kind {
        KvType::F16 => 0,
        KvType::Q8_0 => 1,
    }
}

/// Bytes that are read from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], LlmError> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or_else(|| refused("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, LlmError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u32, LlmError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn size(&mut self) -> Result<usize, LlmError> {
        Ok(self.number()? as usize)
    }

    /// A list, whose items take at least `least` bytes each: no more are made room for than there can be.
    fn list<T>(
        &mut self,
        least: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, LlmError>,
    ) -> Result<Vec<T>, LlmError> {
        let count = self.size()?;
        if count > self.0.len() / least {
            return Err(refused("it ends too early"));
        }
        (0..count).map(|_| item(self)).collect()
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: usize) {
        // Counts are bounded by context lengths and texts of requests, which are 32-bit.
        self.0.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }
}

impl Session {
    /// The session as bytes, from which [`restore`](Self::restore) makes it again.
    pub fn save(&self) -> Vec<u8> {
        let shape = self.cache.shape();
        let mut out = Writer(MAGIC.to_vec());
        out.0.extend_from_slice(self.model.model.identity());
        out.0.push(kv_tag(shape.kind));
        for number in [shape.layers, shape.heads, shape.head_length, self.tokens.len()] {
            out.number(number);
        }
        self.tokens.iter().for_each(|token| out.number(*token as usize));
        out.number(self.cache.len());
        out.number(self.segments.len());
        for segment in &self.segments {
            match segment {
                Segment::Text(text) => {
                    out.0.push(TEXT);
                    out.number(text.len());
                    out.0.extend_from_slice(text.as_bytes());
                }
                Segment::Control(token) => {
                    out.0.push(CONTROL);
                    out.number(*token as usize);
                }
            }
        }
        out.number(self.marks.len());
        for mark in &self.marks {
            [mark.tokens, mark.segments, mark.text].into_iter().for_each(|number| out.number(number));
        }
        let mut bytes = out.0;
        self.cache.save(&mut bytes);
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    /// The session that was [saved](Self::save), on the same model. Costs about what reading the bytes costs.
    ///
    /// # Errors
    /// [`LlmError::SavedSession`] when the bytes are damaged, of another version, of another model, or of a model whose
    /// sessions keep keys and values differently.
    pub fn restore(model: Arc<LoadedModel>, bytes: &[u8]) -> Result<Self, LlmError> {
        let (content, hash) = bytes
            .len()
            .checked_sub(HASH)
            .and_then(|length| bytes.split_at_checked(length))
            .ok_or_else(|| refused("it ends too early"))?;
        let mut reader = Reader(content);
        let magic = reader.take(MAGIC.len())?;
        if magic != MAGIC {
            let same = magic[..MAGIC.len() - 1] == MAGIC[..MAGIC.len() - 1];
            return Err(refused(if same { "it is of another version" } else { "it is no saved session" }));
        }
        if blake3::hash(content).as_bytes() != hash {
            return Err(refused("it is damaged"));
        }
        let mut session = Self::new(model);
        let config = session.model.model.config();
        let shape = session.cache.shape();
        if reader.take(HASH)? != session.model.model.identity() {
            return Err(refused("it is of another model"));
        }
        if reader.byte()? != kv_tag(shape.kind) {
            return Err(refused(format!("it does not keep keys and values as {:?}", shape.kind)));
        }
        for expected in [shape.layers, shape.heads, shape.head_length] {
            if reader.size()? != expected {
                return Err(refused("its keys and values have another shape"));
            }
        }
        session.tokens = reader.list(4, Reader::number)?;
        let evaluated = reader.size()?;
        let known = session.tokens.iter().all(|token| (*token as usize) < config.vocabulary_size);
        // The last token of a full context is not evaluated.
        if !known || evaluated > session.tokens.len() || session.tokens.len() > config.context_length + 1 {
            return Err(refused("its tokens are not the model's"));
        }
        session.segments = reader.list(5, |reader| match reader.byte()? {
            TEXT => {
                let bytes = reader.size()?;
                let text = std::str::from_utf8(reader.take(bytes)?);
                Ok(Segment::Text(text.map_err(|_| refused("a text is not UTF-8"))?.to_owned()))
            }
            CONTROL => Ok(Segment::Control(reader.number()?)),
            _ => Err(refused("a segment is of no known kind")),
        })?;
        session.marks = reader.list(12, |reader| {
            Ok(Mark { tokens: reader.size()?, segments: reader.size()?, text: reader.size()? })
        })?;
        let fits =
            |mark: &Mark| mark.tokens <= session.tokens.len() && mark.segments <= session.segments.len();
        if !session.marks.iter().all(fits) {
            return Err(refused("a mark is outside the conversation"));
        }
        let capacity = session.cache.capacity();
        session.cache = KvCache::restore(shape, capacity, evaluated, reader.0)
            .ok_or_else(|| refused("its keys and values are not those of its tokens"))?;
        Ok(session)
    }

    /// Evaluates the conversation again and compares: whether every key and value is, to the bit, what the model computes.
    ///
    /// # Errors
    /// [`LlmError::SavedSession`] when one is not.
    pub fn verify(&self) -> Result<(), LlmError> {
        let mut again = self.model.new_cache();
        let tokens = &self.tokens[..self.cache.len()];
        if !tokens.is_empty() {
            let sequence = Sequence { cache: &mut again, tokens, logits: Logits::None };
            self.model.model.forward_batch(&mut [sequence], &mut Vec::new())?;
        }
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        again.save(&mut expected);
        self.cache.save(&mut found);
        if expected == found {
            Ok(())
        } else {
            Err(refused("its keys and values are not what the model computes"))
        }
    }
}
