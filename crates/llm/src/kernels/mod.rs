//! Compute kernels: one file per instruction set, one signature, one dispatch point.
//!
//! - [`Kernels`]: the chosen instruction set; its methods are the only way to a kernel.
//! - [`Activations`]: a batch of tokens quantized to 8 bits.
//! - `scalar`: the definition. All others have its bits: `avx2`, `vnni` (AVX-512, AMX and AVX-VNNI), `neon`, `simd128`.
//! - `dot`: matrix kernels written once for all but `avx2`; `lanes`: those on floats. `elementwise`: loops shared by all.
//!
//! Which one runs is decided when it is chosen, by what the processor says of itself ([`Kernels::detect`]); in WebAssembly,
//! when the crate is compiled. The tests hold all that a machine has against `scalar` (`crate::verify`): AVX2 on processors,
//! WebAssembly SIMD in a browser, NEON on an emulated processor (`cargo xtask test-neon`), VNNI and AMX in an interpreter
//! (`cargo xtask test-avx512`), for which no processor has been at hand.
//!
//! Quantized matrices are row-interleaved: eight rows make a group, each 32-byte vector of a group holds four bytes
//! of every row, so that a SIMD lane of 32 bits is one row. What a row has one or two bytes of is kept for eight rows
//! side by side. A packed block takes the bytes that the eight rows' blocks take in a file:
//!
//! ```text
//! scale          8 × f16 (MXFP4: 8 × the exponent byte)
//! minimum        8 × f16, added: Q4_1, Q5_1, and with the sign flipped Q2_K, Q4_K, Q5_K
//! factors        byte k of the file's factor bytes of rows 0 to 7, then byte k + 1: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS
//! codes          for each 32 columns, planes one after the other; n numbers a quad of columns, 4n to 4n + 3, and
//!                byte k of a row in a vector is of column 4n + k:
//!   nibbles      4 vectors; vector v holds quad v in its low and quad 4 + v in its high nibbles: all types of 4 to 6 bits
//!   two bits     2 vectors; bits 2l of vector v are quad 4v + l: Q2_K, Q3_K; the upper bits of Q6_K
//!   one bit      1 vector; bit n is quad n: the upper bit of Q3_K, Q5_0, Q5_1, Q5_K
//!   bytes        8 vectors; vector n is quad n: Q8_0
//! ```
//!
//! So a block of Q4_0 is 8 scales and 4 vectors (144 bytes), one of Q4_K 8 scales, 8 minima, 12 × 8 factor bytes and
//! 8 × 4 vectors (1152 bytes). `formats::block` says which bits of the factor bytes are which factor.
//!
//! ```text
//! ternary unit of 128 columns, 256 bytes: 8 vectors; bits 2l of byte k of row r in vector v hold the code
//!      (weight + 1) of column 16v + 4l + k. With a scale per block, 8 f16 scales come before every two units.
//! ```

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
))]
mod dot;
mod elementwise;
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
))]
mod lanes;
mod layout;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
#[cfg(target_arch = "x86_64")]
mod vnni;

use crate::formats::BlockType;
use crate::host::Half;

pub(crate) use activations::{Activations, Precision};
pub(crate) use layout::{pack_rows, unpack};

/// Rows of a group.
pub(crate) const GROUP_ROWS: usize = 8;
/// Bytes of the eight f16 scales of a block.
pub(crate) const SCALE_BYTES: usize = 16;
/// Bytes of a Q8_0 block of eight rows.
pub(crate) const Q8_BLOCK_BYTES: usize = BlockType::Q8_0.packed_bytes();
/// Bytes of a Q8_0 block of one row: of a value in the KV cache.
pub(crate) const Q8_VALUE_BLOCK_BYTES: usize = BlockType::Q8_0.bytes();
/// Bytes of a ternary unit of 128 columns of eight rows.
pub(crate) const UNIT_BYTES: usize = 256;

/// Element type of a float matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloatType {
    F32,
    F16,
    Bf16,
}

