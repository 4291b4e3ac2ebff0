//! Newtypes: identifiers, hashes and quantities that must not be mistaken for one another.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A process. Numbered from 1 in the order of starting; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId(pub u64);

/// A request of a process. Numbered from 1 in the order of asking, over all processes; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// An amount of fuel: the cost of executed instructions, as the rewriting pass meters it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fuel(pub u64);

/// An amount of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bytes(pub u64);

/// A time on the virtual clock, or a distance on it: nanoseconds since the kernel began.
///
/// The clock moves only when an input is applied: by [`Ticks::PER_INPUT`], and by one nanosecond for each unit of
/// fuel that a reported step used. It is a measure of work done, not of time passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticks(pub u64);

/// BLAKE3 of a module's original bytes, before any rewriting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModuleHash(pub [u8; 32]);

/// BLAKE3 of a model file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModelHash(pub [u8; 32]);

impl Fuel {
    /// Adds `more`, up to the largest amount there is.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }

    /// Takes `spent` away; nothing is left when there was less.
    #[must_use]
    pub fn minus(self, spent: Self) -> Self {
        Self(self.0.saturating_sub(spent.0))
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Bytes {
    /// Adds `more`, up to the largest amount there is.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }

    /// Takes `less` away; nothing is left when there was less.
    #[must_use]
    pub fn minus(self, less: Self) -> Self {
        Self(self.0.saturating_sub(less.0))
    }

    /// Bytes of a slice or string.
    #[must_use]
    pub fn of(length: usize) -> Self {
        Self(length as u64)
    }
}

impl Ticks {
    /// How far the clock moves for an input, apart from its fuel: a microsecond, so that no two inputs that a guest
    /// can tell apart have the same time.
    pub const PER_INPUT: Self = Self(1_000);

    /// The last time. Guests read the clock as a signed 64-bit integer.
    pub const END: Self = Self(i64::MAX as u64);

    /// A later time, [`Ticks::END`] at most.
    #[must_use]
    pub fn plus(self, distance: Self) -> Self {
        self.0.checked_add(distance.0).map_or(Self::END, |sum| Self(sum.min(Self::END.0)))
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Fuel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

fn hexadecimal(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hexadecimal(&self.0, f)
    }
}

impl fmt::Debug for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleHash({self})")
    }
}

impl fmt::Display for ModelHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hexadecimal(&self.0, f)
    }
}

impl fmt::Debug for ModelHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelHash({self})")
    }
}
