//! The flags byte: what kind of message an envelope is.

use core::{
    fmt,
    ops::{BitOr, BitOrAssign},
};

use crate::EnvelopeError;

/// The flags of an envelope. Values of this type hold only flags that version 1 defines.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// A plain message: input, or a result.
    pub const NONE: Self = Self(0);
    /// The payload is compressed (LZ4).
    pub const COMPRESSED: Self = Self(0x01);
    /// The payload is encrypted (ChaCha20-Poly1305).
    pub const ENCRYPTED: Self = Self(0x02);
    /// The sender waits for an answer: the payload is a request to a service.
    pub const EXPECTS_RESPONSE: Self = Self(0x04);
    /// The payload is a structured error.
    pub const ERROR: Self = Self(0x08);

    const NAMES: [(Self, &str); 4] = [
        (Self::COMPRESSED, "COMPRESSED"),
        (Self::ENCRYPTED, "ENCRYPTED"),
        (Self::EXPECTS_RESPONSE, "EXPECTS_RESPONSE"),
        (Self::ERROR, "ERROR"),
    ];
    const KNOWN: u8 = 0x0F;

    /// Reads a flags byte.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError::UnknownFlags`] for bits that version 1 does not define.
    pub fn from_bits(bits: u8) -> Result<Self, EnvelopeError> {
        if bits & !Self::KNOWN != 0 {
            return Err(EnvelopeError::UnknownFlags { bits: bits & !Self::KNOWN });
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

    /// Those that say what kind of message it is, not how its payload is stored.
    #[must_use]
    pub const fn of_message(self) -> Self {
        Self(self.0 & (Self::EXPECTS_RESPONSE.0 | Self::ERROR.0))
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
        f.write_str("Flags(")?;
        let mut names = Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| name);
        f.write_str(names.next().unwrap_or(&"NONE"))?;
        for name in names {
            write!(f, " | {name}")?;
        }
        f.write_str(")")
    }
}
