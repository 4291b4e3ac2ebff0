//! How the result of a tool is shown to the model.

use glasshouse_protocol::ErrorData;
use serde_json::Value;

/// Ends an observation that was too long.
const TRUNCATED: &str = " …[truncated]";

/// The longest observation for any model, in bytes: longer ones drown the question.
const MAXIMUM_BYTES: usize = 8 << 10;

/// The shortest budget, in bytes: an observation of a model with a tiny context still says something.
const MINIMUM_BYTES: usize = 64;

/// How many bytes an observation may have for a model with a context of `context_length` tokens: a quarter of it even
/// if every byte is a token, and never more than 8 KiB.
pub fn observation_budget(context_length: u32) -> usize {
    usize::try_from(context_length / 4).unwrap_or(usize::MAX).clamp(MINIMUM_BYTES, MAXIMUM_BYTES)
}

/// The text for the model: a string as it is, any other value as compact JSON, an error as `error: ` and its message;
/// cut at a character boundary so that it has at most `budget` bytes, the mark that says so included.
pub fn observation(result: Result<&Value, &ErrorData>, budget: usize) -> String {
    let mut text = match result {
        Ok(Value::String(text)) => text.clone(),
        Ok(value) => value.to_string(),
        Err(error) => format!("error: {}", error.message),
    };
    if text.len() > budget {
        text.truncate(text.floor_char_boundary(budget.saturating_sub(TRUNCATED.len())));
        text.push_str(TRUNCATED);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_raw_values_are_compact_errors_are_marked() {
        assert_eq!(observation(Ok(&json!("a \"b\"\n")), 100), "a \"b\"\n");
        assert_eq!(observation(Ok(&json!({"b": 1, "a": [true, null]})), 100), r#"{"b":1,"a":[true,null]}"#);
        let error = ErrorData::new("division_by_zero", "division by zero");
        assert_eq!(observation(Err(&error), 100), "error: division by zero");
    }

    #[test]
    fn a_long_observation_is_cut_at_a_character_and_says_so() {
        let long = json!("ä".repeat(100));
        for budget in 20..200 {
            let text = observation(Ok(&long), budget);
            assert!(text.len() <= budget, "{} > {budget}", text.len());
            assert!(text.ends_with(TRUNCATED));
        }
        assert_eq!(observation(Ok(&long), 200), "ä".repeat(100));
    }

    #[test]
    fn the_budget_is_a_quarter_of_a_small_context() {
        assert_eq!(observation_budget(1024), 256);
        assert_eq!(observation_budget(0), 64);
        assert_eq!(observation_budget(131_072), 8192);
    }
}
