//! Packed blocks: where the parts of eight rows' blocks lie (drawn in [`super`]), written and read.

use crate::formats::{BLOCK_COLUMNS, Block, BlockType};

use super::GROUP_ROWS;

/// Bytes of a vector of a group: four for each row.
pub(crate) const VECTOR_BYTES: usize = 4 * GROUP_ROWS;

/// Bits of a code that are kept together: a plane is as many vectors as it has bits.
#[derive(Clone, Copy)]
struct Plane {
    /// How many bits.
    bits: usize,
    /// The place of the lowest of them in the code.
    low: usize,
}

impl Plane {
    /// The vector that holds the bits of columns `4 · quad` to `4 · quad + 3`, and their place in its bytes.
    const fn place(self, quad: usize) -> (usize, usize) {
        match self.bits {
            // As Q4_0 has them in a file: columns 0–15 in low, 16–31 in high nibbles.
            4 => (quad % 4, quad / 4 * 4),
            bits => (quad * bits / 8, quad * bits % 8),
        }
    }

    /// A word whose bytes have as many bits set.
    const fn mask(self) -> u32 {
        (0xff >> (8 - self.bits)) as u32 * 0x0101_0101
    }
}

impl BlockType {
    /// The planes of the codes.
    fn planes(self) -> &'static [Plane] {
        const BIT_2: Plane = Plane { bits: 1, low: 2 };
        const BIT_4: Plane = Plane { bits: 1, low: 4 };
        const TWO_BITS: Plane = Plane { bits: 2, low: 0 };
        const UPPER_TWO_BITS: Plane = Plane { bits: 2, low: 4 };
        const NIBBLES: Plane = Plane { bits: 4, low: 0 };
        const BYTES: Plane = Plane { bits: 8, low: 0 };
        match self.bits() {
            2 => &[TWO_BITS],
            3 => &[TWO_BITS, BIT_2],
            4 => &[NIBBLES],
            5 => &[NIBBLES, BIT_4],
            6 => &[NIBBLES, UPPER_TWO_BITS],
            _ => &[BYTES],
        }
    }

    /// Bytes of the codes of 32 columns of eight rows.
    pub const fn code_bytes(self) -> usize {
        self.bits() * VECTOR_BYTES
    }

    /// Where the minima are in a packed block.
    pub const fn minima_at(self) -> usize {
        self.scale_bytes() * GROUP_ROWS
    }

    /// Where the factors are in a packed block.
    pub const fn factors_at(self) -> usize {
        self.minima_at() + if self.has_minimum() { 2 * GROUP_ROWS } else { 0 }
    }

    /// Where the codes are in a packed block.
    pub const fn codes_at(self) -> usize {
        self.factors_at() + self.factors().bytes() * GROUP_ROWS
    }

    /// Bytes of a packed block: as many as eight rows have in a file.
    pub const fn packed_bytes(self) -> usize {
        self.bytes() * GROUP_ROWS
    }

    /// Bytes of a packed group of rows of `columns`.
    pub const fn group_bytes(self, columns: usize) -> usize {
        columns / self.columns() * self.packed_bytes()
    }
}

const _: () = {
    let mut number = 0;
    while number < BlockType::ALL.len() {
        let kind = BlockType::ALL[number];
        let blocks = kind.columns() / BLOCK_COLUMNS;
        assert!(kind.codes_at() + blocks * kind.code_bytes() == kind.packed_bytes());
        number += 1;
    }
};

/// Packs rows of blocks (eight, or fewer at the end of a matrix) into a zeroed group.
pub(crate) fn pack_rows(kind: BlockType, rows: &[&[u8]], group: &mut [u8]) {
    // Each type's loops are compiled for it.
    macro_rules! by_type {
        ($($name:ident)*) => {
            match kind {
                $(BlockType::$name => pack_rows_of(BlockType::$name, rows, group),)*
            }
        };
    }
    by_type!(Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2K Q3K Q4K Q5K Q6K Iq4Nl Iq4Xs Mxfp4);
}

#[inline(always)]
fn pack_rows_of(kind: BlockType, rows: &[&[u8]], group: &mut [u8]) {
    for (row, bytes) in rows.iter().enumerate() {
        let blocks = group.chunks_exact_mut(kind.packed_bytes());
        for (source, packed) in bytes.chunks_exact(kind.bytes()).zip(blocks) {
            if is_in_order(kind) {
                copy(kind, source, row, packed);
            } else {
                pack(kind, &Block::read(kind, source), row, packed);
            }
        }
    }
}

/// Whether a block lies in a file as it does in a group, but for the other rows between.
const fn is_in_order(kind: BlockType) -> bool {
    use BlockType::*;
    matches!(kind, Q4_0 | Q4_1 | Q8_0 | Iq4Nl | Iq4Xs | Mxfp4)
}

