//! Blocks of quantized weights, taken apart: what a file says of one block of one row, in every type whose products
//! have a scale for each 32 columns of activations.
//!
//! - [`BlockType`]: the types, with what tells them apart.
//! - [`Block`]: one block; [`Block::read`] and [`Block::write`] are ggml's layouts, `kernels::layout` has the packed
//!   ones.
//!
//! A weight is `scale · factor · value(code)`, and of types with a minimum `+ minimum · minimum factor`. Factors are small
//! integers, one for each 16 or 32 weights; types without them have 1.

use half::f16;

use crate::gguf::TensorType;

/// Columns that share a scale of activations.
pub(crate) const BLOCK_COLUMNS: usize = 32;
/// Columns of a part: what has a factor of its own at least.
pub(crate) const PART_COLUMNS: usize = 16;
/// The most columns of a block.
pub(crate) const MOST_COLUMNS: usize = 256;
/// The most parts of a block.
pub(crate) const MOST_PARTS: usize = MOST_COLUMNS / PART_COLUMNS;

/// What the nibbles of IQ4_NL and IQ4_XS number: ggml's table of values that are denser near zero.
pub(super) const IQ4_VALUES: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// What the nibbles of MXFP4 number: twice the values of E2M1 (OCP Microscaling Formats 1.0), so that all are integers.
pub(super) const MXFP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// A quantized type whose products have a scale for each 32 columns of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockType {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Nl,
    Iq4Xs,
    Mxfp4,
}

/// How the factors of a block are written: bytes, and what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Factors {
    /// There are none: all are 1.
    Ones,
    /// Sixteen signed bytes, one for each part.
    Bytes,
    /// Sixteen bytes, one for each part: the factor in the low nibble, that of the minimum in the high one.
    Nibbles,
    /// Sixteen factors of 6 bits less 32, one for each part. Bytes 0–7 hold the low nibbles of factors 0–7, and in their
    /// high nibbles those of 8–15; bits `2k` of byte `8 + j` are the upper bits of factor `4k + j`.
    SixBits,
    /// Eight factors of 6 bits and as many of the minimum, one for each 32 columns. Bytes 0–3 begin with factors 0–3, bytes
    /// 4–7 with those of the minimum; bytes 8–11 hold the low nibbles of factors 4–7 of both, whose upper two bits are
    /// the upper bits of bytes 0–3 and 4–7.
    SixBitPairs,
    /// Eight factors of 6 bits less 32, one for each 32 columns. Bits `2k` of the first two bytes, taken as one number, are
    /// the upper bits of factor `k`; the nibbles of the other four are the lower ones.
    SixBitsOfBlocks,
}

