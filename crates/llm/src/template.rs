//! Renders a conversation by a model's chat template (Jinja, as `transformers` runs it).
//!
//! A template comes with the model file and what it is given comes from people and tools, so neither is trusted:
//! work and output are bounded, the clock it sees stands still, and what a message says never becomes a control
//! token.

mod date;
mod json;

use std::io;

use date::DATE;
use glasshouse_protocol::{GenerateRequest, Message, Role, ToolDescription};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value};
use regex::Regex;
use serde_json::{Map, json};

use json::tojson;

use crate::LlmError;
use crate::output::OutputForm;
use crate::tokenizer::{Breaker, Segment, Tokenizer};

/// The largest template source: published ones have up to 30 kB.
const MAXIMUM_SOURCE_BYTES: usize = 1 << 20;

/// Instructions that one rendering may execute. A long conversation takes some hundred thousand; a template that
/// loops for long is stopped within a second.
const MAXIMUM_FUEL: u64 = 5_000_000;

/// The largest rendered prompt: far more than any context holds, little enough to tokenize in passing.
const MAXIMUM_PROMPT_BYTES: usize = 16 << 20;

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
    /// Whether it has one for the calls that they answer.
    knows_calls: bool,
    form: OutputForm,
}

/// What a template renders.
#[derive(Debug, Clone, Copy)]
pub struct Conversation<'a> {
    /// The messages so far.
    pub messages: &'a [Message],
    /// The tools on offer.
    pub tools: &'a [ToolDescription],
    /// Further variables of the template; the names in [`VARIABLES`] are taken.
    pub variables: &'a Map<String, serde_json::Value>,
}

impl<'a> Conversation<'a> {
    /// That of a request.
    pub fn of(request: &'a GenerateRequest) -> Self {
        Self { messages: &request.messages, tools: &request.tools, variables: &request.template_variables }
    }
}

/// The variables that every template is given.
pub const VARIABLES: [&str; 5] = ["messages", "tools", "add_generation_prompt", "bos_token", "eos_token"];

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
            knows_calls: source.contains("tool_calls"),
            form: OutputForm::new(source, tokenizer),
        })
    }

    /// How the model writes reasoning and calls.
    pub fn output_form(&self) -> &OutputForm {
        &self.form
    }

    /// The prompt that asks for the next assistant message. It begins with the token that the model wants at the
    /// beginning of every text, if any.
    ///
    /// # Errors
    /// [`LlmError::Template`] when the template fails or refuses the conversation; [`LlmError::InvalidRequest`]
    /// when there is nothing to render, or a variable has a name that is taken.
    pub fn render(
        &self,
        tokenizer: &Tokenizer,
        conversation: &Conversation<'_>,
    ) -> Result<Vec<Segment>, LlmError> {
        let Conversation { messages, tools, variables } = *conversation;
        if messages.is_empty() {
            return Err(LlmError::InvalidRequest {
                message: "there are no messages; send at least one".to_string(),
            });
        }
        if let Some(name) = VARIABLES.into_iter().find(|name| variables.contains_key(*name)) {
            return Err(LlmError::InvalidRequest {
                message: format!("the template variable `{name}` is the conversation's own; leave it out"),
            });
        }
        let breaker = {
            // All that is said, as JSON, which leaves the characters that could break as they are.
            let said = json!([messages, tools, variables]).to_string();
            Breaker::for_inputs([said.as_str(), self.source.as_str()].into_iter())?
        };
        let guard = |text: &str| tokenizer.guard(text, breaker).into_owned();
        let mut context = json!({
            "messages": messages.iter().map(|message| self.message(message, &guard)).collect::<Vec<_>>(),
            "tools": match tools {
                [] => serde_json::Value::Null,
                tools => tools.iter().map(|tool| self.tool(tool, &guard)).collect(),
            },
            "add_generation_prompt": true,
            "bos_token": self.begin_text,
            "eos_token": self.end_text,
        });
        for (name, value) in variables {
            context[name] = guard_strings(value, &guard);
        }
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

impl ChatTemplate {
    /// A message as `transformers` gives it to templates: what it does not have is no key of it.
    fn message(&self, message: &Message, guard: &impl Fn(&str) -> String) -> serde_json::Value {
        let Message { role, content, reasoning, tool_calls, tool_call_id, name } = message;
        if *role == Role::Tool && !self.knows_tools {
            return json!({ "role": "user", "content": guard(&format!("Observation: {content}")) });
        }
        let mut value = json!({ "role": role, "content": guard(content) });
        if !tool_calls.is_empty() && self.knows_calls {
            let calls = tool_calls.iter().map(|call| {
                let arguments = guard_strings(&call.arguments, guard);
                let function = json!({ "name": guard(&call.name), "arguments": arguments });
                json!({ "type": "function", "id": guard(&call.id), "function": function })
            });
            value["tool_calls"] = calls.collect();
        } else if !tool_calls.is_empty() {
            value["content"] = guard(&self.form.with_calls(content, tool_calls)).into();
        }
        for (key, text) in [("reasoning_content", reasoning), ("tool_call_id", tool_call_id), ("name", name)]
        {
            if let Some(text) = text {
                value[key] = guard(text).into();
            }
        }
        value
    }

    /// A tool as the template expects it.
    fn tool(&self, tool: &ToolDescription, guard: &impl Fn(&str) -> String) -> serde_json::Value {
        let function = json!({
            "name": guard(&tool.name),
            "description": guard(&tool.description),
            "parameters": guard_strings(&tool.parameters, guard),
        });
        // Templates of published models take tools in the form of OpenAI's interface.
        if self.source.contains("function") {
            json!({ "type": "function", "function": function })
        } else {
            function
        }
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

#[cfg(test)]
mod tests;