/// [`pack`] for a block that is in order.
#[inline(always)]
fn copy(kind: BlockType, source: &[u8], row: usize, packed: &mut [u8]) {
    let (floats, codes) = source.split_at(kind.codes_at() / GROUP_ROWS);
    let scale = kind.scale_bytes();
    packed[scale * row..][..scale].copy_from_slice(&floats[..scale]);
    if kind.has_minimum() {
        packed[kind.minima_at() + 2 * row..][..2].copy_from_slice(&floats[scale..scale + 2]);
    }
    let factors = packed[kind.factors_at()..kind.codes_at()].chunks_exact_mut(GROUP_ROWS);
    factors.zip(&floats[kind.factors_at() / GROUP_ROWS..]).for_each(|(rows, factor)| rows[row] = *factor);
    let vectors = packed[kind.codes_at()..].chunks_exact_mut(VECTOR_BYTES);
    for (vector, quad) in vectors.zip(codes.chunks_exact(4)) {
        vector[4 * row..4 * row + 4].copy_from_slice(quad);
    }
}

/// Writes a block as that of `row` into a packed block, whose bytes of that row are zero.
#[inline(always)]
fn pack(kind: BlockType, block: &Block, row: usize, packed: &mut [u8]) {
    let scale = kind.scale_bytes();
    packed[scale * row..][..scale].copy_from_slice(&block.scale.to_le_bytes()[..scale]);
    if kind.has_minimum() {
        packed[kind.minima_at() + 2 * row..][..2].copy_from_slice(&block.minimum.to_le_bytes());
    }
    let factors = packed[kind.factors_at()..kind.codes_at()].chunks_exact_mut(GROUP_ROWS);
    factors.zip(block.factors).for_each(|(rows, factor)| rows[row] = factor);
    let blocks = packed[kind.codes_at()..].chunks_exact_mut(kind.code_bytes());
    for (packed, codes) in blocks.zip(block.codes.chunks_exact(BLOCK_COLUMNS)) {
        let mut first = 0;
        for plane in kind.planes() {
            let mut words = [0u32; 8];
            for (quad, codes) in codes.chunks_exact(4).enumerate() {
                let word = u32::from_le_bytes([codes[0], codes[1], codes[2], codes[3]]);
                let (vector, place) = plane.place(quad);
                words[vector] |= (word >> plane.low & plane.mask()) << place;
            }
            for (vector, word) in words[..plane.bits].iter().enumerate() {
                let at = (first + vector) * VECTOR_BYTES + 4 * row;
                packed[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
            first += plane.bits;
        }
    }
}

/// Reads the block of `row` in a packed block.
#[inline(always)]
pub(crate) fn unpack(kind: BlockType, packed: &[u8], row: usize) -> Block {
    let mut block = Block::zero();
    let half = |at: usize| u16::from_le_bytes([packed[at], packed[at + 1]]);
    block.scale = if kind.scale_bytes() == 1 { u16::from(packed[row]) } else { half(2 * row) };
    if kind.has_minimum() {
        block.minimum = half(kind.minima_at() + 2 * row);
    }
    let factors = packed[kind.factors_at()..kind.codes_at()].chunks_exact(GROUP_ROWS);
    factors.zip(&mut block.factors).for_each(|(rows, factor)| *factor = rows[row]);
    let blocks = packed[kind.codes_at()..].chunks_exact(kind.code_bytes());
    for (packed, codes) in blocks.zip(block.codes.chunks_exact_mut(BLOCK_COLUMNS)) {
        for (quad, codes) in codes.chunks_exact_mut(4).enumerate() {
            let (mut first, mut word) = (0, 0);
            for plane in kind.planes() {
                let (vector, place) = plane.place(quad);
                let at = (first + vector) * VECTOR_BYTES + 4 * row;
                let bytes = u32::from_le_bytes([packed[at], packed[at + 1], packed[at + 2], packed[at + 3]]);
                word |= (bytes >> place & plane.mask()) << plane.low;
                first += plane.bits;
            }
            codes.copy_from_slice(&word.to_le_bytes());
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_loses_nothing() {
        let mut state = 7u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for kind in BlockType::ALL {
            let blocks: Vec<Vec<u8>> =
                (0..GROUP_ROWS).map(|_| (0..kind.bytes()).map(|_| byte()).collect()).collect();
            let mut packed = vec![0; kind.packed_bytes()];
            let rows: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
            pack_rows(kind, &rows, &mut packed);
            for (row, bytes) in blocks.iter().enumerate() {
                let mut found = Vec::new();
                unpack(kind, &packed, row).write(kind, &mut found);
                assert_eq!(&found, bytes, "{kind:?}, row {row}");
            }
        }
    }
}
