//! The reference's vectors, of both definitions of a trend. The same file is used by the tests of every runtime.

use std::fmt::Write;

use glasshouse_halt::{Config, Kernel, Rule, Setting, Verdict};
use serde_json::Value;

/// What a vector expects, by its name for the trend's definition.
fn expected(vector: &Value, trend: &str) -> Option<(u64, String, f64)> {
    let halt = &vector[trend];
    Some((halt["index"].as_u64()?, halt["rule"].as_str()?.to_owned(), halt["value"].as_f64()?))
}

#[test]
fn the_vectors_of_the_reference() {
    let vectors: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let mut compared = 0;
    for vector in vectors.as_array().unwrap() {
        for trend in ["endpoint", "least_squares"] {
            let mut config = Config::default();
            for (field, value) in vector["config"].as_object().unwrap() {
                config.set(field, Setting::Number(value.as_f64().unwrap())).unwrap();
            }
            config.set("trend", Setting::Text(trend)).unwrap();
            let mut kernel = Kernel::new(&config).unwrap();
            for (index, score) in vector["scores"].as_array().unwrap().iter().enumerate() {
                let decision = kernel.process_token(index as u64, score.as_f64().unwrap()).unwrap();
                if decision.verdict == Verdict::Halt {
                    break;
                }
            }
            let found = kernel.finish().map(|halt| {
                let value = format!("{:.4}", halt.cause.value).parse().unwrap();
                (halt.index, halt.cause.rule.name().to_owned(), value)
            });
            assert_eq!(found, expected(vector, trend), "vector {} by {trend}", vector["number"]);
            compared += 1;
        }
    }
    assert_eq!(compared, 2 * 37);
}

#[test]
fn equality_with_a_threshold_does_not_depend_on_rounding_or_order() {
    // Every mean and every drop that a decimal threshold can equal: none halts; a millionth less or more does.
    for hundredths in 1..100_u32 {
        let threshold = f64::from(hundredths) / 100.0;
        for size in [1, 3, 7, 10] {
            let config = Config {
                hard_limit: 0.0,
                window_size: size,
                window_threshold: threshold,
                trend_threshold: 2.0,
                ..Config::default()
            };
            let halts = |score: f64| {
                let mut kernel = Kernel::new(&config).unwrap();
                (0..100).any(|index| kernel.process_token(index, score).unwrap().verdict == Verdict::Halt)
            };
            assert!(!halts(threshold), "{threshold} {size}");
            assert!(halts(threshold - 0.000_001), "{threshold} {size}");
        }
        let config = Config {
            hard_limit: 0.0,
            window_threshold: 0.0,
            trend_window: 2,
            trend_threshold: threshold,
            ..Config::default()
        };
        for lower in 0..=100 - hundredths {
            let mut kernel = Kernel::new(&config).unwrap();
            kernel.process_token(0, f64::from(lower + hundredths) / 100.0).unwrap();
            let decision = kernel.process_token(1, f64::from(lower) / 100.0).unwrap();
            assert_eq!(decision.verdict, Verdict::Continue, "{lower} {hundredths}");
        }
    }
}

#[test]
fn causes_read_as_the_reference_words_them() {
    let mut text = String::new();
    for (config, scores) in [
        (Config::default(), vec![0.4999999999999999]),
        (
            Config { window_size: 4, window_threshold: 0.5625, trend_window: 9, ..Config::default() },
            vec![0.5625, 0.5625, 0.5625, 0.5],
        ),
        (Config::default(), vec![0.91, 0.9, 0.9, 0.89, 0.88, 0.89, 0.84, 0.8, 0.75, 0.66]),
    ] {
        let mut kernel = Kernel::new(&config).unwrap();
        for (index, score) in scores.into_iter().enumerate() {
            kernel.process_token(index as u64, score).unwrap();
        }
        writeln!(text, "{}", kernel.halt().unwrap().cause).unwrap();
    }
    assert_eq!(
        text,
        "hard_limit (0.5000 < 0.5)\nwindow_avg (0.5469 < 0.5625)\ndownward_trend (0.2300 > 0.15)\n"
    );
    assert!(Rule::ALL.iter().all(|rule| !rule.name().is_empty()));
}