impl FloatType {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// Where the scales of a ternary matrix are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum TernaryScale {
    /// In the packed data, one for every row and 256 columns.
    PerBlock,
    /// One for the whole matrix.
    PerTensor(f32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InstructionSet {
    Scalar,
    /// With F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// With AVX2 and F16C.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// F, BW, VL and VNNI, with AVX2 and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Tiles of 8-bit integers, with all of `Avx512`.
    #[cfg(target_arch = "x86_64")]
    Amx,
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// NEON with the dot product instructions.
    #[cfg(target_arch = "aarch64")]
    NeonDot,
    /// What WebAssembly code may use is decided when it is compiled.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
}

/// The instruction set that kernels run on. Which one it is never changes a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernels(InstructionSet);

impl Default for Kernels {
    fn default() -> Self {
        Self::detect()
    }
}

/// Calls the kernel of the chosen instruction set.
macro_rules! dispatch {
    ($self:ident, $name:ident ( $($argument:expr),* )) => {
        match $self.0 {
            InstructionSet::Scalar => scalar_or_shared::$name($($argument),*),
            // SAFETY: an instruction set is only constructed after the processor said that it has the instructions.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => unsafe { avx2::$name($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::AvxVnni => unsafe { vnni::avx_vnni::$name($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => unsafe { vnni::avx512::$name($($argument),*) },
            // SAFETY: as above, and the system lent the unit.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Amx => unsafe { vnni::amx::$name($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            #[allow(unused_unsafe, reason = "shared loops need nothing: NEON is there on every such processor")]
            InstructionSet::Neon => unsafe { neon::plain::$name($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            #[allow(unused_unsafe, reason = "shared loops need nothing: NEON is there on every such processor")]
            InstructionSet::NeonDot => unsafe { neon::dot_product::$name($($argument),*) },
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            InstructionSet::Simd128 => simd128::$name($($argument),*),
        }
    };
}

/// The scalar kernels and the shared loops under one name.
mod scalar_or_shared {
    pub(super) use super::elementwise::*;
    pub(super) use super::scalar::*;
}

impl Kernels {
    /// The reference kernels.
    pub fn scalar() -> Self {
        Self(InstructionSet::Scalar)
    }

    /// The fastest kernels of this machine.
    pub fn detect() -> Self {
        Self::all().pop().unwrap_or(Self::scalar())
    }

    /// All kernels that this program has for this machine: the reference first, the fastest last.
    pub fn all() -> Vec<Self> {
        #[cfg_attr(
            not(any(target_arch = "x86_64", target_arch = "aarch64", target_feature = "simd128")),
            expect(unused_mut, reason = "there is nothing but the reference")
        )]
        let mut all = vec![InstructionSet::Scalar];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c") {
            all.push(InstructionSet::Avx2);
            if is_x86_feature_detected!("avxvnni") {
                all.push(InstructionSet::AvxVnni);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                all.push(InstructionSet::Avx512);
                if vnni::is_amx_available() {
                    all.push(InstructionSet::Amx);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            all.push(InstructionSet::Neon);
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                all.push(InstructionSet::NeonDot);
            }
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        all.push(InstructionSet::Simd128);
        all.into_iter().map(Self).collect()
    }

    /// The names of all kernels that this program has for this machine, the reference first.
    pub fn names() -> Vec<&'static str> {
        Self::all().into_iter().map(Self::name).collect()
    }

    /// The kernels of this name, in small letters or large and with hyphens or without, if this machine has them.
    pub fn by_name(name: &str) -> Option<Self> {
        let plain = |name: &str| name.replace('-', "").to_ascii_lowercase();
        Self::all().into_iter().find(|kernels| plain(kernels.name()) == plain(name))
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self.0 {
            InstructionSet::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::AvxVnni => "AVX-VNNI",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Amx => "AMX",
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => "NEON",
            #[cfg(target_arch = "aarch64")]
            InstructionSet::NeonDot => "NEON-DOT",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            InstructionSet::Simd128 => simd128::NAME,
        }
    }

    /// Groups of blocks times block-quantized tokens; `out` is `[tokens][rows of the groups]`.
    pub(crate) fn blocks(self, kind: BlockType, packed: &[u8], activations: &Activations, out: &mut [f32]) {
        dispatch!(self, blocks(kind, packed, activations, out));
    }

    /// Ternary groups times token-quantized tokens; `out` is `[tokens][rows of the groups]`.
    pub(crate) fn ternary(
        self,
        packed: &[u8],
        scale: TernaryScale,
        activations: &Activations,
        out: &mut [f32],
    ) {
        dispatch!(self, ternary(packed, scale, activations, out));
    }

    /// Float rows times tokens; `x` is `[tokens][columns]`, `out` is `[tokens][rows]`.
    pub(crate) fn float_rows(
        self,
        float: FloatType,
        rows: &[u8],
        columns: usize,
        x: &[f32],
        out: &mut [f32],
    ) {
        dispatch!(self, float_rows(float, rows, columns, x, out));
    }

    /// Scores of queries (`[rows × length]`) over keys (`[positions × length]`):
    /// `out[row · stride + p] = (query[row] · keys[p]) · scale`.
    pub(crate) fn attention_scores(
        self,
        queries: &[f32],
        keys: &[Half],
        length: usize,
        scale: f32,
        out: &mut [f32],
        stride: usize,
    ) {
        dispatch!(self, attention_scores(queries, keys, length, scale, out, stride));
    }

    /// Adds values (`[positions × length]`) to rows of `out` (`[rows × length]`), positions ascending:
    /// `out[row] += probabilities[row · stride + p] · values[p]`.
    pub(crate) fn attention_values(
        self,
        probabilities: &[f32],
        stride: usize,
        values: &[Half],
        length: usize,
        out: &mut [f32],
    ) {
        dispatch!(self, attention_values(probabilities, stride, values, length, out));
    }

    /// The same with values of Q8_0 (`[positions][length / 32]` blocks of an f16 scale and 32 codes):
    /// `out[row] += (probabilities[row · stride + p] · scale) · code`.
    pub(crate) fn attention_values_q8(
        self,
        probabilities: &[f32],
        stride: usize,
        values: &[u8],
        length: usize,
        out: &mut [f32],
    ) {
        dispatch!(self, attention_values_q8(probabilities, stride, values, length, out));
    }

    /// Rounds to half precision, ties to even.
    pub(crate) fn to_half(self, x: &[f32], out: &mut [Half]) {
        dispatch!(self, to_half(x, out));
    }

    /// `out = x / rms(x) · weight`.
    pub(crate) fn rms_norm(self, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        dispatch!(self, rms_norm(x, weight, epsilon, out));
    }

    /// `out = (x - mean(x)) / deviation(x)`.
    pub(crate) fn standardize(self, x: &[f32], epsilon: f32, out: &mut [f32]) {
        dispatch!(self, standardize(x, epsilon, out));
    }

    /// `x = x · weight + bias`.
    pub(crate) fn scale_and_shift(self, x: &mut [f32], weight: &[f32], bias: &[f32]) {
        dispatch!(self, scale_and_shift(x, weight, bias));
    }

    /// The root of the sum of squares.
    pub(crate) fn length(self, x: &[f32]) -> f32 {
        dispatch!(self, length(x))
    }

    /// `x = gelu(x)`.
    pub(crate) fn gelu(self, x: &mut [f32]) {
        dispatch!(self, gelu(x));
    }

    /// `gate = gelu(gate) · up`.
    pub(crate) fn gelu_multiply(self, gate: &mut [f32], up: &[f32]) {
        dispatch!(self, gelu_multiply(gate, up));
    }

    /// `x = cap · tanh(x / cap)`.
    pub(crate) fn soft_cap(self, x: &mut [f32], cap: f32) {
        dispatch!(self, soft_cap(x, cap));
    }

    /// Scores to probabilities, in place.
    pub(crate) fn softmax(self, scores: &mut [f32]) {
        dispatch!(self, softmax(scores));
    }

    /// The largest value, and with `d = x - largest`, the sums of `eᵈ` and of `d·eᵈ`.
    pub(crate) fn distribution(self, x: &[f32]) -> [f32; 3] {
        dispatch!(self, distribution(x))
    }

    /// `gate = silu(gate) · up`.
    pub(crate) fn silu_multiply(self, gate: &mut [f32], up: &[f32]) {
        dispatch!(self, silu_multiply(gate, up));
    }

    /// `gate = relu(gate)² · up`.
    pub(crate) fn squared_relu_multiply(self, gate: &mut [f32], up: &[f32]) {
        dispatch!(self, squared_relu_multiply(gate, up));
    }

    /// `x += y`.
    pub(crate) fn add(self, x: &mut [f32], y: &[f32]) {
        dispatch!(self, add(x, y));
    }

    /// What these kernels want of quantized values besides the values: two words for each four, or nothing.
    fn arrange(self, values: &[i8]) -> Vec<i32> {
        dispatch!(self, arrange(values))
    }

    fn pair_sums(self, values: &[i8], sums: &mut [[i16; 2]]) {
        dispatch!(self, pair_sums(values, sums));
    }

    /// Quantizes blocks of 32: codes, the value of one step of each block, and the codes' sums.
    pub(crate) fn quantize_blocks(self, x: &[f32], values: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
        dispatch!(self, quantize_blocks(x, values, scales, sums));
    }

    fn quantize_token(self, x: &[f32], values: &mut [i8], sums: &mut [i32]) -> f32 {
        dispatch!(self, quantize_token(x, values, sums))
    }
}
