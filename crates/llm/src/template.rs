//! Renders a conversation by a model's chat template (Jinja, as `transformers` runs it).
//!
//! A template comes with the model file and what it is given comes from people and tools, so neither is trusted:
//! work and output are bounded, the clock it sees stands still, and what a message says never becomes a control
//! token.

use std::io;

use glasshouse_protocol::{Message, Role, ToolDescription};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use regex::Regex;
use serde_json::json;

use crate::LlmError;
use crate::tokenizer::{Breaker, Segment, Tokenizer};

/// The largest template source: published ones have up to 30 kB.
const MAXIMUM_SOURCE_BYTES: usize = 1 << 20;

/// Instructions that one rendering may execute. A long conversation takes some hundred thousand; a template that
/// loops for long is stopped within a second.
const MAXIMUM_FUEL: u64 = 5_000_000;

/// The largest rendered prompt: far more than any context holds, little enough to tokenize in passing.
const MAXIMUM_PROMPT_BYTES: usize = 16 << 20;

/// What `strftime_now` tells: the same on every host and day, or else no run could be replayed.
const DATE: Date = Date { year: 2026, month: 1, day: 1, weekday: 4 };

/// The name under which the template stands in its environment; it has no extension, so nothing is escaped.
const NAME: &str = "chat_template";

/// For vocabularies with `<|im_start|>` and no template of their own.
const CHATML: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n\
    {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// For vocabularies with `<|start_header_id|>` and no template of their own.
const LLAMA3: &str = "{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n\
    {{ message.content }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant\
    <|end_header_id|>\n\n{% endif %}";

/// For models that were never taught a conversation's form.
const PLAIN: &str = "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}\n\
    {% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}";

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    begin_text: String,
    end_text: String,
    /// Whether the template has a place for tools' observations.
    knows_tools: bool,
}

impl ChatTemplate {
    /// The template with this source; without one, a form that fits the vocabulary.
    ///
    /// # Errors
    /// [`LlmError::Template`] when the source is not a template.
    pub fn new(source: Option<&str>, tokenizer: &Tokenizer) -> Result<Self, LlmError> {
        let source = source.unwrap_or_else(|| fallback(tokenizer));
        if source.len() > MAXIMUM_SOURCE_BYTES {
            return Err(LlmError::Template {
                message: format!(
                    "its source has {} bytes, more than the {MAXIMUM_SOURCE_BYTES} allowed",
                    source.len()
                ),
            });
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| failure(&error))?);
        environment.set_fuel(Some(MAXIMUM_FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", |format: &str| DATE.format(format));
        environment
            .add_template_owned(NAME, without_generation_tags(source)?)
            .map_err(|error| failure(&error))?;
        let text =
            |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default().to_string();
        Ok(Self {
            environment,
            source: source.to_string(),
            begin_text: text(tokenizer.begin_token()),
            end_text: text(tokenizer.end_token()),
            knows_tools: source.contains("tool"),
        })
    }

    /// The prompt that asks for the next assistant message. It begins with the token that the model wants at the
    /// beginning of every text, if any.
    ///
    /// # Errors
    /// [`LlmError::Template`] when the template fails or refuses the conversation; [`LlmError::InvalidRequest`]
    /// when there is nothing to render.
    pub fn render(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        tools: &[ToolDescription],
    ) -> Result<Vec<Segment>, LlmError> {
        if messages.is_empty() {
            return Err(LlmError::InvalidRequest {
                message: "there are no messages; send at least one".to_string(),
            });
        }
        let schemas: Vec<String> = tools.iter().map(|tool| tool.parameters.to_string()).collect();
        let breaker = Breaker::for_inputs(
            messages
                .iter()
                .map(|message| message.content.as_str())
                .chain(tools.iter().flat_map(|tool| [tool.name.as_str(), tool.description.as_str()]))
                .chain(schemas.iter().map(String::as_str))
                .chain([self.source.as_str()]),
        )?;
        let guard = |text: &str| tokenizer.guard(text, breaker).into_owned();
        let messages: Vec<serde_json::Value> = messages
            .iter()
            .map(|message| match message.role {
                Role::Tool if !self.knows_tools => {
                    json!({ "role": "user", "content": guard(&format!("Observation: {}", message.content)) })
                }
                role => json!({ "role": role, "content": guard(&message.content) }),
            })
            .collect();
        let tools: Vec<serde_json::Value> = tools
            .iter()
            .map(|tool| {
                let function = json!({
                    "name": guard(&tool.name),
                    "description": guard(&tool.description),
                    "parameters": guard_strings(&tool.parameters, &guard),
                });
                // Templates of published models take tools in the form of OpenAI's interface.
                if self.source.contains("function") {
                    json!({ "type": "function", "function": function })
                } else {
                    function
                }
            })
            .collect();
        let context = json!({
            "messages": messages,
            "tools": if tools.is_empty() { serde_json::Value::Null } else { tools.into() },
            "add_generation_prompt": true,
            "bos_token": self.begin_text,
            "eos_token": self.end_text,
        });
        let mut output = Bounded::default();
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render_captured_to(Serde(context), &mut output).map(drop))
            .map_err(|error| output.failure().unwrap_or_else(|| failure(&error)))?;
        let rendered = String::from_utf8_lossy(&output.bytes);
        let mut segments = tokenizer.segments(&rendered, breaker);
        if let Some(begin) = tokenizer.added_begin()
            && segments.first() != Some(&Segment::Control(begin))
        {
            segments.insert(0, Segment::Control(begin));
        }
        if segments.is_empty() {
            return Err(LlmError::InvalidRequest {
                message: "the prompt is empty; send a message with text".to_string(),
            });
        }
        Ok(segments)
    }
}

