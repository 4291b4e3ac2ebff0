//! AMX, the unit that multiplies matrices: eight registers of up to sixteen rows of 64 bytes, called tiles, and one
//! instruction that multiplies two of them into a third.
//!
//! - [`is_available`]: whether the processor has it, with 8-bit integers, and the system lends it to this process.
//! - [`Tiles`]: a thread's use of it, from setting the tiles' sizes to giving them back.
//! - [`product`]: sixteen tokens times sixteen rows.
//!
//! Rust has no stable functions for these instructions, so they are written as assembly. Source: Intel 64 and IA-32
//! Architectures Software Developer's Manual, volumes 1 (chapter "Programming with Intel AMX") and 2; the permission is
//! described in Linux's `Documentation/arch/x86/xstate.rst`.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// Rows of a tile, which are the tokens of a product.
pub(super) const TOKENS: usize = 16;

/// Whether this process may use the unit. Asks the system for it.
pub(crate) fn is_available() -> bool {
    // An interpreter has the definition of the instructions below, in place of them.
    cfg!(miri) || is_there() && is_lent()
}

/// Whether the processor has tiles, with products of 8-bit integers, and the system keeps them for a thread.
fn is_there() -> bool {
    const FEATURES: u32 = 7;
    const HAS_TILES: u32 = 1 << 24;
    const HAS_INTEGERS: u32 = 1 << 25;
    const SYSTEM_KEEPS_STATE: u32 = 1 << 27;
    /// Sizes, and contents.
    const TILE_STATE: u64 = 1 << 17 | 1 << 18;

    /// # Safety
    /// The system keeps extended state.
    #[target_feature(enable = "xsave")]
    unsafe fn kept_state() -> u64 {
        // SAFETY: by this function's contract.
        unsafe { _xgetbv(0) }
    }

    if __cpuid(0).eax < FEATURES {
        return false;
    }
    let has = __cpuid_count(FEATURES, 0).edx & (HAS_TILES | HAS_INTEGERS) == HAS_TILES | HAS_INTEGERS;
    // SAFETY: it is asked only if the system keeps extended state.
    let kept =
        || __cpuid(1).ecx & SYSTEM_KEEPS_STATE != 0 && unsafe { kept_state() } & TILE_STATE == TILE_STATE;
    has && kept()
}

/// Asks Linux for the permission to use tiles, which it gives to a process and its threads.
#[cfg(all(target_os = "linux", not(miri)))]
fn is_lent() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let result: i64;
    // SAFETY: this call reads two numbers and no memory; `syscall` overwrites two registers besides the result.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Other systems have no such call that is known to this crate.
#[cfg(not(all(target_os = "linux", not(miri))))]
fn is_lent() -> bool {
    false
}

