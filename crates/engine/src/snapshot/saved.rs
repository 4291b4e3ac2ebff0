//! A process in bytes: for a file, or for another host.
//!
//! ```text
//! 0   "glasshou"
//! 8   version, u32 little-endian
//! 12  BLAKE3 of everything behind
//! 44  postcard: BLAKE3 of the module, registers, bytes of memory, blocks of memory that are not all zero
//! ```

use std::{string::ToString, vec, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{Image, Registers, Snapshot, SnapshotError};
use crate::{InstanceLimits, PAGE_BYTES, rewrite::Needs};

const MAGIC: [u8; 8] = *b"glasshou";
const VERSION: u32 = 1;
const HASH_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + 4 + HASH_BYTES;

/// Bytes of a block: a page of most hosts. Divides a page of WebAssembly.
const BLOCK_BYTES: usize = 4096;

/// Pages of the largest memory.
const PAGES_MAXIMUM: u64 = 1 << 16;

/// A process between two steps, bound to its module by hash. [`SavedProcess::to_bytes`] gives the same bytes on every
/// host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedProcess {
    module: [u8; 32],
    registers: Registers,
    memory_bytes: u64,
    /// Numbers of blocks, ascending.
    blocks: Vec<u32>,
    /// Their bytes.
    contents: Vec<u8>,
}

impl SavedProcess {
    /// Copies a process out of its machine.
    pub fn new<I: Image>(snapshot: &Snapshot<I>) -> Self {
        let memory_bytes = snapshot.memory.len();
        let (mut blocks, mut contents) = (Vec::new(), Vec::new());
        let mut page = vec![0; PAGE_BYTES as usize];
        for start in (0..memory_bytes).step_by(PAGE_BYTES as usize) {
            snapshot.memory.read(start, &mut page);
            for (index, block) in page.chunks_exact(BLOCK_BYTES).enumerate() {
                if block.iter().any(|byte| *byte != 0) {
                    blocks.push((start / BLOCK_BYTES as u64) as u32 + index as u32);
                    contents.extend_from_slice(block);
                }
            }
        }
        let registers = (*snapshot.registers).clone();
        Self { module: snapshot.hash, registers, memory_bytes, blocks, contents }
    }

    /// BLAKE3 of the process's module.
    pub fn module_hash(&self) -> &[u8; 32] {
        &self.module
    }

    /// Bytes of the process's memory.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// The bytes to keep.
    ///
    /// # Errors
    /// [`SnapshotError::Malformed`] when the encoder fails, which it does for want of memory alone.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        let malformed = |error: postcard::Error| SnapshotError::Malformed { reason: error.to_string() };
        let body = postcard::to_allocvec(self).map_err(malformed)?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(blake3::hash(&body).as_bytes());
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Reads and verifies what [`SavedProcess::to_bytes`] has written.
    ///
    /// # Errors
    /// [`SnapshotError::NotSaved`], [`SnapshotError::UnknownVersion`], [`SnapshotError::Damaged`],
    /// [`SnapshotError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let malformed = |reason: &str| SnapshotError::Malformed { reason: reason.into() };
        let rest = bytes.strip_prefix(&MAGIC).ok_or(SnapshotError::NotSaved)?;
        let (version, rest) = rest.split_first_chunk().ok_or_else(|| malformed("it has no version"))?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(SnapshotError::UnknownVersion { version, known: VERSION });
        }
        let (hash, body) =
            rest.split_first_chunk::<HASH_BYTES>().ok_or_else(|| malformed("it has no hash"))?;
        if blake3::hash(body) != *hash {
            return Err(SnapshotError::Damaged);
        }
        let (saved, rest): (Self, _) =
            postcard::take_from_bytes(body).map_err(|error| malformed(&error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed("bytes follow it"));
        }
        saved.check()?;
        Ok(saved)
    }

    /// Fails unless the blocks are in order and lie in the memory.
    fn check(&self) -> Result<(), SnapshotError> {
        let malformed = |reason: &str| Err(SnapshotError::Malformed { reason: reason.into() });
        if !self.memory_bytes.is_multiple_of(PAGE_BYTES) || self.memory_bytes / PAGE_BYTES > PAGES_MAXIMUM {
            return malformed("its memory has no whole number of pages, or more than there can be");
        }
        if self.blocks.len().checked_mul(BLOCK_BYTES) != Some(self.contents.len()) {
            return malformed("its memory has more or fewer bytes than it says");
        }
        if !self.blocks.is_sorted_by(|a, b| a < b) {
            return malformed("the blocks of its memory are not in order");
        }
        let blocks = self.memory_bytes / BLOCK_BYTES as u64;
        if self.blocks.last().is_some_and(|last| u64::from(*last) >= blocks) {
            return malformed("a block lies outside of its memory");
        }
        Ok(())
    }

    /// The process as a snapshot of a machine, of the module with these needs. No memory beyond the limits is taken.
    pub(crate) fn to_snapshot<I: Image>(
        &self,
        needs: &Needs,
        limits: &InstanceLimits,
    ) -> Result<Snapshot<I>, SnapshotError> {
        super::check(&self.module, &self.registers, self.memory_bytes, needs, limits)?;
        let offsets = self.blocks.iter().map(|block| u64::from(*block) * BLOCK_BYTES as u64);
        let memory = I::from_pieces(self.memory_bytes, offsets.zip(self.contents.chunks(BLOCK_BYTES)))?;
        Ok(Snapshot { hash: self.module, registers: self.registers.clone().into(), memory })
    }
}
