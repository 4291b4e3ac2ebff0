//! Interleaving: quantized rows of a file, eight at a time, as kernels read them.
//!
//! - [`Interleaving`]: how the rows of a tensor are interleaved; at load, or before, into a file ([`Prepared`]).
//!
//! A group of eight rows takes as many bytes as they take in a file, but for TQ1_0, whose codes of base 3 are widened to 2 bits.

mod prepare;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::LlmError;
use crate::formats::{self, BlockType, I2S_UNIT, TERNARY_BLOCK};
use crate::gguf::{TensorInfo, TensorType};
use crate::host::PackedBytes;
use crate::kernels::{self, GROUP_ROWS, SCALE_BYTES, UNIT_BYTES};
use crate::matrix::CHUNKS_PER_THREAD;
use crate::threads::{SharedSlice, ThreadPool};
pub use prepare::Prepared;

/// Bytes of a packed block of 256 ternary columns of eight rows.
pub(crate) const TERNARY_BLOCK_BYTES: usize = SCALE_BYTES + 2 * UNIT_BYTES;

/// How rows are interleaved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interleaving {
    tensor_type: TensorType,
    columns: usize,
}

impl Interleaving {
    /// That of the tensor's rows; none if its type has no such form.
    pub fn of(info: &TensorInfo) -> Option<Self> {
        let known = match info.tensor_type {
            TensorType::Tq1_0 | TensorType::Tq2_0 | TensorType::I2S(_) => true,
            other => BlockType::of(other).is_some(),
        };
        known.then(|| Self { tensor_type: info.tensor_type, columns: info.columns() as usize })
    }

    /// Bytes of a row in a file.
    pub fn row_bytes(self) -> usize {
        self.tensor_type.row_bytes(self.columns as u64).unwrap_or(0) as usize
    }

    /// Bytes of eight rows, interleaved.
    pub fn group_bytes(self) -> usize {
        match self.tensor_type {
            TensorType::Tq1_0 | TensorType::Tq2_0 => self.columns / TERNARY_BLOCK * TERNARY_BLOCK_BYTES,
            TensorType::I2S(_) => self.columns / I2S_UNIT * UNIT_BYTES,
            _ => self.row_bytes() * GROUP_ROWS,
        }
    }

    /// Whether so many rows, interleaved, take the room of those in the file.
    pub fn is_in_place(self, rows: usize) -> bool {
        rows.is_multiple_of(GROUP_ROWS) && self.group_bytes() == self.row_bytes() * GROUP_ROWS
    }

    /// Interleaves rows (eight, or fewer at the end of a matrix) into a zeroed group.
    pub fn pack(self, rows: &[&[u8]], group: &mut [u8]) {
        match self.tensor_type {
            kind @ (TensorType::Tq1_0 | TensorType::Tq2_0) => pack_blocks(kind, rows, group),
            kind @ TensorType::I2S(_) => pack_units(kind, rows, group),
            other => {
                if let Some(kind) = BlockType::of(other) {
                    kernels::pack_rows(kind, rows, group);
                }
            }
        }
    }

    /// Whether interleaved rows of a file hold only what [`Self::pack`] writes. Ternary codes of 3 have no meaning, and the
    /// kernels' sums have no room for them; of other types, all bits mean something.
    pub fn is_valid(self, groups: &[u8], pool: &ThreadPool) -> bool {
        let (block_bytes, scale_bytes) = match self.tensor_type {
            TensorType::Tq1_0 | TensorType::Tq2_0 => (TERNARY_BLOCK_BYTES, SCALE_BYTES),
            TensorType::I2S(_) => (UNIT_BYTES, 0),
            _ => return true,
        };
        let is_valid = AtomicBool::new(true);
        in_chunks(pool, groups.len() / block_bytes, &|blocks| {
            let blocks =
                groups[blocks.start * block_bytes..blocks.end * block_bytes].chunks_exact(block_bytes);
            let threes = blocks.fold(0, |threes, block| {
                block[scale_bytes..]
                    .iter()
                    .fold(threes, |threes, codes| threes | (codes & (codes >> 1) & 0x55))
            });
            if threes != 0 {
                is_valid.store(false, Ordering::Relaxed);
            }
        });
        is_valid.into_inner()
    }