impl Factors {
    /// Bytes for one row and block.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Ones => 0,
            Self::Bytes | Self::Nibbles => 16,
            Self::SixBits | Self::SixBitPairs => 12,
            Self::SixBitsOfBlocks => 6,
        }
    }

    /// The factors of the scale and of the minimum, for each part.
    pub fn read(self, bytes: &[u8; 16]) -> [[i8; MOST_PARTS]; 2] {
        let of_parts = |factor: &dyn Fn(usize) -> u8| std::array::from_fn(|part| factor(part) as i8);
        let of_blocks = |factor: &dyn Fn(usize) -> u8| std::array::from_fn(|part| factor(part / 2) as i8);
        match self {
            Self::Ones => [[1; MOST_PARTS]; 2],
            Self::Bytes => [of_parts(&|part| bytes[part]), [0; MOST_PARTS]],
            Self::Nibbles => [of_parts(&|part| bytes[part] & 15), of_parts(&|part| bytes[part] >> 4)],
            Self::SixBits => {
                let factor = |part: usize| {
                    let low = bytes[part % 8] >> (part / 8 * 4) & 15;
                    let high = bytes[8 + part % 4] >> (part / 4 * 2) & 3;
                    (low | high << 4).wrapping_sub(32)
                };
                [of_parts(&factor), [0; MOST_PARTS]]
            }
            Self::SixBitPairs => {
                let factor = |of_minimum: usize, block: usize| {
                    let first = bytes[4 * of_minimum + block % 4];
                    if block < 4 {
                        first & 63
                    } else {
                        bytes[4 + block] >> (4 * of_minimum) & 15 | first >> 6 << 4
                    }
                };
                [of_blocks(&|block| factor(0, block)), of_blocks(&|block| factor(1, block))]
            }
            Self::SixBitsOfBlocks => {
                let factor = |block: usize| {
                    let low = bytes[2 + block / 2] >> (block % 2 * 4) & 15;
                    let high = bytes[block / 4] >> (block % 4 * 2) & 3;
                    (low | high << 4).wrapping_sub(32)
                };
                [of_blocks(&factor), [0; MOST_PARTS]]
            }
        }
    }

    /// The bytes that [`read`](Self::read) takes apart into these factors.
    pub fn write(self, factors: &[[i8; MOST_PARTS]; 2]) -> [u8; 16] {
        let [factors, minima] = factors.map(|factors| factors.map(|factor| factor as u8));
        let mut bytes = [0; 16];
        match self {
            Self::Ones => {}
            Self::Bytes => bytes = factors,
            Self::Nibbles => bytes = std::array::from_fn(|part| factors[part] | minima[part] << 4),
            Self::SixBits => {
                for (part, factor) in factors.iter().enumerate() {
                    let factor = factor.wrapping_add(32);
                    bytes[part % 8] |= (factor & 15) << (part / 8 * 4);
                    bytes[8 + part % 4] |= factor >> 4 << (part / 4 * 2);
                }
            }
            Self::SixBitPairs => {
                for (of_minimum, factors) in [factors, minima].iter().enumerate() {
                    for block in 0..4 {
                        let (first, second) = (factors[2 * block], factors[2 * block + 8]);
                        bytes[4 * of_minimum + block] = first | second >> 4 << 6;
                        bytes[8 + block] |= (second & 15) << (4 * of_minimum);
                    }
                }
            }
            Self::SixBitsOfBlocks => {
                for block in 0..8 {
                    let factor = factors[2 * block].wrapping_add(32);
                    bytes[2 + block / 2] |= (factor & 15) << (block % 2 * 4);
                    bytes[block / 4] |= factor >> 4 << (block % 4 * 2);
                }
            }
        }
        bytes
    }
}

