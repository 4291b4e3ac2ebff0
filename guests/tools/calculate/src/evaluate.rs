//! Evaluates tokens by recursive descent.
//!
//! ```text
//! sum      = product (("+" | "-") product)*
//! product  = signed (("*" | "/" | "%") signed)*
//! signed   = ("+" | "-") signed | power
//! power    = atom ("^" signed)?                  so 2^3^2 is 2^9, and -2^2 is -4
//! atom     = number | constant | function "(" sum ("," sum)* ")" | "(" sum ")"
//! ```
//!
//! `%` is the remainder of the division that truncates: it has the sign of the left side.

use crate::{
    CalculateError, functions, number,
    token::{Kind, Token, tokens},
};

/// The longest expression, in bytes: a person's is far shorter, and time is linear in it.
pub(crate) const MAXIMUM_LENGTH: usize = 4096;

/// The deepest nesting of parentheses, signs and powers: each level is a few frames of a 1 MiB stack.
pub(crate) const MAXIMUM_DEPTH: usize = 100;

const OPERAND: &str = "a number, a function or `(`";

/// The value of `expression`; never infinite and never NaN.
///
/// # Errors
///
/// [`CalculateError`] for anything that is not an expression or has no value.
pub fn evaluate(expression: &str) -> Result<f64, CalculateError> {
    if expression.len() > MAXIMUM_LENGTH {
        return Err(CalculateError::TooLong);
    }
    let tokens = tokens(expression)?;
    if tokens.is_empty() {
        return Err(CalculateError::Empty);
    }
    let mut parser = Parser { tokens: &tokens, depth: 0 };
    let value = parser.sum()?;
    match parser.tokens.first() {
        None => Ok(value),
        Some(token) => Err(unexpected("an operator", token)),
    }
}

struct Parser<'a> {
    /// What is left.
    tokens: &'a [Token<'a>],
    depth: usize,
}

impl<'a> Parser<'a> {
    /// The next token, if its kind is one of `kinds`.
    fn take(&mut self, kinds: &[Kind]) -> Option<&'a Token<'a>> {
        let (token, rest) = self.tokens.split_first()?;
        if !kinds.contains(&token.kind) {
            return None;
        }
        self.tokens = rest;
        Some(token)
    }

    fn expect(&mut self, kind: Kind, expected: &'static str) -> Result<(), CalculateError> {
        match self.take(&[kind]) {
            Some(_) => Ok(()),
            None => Err(self
                .tokens
                .first()
                .map_or(CalculateError::UnexpectedEnd { expected }, |token| unexpected(expected, token))),
        }
    }

    /// Runs `rule` one level deeper.
    fn nested(&mut self, rule: fn(&mut Self) -> Result<f64, CalculateError>) -> Result<f64, CalculateError> {
        if self.depth == MAXIMUM_DEPTH {
            return Err(CalculateError::TooDeep);
        }
        self.depth += 1;
        let value = rule(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn sum(&mut self) -> Result<f64, CalculateError> {
        let mut value = self.product()?;
        while let Some(operator) = self.take(&[Kind::Plus, Kind::Minus]) {
            let right = self.product()?;
            value = finite(if operator.kind == Kind::Plus { value + right } else { value - right })?;
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<f64, CalculateError> {
        let mut value = self.signed()?;
        while let Some(operator) = self.take(&[Kind::Times, Kind::Divide, Kind::Remainder]) {
            let right = self.signed()?;
            if operator.kind != Kind::Times && right == 0.0 {
                return Err(CalculateError::DivisionByZero);
            }
            value = finite(match operator.kind {
                Kind::Times => value * right,
                Kind::Divide => value / right,
                _ => libm::fmod(value, right),
            })?;
        }
        Ok(value)
    }

    fn signed(&mut self) -> Result<f64, CalculateError> {
        match self.take(&[Kind::Plus, Kind::Minus]) {
            Some(sign) => {
                let value = self.nested(Self::signed)?;
                Ok(if sign.kind == Kind::Minus { -value } else { value })
            }
            None => self.power(),
        }
    }

    fn power(&mut self) -> Result<f64, CalculateError> {
        let base = self.atom()?;
        if self.take(&[Kind::Power]).is_none() {
            return Ok(base);
        }
        let exponent = self.nested(Self::signed)?;
        if base == 0.0 && exponent < 0.0 {
            return Err(CalculateError::DivisionByZero);
        }
        let value = libm::pow(base, exponent);
        if value.is_nan() {
            let (base, exponent) = (number::format(base), number::format(exponent));
            return Err(CalculateError::NotReal { base, exponent });
        }
        finite(value)
    }

    fn atom(&mut self) -> Result<f64, CalculateError> {
        let Some((token, rest)) = self.tokens.split_first() else {
            return Err(CalculateError::UnexpectedEnd { expected: OPERAND });
        };
        self.tokens = rest;
        match token.kind {
            Kind::Number(value) => Ok(value),
            Kind::Open => {
                let value = self.nested(Self::sum)?;
                self.expect(Kind::Close, "`)`")?;
                Ok(value)
            }
            Kind::Name => self.name(token),
            _ => Err(unexpected(OPERAND, token)),
        }
    }

    /// A constant, or a function and its arguments.
    fn name(&mut self, token: &Token<'_>) -> Result<f64, CalculateError> {
        let name = token.text.to_ascii_lowercase();
        if let Some(value) = functions::constant(&name) {
            return Ok(value);
        }
        let Some(function) = functions::function(&name) else {
            return Err(CalculateError::UnknownName {
                name: token.text.to_owned(),
                position: token.position,
            });
        };
        self.expect(Kind::Open, "`(` after the function's name")?;
        let mut arguments = Vec::new();
        if self.take(&[Kind::Close]).is_none() {
            loop {
                arguments.push(self.nested(Self::sum)?);
                if self.take(&[Kind::Comma]).is_none() {
                    break;
                }
            }
            self.expect(Kind::Close, "`,` or `)`")?;
        }
        finite(functions::apply(function, &arguments)?)
    }
}

fn unexpected(expected: &'static str, token: &Token<'_>) -> CalculateError {
    CalculateError::Unexpected { expected, found: token.text.to_owned(), position: token.position }
}

/// An operation on finite numbers that is defined gives NaN never and infinity only by overflow.
fn finite(value: f64) -> Result<f64, CalculateError> {
    if value.is_finite() { Ok(value) } else { Err(CalculateError::Overflow) }
}
