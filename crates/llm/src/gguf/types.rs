//! Tensor element types and how their blocks are laid out.

use std::ops::Range;

use super::LlmError;

/// Element type of a tensor, with ggml's block layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TensorType {
    /// 32-bit IEEE floats.
    F32,
    /// 16-bit IEEE floats.
    F16,
    /// The upper half of 32-bit floats.
    Bf16,
    /// 32 weights: f16 scale, 32 × i8.
    Q8_0,
    /// 32 weights: f16 scale, 16 bytes of nibbles (low: 0–15, high: 16–31), value `nibble - 8`.
    Q4_0,
    /// 256 weights of 6 bits: 128 bytes of low nibbles, 64 bytes of upper bits, 16 × i8 scales of 16 weights each,
    /// f16 scale of the scales; value `code - 32`.
    Q6K,
    /// 32 weights of 5 bits: f16 scale, 4 bytes of upper bits, 16 bytes of nibbles (low: 0–15, high: 16–31), value
    /// `code - 16`.
    Q5_0,
    /// 256 weights of 3 bits: 32 bytes of upper bits, 64 bytes of 2-bit codes, 12 bytes of sixteen 6-bit scales of 16
    /// weights each, f16 scale of the scales; value `code - 4`, scale `code - 32`.
    Q3K,
    /// 32 weights: f16 scale, 16 bytes of nibbles (low: 0–15, high: 16–31) that number the values of a fixed table.
    Iq4Nl,
    /// 32 weights: f16 scale, f16 minimum, 16 bytes of nibbles (low: 0–15, high: 16–31).
    Q4_1,
    /// 32 weights of 5 bits: f16 scale, f16 minimum, 4 bytes of upper bits, 16 bytes of nibbles as for Q4_1.
    Q5_1,
    /// 256 weights of 2 bits: 16 bytes of 4-bit scales and minima of 16 weights each, 64 bytes of codes, f16 scale of the
    /// scales, f16 scale of the minima, which are subtracted.
    Q2K,
    /// 256 weights of 4 bits: f16 scale of the scales, f16 scale of the minima, which are subtracted, 12 bytes of eight 6-bit
    /// scales and minima of 32 weights each, 128 bytes of nibbles (of each 32 bytes, low: 0–31, high: 32–63).
    Q4K,
    /// 256 weights of 5 bits: as Q4_K, with 32 bytes of upper bits before the nibbles.
    Q5K,
    /// 256 weights: f16 scale of the scales, 2 bytes of upper bits and 4 bytes of nibbles of eight 6-bit scales of 32 weights
    /// each (less 32), 128 bytes of nibbles as for IQ4_NL.
    Iq4Xs,
    /// 32 weights: an exponent of two, 16 bytes of nibbles (low: 0–15, high: 16–31) that are floats of 4 bits (E2M1).
    Mxfp4,
    /// 256 ternary weights: 64 bytes of 2-bit codes, f16 scale.
    Tq2_0,
    /// 256 ternary weights: 52 bytes of base-3 codes, f16 scale.
    Tq1_0,
    /// 128 ternary weights in 32 bytes of 2-bit codes; one f32 scale for the whole tensor after the data,
    /// padded to 32 bytes (Microsoft BitNet). The packing is not in the type's number: see [`I2sPacking`].
    I2S(I2sPacking),
    /// A type that ggml knows and this crate does not compute with. The file still opens.
    Other(u32),
}

/// How BitNet's quantizer packed I2_S tensors. It follows the machine that it ran on, and files do not say which: a file
/// whose metadata has no [`I2sPacking::KEY`] is taken as packed on x86, as the published ones are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum I2sPacking {
    /// 128 weights in 32 bytes: bits 7–6 of byte `p` are weight `p`, 5–4 weight `32 + p`, and so on.
    #[default]
    X86,
    /// 64 weights in 16 bytes: bits 7–6 of byte `p` are weight `p`, 5–4 weight `16 + p`, and so on.
    Arm,
}

impl I2sPacking {
    /// The metadata key that says it, by one of [`Self::name`]s.
    pub const KEY: &str = "general.i2_s.packing";

    /// `x86` or `arm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86",
            Self::Arm => "arm",
        }
    }

    /// The packing of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::X86, Self::Arm].into_iter().find(|packing| packing.name() == name)
    }
}

