//! The entries, on the SDK's in-memory host.

use glasshouse_guest::{
    ErrorData,
    envelope::{Envelope, Flags},
    protocol::Request,
    testing,
};
use levels::{count, define, element, longest, repeat, reverse};
use serde_json::json;

#[test]
fn the_async_level_waits_for_a_service() {
    let result = testing::call(count, &json!("a.txt"), |request| match request {
        Request::ReadFile { path } if path == "a.txt" => {
            Ok(json!({"content": "one two One", "bytes": 11, "truncated": false}))
        }
        other => panic!("unexpected request: {other:?}"),
    });
    assert_eq!(result, Ok(json!({"one": 2, "two": 1})));
}

#[test]
fn the_typed_level_takes_arguments_and_returns_results_and_errors() {
    assert_eq!(testing::call_function(longest, &json!("a größte word größer")), Ok(json!("größte")));
    let error = testing::call_function(longest, &json!(" ")).unwrap_err();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("guest_error", "the text has no words"));
    let error = testing::call_function(longest, &json!(7)).unwrap_err();
    assert_eq!(error.code, "invalid_arguments");
    assert!(error.message.contains("expected a string"), "{error}");
}

#[test]
fn a_result_of_many_megabytes_arrives_whole() {
    let result =
        testing::call_function(repeat, &json!({"text": "0123456789abcdef", "times": 1 << 20})).unwrap();
    assert_eq!(result.as_str().unwrap().len(), 16 << 20);
}

#[test]
fn bytes_need_not_be_json() {
    let returned = testing::call_bytes(reverse, &Envelope::plain(&[0, 1, 255]).encode().unwrap());
    assert_eq!(Envelope::decode(&returned), Ok(Envelope::plain(&[255, 1, 0])));
    let returned = testing::call_bytes(reverse, b"IA");
    let envelope = Envelope::decode(&returned).unwrap();
    let error: ErrorData = serde_json::from_slice(envelope.payload).unwrap();
    assert_eq!(envelope.flags, Flags::ERROR);
    assert_eq!(error.message, "envelope is cut off: it needs 12 bytes, and 2 are there");
}

#[test]
fn a_function_of_the_host_answers_within_the_step() {
    testing::host_function("lookup", |query| match query["word"].as_str() {
        Some("glass") => Ok(json!({"meaning": "an amorphous solid"})),
        _ => Err(ErrorData::new("no_entry", "the dictionary has no such word")),
    });
    assert_eq!(testing::call_function(define, &json!({"word": "glass"})), Ok(json!("an amorphous solid")));
    assert_eq!(testing::call_function(define, &json!({"word": "gloss"})).unwrap_err().code, "no_entry");
    testing::host_function("lookup", |_| Ok(json!("no definition")));
    assert_eq!(testing::call_function(define, &json!({"word": "x"})).unwrap_err().code, "malformed_answer");
}

#[test]
fn a_function_that_the_host_does_not_have_is_an_error_that_says_so() {
    let error = testing::call_function(define, &json!({"word": "glass"})).unwrap_err();
    assert_eq!(error.code, "unknown_host_function");
    assert!(error.message.contains("lookup"));
}

#[test]
fn an_element_that_exists_is_returned() {
    assert_eq!(testing::call_function(element, &json!({"list": [1, 2], "index": 1})), Ok(json!(2)));
}
