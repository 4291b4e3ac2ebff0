//! What the memory tools ask for and what they make of the answers.

use glasshouse_guest::{
    ErrorData,
    protocol::{Request, ToolDescription},
    testing,
};
use memory::{TOOLS, memory_search, memory_store};
use serde_json::{Value, json};

fn search(found: Value) -> Result<Value, ErrorData> {
    testing::call(memory_search, &json!({"query": "door code"}), |request| {
        assert_eq!(request, Request::SearchMemory { query: "door code".into(), limit: 5 });
        Ok(found.clone())
    })
}

#[test]
fn a_text_is_stored() {
    let result = testing::call(memory_store, &json!({"text": "The door code is 4711."}), |request| {
        assert_eq!(request, Request::StoreMemory { text: "The door code is 4711.".into() });
        Ok(json!({"id": 1}))
    });
    assert_eq!(result, Ok(json!("stored")));
    let error =
        testing::call(memory_store, &json!({"text": " \n"}), |_| panic!("nothing is asked")).unwrap_err();
    assert_eq!(error.code, "empty_text");
}

#[test]
fn memories_are_shown_one_a_line() {
    let found = json!([{"id": 2, "text": "The door code\n is 4711."}, {"id": 1, "text": "The door is red."}]);
    assert_eq!(search(found), Ok(json!("The door code is 4711.\nThe door is red.")));
    assert_eq!(search(json!([])), Ok(json!("nothing found")));
}

#[test]
fn the_tools_describe_themselves() {
    let tools: Vec<ToolDescription> = serde_json::from_str(TOOLS).unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["memory_store", "memory_search"]);
}
