//! What can be wrong with an envelope, one value per cause.

use thiserror::Error;

/// Why an envelope was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// Fewer bytes than the header, or than the header says.
    #[error("envelope is cut off: it needs {needed} bytes, and {available} are there")]
    Truncated {
        /// Bytes that the part being read needs.
        needed: usize,
        /// Bytes that there are.
        available: usize,
    },
    /// The first two bytes are something else.
    #[error("not an envelope: it starts with {found:#06x} instead of 0x4149")]
    BadMagic {
        /// What the first two bytes say.
        found: u16,
    },
    /// A version other than 1; 0 is refused too.
    #[error("envelope version {found} is not supported; this build reads version 1")]
    UnsupportedVersion {
        /// The version byte.
        found: u8,
    },
    /// Flags that version 1 does not define.
    #[error("envelope has unknown flags {bits:#04x}")]
    UnknownFlags {
        /// The bits without a meaning.
        bits: u8,
    },
    /// The payload is compressed, which this reader does not take.
    #[error("envelope is compressed, which this reader does not take; send it plain")]
    CompressedUnsupported,
    /// The payload is encrypted, and this reader has no key.
    #[error("envelope is encrypted, and this reader has no key; send it plain")]
    EncryptedUnsupported,
    /// The payload is not encrypted, and this reader takes no other: somebody else may have written it.
    #[error("envelope is not encrypted, and this reader takes only what is")]
    NotEncrypted,
    /// The payload or the header is not what the holder of the key wrote.
    #[error("envelope is not authentic: it was changed, or encrypted with another key")]
    Unauthentic,
    /// The message was read before, or is older than one that was, or was not meant for this reader.
    #[error("encrypted message {counter} was read before, or comes too late, or goes the other way")]
    Replayed {
        /// Its number among those of its sender.
        counter: u64,
    },
    /// No more messages can be encrypted with this key.
    #[error("the key has encrypted all messages that it can; a new one is needed")]
    NoncesExhausted,
    /// The compressed payload is damaged or lies about its length.
    #[error("envelope's compressed payload is not LZ4, or not of the length that it declares")]
    BadCompression,
    /// The content is larger than the reader's limit.
    #[error("envelope has content of {length} bytes, over the limit of {limit} bytes")]
    ContentTooLarge {
        /// Its length, or the one that a compressed payload declares, in bytes.
        length: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// Bytes after the payload.
    #[error("envelope is followed by {count} bytes that do not belong to it")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// The payload is not the one that was sent.
    #[error("envelope payload is damaged: its checksum is {actual:#010x}, the header says {expected:#010x}")]
    ChecksumMismatch {
        /// What the header says.
        expected: u32,
        /// What the payload has.
        actual: u32,
    },
    /// The payload is larger than [`crate::MAXIMUM_PAYLOAD`].
    #[error(
        "envelope payload of {length} bytes is larger than the limit of {} bytes",
        crate::MAXIMUM_PAYLOAD
    )]
    PayloadTooLarge {
        /// Its length in bytes.
        length: u64,
    },
    /// The buffer to encode into is too small.
    #[error("envelope needs {needed} bytes, and the buffer has {available}")]
    BufferTooSmall {
        /// Bytes that the envelope takes.
        needed: usize,
        /// Bytes of the buffer.
        available: usize,
    },
    /// A packed location reaches beyond its memory.
    #[error("location {pointer:#x} + {length} lies outside a memory of {memory_length} bytes")]
    OutOfBounds {
        /// First byte.
        pointer: u32,
        /// Length in bytes.
        length: u32,
        /// Size of the memory in bytes.
        memory_length: u64,
    },
}
