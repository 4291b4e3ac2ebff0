//! Envelopes whose payload is compressed, encrypted, or both: first compressed, then encrypted.

use alloc::{borrow::Cow, vec::Vec};

#[cfg(feature = "lz4")]
use crate::compression;
use crate::{Envelope, EnvelopeError, Flags, MAXIMUM_PAYLOAD, check_length};
#[cfg(feature = "aead")]
use crate::{
    encryption::{self, Key, Opening, Sealing, Sender},
    header_fields,
};

/// Writes envelopes for one reader.
#[derive(Debug, Default)]
pub struct Encoder {
    #[cfg(feature = "lz4")]
    compress_from: Option<usize>,
    #[cfg(feature = "aead")]
    sealing: Option<Sealing>,
}

impl Encoder {
    /// An encoder of plain envelopes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses content of at least so many bytes, where that makes it shorter.
    #[cfg(feature = "lz4")]
    #[must_use]
    pub fn compress_from(mut self, bytes: usize) -> Self {
        self.compress_from = Some(bytes);
        self
    }

    /// Encrypts everything, as what `sender` says. A key has one encoder for each sender in all its life: a second one
    /// would use the nonces of the first again.
    #[cfg(feature = "aead")]
    #[must_use]
    pub fn encrypt(mut self, key: Key, sender: Sender) -> Self {
        self.sealing = Some(Sealing::new(key, sender));
        self
    }

    /// The envelope of a message. Of `flags`, those that say how the payload is stored are this encoder's to set.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError::PayloadTooLarge`] when the payload is larger than [`MAXIMUM_PAYLOAD`] as it is sent,
    /// [`EnvelopeError::NoncesExhausted`] after 2⁶⁴ encrypted messages.
    pub fn encode(&mut self, flags: Flags, content: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let plain = Envelope::new(flags.of_message(), content);
        check_length(content.len())?;
        let compressed = self.compressed(content);
        let envelope = match &compressed {
            Some(payload) => Envelope { flags: plain.flags | Flags::COMPRESSED, payload },
            None => plain,
        };
        #[cfg(feature = "aead")]
        if let Some(sealing) = &mut self.sealing {
            let flags = envelope.flags | Flags::ENCRYPTED;
            let length = envelope.payload.len() + encryption::ADDED_BYTES;
            check_length(length)?;
            let payload = sealing.seal(&header_fields(flags, length), envelope.payload)?;
            return Envelope { flags, payload: &payload }.stored();
        }
        envelope.stored()
    }

    #[cfg(feature = "lz4")]
    fn compressed(&self, content: &[u8]) -> Option<Vec<u8>> {
        self.compress_from.filter(|&from| content.len() >= from).and_then(|_| compression::compress(content))
    }

    #[cfg(not(feature = "lz4"))]
    #[expect(clippy::unused_self, reason = "the same signature with compression")]
    fn compressed(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Reads envelopes of one writer.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    #[cfg(feature = "aead")]
    opening: Option<Opening>,
}

impl Default for Decoder {
    /// As [`Decoder::new`].
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder of envelopes that are not encrypted, with content of at most [`MAXIMUM_PAYLOAD`].
    pub fn new() -> Self {
        Self {
            limit: MAXIMUM_PAYLOAD,
            #[cfg(feature = "aead")]
            opening: None,
        }
    }

    /// Refuses content of more than so many bytes, compressed or not. What is compressed takes no more memory before
    /// that than what was sent.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes.min(MAXIMUM_PAYLOAD);
        self
    }

    /// Takes only what `sender` encrypted with this key, each message once and in order.
    #[cfg(feature = "aead")]
    #[must_use]
    pub fn decrypt(mut self, key: Key, sender: Sender) -> Self {
        self.opening = Some(Opening::new(key, sender));
        self
    }

    /// Reads the message in the envelope that `bytes` holds, from its first byte to its last. Content that is neither
    /// compressed nor encrypted is borrowed.
    ///
    /// # Errors
    ///
    /// Every malformation has its own [`EnvelopeError`].
    pub fn decode<'a>(&mut self, bytes: &'a [u8]) -> Result<Message<'a>, EnvelopeError> {
        let envelope = Envelope::read(bytes)?;
        let flags = envelope.flags;
        let content = self.decrypted(envelope)?;
        let content = if flags.contains(Flags::COMPRESSED) {
            Cow::Owned(self.decompressed(&content)?)
        } else {
            content
        };
        if content.len() > self.limit {
            return Err(EnvelopeError::ContentTooLarge { length: content.len() as u64, limit: self.limit });
        }
        Ok(Message { flags: flags.of_message(), content })
    }

    #[cfg(feature = "aead")]
    fn decrypted<'a>(&mut self, envelope: Envelope<'a>) -> Result<Cow<'a, [u8]>, EnvelopeError> {
        match (&mut self.opening, envelope.flags.contains(Flags::ENCRYPTED)) {
            (None, false) => Ok(Cow::Borrowed(envelope.payload)),
            (None, true) => Err(EnvelopeError::EncryptedUnsupported),
            (Some(_), false) => Err(EnvelopeError::NotEncrypted),
            (Some(opening), true) => {
                let fields = header_fields(envelope.flags, envelope.payload.len());
                opening.open(&fields, envelope.payload).map(Cow::Owned)
            }
        }
    }

    #[cfg(not(feature = "aead"))]
    #[expect(clippy::unused_self, reason = "the same signature with encryption")]
    fn decrypted<'a>(&mut self, envelope: Envelope<'a>) -> Result<Cow<'a, [u8]>, EnvelopeError> {
        if envelope.flags.contains(Flags::ENCRYPTED) {
            return Err(EnvelopeError::EncryptedUnsupported);
        }
        Ok(Cow::Borrowed(envelope.payload))
    }

    #[cfg(feature = "lz4")]
    fn decompressed(&self, payload: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        compression::decompress(payload, self.limit)
    }

    #[cfg(not(feature = "lz4"))]
    #[expect(clippy::unused_self, reason = "the same signature with compression")]
    fn decompressed(&self, _: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        Err(EnvelopeError::CompressedUnsupported)
    }
}

/// What an envelope says, as its writer gave it to the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// What kind of message it is.
    pub flags: Flags,
    /// Its content.
    pub content: Cow<'a, [u8]>,
}
