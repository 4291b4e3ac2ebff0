use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::tokenizer::testing::{data, texts};
use crate::tokenizer::{Tokenizer, TokenizerData};

const TOOLS: [&str; 2] = ["get_time", "calculate"];

/// A vocabulary with these control tokens.
fn tokenizer(control: &[&str]) -> Tokenizer {
    let texts: Vec<String> = texts().into_iter().chain(control.iter().map(|text| text.to_string())).collect();
    let plain = data(&texts);
    let types = [plain.types.clone().unwrap(), vec![3; control.len()]].concat();
    Tokenizer::new(&TokenizerData { types: Some(types), ..plain }).unwrap()
}

fn form(template: &str, control: &[&str]) -> OutputForm {
    OutputForm::new(template, &tokenizer(control))
}

fn hermes() -> OutputForm {
    form("<think><tool_call>", &[])
}

/// Everything that came of an output.
#[derive(Debug, PartialEq)]
struct Parsed {
    content: String,
    reasoning: Option<String>,
    calls: Vec<(String, Value)>,
    rejected: Vec<(String, String)>,
}

fn parser(form: &OutputForm, prompt_end: &str) -> OutputParser {
    OutputParser::new(form.clone(), TOOLS.map(str::to_string).to_vec(), prompt_end)
}

fn outcome(parser: &OutputParser) -> Parsed {
    Parsed {
        content: parser.content().to_string(),
        reasoning: parser.reasoning().map(str::to_string),
        calls: parser.calls().iter().map(|call| (call.name.clone(), call.arguments.clone())).collect(),
        rejected: parser.rejected().iter().map(|call| (call.text.clone(), call.reason.clone())).collect(),
    }
}

/// Pushes `text` in pieces that end at `cuts`; texts in `control` are control tokens.
fn parse_in_pieces(
    mut parser: OutputParser,
    text: &str,
    control: &[&str],
    cuts: &[usize],
    is_whole: bool,
) -> Parsed {
    let mut shown = (String::new(), String::new());
    let mut rest = text;
    while !rest.is_empty() {
        let next = control.iter().filter_map(|mark| Some((rest.find(mark)?, *mark))).min();
        let (plain, mark) = next.map_or((rest, None), |(position, mark)| (&rest[..position], Some(mark)));
        let offset = text.len() - rest.len();
        let mut ends: Vec<usize> = cuts
            .iter()
            .filter_map(|cut| cut.checked_sub(offset))
            .filter(|cut| *cut < plain.len() && plain.is_char_boundary(*cut))
            .chain([plain.len()])
            .collect();
        ends.sort_unstable();
        let mut start = 0;
        for end in ends {
            parser.push(&plain[start..end]);
            start = end;
            // What was given stays.
            assert!(parser.content().starts_with(&shown.0));
            assert!(parser.reasoning().unwrap_or_default().starts_with(&shown.1));
            shown = (parser.content().to_string(), parser.reasoning().unwrap_or_default().to_string());
        }
        rest = &rest[plain.len()..];
        if let Some(mark) = mark {
            parser.push_control(mark);
            rest = &rest[mark.len()..];
        }
    }
    parser.finish(is_whole);
    assert!(parser.content().starts_with(&shown.0));
    outcome(&parser)
}

fn parse(form: &OutputForm, text: &str) -> Parsed {
    parse_in_pieces(parser(form, ""), text, &[], &[], true)
}

fn says(content: &str, calls: &[(&str, Value)]) -> Parsed {
    let calls = calls.iter().map(|(name, arguments)| (name.to_string(), arguments.clone())).collect();
    Parsed { content: content.to_string(), reasoning: None, calls, rejected: vec![] }
}

#[test]
fn hermes_calls_stand_between_tags() {
    let hermes = hermes();
    let call =
        "<tool_call>\n{\"name\": \"calculate\", \"arguments\": {\"expression\": \"1+1\"}}\n</tool_call>";
    let made = ("calculate", json!({"expression": "1+1"}));
    assert_eq!(parse(&hermes, call), says("", std::slice::from_ref(&made)));
    assert_eq!(
        parse(&hermes, &format!("Let me see.\n\n{call}\n{call}\n")),
        says("Let me see.", &[made.clone(), made.clone()])
    );
    assert_eq!(parse(&hermes, &format!("{call} Done.")), says("Done.", std::slice::from_ref(&made)));
    // The text goes on as it was written, in whatever pieces it comes.
    let text = format!("Hm.\n{call}\nDone. So. \n");
    for cuts in [vec![], (0..text.len()).collect()] {
        let parsed = parse_in_pieces(parser(&hermes, ""), &text, &[], &cuts, true);
        assert_eq!(parsed, says("Hm.\nDone. So.", std::slice::from_ref(&made)));
    }
    // The tag within a text of the arguments is no tag.
    let tricky =
        "<tool_call>{\"name\":\"calculate\",\"arguments\":{\"expression\":\"</tool_call>\"}}</tool_call>x";
    assert_eq!(parse(&hermes, tricky), says("x", &[("calculate", json!({"expression": "</tool_call>"}))]));
    // A model that ends its turn without the tag has still made the whole call.
    assert_eq!(parse(&hermes, call.strip_suffix("</tool_call>").unwrap()), says("", &[made]));
    assert_eq!(parse(&hermes, "a <tool b < c"), says("a <tool b < c", &[]));
    assert_eq!(parse(&hermes, "{\"name\":\"get_time\",\"arguments\":{}}").calls, []);
}

