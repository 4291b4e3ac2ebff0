//! Splits an expression into tokens.

use crate::CalculateError;

/// A token and where it is: the position of its first character, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) position: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Number(f64),
    Name,
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
    Power,
    Open,
    Close,
    Comma,
}

/// The tokens of `expression`. Typographic signs (`×`, `·`, `÷`, `−`, `π`) and `**` mean what they look like.
pub(crate) fn tokens(expression: &str) -> Result<Vec<Token<'_>>, CalculateError> {
    let mut tokens = Vec::new();
    let mut rest = expression;
    let mut position = 1;
    while let Some(character) = rest.chars().next() {
        let (kind, length) = match character {
            _ if character.is_whitespace() => {
                rest = &rest[character.len_utf8()..];
                position += 1;
                continue;
            }
            '0'..='9' | '.' => {
                let length = number_length(rest);
                let value: f64 = rest[..length].parse().map_err(|_| unexpected(character, position))?;
                if value.is_infinite() {
                    return Err(CalculateError::Overflow);
                }
                (Kind::Number(value), length)
            }
            'a'..='z' | 'A'..='Z' => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Kind::Name, end)
            }
            'π' => (Kind::Name, character.len_utf8()),
            '*' if rest.starts_with("**") => (Kind::Power, 2),
            '+' => (Kind::Plus, 1),
            '-' | '−' => (Kind::Minus, character.len_utf8()),
            '*' | '×' | '·' => (Kind::Times, character.len_utf8()),
            '/' | '÷' => (Kind::Divide, character.len_utf8()),
            '%' => (Kind::Remainder, 1),
            '^' => (Kind::Power, 1),
            '(' => (Kind::Open, 1),
            ')' => (Kind::Close, 1),
            ',' => (Kind::Comma, 1),
            _ => return Err(unexpected(character, position)),
        };
        let (text, after) = rest.split_at(length);
        tokens.push(Token { kind, text, position });
        position += text.chars().count();
        rest = after;
    }
    Ok(tokens)
}

fn unexpected(character: char, position: usize) -> CalculateError {
    CalculateError::UnexpectedCharacter { character, position }
}

/// How many bytes at the start of `text` are a number: digits, a point, an exponent that has digits.
fn number_length(text: &str) -> usize {
    let digits = |from: usize| {
        let tail = text.as_bytes().get(from..).unwrap_or_default();
        from + tail.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut end = digits(0);
    if text[end..].starts_with('.') {
        end = digits(end + 1);
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}
