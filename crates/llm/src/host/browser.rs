//! A browser's worker: no files, one thread, one stack that cannot be chosen, and one linear memory.

use std::ops::{Deref, DerefMut, Range};
use std::path::Path;

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

/// The caller is the only thread.
pub(crate) fn cores() -> usize {
    1
}

/// Runs `work`, within [`GRAMMAR_LIMITS`] on the stack that there is.
pub(crate) fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    Ok(work())
}