#[test]
fn calls_that_are_cut_off_or_invalid_are_rejected() {
    let hermes = hermes();
    let rejected = |text: &str, is_whole| {
        let parsed = parse_in_pieces(parser(&hermes, ""), text, &[], &[], is_whole);
        assert_eq!((parsed.calls.len(), parsed.content.as_str()), (0, "Hm."), "{text}");
        parsed.rejected[0].1.clone()
    };
    let whole = "Hm. <tool_call>{\"name\": \"get_time\", \"arguments\": {}}</tool_call>";
    for length in "Hm. <tool_call>".len()..whole.len() - "</tool_call>".len() + 1 {
        assert!(rejected(&whole[..length], false).contains("cut off"), "{length}");
    }
    assert!(rejected("Hm. <tool_call>{\"name\": \"get_time\"", true).contains("not valid JSON"));
    assert!(rejected("Hm. <tool_call>{\"name\": get_time}</tool_call>", true).contains("not valid JSON"));
    assert!(rejected("Hm. <tool_call></tool_call>", true).contains("empty"));
    assert!(rejected("Hm. <tool_call>[]</tool_call>", true).contains("empty"));
    assert!(rejected("Hm. <tool_call>7</tool_call>", true).contains("no JSON object"));
    assert!(rejected("Hm. <tool_call>{\"arguments\": {}}</tool_call>", true).contains("no `name`"));
    assert!(
        rejected("Hm. <tool_call>{\"name\": \"rm\", \"arguments\": {}}</tool_call>", true)
            .contains("no tool named `rm`")
    );
    assert!(
        rejected("Hm. <tool_call>{\"name\": \"get_time\", \"arguments\": 7}</tool_call>", true)
            .contains("no JSON object")
    );
    let mixed = format!("{whole}<tool_call>{{</tool_call>");
    let parsed = parse_in_pieces(parser(&hermes, ""), &mixed, &[], &[], false);
    assert_eq!((parsed.calls.len(), parsed.rejected.len()), (1, 1));
}

#[test]
fn reasoning_is_apart_from_the_text() {
    let hermes = hermes();
    let with = |reasoning: &str, content: &str| Parsed {
        reasoning: Some(reasoning.to_string()),
        ..says(content, &[])
    };
    assert_eq!(parse(&hermes, "<think>\nWell,\nso.\n</think>\n\nYes. "), with("Well,\nso.", "Yes. "));
    assert_eq!(parse(&hermes, "\n<think></think>Yes"), with("", "Yes"));
    assert_eq!(parse(&hermes, "<think>I was"), with("I was", ""));
    assert_eq!(parse(&hermes, "<thi"), says("<thi", &[]));
    assert_eq!(parse(&hermes, "Use <think> here"), says("Use <think> here", &[]));
    // The template may open it, and the model leave it open.
    let opened = |text: &str| {
        parse_in_pieces(parser(&hermes, "<|im_start|>assistant\n<think>\n"), text, &[], &[], true)
    };
    assert_eq!(opened("So.\n</think>\n\nYes"), with("So.", "Yes"));
    assert_eq!(opened("So."), with("So.", ""));
    let closed = parse_in_pieces(parser(&hermes, "<think>\n\n</think>\n\n"), "Yes", &[], &[], true);
    assert_eq!(closed, says("Yes", &[]));
    // A call behind it.
    let parsed = parse(&hermes, "<think>x</think>\n<tool_call>{\"name\":\"get_time\"}</tool_call>");
    assert_eq!((parsed.reasoning.as_deref(), parsed.calls.len()), (Some("x"), 1));
    // What is thought of is not called.
    let parsed = parse(&hermes, "<think><tool_call>{\"name\":\"get_time\"}</tool_call></think>No");
    assert_eq!((parsed.content.as_str(), parsed.calls.len()), ("No", 0));
}