impl BlockType {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Iq4Nl,
        Self::Iq4Xs,
        Self::Mxfp4,
    ];

    /// The type of a tensor's blocks, if it is one of these.
    pub fn of(tensor_type: TensorType) -> Option<Self> {
        Some(match tensor_type {
            TensorType::Q4_0 => Self::Q4_0,
            TensorType::Q4_1 => Self::Q4_1,
            TensorType::Q5_0 => Self::Q5_0,
            TensorType::Q5_1 => Self::Q5_1,
            TensorType::Q8_0 => Self::Q8_0,
            TensorType::Q2K => Self::Q2K,
            TensorType::Q3K => Self::Q3K,
            TensorType::Q4K => Self::Q4K,
            TensorType::Q5K => Self::Q5K,
            TensorType::Q6K => Self::Q6K,
            TensorType::Iq4Nl => Self::Iq4Nl,
            TensorType::Iq4Xs => Self::Iq4Xs,
            TensorType::Mxfp4 => Self::Mxfp4,
            _ => return None,
        })
    }

    /// Columns of a block.
    pub const fn columns(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::Iq4Nl | Self::Mxfp4 => {
                BLOCK_COLUMNS
            }
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K | Self::Iq4Xs => MOST_COLUMNS,
        }
    }

    /// Bits of a code.
    pub const fn bits(self) -> usize {
        match self {
            Self::Q2K => 2,
            Self::Q3K => 3,
            Self::Q4_0 | Self::Q4_1 | Self::Q4K | Self::Iq4Nl | Self::Iq4Xs | Self::Mxfp4 => 4,
            Self::Q5_0 | Self::Q5_1 | Self::Q5K => 5,
            Self::Q6K => 6,
            Self::Q8_0 => 8,
        }
    }

    /// Bytes of the scale: two are a float in half precision, one is an exponent.
    pub const fn scale_bytes(self) -> usize {
        if matches!(self, Self::Mxfp4) { 1 } else { 2 }
    }

    /// Whether blocks have a minimum.
    pub const fn has_minimum(self) -> bool {
        matches!(self, Self::Q4_1 | Self::Q5_1 | Self::Q2K | Self::Q4K | Self::Q5K)
    }

    /// How the factors of a block are written.
    pub const fn factors(self) -> Factors {
        match self {
            Self::Q2K => Factors::Nibbles,
            Self::Q3K => Factors::SixBits,
            Self::Q4K | Self::Q5K => Factors::SixBitPairs,
            Self::Q6K => Factors::Bytes,
            Self::Iq4Xs => Factors::SixBitsOfBlocks,
            _ => Factors::Ones,
        }
    }

    /// Bytes of a block of one row.
    pub const fn bytes(self) -> usize {
        let minimum = if self.has_minimum() { 2 } else { 0 };
        self.scale_bytes() + minimum + self.factors().bytes() + self.columns() * self.bits() / 8
    }

    /// What a code stands for.
    pub const fn value(self, code: u8) -> i8 {
        match self {
            Self::Q4_1 | Self::Q5_1 | Self::Q2K | Self::Q4K | Self::Q5K | Self::Q8_0 => code as i8,
            Self::Q3K => code as i8 - 4,
            Self::Q4_0 => code as i8 - 8,
            Self::Q5_0 => code as i8 - 16,
            Self::Q6K => code as i8 - 32,
            Self::Iq4Nl | Self::Iq4Xs => IQ4_VALUES[(code & 15) as usize],
            Self::Mxfp4 => MXFP4_VALUES[(code & 15) as usize],
        }
    }

    /// What the bits of a scale stand for.
    pub fn scale(self, bits: u16) -> f32 {
        match self {
            // Half of 2^(e - 127), for the values are doubled; the two smallest are subnormal.
            Self::Mxfp4 if bits < 2 => f32::from_bits(0x0020_0000 << bits),
            Self::Mxfp4 => f32::from_bits((u32::from(bits) - 1) << 23),
            _ => f16::from_bits(bits).to_f32(),
        }
    }

    /// Where the parts of a block lie in a file: scale, minimum, factors, codes.
    const fn places(self) -> [usize; 4] {
        match self {
            Self::Q2K => [80, 82, 0, 16],
            Self::Q3K => [108, 0, 96, 0],
            Self::Q6K => [208, 0, 192, 0],
            Self::Mxfp4 => [0, 0, 0, 1],
            Self::Q4_1 | Self::Q5_1 => [0, 2, 0, 4],
            Self::Q4K | Self::Q5K => [0, 2, 4, 16],
            Self::Iq4Xs => [0, 0, 2, 8],
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 | Self::Iq4Nl => [0, 0, 0, 2],
        }
    }

    /// Where the codes lie among a block's code bytes.
    #[inline(always)]
    fn runs(self, mut visit: impl FnMut(Run)) {
        let mut run = |column, length, byte, from, to, bits| {
            visit(Run { column, length, byte, from, to, bits });
        };
        match self {
            Self::Q8_0 => run(0, 32, 0, 0, 0, 8),
            Self::Q4_0 | Self::Q4_1 | Self::Iq4Nl | Self::Mxfp4 => {
                (0..2).for_each(|half| run(half * 16, 16, 0, half * 4, 0, 4));
            }
            Self::Q5_0 | Self::Q5_1 => {
                (0..2).for_each(|half| run(half * 16, 16, 4, half * 4, 0, 4));
                (0..32).for_each(|column| run(column, 1, column / 8, column % 8, 4, 1));
            }
            Self::Iq4Xs => {
                (0..16).for_each(|half| run(half * 16, 16, half / 2 * 16, half % 2 * 4, 0, 4));
            }
            Self::Q2K => (0..8).for_each(|at| run(at * 32, 32, at / 4 * 32, at % 4 * 2, 0, 2)),
            Self::Q3K => {
                for at in 0..8 {
                    run(at * 32, 32, 32 + at / 4 * 32, at % 4 * 2, 0, 2);
                    run(at * 32, 32, 0, at, 2, 1);
                }
            }
            Self::Q4K => (0..8).for_each(|at| run(at * 32, 32, at / 2 * 32, at % 2 * 4, 0, 4)),
            Self::Q5K => {
                for at in 0..8 {
                    run(at * 32, 32, 32 + at / 2 * 32, at % 2 * 4, 0, 4);
                    run(at * 32, 32, 0, at, 4, 1);
                }
            }
            Self::Q6K => {
                for at in 0..8 {
                    run(at * 32, 32, at / 4 * 64 + at % 2 * 32, at % 4 / 2 * 4, 0, 4);
                    run(at * 32, 32, 128 + at / 4 * 32, at % 4 * 2, 4, 2);
                }
            }
        }
    }
}