fn fallback(tokenizer: &Tokenizer) -> &'static str {
    if tokenizer.token_with_text("<|im_start|>").is_some() {
        CHATML
    } else if tokenizer.token_with_text("<|start_header_id|>").is_some() {
        LLAMA3
    } else {
        PLAIN
    }
}

/// `{% generation %}` marks what a model is trained on and changes nothing that is rendered.
fn without_generation_tags(source: &str) -> Result<String, LlmError> {
    if !source.contains("generation") {
        return Ok(source.to_string());
    }
    let tag =
        |pattern| Regex::new(pattern).map_err(|error| LlmError::Template { message: error.to_string() });
    let begin = tag(r"\{%(-?)\s*generation\s*(-?)%\}")?;
    let end = tag(r"\{%(-?)\s*endgeneration\s*(-?)%\}")?;
    let opened = begin.replace_all(source, "{%${1} if true ${2}%}");
    Ok(end.replace_all(&opened, "{%${1} endif ${2}%}").into_owned())
}

/// `value` with `guard` applied to every text in it.
fn guard_strings(value: &serde_json::Value, guard: &impl Fn(&str) -> String) -> serde_json::Value {
    match value {
        serde_json::Value::String(text) => guard(text).into(),
        serde_json::Value::Array(items) => items.iter().map(|item| guard_strings(item, guard)).collect(),
        serde_json::Value::Object(entries) => {
            entries.iter().map(|(key, value)| (guard(key), guard_strings(value, guard))).collect()
        }
        other => other.clone(),
    }
}

fn failure(error: &Error) -> LlmError {
    let mut message = error.detail().map_or_else(|| error.kind().to_string(), str::to_string);
    if let Some(line) = error.line() {
        message.push_str(&format!(" (line {line})"));
    }
    LlmError::Template { message }
}

fn raise_exception(message: &str) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.to_string()))
}

/// Takes what a template writes, up to a limit.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    full: bool,
}

impl Bounded {
    fn failure(&self) -> Option<LlmError> {
        self.full.then(|| LlmError::Template {
            message: format!("it wrote more than {MAXIMUM_PROMPT_BYTES} bytes; shorten the conversation"),
        })
    }
}

impl io::Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > MAXIMUM_PROMPT_BYTES - self.bytes.len() {
            self.full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A day, for `strftime_now`.
struct Date {
    year: u32,
    month: usize,
    day: u32,
    /// Days since Sunday.
    weekday: usize,
}

impl Date {
    /// Midnight of the day in a format of C's `strftime`; what it does not know stays as written.
    fn format(&self, format: &str) -> String {
        const MONTHS: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        const DAYS: [&str; 7] =
            ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
        let month = MONTHS[self.month - 1];
        let weekday = DAYS[self.weekday];
        let mut text = String::new();
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                text.push(character);
                continue;
            }
            match characters.next() {
                Some('Y') => text.push_str(&self.year.to_string()),
                Some('y') => text.push_str(&format!("{:02}", self.year % 100)),
                Some('m') => text.push_str(&format!("{:02}", self.month)),
                Some('d') => text.push_str(&format!("{:02}", self.day)),
                Some('e') => text.push_str(&format!("{:2}", self.day)),
                Some('B') => text.push_str(month),
                Some('b' | 'h') => text.push_str(&month[..3]),
                Some('A') => text.push_str(weekday),
                Some('a') => text.push_str(&weekday[..3]),
                Some('F') => text.push_str(&format!("{}-{:02}-{:02}", self.year, self.month, self.day)),
                Some('H' | 'M' | 'S') => text.push_str("00"),
                Some('I') => text.push_str("12"),
                Some('p') => text.push_str("AM"),
                Some('T') => text.push_str("00:00:00"),
                Some('%') => text.push('%'),
                Some(other) => text.extend(['%', other]),
                None => text.push('%'),
            }
        }
        text
    }
}

/// `json.dumps` as `transformers` gives it to templates: nothing escaped for HTML, nothing escaped that is not
/// ASCII, keys in their order.
fn tojson(_state: &State, value: &Value, options: Kwargs) -> Result<String, Error> {
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

#[cfg(test)]
mod tests;
