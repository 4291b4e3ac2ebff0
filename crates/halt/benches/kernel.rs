//! Nanoseconds per token: `cargo bench -p glasshouse-halt`.

use std::{hint::black_box, time::Instant};

use glasshouse_halt::{Config, Kernel, Trend, Verdict};

/// Tokens that are taken per length and repetition, at least.
const TOKENS: usize = 2_000_000;
const REPETITIONS: usize = 5;

fn main() {
    let scores: Vec<f64> =
        (0..1_024_u32).map(|number| 0.8 + f64::from(number * 37 % 101) / 1_000.0).collect();
    println!("nanoseconds per token, the best of {REPETITIONS}");
    for trend in [Trend::Endpoint, Trend::LeastSquares] {
        for length in [100, 1_000, 4_000, 100_000] {
            let config = Config { trend, ..Config::default() };
            let best = (0..REPETITIONS).map(|_| measure(&config, &scores, length)).fold(f64::MAX, f64::min);
            println!("native {trend:?} {length:>7} tokens {best:>7.1}");
        }
    }
}

/// Nanoseconds per token of streams of this length. Making a kernel counts.
fn measure(config: &Config, scores: &[f64], length: usize) -> f64 {
    let streams = TOKENS / length;
    let start = Instant::now();
    for _ in 0..streams {
        let mut kernel = Kernel::new(config).expect("the limits are right");
        for index in 0..length {
            let decision = kernel.process_token(index as u64, black_box(scores[index % scores.len()]));
            assert!(black_box(decision).is_ok_and(|decision| decision.verdict == Verdict::Continue));
        }
    }
    start.elapsed().as_nanos() as f64 / (streams * length) as f64
}