    /// Packs all rows, group by group, on all threads.
    pub fn repack(self, bytes: &[u8], rows: usize, pool: &ThreadPool) -> Result<PackedBytes, LlmError> {
        let (row_bytes, group_bytes) = (self.row_bytes(), self.group_bytes());
        let groups = rows.div_ceil(GROUP_ROWS);
        let bytes_needed = groups * group_bytes;
        let mut packed =
            PackedBytes::zeroed(bytes_needed).ok_or(LlmError::OutOfMemory { bytes: bytes_needed })?;
        let shared = SharedSlice::new(&mut packed[..]);
        in_chunks(pool, groups, &|chunk| {
            for group in chunk {
                let first = group * GROUP_ROWS;
                let last = (first + GROUP_ROWS).min(rows);
                let mut sources: [&[u8]; GROUP_ROWS] = [&[]; GROUP_ROWS];
                for row in first..last {
                    sources[row - first] = &bytes[row * row_bytes..][..row_bytes];
                }
                // SAFETY: each group is visited once.
                let out = unsafe { shared.range(group * group_bytes, group_bytes) };
                self.pack(&sources[..last - first], out);
            }
        });
        Ok(packed)
    }

    /// Packs whole groups of rows where they are.
    pub fn rearrange(self, bytes: &mut [u8], pool: &ThreadPool) {
        let group_bytes = self.group_bytes();
        let groups = bytes.len() / group_bytes;
        let shared = SharedSlice::new(bytes);
        in_chunks(pool, groups, &|chunk| {
            let mut original = vec![0; group_bytes];
            for group in chunk {
                // SAFETY: each group is visited once.
                let bytes = unsafe { shared.range(group * group_bytes, group_bytes) };
                original.copy_from_slice(bytes);
                self.pack_group(&original, bytes);
            }
        });
    }

    /// Packs the eight rows of `original`, one after another, into `group`.
    fn pack_group(self, original: &[u8], group: &mut [u8]) {
        group.fill(0);
        let mut rows = original.chunks_exact(self.row_bytes());
        let rows: [&[u8]; GROUP_ROWS] = std::array::from_fn(|_| rows.next().unwrap_or_default());
        self.pack(&rows, group);
    }
}

/// Shares out the numbers below `count` among the threads, a range at a time.
fn in_chunks(pool: &ThreadPool, count: usize, work: &(dyn Fn(Range<usize>) + Sync)) {
    let each = count.div_ceil(pool.threads() * CHUNKS_PER_THREAD).max(1);
    pool.run(count.div_ceil(each), &|chunk| work(chunk * each..((chunk + 1) * each).min(count)));
}

/// Writes 128 codes of `row` into a unit.
fn pack_unit(codes: &[u8], row: usize, unit: &mut [u8]) {
    for (codes, vector) in codes.chunks_exact(16).zip(unit.chunks_exact_mut(32)) {
        let quad = |place: usize| {
            let at = place * 4;
            u32::from_le_bytes([codes[at], codes[at + 1], codes[at + 2], codes[at + 3]]) << (2 * place)
        };
        let packed = quad(0) | quad(1) | quad(2) | quad(3);
        vector[row * 4..row * 4 + 4].copy_from_slice(&packed.to_le_bytes());
    }
}

/// Blocks of ternary weights.
fn pack_blocks(kind: TensorType, rows: &[&[u8]], group: &mut [u8]) {
    let Some((_, block_bytes)) = kind.block() else { return };
    let block_bytes = block_bytes as usize;
    let mut codes = [0; TERNARY_BLOCK];
    for (row, bytes) in rows.iter().enumerate() {
        let blocks = group.chunks_exact_mut(TERNARY_BLOCK_BYTES);
        for (source, block) in bytes.chunks_exact(block_bytes).zip(blocks) {
            formats::ternary_codes(kind, source, &mut codes);
            block[2 * row..2 * row + 2].copy_from_slice(&source[block_bytes - 2..]);
            for (codes, unit) in
                codes.chunks_exact(128).zip(block[SCALE_BYTES..].chunks_exact_mut(UNIT_BYTES))
            {
                pack_unit(codes, row, unit);
            }
        }
    }
}

/// Ternary weights with one scale for all.
fn pack_units(kind: TensorType, rows: &[&[u8]], group: &mut [u8]) {
    let mut codes = [0; I2S_UNIT];
    for (row, bytes) in rows.iter().enumerate() {
        for (source, unit) in bytes.chunks_exact(32).zip(group.chunks_exact_mut(UNIT_BYTES)) {
            formats::ternary_codes(kind, source, &mut codes);
            pack_unit(&codes, row, unit);
        }
    }
}
