//! What the grammar lets through, asked of llguidance itself, one byte a token.

use std::sync::Arc;

use glasshouse_agent::{AgentError, grammar, parse};
use glasshouse_protocol::ToolDescription;
use llguidance::{Matcher, ParserFactory, api::TopLevelGrammar};
use serde_json::json;
use toktrie::ApproximateTokEnv;

fn tool(name: &str, parameters: serde_json::Value) -> ToolDescription {
    ToolDescription {
        name: name.to_owned(),
        description: "Does something.".to_owned(),
        parameters,
        entry: String::new(),
        services: Vec::new(),
    }
}

fn tools() -> Vec<ToolDescription> {
    let string = json!({"type": "string", "description": "Some text, such as \"this\""});
    vec![
        tool(
            "calculate",
            json!({"type": "object", "properties": {"expression": string}, "required": ["expression"]}),
        ),
        tool("get_time", json!({"type": "object", "properties": {"utc_offset": string}})),
        tool(
            "write_file",
            json!({"type": "object", "properties": {"path": string, "content": string}, "required": ["path", "content"]}),
        ),
    ]
}

struct Checker {
    matcher: Matcher,
    environment: toktrie::TokEnv,
}

impl Checker {
    fn new(tools: &[ToolDescription]) -> Self {
        let environment = ApproximateTokEnv::single_byte_env();
        let factory = Arc::new(ParserFactory::new_simple(&environment).unwrap());
        let lark = TopLevelGrammar::from_lark(grammar(tools).unwrap());
        let matcher = Matcher::new(factory.create_parser(lark));
        assert!(!matcher.is_error(), "{:?}", matcher.get_error());
        Self { matcher, environment }
    }

    /// How many bytes of `text` are let through, and whether the model may stop after them.
    fn run(&self, text: &str) -> (usize, bool) {
        let mut matcher = self.matcher.deep_clone();
        let tokens = self.environment.tokenize(text);
        assert_eq!(tokens.len(), text.len());
        let valid = matcher.try_consume_tokens(&tokens).unwrap();
        (valid, valid == text.len() && matcher.is_accepting().unwrap())
    }

    fn accepts(&self, text: &str) -> bool {
        self.run(text) == (text.len(), true)
    }
}

#[test]
fn what_the_grammar_accepts_parses() {
    let checker = Checker::new(&tools());
    for text in [
        r#"Call: calculate {"expression":"17 * 23"}"#,
        "Thought: I should calculate this.\nCall: calculate {\"expression\":\"17 * 23\"}",
        "Call: get_time {}",
        r#"Call: get_time {"utc_offset":"+02:00"}"#,
        r#"Call: write_file {"path":"notes.txt","content":"a \"b\"\n\\ ä 🔵"}"#,
        r#"Call: write_file {"path":"","content":""}"#,
        "Answer: It is 391.",
        "Answer: x",
        "Thought: I have what I need.\nAnswer: Line one.\n\nLine two: Call: nothing {}",
        "Answer: Köln 🔵",
    ] {
        assert!(checker.accepts(text), "{text:?}: {:?}", checker.run(text));
        parse(text).unwrap();
    }
}

#[test]
fn what_the_protocol_does_not_have_is_stopped_at_its_first_wrong_byte() {
    let checker = Checker::new(&tools());
    for (text, valid) in [
        ("It is 391.", 0),
        ("Call: read_file {}", 6),
        ("Call: calculate{}", 15),
        (r#"Call: calculate {}"#, 17),
        (r#"Call: calculate { "expression":"1"}"#, 17),
        (r#"Call: calculate {"expression": "1"}"#, 30),
        (r#"Call: calculate {"expression":1}"#, 30),
        (r#"Call: calculate {"expression":"1","more":"2"}"#, 33),
        (r#"Call: write_file {"content":"x","path":"y"}"#, 19),
        ("Call: get_time {}\n", 17),
        ("Thought: \nAnswer: x", 9),
        ("Thought: a\nThought: b\nAnswer: x", 11),
        ("Answer: \n", 8),
        ("answer: x", 0),
    ] {
        assert_eq!(checker.run(text), (valid, false), "{text:?}");
    }
}

#[test]
fn an_unfinished_step_is_not_accepted() {
    let checker = Checker::new(&tools());
    for text in [
        "",
        "Thought: hm",
        "Thought: hm\n",
        "Call: calculate {\"expression\":\"1",
        "Answer: ",
        "Call: get_time {",
    ] {
        assert_eq!(checker.run(text), (text.len(), false), "{text:?}");
    }
}

#[test]
fn without_tools_only_an_answer_is_left() {
    let checker = Checker::new(&[]);
    assert!(checker.accepts("Thought: hm\nAnswer: yes"));
    assert_eq!(checker.run("Call: calculate {}").0, 0);
}

#[test]
fn a_thought_is_bounded() {
    let checker = Checker::new(&[]);
    assert!(checker.accepts(&format!("Thought: {}\nAnswer: x", "ä".repeat(300))));
    assert!(!checker.accepts(&format!("Thought: {}\nAnswer: x", "a".repeat(301))));
}

#[test]
fn tools_that_cannot_be_used_are_refused() {
    let schema = json!({"type": "object", "properties": {}});
    for name in ["", "Calculate", "a b", "a\"b", "1a", "ä"] {
        let error = grammar(&[tool(name, schema.clone())]).unwrap_err();
        assert_eq!(error, AgentError::InvalidToolName { name: name.to_owned() });
    }
    assert_eq!(
        grammar(&[tool("a", schema.clone()), tool("a", schema)]).unwrap_err(),
        AgentError::DuplicateTool { name: "a".to_owned() }
    );
    for parameters in [json!(null), json!([]), json!({"type": "string"}), json!({})] {
        assert_eq!(
            grammar(&[tool("a", parameters)]).unwrap_err(),
            AgentError::SchemaNotObject { name: "a".to_owned() }
        );
    }
}
