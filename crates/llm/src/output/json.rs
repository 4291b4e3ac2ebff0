//! Calls as JSON.

use glasshouse_protocol::RejectedCall;
use serde_json::{Deserializer, Map, Value};

use super::ParsedCall;

/// Between a name and its arguments, in Mistral's form.
pub(super) const ARGUMENTS: &str = "[ARGS]";
/// Between a name and the call's id, likewise.
pub(super) const CALL_ID: &str = "[CALL_ID]";

type Calls = Vec<Result<ParsedCall, RejectedCall>>;

/// Whether `text` is the beginning of a JSON value, and not all of it.
pub(super) fn is_incomplete(text: &str) -> bool {
    matches!(serde_json::from_str::<Value>(text), Err(error) if error.is_eof()) && !text.trim().is_empty()
}

/// Whether a message that begins with `{` and was cut off may be a call: one of the first keys says so.
pub(super) fn may_be_call(body: &str) -> bool {
    ["\"name\"", "\"function\"", "\"type\""].iter().any(|key| {
        let key_begins = body.trim_start().trim_start_matches('{').trim_start();
        key_begins.starts_with(key) || key.starts_with(key_begins)
    })
}

/// The calls that JSON values say, which `;` may separate; a value may be a list of calls.
pub(super) fn calls(body: &str, tools: &[String]) -> Calls {
    let mut calls = Vec::new();
    let mut rest = body.trim();
    if rest.is_empty() {
        return vec![rejected(body, "it is empty")];
    }
    while !rest.is_empty() {
        let mut values = Deserializer::from_str(rest).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                let end = values.byte_offset();
                calls.extend(calls_of(&value, &rest[..end], tools));
                rest = rest[end..].trim_start();
                rest = rest.strip_prefix(';').unwrap_or(rest).trim_start();
            }
            Some(Err(error)) => {
                calls.push(rejected(rest, &format!("it is not valid JSON: {error}")));
                break;
            }
            None => break,
        }
    }
    calls
}

/// The calls of a text that may be anything: none if it is not of a call's form.
pub(super) fn calls_if_any(body: &str, tools: &[String]) -> Option<Calls> {
    let mut values = Deserializer::from_str(body.trim()).into_iter::<Value>();
    match values.next()? {
        Ok(value) => {
            let rest = body.trim()[values.byte_offset()..].trim_start();
            let separated = rest.is_empty() || rest.starts_with(';');
            let items = value.as_array().map_or(std::slice::from_ref(&value), Vec::as_slice);
            let is_call = separated && !items.is_empty() && items.iter().all(has_form_of_call);
            is_call.then(|| calls(body, tools))
        }
        // Text that is no JSON is no call either, unless it begins as one.
        Err(error) => {
            may_be_call(body).then(|| vec![rejected(body, &format!("it is not valid JSON: {error}"))])
        }
    }
}

/// The calls behind `[TOOL_CALLS]`: a list of objects, or a name and its arguments.
pub(super) fn mistral_calls(body: &str, tools: &[String]) -> Calls {
    let text = body.trim();
    if text.starts_with(['[', '{']) && !text.starts_with(ARGUMENTS) && !text.starts_with(CALL_ID) {
        return calls(text, tools);
    }
    let Some(start) = text.find('{') else {
        return vec![rejected(body, "it has no arguments")];
    };
    let (head, arguments) = text.split_at(start);
    let head = head.trim_end().strip_suffix(ARGUMENTS).unwrap_or(head);
    let (name, id) = match head.split_once(CALL_ID) {
        Some((name, id)) => (name.trim(), Some(id.trim().to_string())),
        None => (head.trim(), None),
    };
    let call = match serde_json::from_str(arguments) {
        Ok(arguments) => call(id, name, arguments, tools),
        Err(error) => Err(format!("its arguments are not valid JSON: {error}")),
    };
    vec![call.map_err(|reason| RejectedCall { text: text.to_string(), reason })]
}

fn calls_of(value: &Value, text: &str, tools: &[String]) -> Calls {
    let one = |value: &Value| {
        from_object(value, tools).map_err(|reason| RejectedCall { text: text.to_string(), reason })
    };
    match value {
        Value::Array(items) if items.is_empty() => vec![rejected(text, "it is an empty list")],
        Value::Array(items) => items.iter().map(one).collect(),
        value => vec![one(value)],
    }
}

/// Whether an object has the name and the arguments of a call, and nothing that calls do not have.
fn has_form_of_call(value: &Value) -> bool {
    let Some(object) = value.as_object() else { return false };
    if let Some(function) = object.get("function").filter(|function| function.is_object()) {
        return has_form_of_call(function);
    }
    let known = ["name", "arguments", "parameters", "type", "id", "function"];
    object.get("name").is_some_and(Value::is_string)
        && (object.contains_key("arguments") || object.contains_key("parameters"))
        && object.keys().all(|key| known.contains(&key.as_str()))
}

fn from_object(value: &Value, tools: &[String]) -> Result<ParsedCall, String> {
    let object = value.as_object().ok_or("it is no JSON object")?;
    let function = object.get("function").and_then(Value::as_object).unwrap_or(object);
    let name = function.get("name").and_then(Value::as_str).ok_or("it has no `name`")?;
    let arguments = function.get("arguments").or_else(|| function.get("parameters"));
    let arguments = match arguments {
        None => Value::Object(Map::new()),
        // The form of OpenAI's interface.
        Some(Value::String(text)) => serde_json::from_str(text)
            .map_err(|error| format!("its arguments are a text that is not valid JSON: {error}"))?,
        Some(arguments) => arguments.clone(),
    };
    let id = object.get("id").and_then(Value::as_str).map(str::to_string);
    call(id, name, arguments, tools)
}

/// A call, if it is one of the tools and has an object of arguments.
pub(super) fn call(
    id: Option<String>,
    name: &str,
    arguments: Value,
    tools: &[String],
) -> Result<ParsedCall, String> {
    if !tools.iter().any(|tool| tool == name) {
        return Err(format!("there is no tool named `{name}`"));
    }
    if !arguments.is_object() {
        return Err("its arguments are no JSON object".to_string());
    }
    Ok(ParsedCall { id: id.filter(|id| !id.is_empty()), name: name.to_string(), arguments })
}

pub(super) fn rejected(text: &str, reason: &str) -> Result<ParsedCall, RejectedCall> {
    Err(RejectedCall { text: text.trim().to_string(), reason: reason.to_string() })
}