#[test]
fn llama_calls_are_the_whole_message_or_behind_the_python_tag() {
    let llama = form("ipython", &["<|python_tag|>"]);
    assert_eq!(llama.call_form(), CallForm::Llama);
    let time = ("get_time", json!({}));
    assert_eq!(
        parse(&llama, "{\"name\": \"get_time\", \"parameters\": {}}"),
        says("", std::slice::from_ref(&time))
    );
    let two = "{\"type\": \"function\", \"name\": \"get_time\", \"parameters\": {}}; {\"name\": \"calculate\", \"parameters\": {\"expression\": \"2\"}}";
    let made = [time.clone(), ("calculate", json!({"expression": "2"}))];
    assert_eq!(parse(&llama, two), says("", &made));
    let control = ["<|python_tag|>"];
    let tagged =
        parse_in_pieces(parser(&llama, ""), &format!("Hm. <|python_tag|>{two}"), &control, &[], true);
    assert_eq!(tagged, says("Hm.", &made));
    // Spelled out, it is text: only the token calls.
    let spelled = format!("Hm. <|python_tag|>{two}");
    assert_eq!(parse(&llama, &spelled), says(&spelled, &[]));
    // JSON that is no call is text.
    for text in [
        "{\"answer\": 42}",
        " {\"name\": \"Ada\", \"age\": 36}",
        "{x",
        "{\"name\": \"get_time\", \"parameters\": {}} is a call",
        "{\"name\": \"get_time\"}",
    ] {
        let parsed = parse(&llama, text);
        assert_eq!((parsed.content.trim_start(), parsed.calls.len()), (text.trim_start(), 0), "{parsed:?}");
    }
    let parsed = parse_in_pieces(parser(&llama, ""), "{\"name\": \"get_time\", \"para", &[], &[], false);
    assert_eq!((parsed.content.as_str(), parsed.calls.len(), parsed.rejected.len()), ("", 0, 1));
    let parsed = parse_in_pieces(parser(&llama, ""), "{\"answer\": 42", &[], &[], false);
    assert_eq!(parsed, says("{\"answer\": 42", &[]));
}

#[test]
fn mistral_calls_stand_behind_their_token() {
    let mistral = form("[AVAILABLE_TOOLS]", &["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"]);
    assert_eq!(mistral.call_form(), CallForm::Mistral);
    let control = ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"];
    let parse = |text: &str| {
        let mut parser = parser(&mistral, "");
        let parsed = parse_in_pieces(parser.clone(), text, &control, &[], true);
        parser.push(text);
        parser.finish(true);
        assert_eq!(parser.content(), text, "without the token, it is text");
        parsed
    };
    let (time, two) = (("get_time", json!({})), ("calculate", json!({"expression": "2"})));
    assert_eq!(
        parse(
            "Hm.[TOOL_CALLS][{\"name\": \"get_time\", \"arguments\": {}, \"id\": \"abc\"}, {\"name\": \"calculate\", \"arguments\": {\"expression\": \"2\"}}]"
        ),
        says("Hm.", &[time.clone(), two.clone()])
    );
    assert_eq!(
        parse("[TOOL_CALLS]get_time[ARGS]{}[TOOL_CALLS]calculate[CALL_ID]x1[ARGS]{\"expression\": \"2\"}"),
        says("", &[time.clone(), two.clone()])
    );
    assert_eq!(parse("[TOOL_CALLS]get_time{}"), says("", &[time]));
    for (text, reason) in [
        ("[TOOL_CALLS]get_time", "no arguments"),
        ("[TOOL_CALLS]get_time[ARGS]{", "not valid JSON"),
        ("[TOOL_CALLS]rm[ARGS]{}", "no tool named"),
        ("[TOOL_CALLS][{\"name\": \"get_time\"", "not valid JSON"),
    ] {
        let parsed = parse(text);
        assert!(parsed.calls.is_empty() && parsed.rejected[0].1.contains(reason), "{parsed:?}");
    }
    let mut ids = parser(&mistral, "");
    ids.push_control("[TOOL_CALLS]");
    ids.push("[{\"name\": \"get_time\", \"id\": \"abc\"}]");
    ids.finish(true);
    assert_eq!(ids.calls()[0].id.as_deref(), Some("abc"));
    // Cut off, none of it counts, whole as it looks.
    let cut = parse_in_pieces(parser(&mistral, ""), "[TOOL_CALLS]get_time[ARGS]{}", &control, &[], false);
    assert_eq!((cut.calls.len(), cut.rejected.len()), (0, 1));
}

