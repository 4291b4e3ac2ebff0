//! The tool `calculate`: evaluates arithmetic expressions.
//!
//! - [`evaluate`]: an expression's value, or what is wrong with it.
//! - [`format`]: how a value is written.
//! - [`calculate`]: the tool.

mod error;
mod evaluate;
mod functions;
mod number;
mod token;

pub use error::CalculateError;
pub use evaluate::evaluate;
pub use number::format;

use glasshouse_guest::{ErrorData, tools};
use serde::Deserialize;

/// The arguments of [`calculate`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calculate {
    /// The expression.
    pub expression: String,
}

/// Evaluates an expression and writes its value.
///
/// # Errors
///
/// A [`CalculateError`] as data; its code is `invalid_expression` or `no_result`.
pub async fn calculate(arguments: Calculate) -> Result<String, ErrorData> {
    match evaluate(&arguments.expression) {
        Ok(value) => Ok(format(value)),
        Err(error) => Err(ErrorData::from_error(error.code(), &error)),
    }
}

tools! {
    calculate {
        description: "Evaluates an arithmetic expression exactly as written: + - * / % ^, parentheses, sqrt, sin, cos, tan (radians), ln, log10, exp, abs, floor, ceil, round, min, max, pi, e.",
        parameters: r#"{"type":"object","properties":{"expression":{"type":"string","description":"The expression, such as 17 * 23 or sqrt(2) / 3"}},"required":["expression"],"additionalProperties":false}"#,
        services: [],
    }
}
