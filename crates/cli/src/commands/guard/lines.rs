//! Lines of a recorded stream: JSON, and the numbers that many programs write where JSON has none.

use anyhow::{Result, bail};
use serde_json::Value;

/// A token as a line gives it.
#[derive(Debug, Default, PartialEq)]
pub struct Given {
    /// Its text.
    pub token: Option<String>,
    /// Its index, where the line says it.
    pub index: Option<u64>,
    /// Its score; NaN for what is no number; none when it is missing or null.
    pub score: Option<f64>,
    /// Bits of entropy.
    pub entropy_bits: Option<f64>,
    /// Milliseconds.
    pub elapsed_ms: Option<f64>,
}

/// Reads a line.
///
/// # Errors
/// When it is no JSON object, or its token or index is none.
pub fn parse(line: &[u8]) -> Result<Given> {
    let text = quote_numbers(&String::from_utf8_lossy(line));
    let Value::Object(fields) = serde_json::from_str(&text)? else { bail!("it is not a JSON object") };
    let number = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => None,
        Some(value) => Some(value.as_f64().unwrap_or(f64::NAN)),
    };
    let token = match fields.get("token") {
        None | Some(Value::Null) => None,
        Some(Value::String(token)) => Some(token.clone()),
        Some(other) => bail!("`token` is {other}, which is no text"),
    };
    let index = match fields.get("index") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_u64() {
            Some(index) => Some(index),
            None => bail!("`index` is {value}, which is no whole number from 0 on"),
        },
    };
    let (score, entropy_bits, elapsed_ms) = (number("score"), number("entropy_bits"), number("elapsed_ms"));
    Ok(Given { token, index, score, entropy_bits, elapsed_ms })
}

/// Puts `NaN`, `Infinity` and `-Infinity` between quotation marks where they stand as values: as texts they are no numbers
/// either, and JSON takes them.
fn quote_numbers(line: &str) -> String {
    let mut quoted = String::with_capacity(line.len());
    let mut rest = line;
    let mut in_text = false;
    while let Some(character) = rest.chars().next() {
        if !in_text
            && let Some(word) =
                ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| rest.starts_with(word))
        {
            quoted.extend(["\"", word, "\""]);
            rest = &rest[word.len()..];
            continue;
        }
        let mut length = character.len_utf8();
        match character {
            '"' => in_text = !in_text,
            // What follows a backslash is no end of the text.
            '\\' if in_text => length += rest[length..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
        quoted.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(line: &str) -> Option<f64> {
        parse(line.as_bytes()).unwrap().score
    }

    #[test]
    fn scores_are_numbers_or_none() {
        assert_eq!(score(r#"{"token":"a","score":0.5}"#), Some(0.5));
        assert_eq!(score(r#"{"score":1}"#), Some(1.0));
        for missing in [r#"{"token":"a"}"#, r#"{"score":null}"#] {
            assert_eq!(score(missing), None);
        }
        for none in ["NaN", "Infinity", "-Infinity", "\"0.9\"", "true", "[0.5]", "\"NaN\""] {
            let score = score(&format!(r#"{{"token":"a","score":{none}}}"#));
            assert!(score.is_some_and(f64::is_nan), "{none}");
        }
    }

    #[test]
    fn scores_are_read_to_the_last_bit() {
        // What is compared with a limit must be what was written, not a neighbour of it.
        let mut state = 1_u64;
        for _ in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let written = (state >> 11) as f64 / (1_u64 << 53) as f64;
            assert_eq!(score(&format!(r#"{{"score":{written}}}"#)), Some(written));
        }
    }

    #[test]
    fn texts_stay_as_they_are() {
        for text in ["NaN", "-Infinity", "a \\\" NaN \\\\", "\\\\", "é NaN"] {
            let line = format!(r#"{{"token":"{text}","score":NaN}}"#);
            let expected: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(parse(line.as_bytes()).unwrap().token.unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for line in ["", "0.5", "[]", "{", r#"{"token":1}"#, r#"{"index":-1}"#, r#"{"index":0.5}"#, "\u{0}"] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
