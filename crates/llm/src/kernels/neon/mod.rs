//! ARM processors with NEON: sixteen bytes to a vector, half a group to a strip.
//!
//! - [`plain`]: what every one of them has. Products of bytes are 16 bits wide, and their neighbours are added twice.
//! - [`dot_product`]: with the instruction `sdot`, which sums four products.
//!
//! Codes and activations are signed bytes. The sum of two products fits 16 bits: 2 · 128 · 127 is 32512.
//!
//! These kernels were run in an emulator, QEMU, and not on a processor; nor was their speed measured.

use std::arch::aarch64::*;
use std::arch::asm;

use super::dot::{
    self, Columns, InstructionSet, Machine, Part, Product, Sums, TileKernel, by_count, cover, functions,
    run_tile,
};
use super::lanes::{self, Lanes};
use super::{Activations, FloatType, TernaryScale, scalar};
use crate::formats::BlockType;
use crate::host::Half;

/// Strips of a tile when there is one token: four groups, so that as many streams of weights are in flight.
const DECODE_STRIPS: usize = 8;
/// The most tokens of a tile of one group: their sums and accumulators take half of the registers.
const PROMPT_TOKENS: usize = 4;

/// Makes a machine, which sums products by `$add`, and the module of its kernels.
macro_rules! machine {
    ($(#[$documentation:meta])* $module:ident, $features:literal, |$sum:ident, $codes:ident, $quad:ident| $add:expr) => {
        $(#[$documentation])*
        pub(super) mod $module {
            use super::*;

            /// Vectors of 128 bits, and the instruction set.
            struct Neon;

            impl Machine for Neon {
                const ROWS: usize = 4;
                const FOURFOLD: [bool; 4] = [false, true, false, true];

                type Bytes = uint8x16_t;
                type Integers = int32x4_t;
                type Floats = float32x4_t;
                type Weights = int32x4_t;
                type Small = Self;
                type Signed = Self;

                functions! { $features;
                    fn strip(packed: &[u8], at: usize, group_bytes: usize, strip: usize) -> uint8x16_t {
                        // SAFETY: the group has 32 bytes there, by this function's contract.
                        unsafe { vld1q_u8(packed.as_ptr().add(at + strip / 2 * group_bytes + strip % 2 * 16)) }
                    }
                    fn halves<const S: usize>(packed: &[u8], at: usize, group_bytes: usize, first: usize) -> [float32x4_t; S] {
                        let mut floats = [vdupq_n_f32(0.0); S];
                        for (strip, floats) in floats.iter_mut().enumerate() {
                            let strip = first + strip;
                            // SAFETY: the group has 16 bytes there, by this function's contract.
                            let halves = unsafe {
                                vld1_u8(packed.as_ptr().add(at + strip / 2 * group_bytes + strip % 2 * 8))
                            };
                            *floats = vcvt_f32_f16(vreinterpret_f16_u8(halves));
                        }
                        floats
                    }
                    fn row_bytes(packed: &[u8], at: usize, group_bytes: usize, strip: usize) -> int32x4_t {
                        // SAFETY: the group has 8 bytes there, by this function's contract; they are read unaligned.
                        let bytes = unsafe {
                            let bytes = packed.as_ptr().add(at + strip / 2 * group_bytes + strip % 2 * 4);
                            bytes.cast::<u32>().read_unaligned()
                        };
                        let wide = vget_low_u16(vmovl_u8(vcreate_u8(u64::from(bytes))));
                        vreinterpretq_s32_u32(vmovl_u16(wide))
                    }
                    fn and(bytes: uint8x16_t, mask: u8) -> uint8x16_t { vandq_u8(bytes, vdupq_n_u8(mask)) }
                    fn or(first: uint8x16_t, second: uint8x16_t) -> uint8x16_t { vorrq_u8(first, second) }
                    fn down(bytes: uint8x16_t, count: usize) -> uint8x16_t { by_count!(vshrq_n_u8, bytes, count) }
                    fn up(bytes: uint8x16_t, count: usize) -> uint8x16_t { by_count!(vshlq_n_u8, bytes, count) }
                    fn table(values: &[u8; 16]) -> uint8x16_t {
                        // SAFETY: a table has sixteen bytes.
                        unsafe { vld1q_u8(values.as_ptr()) }
                    }
                    fn look_up(table: uint8x16_t, bytes: uint8x16_t) -> uint8x16_t { vqtbl1q_u8(table, bytes) }
                    fn integers(value: i32) -> int32x4_t { vdupq_n_s32(value) }
                    fn add_integers(first: int32x4_t, second: int32x4_t) -> int32x4_t { vaddq_s32(first, second) }
                    fn and_integers(value: int32x4_t, mask: i32) -> int32x4_t { vandq_s32(value, vdupq_n_s32(mask)) }
                    fn up_integers(value: int32x4_t, count: u32) -> int32x4_t {
                        vshlq_s32(value, vdupq_n_s32(count as i32))
                    }
                    fn down_integers(value: int32x4_t, count: u32) -> int32x4_t {
                        vshlq_s32(value, vdupq_n_s32(-(count as i32)))
                    }
                    fn weights(value: int32x4_t) -> int32x4_t { value }
                    fn weighted(value: int32x4_t, weight: int32x4_t) -> int32x4_t { vmulq_s32(value, weight) }
                    fn add_weights(first: int32x4_t, second: int32x4_t) -> int32x4_t { vaddq_s32(first, second) }
                    fn weights_to_floats(value: int32x4_t) -> float32x4_t { vcvtq_f32_s32(value) }
                    fn floats(value: f32) -> float32x4_t { vdupq_n_f32(value) }
                    fn to_floats(value: int32x4_t) -> float32x4_t { vcvtq_f32_s32(value) }
                    fn exponents(value: int32x4_t) -> float32x4_t {
                        let normal = vshlq_n_s32::<23>(vsubq_s32(value, vdupq_n_s32(1)));
                        let smallest = vminq_s32(value, vdupq_n_s32(1));
                        let subnormal = vshlq_s32(vdupq_n_s32(1 << 21), smallest);
                        vreinterpretq_f32_s32(vmaxq_s32(normal, subnormal))
                    }
                    fn add(first: float32x4_t, second: float32x4_t) -> float32x4_t { vaddq_f32(first, second) }
                    fn multiply(first: float32x4_t, second: float32x4_t) -> float32x4_t { vmulq_f32(first, second) }
                    fn divide(first: float32x4_t, second: float32x4_t) -> float32x4_t { vdivq_f32(first, second) }
                    fn store(out: *mut f32, value: float32x4_t) {
                        // SAFETY: there is room for four, by this function's contract.
                        unsafe { vst1q_f32(out, value) };
                    }
                }
            }

            impl Sums for Neon {
                type Bytes = uint8x16_t;
                type Integers = int32x4_t;
                type Codes = int8x16_t;
                type Quad = int8x16_t;
                type Sum = int32x4_t;

                const EXCESS: u8 = 0;

                functions! { $features;
                    fn codes(bytes: uint8x16_t) -> int8x16_t { vreinterpretq_s8_u8(bytes) }
                    fn raised_codes(bytes: uint8x16_t) -> int8x16_t { vreinterpretq_s8_u8(bytes) }
                    fn quad(columns: Columns<'_>, number: usize) -> int8x16_t {
                        debug_assert!(4 * number + 4 <= columns.values.len());
                        // SAFETY: there are four values, by this function's contract; they are read unaligned.
                        vreinterpretq_s8_s32(vdupq_n_s32(unsafe {
                            columns.values.as_ptr().add(4 * number).cast::<i32>().read_unaligned()
                        }))
                    }
                    fn start(value: int32x4_t) -> int32x4_t { value }
                    fn add($sum: int32x4_t, $codes: int8x16_t, $quad: int8x16_t) -> int32x4_t { $add }
                    fn total(sum: int32x4_t) -> int32x4_t { sum }
                }
            }

            /// Runs a tile that sums `S` strips side by side.
            #[target_feature(enable = $features)]
            fn run<K: TileKernel, const T: usize, const N: usize, const S: usize>(
                kernel: &K,
                product: &mut Product<'_>,
                part: Part,
            ) {
                // SAFETY: this function's features are the machine's.
                unsafe { run_tile::<Neon, K, T, N, S>(kernel, product, part) };
            }

            impl InstructionSet for Neon {
                #[target_feature(enable = $features)]
                unsafe fn multiply<K: TileKernel>(kernel: &K, mut product: Product<'_>) {
                    let groups_of = |tokens, left| {
                        if tokens == 1 && left >= DECODE_STRIPS / 2 { DECODE_STRIPS / 2 } else { 1 }
                    };
                    let tokens_of = |left, _| if left >= PROMPT_TOKENS { PROMPT_TOKENS } else { 1 };
                    cover(&mut product, groups_of, tokens_of, |product, part| match (part.tokens, part.groups) {
                        (1, 1) => run::<K, 1, 2, 2>(kernel, product, part),
                        (1, _) => run::<K, 1, DECODE_STRIPS, 4>(kernel, product, part),
                        _ => run::<K, PROMPT_TOKENS, 2, 2>(kernel, product, part),
                    });
                }
            }

            pub(crate) use super::{attention_scores, attention_values, attention_values_q8, float_rows, to_half};
            pub(crate) use crate::kernels::elementwise::*;
            dot::products!($features, Neon);
        }
    };
}

machine! {
    /// NEON as every processor of this architecture has it.
    plain, "neon", |sum, codes, quad| {
        let low = vmull_s8(vget_low_s8(codes), vget_low_s8(quad));
        let high = vmull_high_s8(codes, quad);
        vpadalq_s16(sum, vpaddq_s16(low, high))
    }
}

machine! {
    /// NEON with the dot product instructions.
    dot_product, "neon,dotprod", |sum, codes, quad| {
        let mut sum = sum;
        // SAFETY: the instruction computes with registers only; this function is compiled for processors that have it.
        unsafe {
            asm!(
                "sdot {sum:v}.4s, {codes:v}.16b, {quad:v}.16b",
                sum = inout(vreg) sum,
                codes = in(vreg) codes,
                quad = in(vreg) quad,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sum
    }
}

/// The sixteen virtual lanes.
#[derive(Clone, Copy)]
struct Four([float32x4_t; 4]);

impl Lanes for Four {
    const HALF: FloatType = FloatType::F16;

    functions! { "neon";
        fn splat(value: f32) -> Self { Self([vdupq_n_f32(value); 4]) }
        fn load(float: FloatType, elements: *const u8) -> Self {
            let mut lanes = [vdupq_n_f32(0.0); 4];
            for (number, lanes) in lanes.iter_mut().enumerate() {
                // SAFETY: there are sixteen elements, by this function's contract; loads of bytes need no alignment.
                *lanes = unsafe {
                    match float {
                        FloatType::F32 => vreinterpretq_f32_u8(vld1q_u8(elements.add(16 * number))),
                        FloatType::F16 => vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(elements.add(8 * number)))),
                        FloatType::Bf16 => {
                            let upper = vreinterpret_u16_u8(vld1_u8(elements.add(8 * number)));
                            vreinterpretq_f32_u32(vshll_n_u16::<16>(upper))
                        }
                    }
                };
            }
            Self(lanes)
        }
        fn load_codes(codes: *const u8) -> Self {
            // SAFETY: there are sixteen, by this function's contract.
            let codes = unsafe { vld1q_s8(codes.cast()) };
            let (low, high) = (vmovl_s8(vget_low_s8(codes)), vmovl_high_s8(codes));
            Self([
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            ])
        }
        fn splat_half(half: *const u8) -> Self {
            // SAFETY: there are two bytes, by this function's contract; they are read unaligned.
            let half = vdup_n_u16(unsafe { half.cast::<u16>().read_unaligned() });
            Self([vcvt_f32_f16(vreinterpret_f16_u16(half)); 4])
        }
        fn multiply(self, other: Self) -> Self {
            let mut lanes = self.0;
            for (number, lane) in lanes.iter_mut().enumerate() {
                *lane = vmulq_f32(*lane, other.0[number]);
            }
            Self(lanes)
        }
        fn add_products(self, first: Self, second: Self) -> Self {
            let mut lanes = self.0;
            for (number, lane) in lanes.iter_mut().enumerate() {
                *lane = vaddq_f32(*lane, vmulq_f32(first.0[number], second.0[number]));
            }
            Self(lanes)
        }
        fn store(self, out: *mut f32) {
            for (number, lane) in self.0.into_iter().enumerate() {
                // SAFETY: there is room for sixteen, by this function's contract.
                unsafe { vst1q_f32(out.add(4 * number), lane) };
            }
        }
        fn reduce(self) -> f32 {
            let four = vaddq_f32(vaddq_f32(self.0[0], self.0[2]), vaddq_f32(self.0[1], self.0[3]));
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }
}

lanes::float_kernels!("neon", Four, abreast 4, queries 1, rows 2);

/// Rounds to half precision, ties to even.
#[target_feature(enable = "neon")]
pub(crate) fn to_half(x: &[f32], out: &mut [Half]) {
    let whole = x.len().min(out.len()) / 4 * 4;
    for at in (0..whole).step_by(4) {
        // SAFETY: `at + 4` is within both slices, and a `Half` is two bytes.
        unsafe {
            let halves = vcvt_f16_f32(vld1q_f32(x.as_ptr().add(at)));
            vst1_u8(out.as_mut_ptr().add(at).cast(), vreinterpret_u8_f16(halves));
        }
    }
    scalar::to_half(&x[whole..], &mut out[whole..]);
}
