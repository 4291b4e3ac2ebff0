//! Calls as Python: `name(key=value, …)` with literals for values, as Gemma writes them.

use glasshouse_protocol::RejectedCall;
use serde_json::{Map, Number, Value};

use super::{
    ParsedCall,
    json::{call, rejected},
};

/// The deepest nesting of lists and dictionaries: reading them is recursive.
const MAXIMUM_DEPTH: usize = 64;

/// The calls of a block: one in each statement, alone, in a list or as the argument of `print`.
pub(super) fn calls(body: &str, tools: &[String]) -> Vec<Result<ParsedCall, RejectedCall>> {
    let mut reader = Reader { rest: body.trim() };
    let mut calls = Vec::new();
    loop {
        let before = reader.rest;
        match reader.statement(tools, &mut calls) {
            Ok(()) => reader.blank(&[' ', '\t', '\r', '\n', ';']),
            Err(reason) => {
                calls.push(rejected(before, &reason));
                return calls;
            }
        }
        if reader.rest.is_empty() {
            return calls;
        }
    }
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn blank(&mut self, characters: &[char]) {
        self.rest = self.rest.trim_start_matches(characters);
    }

    /// Takes `text` and the white space before it, if it comes next.
    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.trim_start();
        match rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, text: &str) -> Result<(), String> {
        if self.take(text) { Ok(()) } else { Err(self.problem(&format!("`{text}`"))) }
    }

    fn problem(&self, expected: &str) -> String {
        let found: String = self.rest.trim_start().chars().take(20).collect();
        match found.is_empty() {
            true => format!("{expected} is missing at its end"),
            false => format!("{expected} is expected at `{found}`"),
        }
    }

    fn name(&mut self) -> Option<&'t str> {
        let rest = self.rest.trim_start();
        let length = rest
            .find(|character: char| !(character.is_alphanumeric() || "_.".contains(character)))
            .unwrap_or(rest.len());
        if length == 0 || rest.starts_with(|character: char| character.is_ascii_digit() || character == '.') {
            return None;
        }
        self.rest = &rest[length..];
        Some(&rest[..length])
    }

    fn statement(
        &mut self,
        tools: &[String],
        calls: &mut Vec<Result<ParsedCall, RejectedCall>>,
    ) -> Result<(), String> {
        if self.take("[") {
            loop {
                self.call(tools, calls)?;
                if !self.take(",") {
                    return self.expect("]");
                }
            }
        }
        self.call(tools, calls)
    }

    fn call(
        &mut self,
        tools: &[String],
        calls: &mut Vec<Result<ParsedCall, RejectedCall>>,
    ) -> Result<(), String> {
        let start = self.rest.trim_start();
        let name = self.name().ok_or_else(|| self.problem("a call"))?;
        self.expect("(")?;
        if name == "print" && !tools.iter().any(|tool| tool == name) {
            self.call(tools, calls)?;
            return self.expect(")");
        }
        let mut arguments = Map::new();
        while !self.take(")") {
            let key = self.name().ok_or_else(|| self.problem("an argument's name"))?;
            self.expect("=")?;
            arguments.insert(key.to_string(), self.value(0)?);
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        let text = &start[..start.len() - self.rest.len()];
        let made = call(None, name, Value::Object(arguments), tools);
        calls.push(made.map_err(|reason| RejectedCall { text: text.to_string(), reason }));
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MAXIMUM_DEPTH {
            return Err("its arguments are nested too deeply".to_string());
        }
        self.rest = self.rest.trim_start();
        if let Some(bracket) = ["[", "("].into_iter().find(|bracket| self.take(bracket)) {
            let closing = if bracket == "[" { "]" } else { ")" };
            let mut items = Vec::new();
            while !self.take(closing) {
                items.push(self.value(depth + 1)?);
                if !self.take(",") {
                    self.expect(closing)?;
                    break;
                }
            }
            return Ok(Value::Array(items));
        }
        if self.take("{") {
            let mut entries = Map::new();
            while !self.take("}") {
                let Value::String(key) = self.value(depth + 1)? else {
                    return Err("a key of a dictionary is no text".to_string());
                };
                self.expect(":")?;
                entries.insert(key, self.value(depth + 1)?);
                if !self.take(",") {
                    self.expect("}")?;
                    break;
                }
            }
            return Ok(Value::Object(entries));
        }
        if self.rest.starts_with(['"', '\'']) {
            return self.string().map(Value::String);
        }
        if let Some(number) = self.number() {
            return number;
        }
        match self.name() {
            Some("True" | "true") => Ok(Value::Bool(true)),
            Some("False" | "false") => Ok(Value::Bool(false)),
            Some("None" | "null") => Ok(Value::Null),
            _ => Err(self.problem("a literal")),
        }
    }

    fn number(&mut self) -> Option<Result<Value, String>> {
        let length = self
            .rest
            .find(|character: char| !(character.is_ascii_alphanumeric() || "+-._".contains(character)))
            .unwrap_or(self.rest.len());
        let text = &self.rest[..length];
        text.starts_with(|character: char| character.is_ascii_digit() || "+-.".contains(character)).then(
            || {
                let digits = text.replace('_', "");
                let digits = digits.strip_prefix('+').unwrap_or(&digits);
                let whole = digits.parse::<i64>().map(Number::from);
                let number = whole.ok().or_else(|| digits.parse().ok().and_then(Number::from_f64));
                self.rest = &self.rest[length..];
                number.map(Value::Number).ok_or_else(|| format!("`{text}` is no number"))
            },
        )
    }

    /// A string in quotes of either kind, one or three of them.
    fn string(&mut self) -> Result<String, String> {
        let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| self.take(quote)).unwrap_or("\"");
        let mut text = String::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix(quote) {
                self.rest = rest;
                return Ok(text);
            }
            let mut characters = self.rest.chars();
            match characters.next() {
                None => return Err("a text in it does not end".to_string()),
                Some('\\') => {
                    self.rest = characters.as_str();
                    text.push_str(&self.escape()?);
                }
                Some(character) => {
                    self.rest = characters.as_str();
                    text.push(character);
                }
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<String, String> {
        let mut characters = self.rest.chars();
        let kind = characters.next().ok_or("a text in it does not end")?;
        self.rest = characters.as_str();
        let digits = match kind {
            'n' => return Ok("\n".to_string()),
            't' => return Ok("\t".to_string()),
            'r' => return Ok("\r".to_string()),
            '\n' => return Ok(String::new()),
            '\\' | '\'' | '"' => return Ok(kind.to_string()),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            // As Python does with what it does not know.
            other => return Ok(format!("\\{other}")),
        };
        let code = self.rest.get(..digits).and_then(|code| u32::from_str_radix(code, 16).ok());
        let character = code.and_then(char::from_u32).ok_or_else(|| format!("`\\{kind}` is no character"))?;
        self.rest = &self.rest[digits..];
        Ok(character.to_string())
    }
}
