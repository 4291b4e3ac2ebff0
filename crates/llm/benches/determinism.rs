//! What the numerics contract costs: the same AVX2 loops with each operation rounded on its own, one sum for a row, in one
//! order; and free of that, with fused multiply-add and as many sums as hide its latency.
//!
//! `cargo bench -p glasshouse-llm --bench determinism`. Both run in turns; the ratio is the median of the turns'.

#![expect(clippy::needless_range_loop, reason = "tiles are indexed by row and token at once")]

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("these loops are written for AVX2");
}

#[cfg(target_arch = "x86_64")]
fn main() {
    if !(is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c"))
    {
        println!("this processor has no AVX2 with FMA");
        return;
    }
    x86_64::compare();
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::*;
    use std::hint::black_box;
    use std::time::Instant;

    /// Bytes of a Q4_0 block of eight rows: eight half-precision scales, four vectors of nibbles.
    const BLOCK: usize = 144;
    const COLUMNS: usize = 2048;
    const GROUP: usize = COLUMNS / 32 * BLOCK;
    /// More than any cache holds: decoding reads each weight once.
    const DECODE_GROUPS: usize = (256 << 20) / GROUP / 4 * 4;
    /// What a second-level cache holds: a prompt reads each weight many times.
    const PROMPT_GROUPS: usize = 4;
    const PROMPT_TOKENS: usize = 48;
    const TURNS: usize = 15;

    struct Tokens {
        values: Vec<i8>,
        scales: Vec<f32>,
        sums: Vec<i32>,
    }

    /// Compares both forms where memory is the limit, where arithmetic is, and for float rows.
    pub fn compare() {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        let mut packed: Vec<u8> = (0..DECODE_GROUPS * GROUP).map(|_| random() as u8).collect();
        for block in packed.chunks_exact_mut(BLOCK) {
            for scale in block[..16].chunks_exact_mut(2) {
                scale.copy_from_slice(&0x2c00u16.to_le_bytes());
            }
        }
        let values: Vec<i8> = (0..PROMPT_TOKENS * COLUMNS).map(|_| (random() % 255) as i8).collect();
        let sums = values.chunks_exact(32).map(|block| block.iter().map(|value| i32::from(*value)).sum());
        let tokens = Tokens { sums: sums.collect(), scales: vec![0.01; values.len() / 32], values };
        let floats: Vec<f32> = (0..(64 << 20) / 4).map(|_| random() as f32 / 1e7 - 0.8).collect();

        ratio(
            "Q4_0, one token, from memory",
            || quantized::<false, 1, 4>(&packed, &tokens, 1),
            || quantized::<true, 1, 4>(&packed, &tokens, 1),
        );
        let cached = &packed[..PROMPT_GROUPS * GROUP];
        let again = 200;
        ratio(
            "Q4_0, a prompt, from the cache",
            || (0..again).map(|_| quantized::<false, 3, 2>(black_box(cached), &tokens, PROMPT_TOKENS)).sum(),
            || (0..again).map(|_| quantized::<true, 3, 2>(black_box(cached), &tokens, PROMPT_TOKENS)).sum(),
        );
        let x = &floats[..COLUMNS];
        ratio("F32 rows, one token, from memory", || rows::<false>(&floats, x), || rows::<true>(&floats, x));
        let few = &floats[..32 * COLUMNS];
        ratio(
            "F32 rows, from the cache",
            || (0..2_000).map(|_| rows::<false>(black_box(few), x)).sum(),
            || (0..2_000).map(|_| rows::<true>(black_box(few), x)).sum(),
        );
    }

    fn ratio(name: &str, fixed: impl Fn() -> f32, free: impl Fn() -> f32) {
        let time = |run: &dyn Fn() -> f32| {
            let begin = Instant::now();
            black_box(run());
            begin.elapsed().as_secs_f64()
        };
        black_box((fixed(), free()));
        let mut turns: Vec<(f64, f64)> = (0..TURNS).map(|_| (time(&fixed), time(&free))).collect();
        turns.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
        let (fixed, free) = turns[TURNS / 2];
        println!("{name}: {:.2} ms fixed, {:.2} ms free, ratio {:.3}", fixed * 1e3, free * 1e3, fixed / free);
    }

    /// Sums of all products, so that nothing is left out.
    fn quantized<const FREE: bool, const T: usize, const G: usize>(
        packed: &[u8],
        tokens: &Tokens,
        count: usize,
    ) -> f32 {
        let mut total = 0.0;
        for groups in packed.chunks_exact(G * GROUP) {
            for token in (0..count).step_by(T) {
                // SAFETY: `main` asked for the features; the slices hold what a tile reads.
                total += unsafe { tile::<FREE, T, G>(groups, tokens, token) };
            }
        }
        total
    }

    /// # Safety
    /// The processor has the features; `groups` are `G` whole groups, and `T` tokens follow `first`.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn tile<const FREE: bool, const T: usize, const G: usize>(
        groups: &[u8],
        tokens: &Tokens,
        first: usize,
    ) -> f32 {
        let low_nibbles = _mm256_set1_epi8(15);
        let ones = _mm256_set1_epi16(1);
        // The free form alternates between two sums.
        let mut sums = [[[_mm256_setzero_ps(); G]; T]; 2];
        for block in 0..COLUMNS / 32 {
            let mut pairs = [[_mm256_setzero_si256(); G]; T];
            for vector in 0..4 {
                for group in 0..G {
                    let at = group * GROUP + block * BLOCK + 16 + vector * 32;
                    // SAFETY: inside the groups.
                    let codes = unsafe { _mm256_loadu_si256(groups.as_ptr().add(at).cast()) };
                    let low = _mm256_and_si256(codes, low_nibbles);
                    let high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), low_nibbles);
                    for token in 0..T {
                        let at = (first + token) * COLUMNS + block * 32 + vector * 4;
                        // SAFETY: inside the token's values.
                        let (x, y) = unsafe {
                            let values = tokens.values.as_ptr().add(at);
                            (
                                values.cast::<i32>().read_unaligned(),
                                values.add(16).cast::<i32>().read_unaligned(),
                            )
                        };
                        let products = _mm256_add_epi16(
                            _mm256_maddubs_epi16(low, _mm256_set1_epi32(x)),
                            _mm256_maddubs_epi16(high, _mm256_set1_epi32(y)),
                        );
                        pairs[token][group] = _mm256_add_epi16(pairs[token][group], products);
                    }
                }
            }
            for group in 0..G {
                let at = group * GROUP + block * BLOCK;
                // SAFETY: a block begins with its scales.
                let scales = unsafe { _mm256_cvtph_ps(_mm_loadu_si128(groups.as_ptr().add(at).cast())) };
                for token in 0..T {
                    let number = (first + token) * (COLUMNS / 32) + block;
                    let offset = _mm256_set1_epi32(8 * tokens.sums[number]);
                    let dot = _mm256_sub_epi32(_mm256_madd_epi16(pairs[token][group], ones), offset);
                    let scale = _mm256_mul_ps(scales, _mm256_set1_ps(tokens.scales[number]));
                    let dot = _mm256_cvtepi32_ps(dot);
                    if FREE {
                        let sum = &mut sums[block % 2][token][group];
                        *sum = _mm256_fmadd_ps(dot, scale, *sum);
                    } else {
                        let sum = &mut sums[0][token][group];
                        *sum = _mm256_add_ps(*sum, _mm256_mul_ps(dot, scale));
                    }
                }
            }
        }
        let mut all = _mm256_setzero_ps();
        for sums in sums.iter().flatten().flatten() {
            all = _mm256_add_ps(all, *sums);
        }
        total(all)
    }

    #[target_feature(enable = "avx2")]
    fn total(vector: __m256) -> f32 {
        let mut lanes = [0.0f32; 8];
        // SAFETY: eight floats fit.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), vector) };
        lanes.iter().sum()
    }

    fn rows<const FREE: bool>(rows: &[f32], x: &[f32]) -> f32 {
        // SAFETY: `main` asked for the features.
        rows.chunks_exact(2 * COLUMNS).map(|pair| unsafe { two_rows::<FREE>(pair, x) }).sum()
    }

    /// Sixteen virtual lanes for each of two rows, or four free sums for each.
    ///
    /// # Safety
    /// The processor has the features; `pair` is two rows as long as `x`, whose length is a multiple of 32.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn two_rows<const FREE: bool>(pair: &[f32], x: &[f32]) -> f32 {
        let mut sums = [[_mm256_setzero_ps(); 4]; 2];
        for column in (0..x.len()).step_by(32) {
            for part in 0..4 {
                for row in 0..2 {
                    // SAFETY: inside the rows.
                    let (weight, x) = unsafe {
                        (
                            _mm256_loadu_ps(pair.as_ptr().add(row * x.len() + column + part * 8)),
                            _mm256_loadu_ps(x.as_ptr().add(column + part * 8)),
                        )
                    };
                    if FREE {
                        sums[row][part] = _mm256_fmadd_ps(weight, x, sums[row][part]);
                    } else {
                        let sum = &mut sums[row][part % 2];
                        *sum = _mm256_add_ps(*sum, _mm256_mul_ps(weight, x));
                    }
                }
            }
        }
        let mut all = _mm256_setzero_ps();
        for sum in sums.iter().flatten() {
            all = _mm256_add_ps(all, *sum);
        }
        total(all)
    }
}
