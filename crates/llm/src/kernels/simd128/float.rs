//! The sixteen virtual lanes of a sum in four vectors.

use std::arch::wasm32::*;

use super::super::FloatType;
use super::super::dot::functions;
use super::super::lanes::{self, Lanes};
use super::from_halves;
use crate::host::Half;

/// The sixteen virtual lanes.
#[derive(Clone, Copy)]
struct Four([v128; 4]);

impl Lanes for Four {
    const HALF: FloatType = FloatType::F32;

    functions! { "simd128";
        fn splat(value: f32) -> Self { Self([f32x4_splat(value); 4]) }
        fn load(float: FloatType, elements: *const u8) -> Self {
            let vectors = elements.cast::<v128>();
            // SAFETY: there are sixteen elements, by this function's contract; the loads need no alignment.
            unsafe {
                let wide = |widen: fn(v128) -> [v128; 2]| {
                    let [first, second] = [v128_load(vectors), v128_load(vectors.add(1))].map(widen);
                    [first[0], first[1], second[0], second[1]]
                };
                Self(match float {
                    FloatType::F32 => {
                        [v128_load(vectors), v128_load(vectors.add(1)), v128_load(vectors.add(2)), v128_load(vectors.add(3))]
                    }
                    FloatType::F16 => wide(from_halves),
                    FloatType::Bf16 => wide(from_bf16),
                })
            }
        }
        fn load_codes(codes: *const u8) -> Self {
            // SAFETY: there are sixteen, by this function's contract; the load needs no alignment.
            let codes = unsafe { v128_load(codes.cast()) };
            let (low, high) = (i16x8_extend_low_i8x16(codes), i16x8_extend_high_i8x16(codes));
            let wide = [
                i32x4_extend_low_i16x8(low),
                i32x4_extend_high_i16x8(low),
                i32x4_extend_low_i16x8(high),
                i32x4_extend_high_i16x8(high),
            ];
            Self(wide.map(|codes| f32x4_convert_i32x4(codes)))
        }
        fn splat_half(half: *const u8) -> Self {
            // SAFETY: there are two bytes, by this function's contract; the load needs no alignment.
            Self([from_halves(unsafe { v128_load16_splat(half.cast()) })[0]; 4])
        }
        fn multiply(self, other: Self) -> Self {
            let mut lanes = self.0;
            for (number, lane) in lanes.iter_mut().enumerate() {
                *lane = f32x4_mul(*lane, other.0[number]);
            }
            Self(lanes)
        }
        fn add_products(self, first: Self, second: Self) -> Self {
            let mut lanes = self.0;
            for (number, lane) in lanes.iter_mut().enumerate() {
                *lane = f32x4_add(*lane, f32x4_mul(first.0[number], second.0[number]));
            }
            Self(lanes)
        }
        fn store(self, out: *mut f32) {
            for (number, lane) in self.0.into_iter().enumerate() {
                // SAFETY: there is room for sixteen, by this function's contract; the store needs no alignment.
                unsafe { v128_store(out.add(4 * number).cast(), lane) };
            }
        }
        fn reduce(self) -> f32 {
            let four = f32x4_add(f32x4_add(self.0[0], self.0[2]), f32x4_add(self.0[1], self.0[3]));
            let two = f32x4_add(four, i32x4_shuffle::<2, 3, 0, 1>(four, four));
            f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
        }
    }
}

/// Eight numbers of which f32 has the upper half.
#[inline(always)]
fn from_bf16(elements: v128) -> [v128; 2] {
    [u32x4_shl(u32x4_extend_low_u16x8(elements), 16), u32x4_shl(u32x4_extend_high_u16x8(elements), 16)]
}

lanes::float_kernels!("simd128", Four, abreast 2, queries 1, rows 1);