/// What a file says about itself that decides what its type numbers mean: BitNet's fork of ggml took numbers that ggml gave
/// to other types.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dialect<'a> {
    /// `general.architecture`.
    pub architecture: Option<&'a str>,
    /// `general.file_type`.
    pub file_type: Option<u32>,
}

impl Dialect<'_> {
    /// The fork's numbers of files of I2_S and of TL2 tensors.
    const I2_S_FILE: u32 = 40;
    const TL2_FILE: u32 = 39;

    /// The type of number `id`.
    pub fn tensor_type(self, id: u32) -> Option<TensorType> {
        let bit_net = self.architecture.is_some_and(|name| name.starts_with("bitnet"));
        match id {
            // ggml had IQ4_NL_4_4 here, which it took back; such a file has the type of IQ4_NL.
            36 if !bit_net && self.file_type.is_some_and(|kind| kind != Self::I2_S_FILE) => {
                Some(TensorType::Other(id))
            }
            // The fork's TL2. If a file does not say so, it is too small for MXFP4: its tensors overlap.
            39 if bit_net && self.file_type == Some(Self::TL2_FILE) => Some(TensorType::Other(id)),
            _ => TensorType::from_id(id),
        }
    }
}

/// Bytes after the packed data of an I2_S tensor: its f32 scale and padding.
pub const I2S_TRAILER_BYTES: u64 = 32;

/// Added to ggml's number of the type of a tensor whose rows are interleaved. No other program takes such a number for a type
/// that it knows. Another arrangement gets another number.
pub(crate) const INTERLEAVED: u32 = 1 << 16;

/// ggml type ids run below this; a larger one is garbage, not a newer format.
const MAXIMUM_TYPE_ID: u32 = 256;

impl TensorType {
    /// All types that this crate computes with.
    pub const COMPUTED: [Self; 19] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q8_0,
        Self::Q6K,
        Self::Q5K,
        Self::Q5_1,
        Self::Q5_0,
        Self::Q4K,
        Self::Q4_1,
        Self::Q4_0,
        Self::Iq4Nl,
        Self::Iq4Xs,
        Self::Mxfp4,
        Self::Q3K,
        Self::Q2K,
        Self::Tq2_0,
        Self::Tq1_0,
        Self::I2S(I2sPacking::X86),
    ];

    /// The type of ggml's number `id`; 36 is I2_S, as packed on x86.
    pub fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            10 => Self::Q2K,
            11 => Self::Q3K,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            20 => Self::Iq4Nl,
            23 => Self::Iq4Xs,
            30 => Self::Bf16,
            34 => Self::Tq1_0,
            35 => Self::Tq2_0,
            36 => Self::I2S(I2sPacking::X86),
            39 => Self::Mxfp4,
            other if other < MAXIMUM_TYPE_ID => Self::Other(other),
            _ => return None,
        })
    }

    /// ggml's number of the type.
    pub fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q2K => 10,
            Self::Q3K => 11,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::Iq4Nl => 20,
            Self::Iq4Xs => 23,
            Self::Bf16 => 30,
            Self::Tq1_0 => 34,
            Self::Tq2_0 => 35,
            Self::I2S(_) => 36,
            Self::Mxfp4 => 39,
            Self::Other(id) => id,
        }
    }

    /// ggml's name of the type.
    pub fn name(self) -> String {
        match self {
            Self::F32 => "F32".into(),
            Self::F16 => "F16".into(),
            Self::Bf16 => "BF16".into(),
            Self::Q8_0 => "Q8_0".into(),
            Self::Q4_0 => "Q4_0".into(),
            Self::Q6K => "Q6_K".into(),
            Self::Q5_0 => "Q5_0".into(),
            Self::Q3K => "Q3_K".into(),
            Self::Iq4Nl => "IQ4_NL".into(),
            Self::Tq2_0 => "TQ2_0".into(),
            Self::Tq1_0 => "TQ1_0".into(),
            Self::I2S(_) => "I2_S".into(),
            Self::Q4_1 => "Q4_1".into(),
            Self::Q5_1 => "Q5_1".into(),
            Self::Q2K => "Q2_K".into(),
            Self::Q4K => "Q4_K".into(),
            Self::Q5K => "Q5_K".into(),
            Self::Iq4Xs => "IQ4_XS".into(),
            Self::Mxfp4 => "MXFP4".into(),
            Self::Other(id) => {
                const NAMES: [(u32, &str); 14] = [
                    (16, "IQ2_XXS"),
                    (17, "IQ2_XS"),
                    (18, "IQ3_XXS"),
                    (19, "IQ1_S"),
                    (21, "IQ3_S"),
                    (22, "IQ2_S"),
                    (29, "IQ1_M"),
                    (36, "IQ4_NL_4_4"),
                    (37, "I8_S"),
                    (38, "TL1"),
                    (39, "TL2"),
                    (40, "NVFP4"),
                    (41, "Q1_0"),
                    (42, "Q2_0"),
                ];
                NAMES
                    .iter()
                    .find(|(known, _)| *known == id)
                    .map_or_else(|| format!("ggml type {id}"), |(_, name)| (*name).into())
            }
        }
    }

    /// Elements in a block and bytes that it takes; `None` for [`TensorType::Other`].
    pub fn block(self) -> Option<(u64, u64)> {
        Some(match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Q4_0 | Self::Iq4Nl => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Mxfp4 => (32, 17),
            Self::Q2K => (256, 84),
            Self::Q3K => (256, 110),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
            Self::Iq4Xs => (256, 136),
            Self::Tq2_0 => (256, 66),
            Self::Tq1_0 => (256, 54),
            Self::I2S(_) => (128, 32),
            Self::Other(_) => return None,
        })
    }

    /// Bytes of one row of `columns` elements; `None` when the row is not whole blocks, overflows, or the type is
    /// [`TensorType::Other`].
    pub fn row_bytes(self, columns: u64) -> Option<u64> {
        let (elements, bytes) = self.block()?;
        if !columns.is_multiple_of(elements) {
            return None;
        }
        (columns / elements).checked_mul(bytes)
    }

    /// Bytes of a whole tensor with rows of `columns` elements; `None` as for [`TensorType::row_bytes`].
    pub fn tensor_bytes(self, columns: u64, rows: u64) -> Option<u64> {
        let data = self.row_bytes(columns)?.checked_mul(rows)?;
        data.checked_add(if matches!(self, Self::I2S(_)) { I2S_TRAILER_BYTES } else { 0 })
    }
}

