//! JSON as templates write it.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};
use serde_json::json;

use super::MAXIMUM_PROMPT_BYTES;

/// `json.dumps` as `transformers` gives it to templates: nothing escaped for HTML, nothing escaped that is not
/// ASCII, keys in their order.
pub(super) fn tojson(_state: &State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let sort_keys: Option<bool> = options.get("sort_keys")?;
    let ensure_ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson takes two separators"));
        }
        None if indent.is_some() => (",".to_string(), ": ".to_string()),
        None => (", ".to_string(), ": ".to_string()),
    };
    let mut json = JsonText {
        text: String::new(),
        item,
        key,
        indent: indent.map(|indent| indent.min(MAXIMUM_INDENT)),
        sort_keys: sort_keys == Some(true),
        ensure_ascii: ensure_ascii == Some(true),
    };
    json.value(value, 0)?;
    Ok(json.text)
}

/// The widest indentation of JSON: what is wider is a way to fill memory.
const MAXIMUM_INDENT: usize = 16;

/// The deepest JSON that templates may write: recursion takes stack.
const MAXIMUM_DEPTH: usize = 64;

struct JsonText {
    text: String,
    item: String,
    key: String,
    indent: Option<usize>,
    sort_keys: bool,
    ensure_ascii: bool,
}

impl JsonText {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAXIMUM_DEPTH || self.text.len() > MAXIMUM_PROMPT_BYTES {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "tojson: the value is too deep or too large",
            ));
        }
        match value.kind() {
            ValueKind::Undefined | ValueKind::None => self.text.push_str("null"),
            ValueKind::Bool => self.text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number if value.is_integer() => self.text.push_str(&value.to_string()),
            ValueKind::Number => self.number(f64::try_from(value.clone())?),
            ValueKind::Map => {
                let mut entries = Vec::new();
                for key in value.try_iter()? {
                    let entry = value.get_item(&key)?;
                    entries.push((key.as_str().map_or_else(|| key.to_string(), str::to_string), entry));
                }
                if self.sort_keys {
                    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                self.text.push('{');
                let empty = entries.is_empty();
                for (index, (key, entry)) in entries.iter().enumerate() {
                    self.separate(index, depth + 1);
                    self.string(key);
                    self.text.push_str(&self.key.clone());
                    self.value(entry, depth + 1)?;
                }
                self.close('}', empty, depth);
            }
            ValueKind::Seq | ValueKind::Iterable => {
                self.text.push('[');
                let mut empty = true;
                for (index, item) in value.try_iter()?.enumerate() {
                    empty = false;
                    self.separate(index, depth + 1);
                    self.value(&item, depth + 1)?;
                }
                self.close(']', empty, depth);
            }
            _ => match value.as_str() {
                Some(text) => self.string(text),
                None => self.string(&value.to_string()),
            },
        }
        Ok(())
    }

    fn separate(&mut self, index: usize, depth: usize) {
        if index > 0 {
            self.text.push_str(&self.item.clone());
        }
        self.line(depth);
    }

    fn close(&mut self, bracket: char, empty: bool, depth: usize) {
        if !empty {
            self.line(depth);
        }
        self.text.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    /// As Python writes it: exponents have a sign and at least two digits.
    fn number(&mut self, number: f64) {
        if number.is_nan() {
            self.text.push_str("NaN");
            return;
        }
        if number.is_infinite() {
            self.text.push_str(if number > 0.0 { "Infinity" } else { "-Infinity" });
            return;
        }
        let text = format!("{number:?}");
        match text.split_once('e') {
            Some((digits, exponent)) => {
                let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
                self.text.push_str(&format!("{digits}e{sign}{exponent:0>2}"));
            }
            None => self.text.push_str(&text),
        }
    }

    fn string(&mut self, text: &str) {
        let quoted = json!(text).to_string();
        if !self.ensure_ascii {
            self.text.push_str(&quoted);
            return;
        }
        for character in quoted.chars() {
            if character.is_ascii() {
                self.text.push(character);
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    self.text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
}
