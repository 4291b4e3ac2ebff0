//! What the module says in words. The standard library's formatting of numbers would be most of the module.

use alloc::vec::Vec;

use glasshouse_halt::{Cause, Config, ConfigError, Refused, Rule};

/// Bits of a floating-point number's fraction.
const FRACTION_BITS: u32 = 52;
/// Decimals that are tried to find the shortest ones: with so many, what is computed here fits 128 bits, and 17 digits, which
/// always do, fit for every number that is worded.
const DECIMALS_MAXIMUM: u32 = 22;
/// What is below, and not zero, is not worded in digits.
const WORDED_MINIMUM: f64 = 1e-5;
/// What is not below has a whole part that is not worded in digits.
const WORDED_MAXIMUM: f64 = 1e15;

/// Why a configuration is refused, as its `Display` says it.
pub fn refusal(error: &ConfigError) -> Vec<u8> {
    let mut text = Vec::new();
    match error {
        ConfigError::Unknown { field } => {
            put(&mut text, &["`", field, "` is no field of the configuration; the fields are "]);
            for (place, name) in Config::FIELDS.into_iter().enumerate() {
                put(&mut text, &[if place == 0 { "" } else { ", " }, name]);
            }
        }
        ConfigError::OutOfRange { field, value, range } => {
            put(&mut text, &["`", field, "` is "]);
            match value {
                Refused::Off => put(&mut text, &["null"]),
                Refused::Flag(flag) => put(&mut text, &[if *flag { "true" } else { "false" }]),
                Refused::Number(number) => shortest(&mut text, *number),
                Refused::Text(value) => put(&mut text, &["\"", value, "\""]),
            }
            put(&mut text, &["; it must be ", range]);
        }
    }
    text
}

/// What was broken, as its `Display` says it.
pub fn cause(cause: &Cause) -> Vec<u8> {
    let Cause { rule, value, limit } = *cause;
    let mut text = Vec::new();
    put(&mut text, &[rule.name()]);
    let sign = match rule {
        Rule::HardLimit | Rule::WindowMean | Rule::SoftLimit => " < ",
        Rule::DownwardTrend | Rule::EntropyLimit | Rule::Deadline => " > ",
        Rule::MissingScore => return text,
        Rule::InvalidScore => {
            put(&mut text, &[" ("]);
            shortest(&mut text, value);
            put(&mut text, &[")"]);
            return text;
        }
        Rule::OutOfOrder | Rule::AfterEnd => {
            put(&mut text, &[" (token "]);
            shortest(&mut text, value);
            put(&mut text, &[", where "]);
            shortest(&mut text, limit);
            put(&mut text, &[" was due)"]);
            return text;
        }
    };
    put(&mut text, &[" ("]);
    with_decimals(&mut text, value, 4);
    put(&mut text, &[sign]);
    shortest(&mut text, limit);
    put(&mut text, &[")"]);
    text
}

fn put(text: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        text.extend_from_slice(part.as_bytes());
    }
}

/// A number is `mantissa / 2^shift`, exactly.
struct Exact {
    mantissa: u128,
    shift: u32,
}

impl Exact {
    /// Zero, or a number from [`WORDED_MINIMUM`] to [`WORDED_MAXIMUM`].
    fn new(number: f64) -> Self {
        if number == 0.0 {
            return Self { mantissa: 0, shift: 0 };
        }
        let bits = number.to_bits();
        let mantissa = (bits & ((1 << FRACTION_BITS) - 1)) | 1 << FRACTION_BITS;
        // The exponent's bias is 1,023.
        let shift = 1_023 + FRACTION_BITS - (bits >> FRACTION_BITS) as u32;
        Self { mantissa: mantissa.into(), shift }
    }

    /// The number times a power of ten, rounded to a whole one, halves to the even one; and how far it is off, in parts of
    /// `2^shift`.
    fn scaled(&self, power: u128) -> (u64, u128) {
        let product = self.mantissa * power;
        let whole = product >> self.shift;
        let (rest, unit) = (product - (whole << self.shift), 1 << self.shift);
        if rest * 2 > unit || rest * 2 == unit && whole % 2 == 1 {
            (whole as u64 + 1, unit - rest)
        } else {
            (whole as u64, rest)
        }
    }
}

