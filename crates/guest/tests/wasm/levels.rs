//! The example of the SDK's levels, its arena, its panics and its functions of the host.

use glasshouse_envelope::{Decoder, Encoder, Envelope, EnvelopeError, Flags, Key, Sender};
use glasshouse_guest::ErrorData;
use serde_json::{Value, json};

use crate::{
    bare::{Bare, Ended, none},
    modules::{coding_module, module},
};

fn plain(value: &Value) -> Vec<u8> {
    Envelope::plain(value.to_string().as_bytes()).encode().unwrap()
}

#[test]
fn a_typed_entry_takes_arguments_and_returns_results_and_errors() {
    let mut process = Bare::new(&module("levels"), none);
    assert_eq!(process.call("longest", &json!("a größte word größer")), Ok(json!("größte")));
    assert_eq!(process.call("longest", &json!("")).unwrap_err().message, "the text has no words");
    assert_eq!(process.call("longest", &json!(1)).unwrap_err().code, "invalid_arguments");
    let (flags, error) = process.message("longest", b"IA");
    let error: ErrorData = serde_json::from_slice(&error).unwrap();
    assert_eq!((flags, error.code.as_str()), (Flags::ERROR, "malformed_envelope"));
    let returned = process.step("reverse", &Envelope::plain(&[1, 2, 255]).encode().unwrap());
    assert_eq!(returned, Ended::Returned(Envelope::plain(&[255, 2, 1]).encode().unwrap()));
}

#[test]
fn a_place_that_is_not_the_input_has_no_bytes() {
    let mut process = Bare::new(&module("levels"), none);
    assert_eq!(process.call("longest", &json!("word")), Ok(json!("word")));
    for (pointer, length) in [(0, 100), (u32::MAX, 100), (0, u32::MAX), (16, 0)] {
        let Ended::Returned(bytes) = process.enter("longest", pointer, length) else { panic!() };
        assert_eq!(Envelope::decode(&bytes).unwrap().flags, Flags::ERROR);
    }
}

#[test]
fn ten_thousand_steps_use_the_arena_of_one() {
    let mut process = Bare::new(&module("levels"), none);
    let text = json!("word ".repeat(2_000));
    let mut call = || {
        assert_eq!(process.call("longest", &text), Ok(json!("word")));
        process.memory_bytes()
    };
    call();
    let memory = call();
    for _ in 0..10_000 {
        assert_eq!(call(), memory);
    }
}

#[test]
fn a_result_of_many_megabytes_arrives_whole_and_its_memory_is_used_again() {
    let mut process = Bare::new(&module("levels"), none);
    let argument = json!({"text": "0123456789abcdef", "times": 1 << 20});
    let mut call = || {
        assert_eq!(process.call("repeat", &argument).unwrap().as_str().unwrap().len(), 16 << 20);
        process.memory_bytes()
    };
    let memory = call();
    for _ in 0..3 {
        assert_eq!(call(), memory);
    }
}

#[test]
fn a_panic_says_what_and_where() {
    let mut process = Bare::new(&module("levels"), none);
    assert_eq!(process.call("element", &json!({"list": [1, 2], "index": 1})), Ok(json!(2)));
    let Ended::Failed(error) = process.step("element", &plain(&json!({"list": [1, 2], "index": 2}))) else {
        panic!("an element that does not exist is a panic")
    };
    assert_eq!(error.code, "guest_panic");
    assert_eq!(error.message, "index out of bounds: the len is 2 but the index is 2");
    let source = include_str!("../../../../guests/examples/levels/src/lib.rs");
    let line = source.lines().position(|text| text.contains("[place.index]")).unwrap() + 1;
    assert!(error.location.unwrap().starts_with(&format!("guests/examples/levels/src/lib.rs:{line}:")));
}

#[test]
fn functions_of_the_host_answer_within_the_step() {
    let mut process = Bare::new(&module("levels"), |name, query| {
        assert_eq!(name, "lookup");
        match query["word"].as_str() {
            Some("glass") => Ok(json!({"meaning": "an amorphous solid"})),
            Some("long") => Ok(json!({"meaning": "long ".repeat(1 << 20)})),
            _ => Err(ErrorData::new("no_entry", "the dictionary has no such word")),
        }
    });
    for _ in 0..2 {
        assert_eq!(process.call("define", &json!({"word": "glass"})), Ok(json!("an amorphous solid")));
        let long = process.call("define", &json!({"word": "long"})).unwrap();
        assert_eq!(long.as_str().unwrap().len(), 5 << 20);
        assert_eq!(process.call("define", &json!({"word": "x"})).unwrap_err().code, "no_entry");
    }
    let mut process = Bare::new(&module("levels"), none);
    assert_eq!(process.call("define", &json!({"word": "x"})).unwrap_err().code, "unknown_host_function");
}

#[test]
fn a_guest_compresses_what_is_long_if_it_was_built_so() {
    let long = plain(&json!({"text": "0123456789abcdef", "times": 10_000}));
    let short = plain(&json!({"text": "0123456789abcdef", "times": 10}));
    let returned = |module: &[u8], input: &[u8]| match Bare::new(module, none).step("repeat", input) {
        Ended::Returned(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    let plain = returned(&module("levels"), &long);
    assert_eq!(plain.len(), 12 + 160_002);
    let compressed = returned(&coding_module("levels"), &long);
    assert!(compressed.len() < 2_000);
    assert_eq!(Envelope::decode(&compressed), Err(EnvelopeError::CompressedUnsupported));
    let content = Decoder::new().decode(&compressed).unwrap().content.into_owned();
    assert_eq!(content, plain[12..]);
    assert_eq!(returned(&coding_module("levels"), &short), returned(&module("levels"), &short));
}

#[test]
fn a_process_and_who_gave_it_its_key_understand_each_other_and_nobody_else_does() {
    let mut process = Bare::new(&coding_module("levels"), none);
    let key = [7; 32];
    let mut writing = Encoder::new().encrypt(Key::new(&key), Sender::Host);
    let mut reading = Decoder::new().decrypt(Key::new(&key), Sender::Guest);
    let first = writing.encode(Flags::NONE, b"a secret").unwrap();
    let refused = |ended: Ended| match ended {
        Ended::Returned(bytes) => {
            let envelope = Envelope::decode(&bytes).unwrap();
            assert_eq!(envelope.flags, Flags::ERROR);
            serde_json::from_slice::<ErrorData>(envelope.payload).unwrap()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(process.step("whisper", &first)).code, "no_key");
    assert_eq!(process.call("take_key", &json!(key)), Ok(Value::Null));
    let mut answers = Vec::new();
    for message in [first.clone(), writing.encode(Flags::NONE, b"another").unwrap()] {
        let Ended::Returned(bytes) = process.step("whisper", &message) else { panic!("it answers") };
        assert!(Envelope::decode(&bytes).is_err());
        answers.push(reading.decode(&bytes).unwrap().content.into_owned());
        assert!(Decoder::new().decrypt(Key::new(&[8; 32]), Sender::Guest).decode(&bytes).is_err());
    }
    assert_eq!(answers, [b"terces a".to_vec(), b"rehtona".to_vec()]);
    // Once more, from somebody without the key, and not encrypted.
    let stranger =
        Encoder::new().encrypt(Key::new(&[8; 32]), Sender::Host).encode(Flags::NONE, b"x").unwrap();
    let plain = Envelope::plain(b"x").encode().unwrap();
    for message in [first, stranger, plain] {
        assert_eq!(refused(process.step("whisper", &message)).code, "malformed_envelope");
    }
}
