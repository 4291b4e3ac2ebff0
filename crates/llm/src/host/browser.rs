//! A browser's worker: no files, one thread, one stack that cannot be chosen, and one linear memory.

use std::ops::{Deref, DerefMut, Range};
use std::path::Path;

use half::f16;

use super::GrammarLimits;

/// What the grammar compiler bears on the stack of a worker, with room to spare; the agent's grammar has one level
/// of rules and one rule for each tool.
pub(crate) const GRAMMAR_LIMITS: GrammarLimits = GrammarLimits { nesting: 24, rules: 96, references: 24 };

/// There are no files to map: a model's bytes come in a vector.
pub(crate) enum FileMap {}

impl FileMap {
    /// Always an error.
    pub fn open(_: &Path) -> std::io::Result<Self> {
        Err(std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            "this host has no files; hand over the file's bytes",
        ))
    }

    /// Nothing to release: there is no map.
    pub fn release(&self, _: Range<usize>) {
        match *self {}
    }
}

impl Deref for FileMap {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match *self {}
    }
}

/// A byte buffer of fixed size.
pub(crate) struct PackedBytes(Vec<u8>);

impl PackedBytes {
    /// A buffer of `bytes` zeros; `None` when linear memory has no room for it.
    pub fn zeroed(bytes: usize) -> Option<Self> {
        let mut vector = Vec::new();
        vector.try_reserve_exact(bytes).ok()?;
        vector.resize(bytes, 0);
        Some(Self(vector))
    }
}

impl Deref for PackedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for PackedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// A number in half precision, in an f32: WebAssembly has no conversion, and doing it with integers at every use would
/// cost most of attention's time. What is kept so is twice as large.
#[derive(Debug, Clone, Copy, Default)]
#[repr(transparent)]
pub(crate) struct Half(f32);

impl Half {
    /// The nearest number, ties to even.
    #[inline]
    pub fn round(x: f32) -> Self {
        /// Half precision has thirteen bits less of a fraction.
        const DROPPED: u32 = (1 << 13) - 1;
        const SMALLEST_NORMAL: f32 = f32::from_bits((127 - 14) << 23);
        const LARGEST: f32 = 65504.0;
        let bits = x.to_bits() & 0x7fff_ffff;
        let magnitude = f32::from_bits(bits);
        let rounded = f32::from_bits((bits + DROPPED / 2 + (bits >> 13 & 1)) & !DROPPED);
        let rounded = if rounded > LARGEST { f32::INFINITY } else { rounded };
        // Neighbours of 3/4 are as far apart as subnormal numbers of half precision.
        let rounded = if magnitude < SMALLEST_NORMAL { magnitude + 0.75 - 0.75 } else { rounded };
        let rounded = if magnitude.is_nan() { f32::NAN } else { rounded };
        Self(rounded.copysign(x))
    }

    /// The number with these bits.
    pub fn from_bits(bits: u16) -> Self {
        Self(f16::from_bits(bits).to_f32())
    }

    /// Its bits.
    pub fn to_bits(self) -> u16 {
        f16::from_f32(self.0).to_bits()
    }

    /// The number.
    #[inline]
    pub fn value(self) -> f32 {
        self.0
    }
}

/// The caller is the only thread.
pub(crate) fn cores() -> usize {
    1
}

/// Runs `work`, within [`GRAMMAR_LIMITS`] on the stack that there is.
pub(crate) fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    Ok(work())
}