/// Bits of the codes of neighbouring columns, in neighbouring bytes.
#[derive(Clone, Copy)]
struct Run {
    /// The first column, and how many there are.
    column: usize,
    length: usize,
    /// The first byte.
    byte: usize,
    /// The lowest of the bits in the bytes, and in the codes.
    from: usize,
    to: usize,
    /// How many bits there are.
    bits: usize,
}

impl Run {
    fn mask(self) -> u8 {
        0xff >> (8 - self.bits)
    }
}

/// What a file says of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// `BlockType::bits` bits each; as many as the type has columns.
    pub codes: [u8; MOST_COLUMNS],
    /// The bits of the scale.
    pub scale: u16,
    /// The bits of the minimum, which is added: K types write what is subtracted.
    pub minimum: u16,
    /// The bytes of the factors.
    pub factors: [u8; 16],
}

impl Block {
    /// No scale, no codes.
    pub fn zero() -> Self {
        Self { codes: [0; MOST_COLUMNS], scale: 0, minimum: 0, factors: [0; 16] }
    }

    /// The sign bit of a minimum if it is written with the other sign.
    fn flipped(kind: BlockType) -> u16 {
        if kind.columns() == MOST_COLUMNS { 0x8000 } else { 0 }
    }

    /// Takes the bytes of a file apart.
    #[inline(always)]
    pub fn read(kind: BlockType, bytes: &[u8]) -> Self {
        let [scale, minimum, factors, codes] = kind.places();
        let mut block = Self::zero();
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        block.scale = if kind.scale_bytes() == 1 { u16::from(bytes[scale]) } else { half(scale) };
        if kind.has_minimum() {
            block.minimum = half(minimum) ^ Self::flipped(kind);
        }
        let count = kind.factors().bytes();
        block.factors[..count].copy_from_slice(&bytes[factors..factors + count]);
        kind.runs(|run| {
            let bytes = &bytes[codes + run.byte..][..run.length];
            for (code, byte) in block.codes[run.column..][..run.length].iter_mut().zip(bytes) {
                *code |= (byte >> run.from & run.mask()) << run.to;
            }
        });
        block
    }

    /// Appends the bytes of a file.
    pub fn write(&self, kind: BlockType, out: &mut Vec<u8>) {
        let [scale, minimum, factors, codes] = kind.places();
        let start = out.len();
        out.resize(start + kind.bytes(), 0);
        let bytes = &mut out[start..];
        kind.runs(|run| {
            let bytes = &mut bytes[codes + run.byte..][..run.length];
            for (code, byte) in self.codes[run.column..][..run.length].iter().zip(bytes) {
                *byte |= (code >> run.to & run.mask()) << run.from;
            }
        });
        let count = kind.factors().bytes();
        bytes[factors..factors + count].copy_from_slice(&self.factors[..count]);
        if kind.has_minimum() {
            bytes[minimum..minimum + 2].copy_from_slice(&(self.minimum ^ Self::flipped(kind)).to_le_bytes());
        }
        let count = kind.scale_bytes();
        bytes[scale..scale + count].copy_from_slice(&self.scale.to_le_bytes()[..count]);
    }

    /// The weights: `kind.columns()` of them.
    pub fn decode(&self, kind: BlockType, out: &mut [f32]) {
        let [factors, minima] = kind.factors().read(&self.factors);
        let scale = kind.scale(self.scale);
        let minimum = f16::from_bits(self.minimum).to_f32();
        let parts = out.chunks_exact_mut(PART_COLUMNS).zip(self.codes.chunks_exact(PART_COLUMNS));
        for (part, (out, codes)) in parts.enumerate() {
            let scale = scale * f32::from(factors[part]);
            for (out, &code) in out.iter_mut().zip(codes) {
                *out = scale * f32::from(kind.value(code));
                if kind.has_minimum() {
                    *out += minimum * f32::from(minima[part]);
                }
            }
        }
    }
}
