//! Reads an event log from bytes, trusting none of them.

use core::iter::FusedIterator;

use serde::de::DeserializeOwned;

use super::{
    CHECKSUM, END_PAYLOAD, FRAME_START, HEADER_START, KIND_EFFECT, KIND_END, KIND_INPUT, MAGIC,
    MAX_FRAME_BYTES, MAX_HEADER_BYTES, Record, TRACE_VERSION, TraceError, TraceHeader,
};

/// Opens event logs.
#[derive(Debug)]
pub struct TraceReader;

/// One record, and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Offset of the frame's first byte.
    pub offset: usize,
    /// The frame's number.
    pub sequence: u64,
    /// What it holds.
    pub record: Record,
}

/// The records of an event log. Ends after the first error. When it ends without one, the log is complete and as
/// it was written.
#[derive(Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    position: usize,
    sequence: u64,
    hasher: blake3::Hasher,
    done: bool,
}

impl TraceReader {
    /// Reads the header of the event log that `bytes` hold from the first to the last.
    ///
    /// # Errors
    /// Whatever is wrong before the first frame.
    pub fn open(bytes: &[u8]) -> Result<(TraceHeader, Frames<'_>), TraceError> {
        let missing = |needed: usize| TraceError::TruncatedHeader {
            position: bytes.len(),
            needed: needed - bytes.len(),
        };
        let shared = bytes.len().min(MAGIC.len());
        if bytes[..shared] != MAGIC[..shared] || bytes.is_empty() {
            return Err(TraceError::NotATrace);
        }
        let Some(start) = bytes.first_chunk::<HEADER_START>() else { return Err(missing(HEADER_START)) };
        let [_, _, _, _, _, _, _, _, v0, v1, l0, l1, l2, l3] = *start;
        let version = u16::from_le_bytes([v0, v1]);
        if version != TRACE_VERSION {
            return Err(TraceError::UnsupportedVersion { found: version, known: TRACE_VERSION });
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_HEADER_BYTES {
            let position = MAGIC.len() + 2;
            return Err(TraceError::HeaderTooLong { position, length, limit: MAX_HEADER_BYTES });
        }
        let end = HEADER_START + length;
        let (Some(content), Some(checksum)) = (bytes.get(..end), checksum_at(bytes, end)) else {
            return Err(missing(end + CHECKSUM));
        };
        if crc32fast::hash(content) != checksum {
            return Err(TraceError::BadHeaderChecksum { position: end });
        }
        let header = decode(&content[HEADER_START..])
            .map_err(|reason| TraceError::BadHeader { position: HEADER_START, reason })?;
        let position = end + CHECKSUM;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes[..position]);
        Ok((header, Frames { bytes, position, sequence: 0, hasher, done: false }))
    }
}

impl Frames<'_> {
    /// The next record; `None` after a sound end.
    fn read(&mut self) -> Result<Option<Frame>, TraceError> {
        let (start, sequence) = (self.position, self.sequence);
        let rest = self.bytes.get(start..).unwrap_or_default();
        if rest.is_empty() {
            return Err(TraceError::MissingEnd { position: start, records: sequence });
        }
        let missing = |needed: usize| TraceError::Truncated {
            position: self.bytes.len(),
            start,
            sequence,
            needed: needed - rest.len(),
        };
        let Some(head) = rest.first_chunk::<FRAME_START>() else {
            return Err(missing(FRAME_START + CHECKSUM));
        };
        let [l0, l1, l2, l3, s0, s1, s2, s3, s4, s5, s6, s7, kind] = *head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(TraceError::FrameTooLong {
                position: start,
                sequence,
                length,
                limit: MAX_FRAME_BYTES,
            });
        }
        let end = FRAME_START + length;
        let (Some(content), Some(checksum)) = (rest.get(..end), checksum_at(rest, end)) else {
            return Err(missing(end + CHECKSUM));
        };
        if crc32fast::hash(content) != checksum {
            return Err(TraceError::BadChecksum { position: start + end, start, sequence });
        }
        let found = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        if found != sequence {
            return Err(TraceError::SequenceGap { position: start + 4, expected: sequence, found });
        }
        let (payload, position) = (&content[FRAME_START..], start + FRAME_START);
        let bad_payload = |reason| TraceError::BadPayload { position, sequence, reason };
        let record = match kind {
            KIND_INPUT => Record::Input(decode(payload).map_err(bad_payload)?),
            KIND_EFFECT => Record::Effect(decode(payload).map_err(bad_payload)?),
            KIND_END => return self.check_end(payload, start, start + end + CHECKSUM),
            _ => return Err(TraceError::UnknownKind { position: start + FRAME_START - 1, sequence, kind }),
        };
        self.position = start + end + CHECKSUM;
        self.sequence += 1;
        self.hasher.update(&rest[..end + CHECKSUM]);
        Ok(Some(Frame { offset: start, sequence, record }))
    }

    fn check_end(&self, payload: &[u8], start: usize, after: usize) -> Result<Option<Frame>, TraceError> {
        let mut expected = self.sequence.to_le_bytes().to_vec();
        expected.extend_from_slice(self.hasher.finalize().as_bytes());
        debug_assert_eq!(expected.len(), END_PAYLOAD);
        if payload != expected {
            return Err(TraceError::BadEnd { position: start + FRAME_START, sequence: self.sequence });
        }
        match self.bytes.len() - after {
            0 => Ok(None),
            count => Err(TraceError::TrailingBytes { position: after, count }),
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<Frame, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.read().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

impl FusedIterator for Frames<'_> {}

fn checksum_at(bytes: &[u8], position: usize) -> Option<u32> {
    bytes
        .get(position..)
        .and_then(|rest| rest.first_chunk::<CHECKSUM>())
        .map(|bytes| u32::from_le_bytes(*bytes))
}

/// Reads a value that takes up all of `payload`. Lengths inside are bounded by what is there: postcard takes no
/// more than the remaining bytes, and collections grow as their elements are read.
fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes are left over", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}