#[test]
fn gemma_calls_are_python_or_json_in_a_block() {
    let gemma = form("<start_of_turn>", &[]);
    assert_eq!(gemma.call_form(), CallForm::Gemma);
    let (time, two) = (("get_time", json!({})), ("calculate", json!({"expression": "2"})));
    for text in [
        "Hm.\n```tool_code\nget_time()\n```",
        "Hm.\n```tool_code\nprint(get_time())\n```\n",
        "Hm.\n```json\n{\"name\": \"get_time\", \"parameters\": {}}\n```",
    ] {
        assert_eq!(parse(&gemma, text), says("Hm.", std::slice::from_ref(&time)), "{text}");
    }
    let both = "```tool_code\nget_time()\nprint(calculate(expression='2'))\n```";
    assert_eq!(parse(&gemma, both), says("", &[time.clone(), two.clone()]));
    assert_eq!(
        parse(&gemma, "```tool_code\n[get_time(), calculate(expression=\"2\",)]\n```"),
        says("", &[time.clone(), two])
    );
    let values = "```tool_code\ncalculate(a=-1, b=2.5, c=[1, 'x', None], d={'k': True}, e='it\\'s\\n\\u00e9', f=1_000, g=())\n```";
    assert_eq!(
        parse(&gemma, values).calls[0].1,
        json!({"a": -1, "b": 2.5, "c": [1, "x", null], "d": {"k": true}, "e": "it's\né", "f": 1000, "g": []})
    );
    for (code, reason) in [
        ("get_time(", "missing at its end"),
        ("get_time(1)", "an argument's name"),
        ("x = 1", "`(` is expected"),
        ("rm(path='/')", "no tool named"),
        ("calculate(expression=1+1)", "is no number"),
        ("calculate(expression=f(1))", "a literal"),
        ("calculate(expression='x)", "does not end"),
        ("", "a call"),
    ] {
        let parsed = parse(&gemma, &format!("```tool_code\n{code}\n```"));
        assert!(parsed.calls.is_empty() && parsed.rejected[0].1.contains(reason), "{parsed:?}");
    }
    // A block of JSON that is no call, and any other block, is text.
    for text in
        ["See:\n```json\n{\"a\": 1}\n```\nThere.", "```python\nget_time()\n```", "```js", "a\n```json\n{}"]
    {
        assert_eq!(parse(&gemma, text), says(text, &[]));
    }
    let deep = format!("```tool_code\ncalculate(x={})\n```", "[".repeat(10_000));
    assert!(parse(&gemma, &deep).rejected[0].1.contains("too deeply"));
}

#[test]
fn plain_json_is_a_call_where_it_is_the_whole_message_or_a_block() {
    let plain = form("tool", &[]);
    assert_eq!(plain.call_form(), CallForm::Json);
    let made = [("get_time", json!({}))];
    assert_eq!(parse(&plain, "{\"name\":\"get_time\",\"arguments\":{}}"), says("", &made));
    assert_eq!(parse(&plain, "{\"function\":{\"name\":\"get_time\",\"arguments\":\"{}\"}}"), says("", &made));
    assert_eq!(
        parse(&plain, "So:\n```json\n{\"name\":\"get_time\",\"arguments\":{}}\n```"),
        says("So:", &made)
    );
}

#[test]
fn without_tools_nothing_is_a_call() {
    for (form, text) in [
        (hermes(), "<tool_call>{\"name\":\"get_time\"}</tool_call>"),
        (form("tool", &[]), "{\"name\":\"get_time\",\"arguments\":{}}"),
    ] {
        let parsed = parse_in_pieces(OutputParser::new(form, vec![], ""), text, &[], &[], true);
        assert_eq!(parsed, says(text, &[]));
    }
}

proptest! {
    #[test]
    fn the_cuts_change_nothing(
        parts in proptest::collection::vec(prop_oneof![
            Just("<think>"), Just("</think>"), Just("<tool_call>"), Just("</tool_call>"), Just("{\"name\":\"get_time\"}"),
            Just("{\"name\":\"get_time\",\"arguments\":{}}"), Just(";"), Just("[TOOL_CALLS]"), Just("[ARGS]"), Just("get_time"), Just("{}"),
            Just("<|python_tag|>"), Just("```json\n"), Just("```tool_code\n"), Just("```"), Just("get_time()"), Just(" "), Just("\n"),
            Just("é"), Just("<"), Just("{"), Just("\""), Just("a"),
        ], 0..12),
        cuts in proptest::collection::vec(0usize..120, 0..12), is_whole: bool, with_control: bool,
    ) {
        let text = parts.concat();
        let control: &[&str] = if with_control { &["<think>", "</think>", "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>"] } else { &[] };
        for form in [form("<think><tool_call>", control), form("[TOOL_CALLS]", control), form("<start_of_turn><think>", &[]), form("x", &["<|python_tag|>"])] {
            let whole = parse_in_pieces(parser(&form, ""), &text, control, &[], is_whole);
            prop_assert_eq!(parse_in_pieces(parser(&form, ""), &text, control, &cuts, is_whole), whole);
        }
    }
}