/// The sizes of tiles, as `ldtilecfg` reads them.
#[cfg(not(miri))]
#[repr(C, align(64))]
struct Sizes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Tile 0 is for sums. Three pairs are for tokens and codes of 64, 32 and 16 columns: of tokens, 16 rows of so many bytes; of
/// codes, a row of 64 bytes for four columns.
#[cfg(not(miri))]
static SIZES: Sizes = Sizes {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 32, 64, 16, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 8, 16, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Tiles in use by this thread. They are given back when this is dropped: the system need not keep them any longer.
pub(super) struct Tiles(());

impl Tiles {
    /// Sets their sizes.
    ///
    /// # Safety
    /// The unit is available.
    pub unsafe fn new() -> Self {
        #[cfg(not(miri))]
        // SAFETY: by this function's contract; the sizes are within the palette's.
        unsafe {
            std::arch::asm!("ldtilecfg [{}]", in(reg) &raw const SIZES, options(nostack, preserves_flags, readonly));
        }
        Self(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        #[cfg(not(miri))]
        // SAFETY: there are tiles only where the unit is available.
        unsafe {
            std::arch::asm!("tilerelease", options(nostack, preserves_flags, nomem));
        }
    }
}

/// The sums of products of sixteen tokens with sixteen rows: `codes` are quads of columns, four bytes for each row; the tokens'
/// columns begin at `values`, one token's `stride` bytes after another's. `T` is [`TOKENS`]; `Q`, the number of quads, is 4,
/// 8 or a multiple of 16.
///
/// # Safety
/// This thread has [`Tiles`]; there are `T` tokens of `4 · Q` columns from `values` on.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn product<const T: usize, const Q: usize>(
    codes: &[__m512i; Q],
    values: *const i8,
    stride: usize,
) -> [__m512i; T] {
    // Not known to be so where it is compiled: tiles of other sizes do not come here.
    assert!(T == TOKENS && (Q == 4 || Q == 8 || Q.is_multiple_of(16)), "there are registers of this size");
    let mut sums = MaybeUninit::<[__m512i; T]>::uninit();
    #[cfg(miri)]
    // SAFETY: the contract is the same.
    unsafe {
        sums.write(defined(codes, values, stride));
    }
    // SAFETY: by this function's contract, the loads are within the codes and the tokens, and the stores within the sums.
    #[cfg(not(miri))]
    unsafe {
        macro_rules! multiply {
            ($tokens:literal, $codes:literal) => {
                std::arch::asm!(
                    "tilezero tmm0",
                    "2:",
                    concat!("tileloadd ", $tokens, ", [{values} + {stride}]"),
                    concat!("tileloadd ", $codes, ", [{codes} + {row}]"),
                    concat!("tdpbssd tmm0, ", $tokens, ", ", $codes),
                    "add {values}, 64",
                    "add {codes}, 1024",
                    "dec {steps:e}",
                    "jnz 2b",
                    "tilestored [{sums} + {row}], tmm0",
                    values = inout(reg) values => _,
                    stride = in(reg) stride,
                    codes = inout(reg) codes.as_ptr() => _,
                    row = in(reg) 64usize,
                    steps = inout(reg) Q.div_ceil(16) => _,
                    sums = in(reg) sums.as_mut_ptr(),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                )
            };
        }
        match Q {
            4 => multiply!("tmm5", "tmm6"),
            8 => multiply!("tmm3", "tmm4"),
            _ => multiply!("tmm1", "tmm2"),
        }
    }
    // SAFETY: all of them were stored.
    unsafe { sums.assume_init() }
}

/// What the instructions of [`product`] are defined to do: in place of them in an interpreter, and to test them.
///
/// # Safety
/// As for [`product`].
#[cfg(any(miri, test))]
unsafe fn defined<const T: usize, const Q: usize>(
    codes: &[__m512i; Q],
    values: *const i8,
    stride: usize,
) -> [__m512i; T] {
    std::array::from_fn(|token| {
        let mut rows = [0i32; 16];
        for (quad, codes) in codes.iter().enumerate() {
            // SAFETY: both have 64 bytes, and any bits are codes.
            let codes: [[i8; 4]; 16] = unsafe { std::mem::transmute(*codes) };
            for (row, codes) in rows.iter_mut().zip(codes) {
                for (column, code) in codes.into_iter().enumerate() {
                    // SAFETY: the token has the column, by this function's contract.
                    let value = unsafe { *values.add(token * stride + 4 * quad + column) };
                    *row += i32::from(value) * i32::from(code);
                }
            }
        }
        // SAFETY: both have 64 bytes.
        unsafe { std::mem::transmute::<[i32; 16], __m512i>(rows) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random-looking bytes of all values.
    fn bytes(count: usize) -> Vec<i8> {
        (0..count as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as i8).collect()
    }

    #[target_feature(enable = "avx512f")]
    fn check<const Q: usize>() {
        let (stride, quads) = (4 * Q + 28, bytes(64 * Q));
        let values = bytes(TOKENS * stride);
        let codes: [__m512i; Q] = std::array::from_fn(|quad| {
            // SAFETY: there are 64 bytes for each quad.
            unsafe { _mm512_loadu_si512(quads.as_ptr().add(64 * quad).cast()) }
        });
        // SAFETY: this thread has tiles, and there are sixteen tokens of so many columns.
        let (found, defined): ([__m512i; TOKENS], [__m512i; TOKENS]) = unsafe {
            let _tiles = Tiles::new();
            (product(&codes, values.as_ptr(), stride), defined(&codes, values.as_ptr(), stride))
        };
        for (token, (found, defined)) in found.into_iter().zip(defined).enumerate() {
            assert_eq!(
                _mm512_cmpneq_epi32_mask(found, defined),
                0,
                "{Q} quads, token {token}: {found:?} {defined:?}"
            );
        }
    }

    #[test]
    fn tiles_multiply_as_they_are_defined_to() {
        if is_x86_feature_detected!("avx512f") && is_available() {
            // SAFETY: the processor has both.
            unsafe {
                check::<4>();
                check::<8>();
                check::<16>();
                check::<32>();
            }
        }
    }
}
