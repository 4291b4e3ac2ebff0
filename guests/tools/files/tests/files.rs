//! What the file tools ask for and what they make of the answers.

use files::{TOOLS, list_dir, read_file, search_files, write_file};
use glasshouse_guest::{
    ErrorData,
    protocol::{Request, ToolDescription},
    testing,
};
use serde_json::{Value, json};

/// Answers the one request that is expected.
fn once(expected: Request, answer: Value) -> impl FnMut(Request) -> Result<Value, ErrorData> {
    move |request| {
        assert_eq!(request, expected);
        Ok(answer.clone())
    }
}

#[test]
fn a_file_is_read_as_it_is() {
    let request = Request::ReadFile { path: "a.txt".into() };
    let answer = json!({"content": "one\ntwo\n", "bytes": 8, "truncated": false});
    assert_eq!(
        testing::call(read_file, &json!({"path": "a.txt"}), once(request, answer)),
        Ok(json!("one\ntwo\n"))
    );
}

#[test]
fn a_file_that_was_cut_says_so() {
    let request = Request::ReadFile { path: "a".into() };
    let answer = json!({"content": "häh", "bytes": 9000, "truncated": true});
    assert_eq!(
        testing::call(read_file, &json!({"path": "a"}), once(request, answer)),
        Ok(json!("häh\n…[truncated: 4 of 9000 bytes]"))
    );
}

#[test]
fn writing_says_how_much() {
    let request = Request::WriteFile { path: "notes.txt".into(), content: "hello world!".into() };
    let result = testing::call(
        write_file,
        &json!({"path": "notes.txt", "content": "hello world!"}),
        once(request, json!({"bytes": 12})),
    );
    assert_eq!(result, Ok(json!("wrote 12 bytes to notes.txt")));
}

#[test]
fn a_directory_is_listed_one_entry_a_line() {
    let request = Request::ListDirectory { path: ".".into() };
    let answer = json!([
        {"name": "a.txt", "kind": "file", "bytes": 3},
        {"name": "b", "kind": "directory", "bytes": 0},
        {"name": "c", "kind": "other", "bytes": 0},
    ]);
    let run = |arguments: Value, answer| testing::call(list_dir, &arguments, once(request.clone(), answer));
    assert_eq!(run(json!({"path": "."}), answer), Ok(json!("a.txt\nb/\nc")));
    assert_eq!(run(json!({}), json!([])), Ok(json!("(empty)")));
}

#[test]
fn matches_have_their_place() {
    let request = |path: &str| Request::SearchFiles { query: "key".into(), path: path.into() };
    let found = json!({"path": "b/a.txt", "line": 7, "text": "  the key is here \r"});
    let run = |arguments, request, matches, truncated| {
        let answer = json!({"matches": matches, "truncated": truncated});
        testing::call(search_files, &arguments, once(request, answer))
    };
    assert_eq!(
        run(json!({"query": "key"}), request("."), json!([found]), false),
        Ok(json!("b/a.txt:7: the key is here"))
    );
    assert_eq!(
        run(json!({"query": "key", "path": "b"}), request("b"), json!([]), false),
        Ok(json!("no matches"))
    );
    assert_eq!(
        run(json!({"query": "key"}), request("."), json!([found]), true),
        Ok(json!("b/a.txt:7: the key is here\n…[truncated: there are more matches]"))
    );
    let error =
        testing::call(search_files, &json!({"query": " "}), |_| panic!("nothing is asked")).unwrap_err();
    assert_eq!(error.code, "empty_query");
}

#[test]
fn the_services_errors_come_through() {
    let error = ErrorData::new("not_found", "no such file: a.txt");
    assert_eq!(testing::call(read_file, &json!({"path": "a.txt"}), |_| Err(error.clone())), Err(error));
}

#[test]
fn the_tools_describe_themselves() {
    let tools: Vec<ToolDescription> = serde_json::from_str(TOOLS).unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["read_file", "write_file", "list_dir", "search_files"]);
    assert!(tools.iter().all(|tool| tool.entry == tool.name && tool.services == ["files"]));
    let properties: Vec<&String> = tools[1].parameters["properties"].as_object().unwrap().keys().collect();
    assert_eq!(properties, ["path", "content"]);
}
