//! Parsing a whole output, and the same output in pieces.

use glasshouse_agent::{Action, Delta, ParseError, Step, StreamParser, parse};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn call(thought: Option<&str>, tool: &str, arguments: Value) -> Step {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    Step { thought: thought.map(str::to_owned), action: Action::Call { tool: tool.to_owned(), arguments } }
}

fn answer(thought: Option<&str>, text: &str) -> Step {
    Step { thought: thought.map(str::to_owned), action: Action::Answer(text.to_owned()) }
}

#[test]
fn both_forms_are_read_with_and_without_a_thought() {
    assert_eq!(
        parse("Thought: I should calculate this.\nCall: calculate {\"expression\":\"17 * 23\"}"),
        Ok(call(Some("I should calculate this."), "calculate", json!({"expression": "17 * 23"})))
    );
    assert_eq!(parse("Call: get_time {}"), Ok(call(None, "get_time", json!({}))));
    assert_eq!(parse("Thought: Done.\nAnswer: It is 391."), Ok(answer(Some("Done."), "It is 391.")));
    assert_eq!(parse("Answer: Two\nlines. Call: x {}"), Ok(answer(None, "Two\nlines. Call: x {}")));
}

#[test]
fn each_malformation_is_its_own_error() {
    let tool = "calculate".to_owned();
    let cases = [
        ("", ParseError::Empty),
        ("Thought: hm", ParseError::OnlyThought),
        ("Thought: hm\n", ParseError::OnlyThought),
        ("Thought: hm\nanswer: 4", ParseError::NoAction { position: 12 }),
        ("It is 4.", ParseError::NoAction { position: 0 }),
        ("Call: ", ParseError::NoToolName { position: 6 }),
        ("Call: Rm -rf", ParseError::NoToolName { position: 6 }),
        ("Call: calculate", ParseError::UnfinishedCall { tool: tool.clone() }),
        ("Call: calculate {\"expression\":\"1", ParseError::UnfinishedCall { tool: tool.clone() }),
        ("Call: calculate [1]", ParseError::ArgumentsNotObject { tool: tool.clone() }),
        ("Answer: ", ParseError::EmptyAnswer),
        ("Answer:  \n", ParseError::EmptyAnswer),
    ];
    for (text, error) in cases {
        assert_eq!(parse(text), Err(error), "{text:?}");
    }
    assert!(matches!(parse("Call: calculate {} {}"), Err(ParseError::InvalidArguments { .. })));
}

#[test]
fn undecided_text_is_held_back() {
    let mut parser = StreamParser::default();
    assert_eq!(parser.push("Ans"), []);
    assert_eq!(parser.push("wer:"), []);
    assert_eq!(parser.push(" It"), [Delta::Answer("It".into())]);
    assert_eq!(parser.push(" is."), [Delta::Answer(" is.".into())]);

    let mut parser = StreamParser::default();
    assert_eq!(parser.push("Thought: I"), [Delta::Thought("I".into())]);
    assert_eq!(parser.push(" see.\nC"), [Delta::Thought(" see.".into())]);
    assert_eq!(parser.push("all: get_ti"), []);
    assert_eq!(
        parser.push("me {"),
        [Delta::CallStarted { tool: "get_time".into() }, Delta::Arguments("{".into())]
    );
    assert_eq!(parser.push("}"), [Delta::Arguments("}".into())]);
}

/// What the deltas say, put together again.
fn assemble(deltas: &[Delta]) -> (Option<String>, Option<Action>) {
    let (mut thought, mut tool, mut arguments, mut answer) =
        (None::<String>, None, String::new(), None::<String>);
    for delta in deltas {
        match delta {
            Delta::Thought(text) => thought.get_or_insert_default().push_str(text),
            Delta::CallStarted { tool: name } => tool = Some(name.clone()),
            Delta::Arguments(text) => arguments.push_str(text),
            Delta::Answer(text) => answer.get_or_insert_default().push_str(text),
        }
    }
    let action = match (tool, answer) {
        (Some(tool), None) => serde_json::from_str::<Map<String, Value>>(&arguments)
            .ok()
            .map(|arguments| Action::Call { tool, arguments }),
        (None, Some(answer)) => Some(Action::Answer(answer)),
        _ => None,
    };
    (thought, action)
}

/// Splits `text` at arbitrary character boundaries.
fn pieces<'a>(text: &'a str, cuts: &[proptest::sample::Index]) -> Vec<&'a str> {
    let mut positions: Vec<usize> =
        cuts.iter().map(|cut| text.floor_char_boundary(cut.index(text.len() + 1))).collect();
    positions.extend([0, text.len()]);
    positions.sort_unstable();
    positions.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

fn outputs() -> impl Strategy<Value = String> {
    let thought =
        prop_oneof![Just(String::new()), "[^\n]{1,40}".prop_map(|text| format!("Thought: {text}\n"))];
    let action = prop_oneof![
        "(?s).{1,60}".prop_map(|text| format!("Answer: {text}")),
        ("[a-z][a-z0-9_]{0,8}", any::<String>())
            .prop_map(|(tool, text)| format!("Call: {tool} {}", json!({"text": text}))),
        "(?s).{0,20}",
    ];
    (thought, action).prop_map(|(thought, action)| thought + &action)
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "(?s).{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn a_stream_in_any_chunking_says_what_parse_says(
        text in outputs(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let mut parser = StreamParser::default();
        let deltas: Vec<Delta> = pieces(&text, &cuts).into_iter().flat_map(|piece| parser.push(piece)).collect();
        prop_assert_eq!(parser.finish(), parse(&text));
        let (thought, action) = assemble(&deltas);
        if let Ok(step) = parse(&text) {
            prop_assert_eq!(thought.unwrap_or_default(), step.thought.unwrap_or_default());
            prop_assert_eq!(action, Some(step.action));
        }
    }
}