/// The sign, and the number without it where it is worded in digits.
fn in_range(text: &mut Vec<u8>, number: f64) -> Option<f64> {
    let size = number.abs();
    if number < 0.0 {
        put(text, &["-"]);
    }
    if size < WORDED_MAXIMUM {
        return Some(size);
    }
    put(
        text,
        &[if number.is_nan() {
            "NaN"
        } else if size == f64::INFINITY {
            "inf"
        } else {
            "1000000000000000 or beyond"
        }],
    );
    None
}

/// The fewest decimals that mean this number and no other.
fn shortest(text: &mut Vec<u8>, number: f64) {
    let Some(size) = in_range(text, number) else { return };
    if size > 0.0 && size < WORDED_MINIMUM {
        put(text, &["0.00001 or nearer to 0"]);
        return;
    }
    let exact = Exact::new(size);
    let mut power = 1;
    for decimals in 0..=DECIMALS_MAXIMUM {
        let (whole, off) = exact.scaled(power);
        // Numbers of this size are one part of 2^shift apart: what is off by less than half of one means this one.
        if off * 2 < power {
            digits(text, whole, decimals);
            return;
        }
        power *= 10;
    }
}

/// A number with so many decimals, fewer than those of [`WORDED_MINIMUM`].
fn with_decimals(text: &mut Vec<u8>, number: f64, decimals: u32) {
    if let Some(size) = in_range(text, number) {
        let size = if size < WORDED_MINIMUM { 0.0 } else { size };
        digits(text, Exact::new(size).scaled(10_u128.pow(decimals)).0, decimals);
    }
}

/// A whole number, with a point before its last so many digits.
fn digits(text: &mut Vec<u8>, mut whole: u64, decimals: u32) {
    let start = text.len();
    let mut written = 0;
    while whole > 0 || written <= decimals {
        if written == decimals && decimals > 0 {
            text.push(b'.');
        }
        text.push(b'0' + (whole % 10) as u8);
        whole /= 10;
        written += 1;
    }
    text[start..].reverse();
}

#[cfg(test)]
mod tests {
    use glasshouse_halt::{Kernel, Setting};

    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    fn worded(number: f64) -> String {
        let mut words = Vec::new();
        shortest(&mut words, number);
        text(words)
    }

    #[test]
    fn numbers_are_worded_as_the_standard_library_words_them() {
        let mut state = 1_u64;
        let mut numbers: Vec<f64> = (0..=10_000).map(|parts| f64::from(parts) / 10_000.0).collect();
        numbers.extend([
            0.1 + 0.2,
            1.0 / 3.0,
            1e-5,
            123_456.789,
            -2.5,
            f64::NAN,
            f64::INFINITY,
            -f64::INFINITY,
            1e14,
        ]);
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let fraction = (state >> 11) as f64 / (1_u64 << 53) as f64;
            numbers.extend([fraction, fraction * 100.0, fraction * 0.001, (fraction * 1e6).round()]);
        }
        for number in numbers {
            if number == 0.0 || number.abs() >= WORDED_MINIMUM || number.is_nan() {
                assert_eq!(worded(number), number.to_string());
            }
            let mut words = Vec::new();
            with_decimals(&mut words, number, 4);
            assert_eq!(text(words), format!("{number:.4}"));
        }
        for number in [1e15, 1e300, -1e20, 9e-6, 1e-30, 5e-324] {
            assert!(worded(number).contains("or "), "{number}");
        }
        assert_eq!((worded(0.0), worded(65_536.0)), ("0".to_owned(), "65536".to_owned()));
    }

    #[test]
    fn refusals_and_causes_read_as_the_crate_words_them() {
        let mut config = Config::default();
        for (field, setting) in [
            ("hard_limit", Setting::Number(1.5)),
            ("hard_limit", Setting::Text("high")),
            ("window_size", Setting::Number(f64::NAN)),
            ("trend", Setting::Flag(true)),
            ("trend_window", Setting::Off),
            ("hard_limitt", Setting::Number(0.5)),
        ] {
            let error = config.set(field, setting).unwrap_err();
            assert_eq!(text(refusal(&error)), error.to_string());
        }
        let error = Kernel::new(&Config { w_logic: 0.7, ..Config::default() }).unwrap_err();
        assert_eq!(text(refusal(&error)), error.to_string());
        for rule in Rule::ALL {
            for (value, limit) in
                [(0.54685, 0.5625), (0.15, 0.3), (0.03125, 0.1 + 0.2), (f64::NAN, 7.0), (12.0, 3.0)]
            {
                let broken = Cause { rule, value, limit };
                assert_eq!(text(cause(&broken)), broken.to_string());
            }
        }
    }
}
