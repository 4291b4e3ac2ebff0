//! Rendered conversations equal those of Jinja2 with `transformers`' settings, as `golden/templates.py` made them.

use std::collections::BTreeMap;

use glasshouse_llm::LlmError;
use glasshouse_llm::template::{ChatTemplate, Conversation};
use glasshouse_llm::tokenizer::{Segment, Tokenizer, TokenizerData};
use glasshouse_protocol::{Message, ToolDescription};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Golden {
    templates: BTreeMap<String, String>,
    tools: Vec<ToolDescription>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    messages: Vec<Message>,
    tools: bool,
    #[serde(default)]
    variables: Map<String, Value>,
    rendered: Option<String>,
    refused: Option<String>,
}

/// A SentencePiece vocabulary of bytes and three special tokens.
fn tokenizer() -> Tokenizer {
    let bytes: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
    let tokens = ["<unk>", "<s>", "</s>"].into_iter().chain(bytes.iter().map(String::as_str)).collect();
    Tokenizer::new(&TokenizerData {
        model: "llama",
        tokens,
        types: Some([vec![2, 3, 3], vec![6; 256]].concat()),
        add_begin: Some(false),
        ..TokenizerData::default()
    })
    .expect("the vocabulary is valid")
}

#[test]
fn rendered_conversations_equal_the_reference() {
    let golden: Golden = serde_json::from_str(include_str!("golden/templates.json")).expect("valid JSON");
    let tokenizer = tokenizer();
    for case in &golden.cases {
        let template =
            ChatTemplate::new(Some(&golden.templates[&case.template]), &tokenizer).expect("it compiles");
        let tools = if case.tools { golden.tools.as_slice() } else { &[] };
        let conversation = Conversation { messages: &case.messages, tools, variables: &case.variables };
        let rendered = template.render(&tokenizer, &conversation).map(|segments| {
            let text = |segment: &Segment| match segment {
                Segment::Text(text) => text.clone(),
                Segment::Control(id) => tokenizer.token_text(*id).unwrap_or_default().to_string(),
            };
            segments.iter().map(text).collect::<String>()
        });
        match (&case.rendered, &case.refused, rendered) {
            (Some(expected), None, Ok(rendered)) => assert_eq!(&rendered, expected, "{}", case.template),
            (None, Some(refused), Err(LlmError::Template { message })) => {
                assert!(message.starts_with(refused), "{message}");
            }
            (expected, refused, rendered) => {
                panic!("{}: {expected:?} {refused:?} {rendered:?}", case.template)
            }
        }
    }
}
