//! The wire format that hosts and guests share: a 12-byte header, a checksum, and a payload read where it lies.
//!
//! - [`Envelope`]: flags and a borrowed plain payload; decodes from and encodes to bytes.
//! - [`Encoder`], [`Decoder`], [`Message`]: the same for payloads that may be compressed (feature `lz4`) and encrypted
//!   (feature `aead`), with [`Key`] and [`Sender`].
//! - [`Header`]: the first twelve bytes alone, for a reader that wants the length before it copies anything.
//! - [`Flags`]: what kind of message it is.
//! - [`pack`], [`unpack`], [`checked_range`]: where an envelope lies in a linear memory, as one 64-bit word.
//! - [`EnvelopeError`]: one value per malformation.
//!
//! ```text
//! offset  size  field
//!      0     2  magic     0x4149, so 0x49 0x41 on the wire
//!      2     1  version   1
//!      3     1  flags     see Flags
//!      4     4  length    of the payload, in bytes
//!      8     4  checksum  CRC-32/IEEE of the payload
//!     12     n  payload
//! ```
//!
//! All integers are little-endian. Decoding a plain payload borrows: it neither copies nor allocates. No input panics,
//! reads out of bounds or overflows, on 32-bit targets either.
//!
//! Features: `alloc` (default) encodes into vectors; `std` computes checksums with the processor's own instructions;
//! `lz4` and `aead` as above. Without any, the crate needs no allocator.

#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "alloc")]
mod codec;
#[cfg(feature = "lz4")]
mod compression;
#[cfg(feature = "aead")]
mod encryption;
mod error;
mod flags;
mod location;

#[cfg(feature = "alloc")]
pub use codec::{Decoder, Encoder, Message};
#[cfg(feature = "aead")]
pub use encryption::{Key, Sender};
pub use error::EnvelopeError;
pub use flags::Flags;
pub use location::{checked_range, pack, unpack};

/// The first two bytes of every envelope, as a little-endian integer.
pub const MAGIC: u16 = 0x4149;

/// The only version of the format.
pub const VERSION: u8 = 1;

/// Bytes before the payload.
pub const HEADER_LENGTH: usize = 12;

/// Bytes of a payload that are copied and checked at once: what lies in a processor's first cache, twice.
const PIECE_LENGTH: usize = 16 << 10;

/// The largest payload, in bytes. It stops a peer that declares gigabytes from making a reader reserve them, and it
/// keeps header and payload together far below the 32-bit address space of a guest.
pub const MAXIMUM_PAYLOAD: usize = 256 << 20;

/// The twelve bytes before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What kind of message it is.
    pub flags: Flags,
    /// Bytes of payload that follow; at most [`MAXIMUM_PAYLOAD`].
    pub length: usize,
    /// CRC-32/IEEE of the payload.
    pub checksum: u32,
}

impl Header {
    /// Reads the header at the start of `bytes`; whatever follows it is not looked at.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError::Truncated`] below twelve bytes, and every error that the fields alone can show: magic,
    /// version, flags, a length over [`MAXIMUM_PAYLOAD`].
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let &[m0, m1, version, flags, l0, l1, l2, l3, c0, c1, c2, c3, ..] = bytes else {
            return Err(EnvelopeError::Truncated { needed: HEADER_LENGTH, available: bytes.len() });
        };
        let magic = u16::from_le_bytes([m0, m1]);
        if magic != MAGIC {
            return Err(EnvelopeError::BadMagic { found: magic });
        }
        if version != VERSION {
            return Err(EnvelopeError::UnsupportedVersion { found: version });
        }
        let flags = Flags::from_bits(flags)?;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        match usize::try_from(length) {
            Ok(length) if length <= MAXIMUM_PAYLOAD => {
                Ok(Self { flags, length, checksum: u32::from_le_bytes([c0, c1, c2, c3]) })
            }
            _ => Err(EnvelopeError::PayloadTooLarge { length: u64::from(length) }),
        }
    }

    /// Bytes of the whole envelope.
    pub fn envelope_length(&self) -> usize {
        HEADER_LENGTH + self.length
    }
}

/// The header's bytes before the checksum. The length has been checked against [`MAXIMUM_PAYLOAD`], which fits 32 bits.
fn header_fields(flags: Flags, length: usize) -> [u8; 8] {
    let [m0, m1] = MAGIC.to_le_bytes();
    let [l0, l1, l2, l3] = (length as u32).to_le_bytes();
    [m0, m1, VERSION, flags.bits(), l0, l1, l2, l3]
}

/// The same limit for every payload that is written.
fn check_length(length: usize) -> Result<(), EnvelopeError> {
    if length > MAXIMUM_PAYLOAD {
        return Err(EnvelopeError::PayloadTooLarge { length: length as u64 });
    }
    Ok(())
}

