//! The JSON of requests, outcomes and events, as other programs see it.

use glasshouse_agent::{
    AgentEnd, AgentEvent, AgentOutcome, AgentRequest, Limits, UsageTotals, system_prompt,
};
use glasshouse_protocol::{ToolDescription, Usage};
use serde_json::json;

#[test]
fn a_request_needs_only_a_question() {
    let request: AgentRequest = serde_json::from_str(r#"{"question":"Why?"}"#).unwrap();
    assert_eq!(request, AgentRequest { question: "Why?".into(), ..AgentRequest::default() });
    assert_eq!(
        request.limits,
        Limits { maximum_steps: 12, maximum_tokens: 4096, maximum_tokens_per_step: 512 }
    );
    assert!(serde_json::from_str::<AgentRequest>(r#"{"question":"Why?","stepz":1}"#).is_err());
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<AgentRequest>(&text).unwrap(), request);
}

#[test]
fn outcomes_name_how_the_agent_ended() {
    let mut usage = UsageTotals::default();
    usage.add(&Usage { prompt_tokens: 40, cached_tokens: 30, evaluated_tokens: 15, generated_tokens: 5 });
    usage.add(&Usage { prompt_tokens: 60, cached_tokens: 45, evaluated_tokens: 20, generated_tokens: 6 });
    let outcome = AgentOutcome { end: AgentEnd::Answer { text: "391".into() }, steps: 2, usage };
    assert_eq!(
        serde_json::to_string(&outcome).unwrap(),
        r#"{"end":{"kind":"answer","text":"391"},"steps":2,"usage":{"prompt_tokens":100,"cached_tokens":75,"evaluated_tokens":35,"generated_tokens":11}}"#
    );
    assert_eq!(outcome.answer(), Some("391"));
    let end = AgentEnd::TokensExhausted { limit: 9, partial: "Call: ".into() };
    assert_eq!(
        serde_json::to_value(&end).unwrap(),
        json!({"kind": "tokens_exhausted", "limit": 9, "partial": "Call: "})
    );
    assert!(end.explanation().unwrap().contains("9 tokens"));
}

#[test]
fn events_are_tagged_objects() {
    let event = AgentEvent::Call {
        step: 1,
        tool: "write_file".into(),
        arguments: json!({"path": "b", "content": "a"}),
    };
    let text = r#"{"event":"call","step":1,"tool":"write_file","arguments":{"path":"b","content":"a"}}"#;
    assert_eq!(serde_json::to_string(&event).unwrap(), text);
    assert_eq!(serde_json::from_str::<AgentEvent>(text).unwrap(), event);
}

#[test]
fn the_system_prompt_has_the_forms_the_tools_and_the_embedders_words() {
    let tool = ToolDescription {
        name: "calculate".into(),
        description: "Evaluates an expression.".into(),
        parameters: json!({"type": "object"}),
        entry: String::new(),
        services: Vec::new(),
    };
    let text = system_prompt(&[tool], Some("Speak like a pirate.\n"));
    assert!(text.starts_with("Speak like a pirate.\n\nYou are"), "{text}");
    for part in [
        "Thought: ",
        "Call: ",
        "Answer: ",
        "- calculate: Evaluates an expression. Arguments: {\"type\":\"object\"}",
    ] {
        assert!(text.contains(part), "{part}");
    }
    assert!(!system_prompt(&[], None).contains("Call: "));
}