/// Name, shape, type and place of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name, as in `blk.0.attn_q.weight`.
    pub name: String,
    /// Extents, the contiguous one (the columns) first; at least one, none zero.
    pub shape: Vec<u64>,
    /// Element type.
    pub tensor_type: TensorType,
    /// Whether its rows are interleaved, eight at a time, as [`crate::Prepared`] has them.
    pub interleaved: bool,
    /// The file that it is in: 0, unless the model is split.
    pub shard: usize,
    /// First byte, from the start of that file.
    pub offset: u64,
    /// Number of bytes; for [`TensorType::Other`] it is unknown and 0.
    pub bytes: u64,
}

/// A range of bytes in one of a model's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) shard: usize,
    pub(super) range: Range<usize>,
}

impl TensorInfo {
    /// Where its first `bytes` bytes are.
    pub(crate) fn place(&self, bytes: usize) -> Place {
        let start = usize::try_from(self.offset).unwrap_or(usize::MAX);
        Place { shard: self.shard, range: start..start.saturating_add(bytes) }
    }

    /// Elements of a row.
    pub fn columns(&self) -> u64 {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Number of rows: the product of all extents but the first.
    pub fn rows(&self) -> u64 {
        self.shape.iter().skip(1).product()
    }

    /// Fails unless the tensor's extents are `shape` (trailing ones aside).
    pub fn expect_shape(&self, shape: &[u64]) -> Result<(), LlmError> {
        let trimmed = |extents: &[u64]| {
            let mut end = extents.len();
            while end > 1 && extents[end - 1] == 1 {
                end -= 1;
            }
            extents[..end].to_vec()
        };
        if trimmed(&self.shape) == trimmed(shape) {
            return Ok(());
        }
        Err(LlmError::Tensor {
            name: self.name.clone(),
            problem: format!("has the shape {:?} instead of {shape:?}", self.shape),
        })
    }
}
