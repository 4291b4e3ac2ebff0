//! How a value is written.

/// From here on an exponent is shorter than the digits that carry nothing.
const LARGE: f64 = 1e21;

/// Below this an exponent is shorter than the zeros.
const SMALL: f64 = 1e-6;

/// The shortest text that reads back as `value`: integers without a point, very large and very small numbers with an
/// exponent (`1e21`, `2.5e-7`), zero without a sign.
pub fn format(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(SMALL..LARGE).contains(&magnitude) {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}
