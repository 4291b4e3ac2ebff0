//! The functions and constants. Everything that is not exact comes from `libm`, so that results are the same on every
//! host.

use std::f64::consts::{E, PI};

use crate::{CalculateError, number};

/// A function: its name, and what it computes.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    name: &'static str,
    rule: Rule,
}

#[derive(Clone, Copy)]
enum Rule {
    /// Of one number, everywhere defined.
    Total(fn(f64) -> f64),
    /// Of one number that is not negative.
    NotNegative(fn(f64) -> f64),
    /// Of one positive number.
    Positive(fn(f64) -> f64),
    /// Of one number and an optional count of decimals.
    Round,
    /// Of one number or more, combined pairwise.
    Fold(fn(f64, f64) -> f64),
}

const FUNCTIONS: [Function; 13] = [
    Function { name: "sqrt", rule: Rule::NotNegative(libm::sqrt) },
    Function { name: "sin", rule: Rule::Total(libm::sin) },
    Function { name: "cos", rule: Rule::Total(libm::cos) },
    Function { name: "tan", rule: Rule::Total(libm::tan) },
    Function { name: "ln", rule: Rule::Positive(libm::log) },
    Function { name: "log10", rule: Rule::Positive(libm::log10) },
    Function { name: "exp", rule: Rule::Total(libm::exp) },
    Function { name: "abs", rule: Rule::Total(libm::fabs) },
    Function { name: "floor", rule: Rule::Total(libm::floor) },
    Function { name: "ceil", rule: Rule::Total(libm::ceil) },
    Function { name: "round", rule: Rule::Round },
    Function { name: "min", rule: Rule::Fold(libm::fmin) },
    Function { name: "max", rule: Rule::Fold(libm::fmax) },
];

/// The most decimals that `round` takes: a double has no more significant digits.
const MAXIMUM_DECIMALS: f64 = 17.0;

/// The value of a constant, by its lower-case name.
pub(crate) fn constant(name: &str) -> Option<f64> {
    match name {
        "pi" | "π" => Some(PI),
        "e" => Some(E),
        _ => None,
    }
}

/// A function, by its lower-case name.
pub(crate) fn function(name: &str) -> Option<Function> {
    FUNCTIONS.into_iter().find(|function| function.name == name)
}

/// The value of `function` at `arguments`; infinite when it overflows.
pub(crate) fn apply(function: Function, arguments: &[f64]) -> Result<f64, CalculateError> {
    let name = function.name;
    let count =
        |expected| CalculateError::WrongArgumentCount { function: name, expected, found: arguments.len() };
    let undefined =
        |argument: f64| CalculateError::Undefined { function: name, argument: number::format(argument) };
    match (function.rule, arguments) {
        (Rule::Total(rule), &[x]) => Ok(rule(x)),
        (Rule::NotNegative(rule), &[x]) => {
            if x >= 0.0 {
                Ok(rule(x))
            } else {
                Err(undefined(x))
            }
        }
        (Rule::Positive(rule), &[x]) => {
            if x > 0.0 {
                Ok(rule(x))
            } else {
                Err(undefined(x))
            }
        }
        (Rule::Total(_) | Rule::NotNegative(_) | Rule::Positive(_), _) => Err(count("one argument")),
        (Rule::Round, &[x]) => Ok(libm::round(x)),
        (Rule::Round, &[x, decimals]) => {
            if !(0.0..=MAXIMUM_DECIMALS).contains(&decimals) || libm::floor(decimals) != decimals {
                return Err(undefined(decimals));
            }
            Ok(round_decimals(x, decimals as usize))
        }
        (Rule::Round, _) => Err(count("one or two arguments")),
        (Rule::Fold(rule), &[first, ref rest @ ..]) => {
            Ok(rest.iter().fold(first, |value, next| rule(value, *next)))
        }
        (Rule::Fold(_), []) => Err(count("at least one argument")),
    }
}

/// The number with `decimals` decimals nearest to `x`, through its exact decimal form; ties, which only numbers with
/// a finite binary fraction have, go to the even digit.
fn round_decimals(x: f64, decimals: usize) -> f64 {
    format!("{x:.decimals$}").parse().unwrap_or(x)
}