/// A message whose payload is its content: flags, and a payload that borrows from where it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What kind of message it is.
    pub flags: Flags,
    /// Its content.
    pub payload: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// A message with no flag set.
    pub fn plain(payload: &'a [u8]) -> Self {
        Self { flags: Flags::NONE, payload }
    }

    /// A message with these flags.
    pub fn new(flags: Flags, payload: &'a [u8]) -> Self {
        Self { flags, payload }
    }

    /// Reads the plain envelope that `bytes` holds, from its first byte to its last.
    ///
    /// # Errors
    ///
    /// Every malformation has its own [`EnvelopeError`]; [`EnvelopeError::CompressedUnsupported`] and
    /// [`EnvelopeError::EncryptedUnsupported`] when it is not plain, so that nobody takes a stored payload for a content.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let envelope = Self::read(bytes)?;
        envelope.check_plain()?;
        Ok(envelope)
    }

    /// Reads an envelope, its payload as it is stored.
    fn read(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let header = Header::decode(bytes)?;
        let needed = header.envelope_length();
        let Some(payload) = bytes.get(HEADER_LENGTH..needed) else {
            return Err(EnvelopeError::Truncated { needed, available: bytes.len() });
        };
        if bytes.len() > needed {
            return Err(EnvelopeError::TrailingBytes { count: bytes.len() - needed });
        }
        let actual = crc32fast::hash(payload);
        if actual != header.checksum {
            return Err(EnvelopeError::ChecksumMismatch { expected: header.checksum, actual });
        }
        Ok(Self { flags: header.flags, payload })
    }

    fn check_plain(&self) -> Result<(), EnvelopeError> {
        if self.flags.contains(Flags::ENCRYPTED) {
            return Err(EnvelopeError::EncryptedUnsupported);
        }
        if self.flags.contains(Flags::COMPRESSED) {
            return Err(EnvelopeError::CompressedUnsupported);
        }
        Ok(())
    }

    /// Bytes of the encoded envelope.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError::PayloadTooLarge`] over [`MAXIMUM_PAYLOAD`].
    pub fn encoded_length(&self) -> Result<usize, EnvelopeError> {
        check_length(self.payload.len())?;
        Ok(HEADER_LENGTH + self.payload.len())
    }

    /// Writes the envelope to the start of `buffer` and returns how many bytes it took.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError::BufferTooSmall`], [`EnvelopeError::PayloadTooLarge`], and those of [`decode`](Self::decode)
    /// for flags that are not of a plain envelope; `buffer` is unchanged then.
    pub fn encode_into(&self, buffer: &mut [u8]) -> Result<usize, EnvelopeError> {
        self.check_plain()?;
        let needed = self.encoded_length()?;
        let available = buffer.len();
        let Some(target) = buffer.get_mut(..needed) else {
            return Err(EnvelopeError::BufferTooSmall { needed, available });
        };
        let (header, mut payload) = target.split_at_mut(HEADER_LENGTH);
        header.copy_from_slice(&self.header_bytes(|piece| {
            let (place, rest) = core::mem::take(&mut payload).split_at_mut(piece.len());
            place.copy_from_slice(piece);
            payload = rest;
        }));
        Ok(needed)
    }

    /// The envelope as a new vector.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError::PayloadTooLarge`] over [`MAXIMUM_PAYLOAD`], and those of [`decode`](Self::decode) for flags
    /// that are not of a plain envelope.
    #[cfg(feature = "alloc")]
    pub fn encode(&self) -> Result<alloc::vec::Vec<u8>, EnvelopeError> {
        self.check_plain()?;
        self.stored()
    }

    /// The envelope as a new vector, its payload as it is.
    #[cfg(feature = "alloc")]
    fn stored(&self) -> Result<alloc::vec::Vec<u8>, EnvelopeError> {
        let mut bytes = alloc::vec::Vec::with_capacity(self.encoded_length()?);
        bytes.extend_from_slice(&[0; HEADER_LENGTH]);
        let header = self.header_bytes(|piece| bytes.extend_from_slice(piece));
        bytes[..HEADER_LENGTH].copy_from_slice(&header);
        Ok(bytes)
    }

    /// The header of a payload whose length has been checked against [`MAXIMUM_PAYLOAD`], which fits 32 bits. The payload
    /// is copied on the way, piece by piece, since what was just copied is fastest to check.
    fn header_bytes(&self, mut copy: impl FnMut(&[u8])) -> [u8; HEADER_LENGTH] {
        let mut checksum = crc32fast::Hasher::new();
        for piece in self.payload.chunks(PIECE_LENGTH) {
            copy(piece);
            checksum.update(piece);
        }
        let mut header = [0; HEADER_LENGTH];
        header[..8].copy_from_slice(&header_fields(self.flags, self.payload.len()));
        header[8..].copy_from_slice(&checksum.finalize().to_le_bytes());
        header
    }
}
