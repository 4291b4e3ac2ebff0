//! The flags byte: what kind of message an envelope is.

use core::{
    fmt,
    ops::{BitOr, BitOrAssign},
};

use crate::EnvelopeError;

/// The flags of an envelope. Values of this type hold only flags that this crate can honour.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// A plain message: input, or a result.
    pub const NONE: Self = Self(0);
    /// The sender waits for an answer: the payload is a request to a service.
    pub const EXPECTS_RESPONSE: Self = Self(0x04);
    /// The payload is a structured error.
    pub const ERROR: Self = Self(0x08);

    /// The bit of an LZ4-compressed payload. Refused: no reader may take a compressed payload for a plain one.
    pub const COMPRESSED_BIT: u8 = 0x01;
    /// The bit of an encrypted payload. Refused, for the same reason.
    pub const ENCRYPTED_BIT: u8 = 0x02;

    const KNOWN: u8 = 0x0F;

    /// Reads a flags byte.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError::UnknownFlags`] for bits that version 1 does not define,
    /// [`EnvelopeError::CompressedUnsupported`] and [`EnvelopeError::EncryptedUnsupported`] for the two that it
    /// defines and this crate cannot honour.
    pub fn from_bits(bits: u8) -> Result<Self, EnvelopeError> {
        if bits & !Self::KNOWN != 0 {
            return Err(EnvelopeError::UnknownFlags { bits: bits & !Self::KNOWN });
        }
        if bits & Self::COMPRESSED_BIT != 0 {
            return Err(EnvelopeError::CompressedUnsupported);
        }
        if bits & Self::ENCRYPTED_BIT != 0 {
            return Err(EnvelopeError::EncryptedUnsupported);
        }
        Ok(Self(bits))
    }

    /// The byte on the wire.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the sender waits for an answer.
    pub const fn expects_response(self) -> bool {
        self.contains(Self::EXPECTS_RESPONSE)
    }

    /// Whether the payload is a structured error.
    pub const fn is_error(self) -> bool {
        self.contains(Self::ERROR)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.expects_response(), self.is_error()) {
            (false, false) => "Flags(NONE)",
            (true, false) => "Flags(EXPECTS_RESPONSE)",
            (false, true) => "Flags(ERROR)",
            (true, true) => "Flags(EXPECTS_RESPONSE | ERROR)",
        })
    }
}
