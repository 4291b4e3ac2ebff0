//! What can be wrong with an expression.

use thiserror::Error;

use crate::evaluate::{MAXIMUM_DEPTH, MAXIMUM_LENGTH};

/// Why an expression has no value. Positions count characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CalculateError {
    /// Nothing but white space.
    #[error("the expression is empty")]
    Empty,
    /// More text than anyone means to compute.
    #[error("the expression is longer than {MAXIMUM_LENGTH} bytes")]
    TooLong,
    /// More nesting than the stack should bear.
    #[error("the expression is nested deeper than {MAXIMUM_DEPTH} levels")]
    TooDeep,
    /// A character that no expression has.
    #[error("unexpected character `{character}` at position {position}")]
    UnexpectedCharacter {
        /// The character.
        character: char,
        /// Where it is.
        position: usize,
    },
    /// Something that cannot stand where it stands.
    #[error("expected {expected} at position {position}, found `{found}`")]
    Unexpected {
        /// What could stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
        /// Where it is.
        position: usize,
    },
    /// The expression stops too early.
    #[error("expected {expected} at the end of the expression")]
    UnexpectedEnd {
        /// What is missing.
        expected: &'static str,
    },
    /// A name that is no function and no constant.
    #[error(
        "unknown name `{name}` at position {position}; known are sqrt, sin, cos, tan, ln, log10, exp, abs, floor, \
         ceil, round, min, max, pi and e"
    )]
    UnknownName {
        /// The name.
        name: String,
        /// Where it is.
        position: usize,
    },
    /// A function with too few or too many arguments.
    #[error("{function} takes {expected}, not {found}")]
    WrongArgumentCount {
        /// The function.
        function: &'static str,
        /// How many it takes, in words.
        expected: &'static str,
        /// How many there are.
        found: usize,
    },
    /// `/` or `%` with zero on its right, or zero to a negative power.
    #[error("division by zero")]
    DivisionByZero,
    /// A function outside of the numbers that it is defined for.
    #[error("{function} is not defined for {argument}")]
    Undefined {
        /// The function.
        function: &'static str,
        /// The offending number.
        argument: String,
    },
    /// A negative number to a power that is no integer.
    #[error("{base} ^ {exponent} is not a real number")]
    NotReal {
        /// The negative number.
        base: String,
        /// The power.
        exponent: String,
    },
    /// A number beyond the largest that can be represented.
    #[error("the result is too large")]
    Overflow,
}

impl CalculateError {
    /// The stable code: `no_result` if the expression is well-formed, else `invalid_expression`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DivisionByZero | Self::Undefined { .. } | Self::NotReal { .. } | Self::Overflow => {
                "no_result"
            }
            _ => "invalid_expression",
        }
    }
}
