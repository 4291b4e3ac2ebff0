//! Guests that are not written in Rust, and what every guest carries.

use glasshouse_engine::describe_tools;
use glasshouse_envelope::{Envelope, Flags};
use glasshouse_guest::{ABI_VERSION, ErrorData};
use serde_json::json;
use wasmparser::{Parser, Payload};

use crate::{
    bare::{Bare, Ended, none},
    modules::{c_module, module, wat_module},
};

/// What the module's custom sections of this name hold.
fn sections(module: &[u8], name: &str) -> Vec<Vec<u8>> {
    let payloads = Parser::new(0).parse_all(module).map(Result::unwrap);
    let data = payloads.filter_map(|payload| match payload {
        Payload::CustomSection(section) if section.name() == name => Some(section.data().to_vec()),
        _ => None,
    });
    data.collect()
}

#[test]
fn every_guest_says_which_contract_it_was_built_for() {
    let rust = ["probe", "react", "calculate", "clock", "files", "memory", "levels", "snake"].map(module);
    let others = [c_module("echo.c"), c_module("words.c"), wat_module("echo.wat")];
    for module in rust.iter().chain(&others) {
        assert_eq!(sections(module, "glasshouse.abi"), [ABI_VERSION.to_le_bytes()]);
    }
}

#[test]
fn guests_in_c_and_in_text_return_what_they_are_given() {
    for module in [c_module("echo.c"), wat_module("echo.wat")] {
        let mut process = Bare::new(&module, none);
        for length in [0, 1, 100, 70_000, 1_000_000, 3] {
            let input = Envelope::plain(&vec![7; length]).encode().unwrap();
            assert_eq!(process.step("echo", &input), Ended::Returned(input));
        }
    }
}

#[test]
fn a_guest_in_text_writes_an_envelope_of_its_own() {
    let mut process = Bare::new(&wat_module("echo.wat"), none);
    for length in [0, 1, 9, 10, 12_345, 1_000_000] {
        let input = Envelope::plain(&vec![7; length]).encode().unwrap();
        assert_eq!(process.message("length", &input), (Flags::NONE, length.to_string().into_bytes()));
    }
    process.message("echo", &Envelope::plain(b"").encode().unwrap());
    assert_eq!(process.take_log().as_deref(), Some("echo: a step begins"));
    assert_eq!(process.step("length", b"short"), Ended::Trapped);
}

#[test]
fn a_guest_in_c_refuses_every_malformed_envelope() {
    let valid = Envelope::plain(b"payload").encode().unwrap();
    let changed = |position: usize, byte: u8| {
        let mut bytes = valid.clone();
        bytes[position] = byte;
        bytes
    };
    let trailing = [valid.as_slice(), b"x"].concat();
    let cases = [
        (valid[..11].to_vec(), "the envelope is cut off"),
        (valid[..18].to_vec(), "the envelope is cut off"),
        (Vec::new(), "the envelope is cut off"),
        (changed(0, 0), "these bytes are not an envelope"),
        (changed(2, 0), "the envelope is of another version than 1"),
        (changed(3, 0x10), "the envelope has unknown flags"),
        (changed(3, 0x01), "the envelope is not plain"),
        (changed(7, 0x7f), "the envelope is over the limit of 256 MiB"),
        (trailing, "the envelope is followed by bytes that do not belong to it"),
        (changed(12, b'P'), "the envelope is damaged: its checksum is wrong"),
    ];
    let mut process = Bare::new(&c_module("echo.c"), none);
    for (input, message) in cases {
        let (flags, payload) = process.message("echo", &input);
        let error: ErrorData = serde_json::from_slice(&payload).unwrap();
        assert_eq!((flags, error), (Flags::ERROR, ErrorData::new("malformed_envelope", message)));
    }
}

#[test]
fn a_tool_in_c_is_described_and_counts() {
    let module = c_module("words.c");
    let tools = describe_tools(&module).unwrap();
    assert_eq!(
        (tools.len(), tools[0].name.as_str(), tools[0].entry.as_str()),
        (1, "count_words", "count_words")
    );
    assert_eq!(tools[0].parameters["required"], json!(["text"]));
    let mut process = Bare::new(&module, none);
    for (text, words, lines, characters) in [
        ("", 0, 0, 0),
        ("one two\nthree", 3, 2, 13),
        (" \t one\n\n", 1, 2, 8),
        ("größer 🦀 \"quoted\" \\ \u{1}", 5, 1, 21),
    ] {
        let counted = json!({"words": words, "lines": lines, "characters": characters});
        assert_eq!(process.call("count_words", &json!({ "text": text })), Ok(counted), "{text}");
    }
    let escaped = Envelope::plain(br#" { "text" : "\u00e4\ud83e\udd80\u0020\n\/" } "#).encode().unwrap();
    let counted = br#"{"words":2,"lines":2,"characters":5}"#;
    assert_eq!(process.message("count_words", &escaped), (Flags::NONE, counted.to_vec()));
    for bad in [
        &b"{}"[..],
        b"",
        b"[1]",
        br#"{"text":"a"#,
        br#"{"text":"\x"}"#,
        br#"{"text":"a"}x"#,
        br#"{"text":"\u12"#,
    ] {
        let (flags, _) = process.message("count_words", &Envelope::plain(bad).encode().unwrap());
        assert_eq!(flags, Flags::ERROR, "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn a_guest_in_c_reaches_functions_of_the_host_and_services() {
    let mut process = Bare::new(&c_module("words.c"), |name, query| match query["word"].as_str() {
        Some(word) => Ok(json!({"meaning": format!("{name} of {word}")})),
        None => Err(ErrorData::new("no_entry", "that is no word")),
    });
    let word = json!({"word": "glass"});
    assert_eq!(process.call("define", &word), Ok(json!({"meaning": "lookup of glass"})));
    assert_eq!(process.call("define", &json!(1)).unwrap_err().code, "no_entry");
    let request = br#"{"service":"files.read","path":"notes.txt"}"#;
    let empty = Envelope::plain(b"").encode().unwrap();
    assert_eq!(process.message("file", &empty), (Flags::EXPECTS_RESPONSE, request.to_vec()));
    let text = json!({"content": "x", "bytes": 1, "truncated": false});
    assert_eq!(process.call("gh_resume", &text), Ok(text));
}

#[test]
fn a_guest_in_c_can_give_up() {
    let mut process = Bare::new(&c_module("words.c"), none);
    let Ended::Failed(error) = process.step("give_up", &Envelope::plain(b"").encode().unwrap()) else {
        panic!("the step fails")
    };
    assert_eq!(error.to_string(), "there is nothing to be done (words.c:1:1)");
}
