//! Entries, requests and devices, driven by the in-memory host.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use glasshouse_envelope::{Envelope, Flags};
use glasshouse_guest::{
    ErrorData, Level, clock, clock_now, emit, files, host_args, memory,
    protocol::{Request, ToolDescription},
    random_fill, raw, return_err, return_ok, testing, tools,
};
use proptest::prelude::*;
use serde_json::{Value, json};

async fn echo(value: Value) -> Result<Value, ErrorData> {
    Ok(value)
}

async fn refuse(_: Value) -> Result<Value, ErrorData> {
    Err(ErrorData::new("refused", "not today"))
}

async fn read_two(paths: [String; 2]) -> Result<String, ErrorData> {
    let first = files::read(paths[0].as_str()).await?;
    let second = files::read(paths[1].as_str()).await?;
    Ok(first.content + &second.content)
}

fn file(content: &str) -> Value {
    json!({"content": content, "bytes": content.len(), "truncated": false})
}

fn none(request: Request) -> Result<Value, ErrorData> {
    panic!("unexpected request: {request:?}")
}

/// Both outputs, in order, polling both futures each time.
async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(context)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(context)
        {
            second = Some(output);
        }
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

#[test]
fn a_call_without_requests_is_one_step() {
    let input = Envelope::plain(br#"{"a":[1,"x"]}"#).encode().unwrap();
    let (flags, payload) = testing::start(echo, &input);
    assert_eq!((flags, payload.as_slice()), (Flags::NONE, br#"{"a":[1,"x"]}"#.as_slice()));
}

#[test]
fn awaiting_a_request_returns_it_and_resuming_delivers_the_answer() {
    let mut asked = Vec::new();
    let result = testing::call(read_two, &json!(["a", "b"]), |request| {
        asked.push(request.clone());
        match request {
            Request::ReadFile { path } => Ok(file(&format!("<{path}>"))),
            other => none(other),
        }
    });
    assert_eq!(result, Ok(json!("<a><b>")));
    assert_eq!(asked, [Request::ReadFile { path: "a".into() }, Request::ReadFile { path: "b".into() }]);
}

#[test]
fn the_error_of_a_request_reaches_the_code_that_awaits_it() {
    let error = ErrorData { sources: vec!["x".into()], ..ErrorData::new("not_found", "no such file: a") };
    assert_eq!(testing::call(read_two, &json!(["a", "b"]), |_| Err(error.clone())), Err(error));
}

#[test]
fn requests_that_are_joined_are_asked_one_after_the_other() {
    async fn both(_: Value) -> Result<(String, usize), ErrorData> {
        let (text, found) = join(files::read("a"), memory::search("b", 3)).await;
        Ok((text?.content, found?.len()))
    }
    let mut asked = 0;
    let result = testing::call(both, &json!(null), |request| {
        asked += 1;
        match request {
            Request::ReadFile { .. } => Ok(file("text")),
            Request::SearchMemory { query, limit: 3 } if query == "b" => Ok(json!([{"id": 1, "text": "t"}])),
            other => none(other),
        }
    });
    assert_eq!((result, asked), (Ok(json!(["text", 1])), 2));
}

#[test]
fn a_request_that_is_dropped_is_not_asked() {
    async fn first_only(_: Value) -> Result<String, ErrorData> {
        let mut abandoned = Box::pin(files::read("abandoned"));
        let mut kept = Box::pin(files::read("kept"));
        std::future::poll_fn(|context| {
            assert!(kept.as_mut().poll(context).is_pending());
            assert!(abandoned.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(abandoned);
        Ok(kept.await?.content)
    }
    let result = testing::call(first_only, &json!(null), |request| match request {
        Request::ReadFile { path } if path == "kept" => Ok(file("text")),
        other => none(other),
    });
    assert_eq!(result, Ok(json!("text")));
}

#[test]
fn a_future_that_wakes_itself_is_polled_again_in_the_same_step() {
    struct Yield(u32);
    impl Future for Yield {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            if self.0 == 0 {
                return Poll::Ready(());
            }
            self.0 -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }
    async fn yielding(_: Value) -> Result<u32, ErrorData> {
        Yield(5).await;
        Ok(5)
    }
    assert_eq!(testing::call(yielding, &json!(null), none), Ok(json!(5)));
}

#[test]
fn a_future_that_waits_for_nothing_is_an_error() {
    async fn stuck(_: Value) -> Result<(), ErrorData> {
        std::future::pending().await
    }
    assert_eq!(testing::call(stuck, &json!(null), none).unwrap_err().code, "stalled");
    assert_eq!(testing::call(echo, &json!(1), none), Ok(json!(1)));
}

#[test]
fn an_entry_called_while_another_waits_is_refused_and_the_waiting_one_goes_on() {
    let input = Envelope::plain(br#"["a","b"]"#).encode().unwrap();
    assert_eq!(testing::start(read_two, &input).0, Flags::EXPECTS_RESPONSE);
    let (flags, payload) = testing::start(echo, &Envelope::plain(b"1").encode().unwrap());
    let error: ErrorData = serde_json::from_slice(&payload).unwrap();
    assert_eq!((flags, error.code.as_str()), (Flags::ERROR, "busy"));
    let answer = file("x").to_string();
    let answer = Envelope::plain(answer.as_bytes()).encode().unwrap();
    assert_eq!(testing::resume(&answer).0, Flags::EXPECTS_RESPONSE);
    assert_eq!(testing::resume(&answer), (Flags::NONE, br#""xx""#.to_vec()));
}

#[test]
fn malformed_input_is_answered_with_an_error_and_the_next_call_works() {
    let error = |(flags, payload): (Flags, Vec<u8>)| {
        assert_eq!(flags, Flags::ERROR);
        serde_json::from_slice::<ErrorData>(&payload).unwrap().code
    };
    assert_eq!(error(testing::start(echo, &[])), "malformed_envelope");
    assert_eq!(error(testing::start(echo, b"IA\x01\x00\xff\xff\xff\xff\0\0\0\0")), "malformed_envelope");
    for flags in [Flags::ERROR, Flags::EXPECTS_RESPONSE] {
        assert_eq!(
            error(testing::start(echo, &Envelope::new(flags, b"1").encode().unwrap())),
            "malformed_envelope"
        );
    }
    assert_eq!(error(testing::start(echo, &Envelope::plain(b"{").encode().unwrap())), "invalid_arguments");
    assert_eq!(
        error(testing::start(read_two, &Envelope::plain(b"[1]").encode().unwrap())),
        "invalid_arguments"
    );
    assert_eq!(error(testing::resume(&Envelope::plain(b"1").encode().unwrap())), "not_waiting");
    assert_eq!(testing::call(refuse, &json!(1), none), Err(ErrorData::new("refused", "not today")));

    let waiting = Envelope::plain(br#"["a","b"]"#).encode().unwrap();
    assert_eq!(testing::start(read_two, &waiting).0, Flags::EXPECTS_RESPONSE);
    assert_eq!(error(testing::resume(b"junk")), "malformed_envelope");
    assert_eq!(testing::start(read_two, &waiting).0, Flags::EXPECTS_RESPONSE);
    assert_eq!(error(testing::resume(&Envelope::plain(b"[]").encode().unwrap())), "malformed_answer");
    assert_eq!(testing::start(read_two, &waiting).0, Flags::EXPECTS_RESPONSE);
    let plain_text = Envelope::new(Flags::ERROR, b"just text").encode().unwrap();
    assert_eq!(error(testing::resume(&plain_text)), "unknown_error");
    assert_eq!(testing::call(echo, &json!(1), none), Ok(json!(1)));
}

#[test]
fn devices_answer_within_the_step() {
    async fn devices(_: Value) -> Result<i64, ErrorData> {
        glasshouse_guest::warn!("{} of {}", 1, 2);
        emit(&json!({"event": "seen"}))?;
        let mut bytes = [0; 11];
        random_fill(&mut bytes);
        assert!(bytes.iter().any(|byte| *byte != 0));
        Ok(clock_now() + clock::now().await?.unix_milliseconds)
    }
    testing::set_clock(5);
    let result = testing::call(devices, &json!(null), |_| Ok(json!({"unix_milliseconds": 1000})));
    assert_eq!(result, Ok(json!(1005)));
    assert_eq!(testing::take_logs(), [(Level::Warn, "1 of 2".to_owned())]);
    assert_eq!(testing::take_events(), [br#"{"event":"seen"}"#.to_vec()]);
}

#[test]
fn a_panic_is_reported_with_its_message_and_place() {
    let list = [1, 2];
    let line = line!() + 2;
    let error = testing::failure_of(|| {
        std::hint::black_box(list[std::hint::black_box(7)]);
    })
    .unwrap();
    assert_eq!(error.code, "guest_panic");
    assert_eq!(error.message, "index out of bounds: the len is 2 but the index is 7");
    assert_eq!(error.location, Some(format!("crates/guest/tests/steps.rs:{line}:30")));
    assert_eq!(testing::failure_of(|| ()), None);
}

#[test]
fn the_report_of_a_panic_is_json_whatever_its_message_says() {
    let message = |text: &str| testing::failure_of(|| panic!("{text}")).unwrap().message;
    let awkward: String = ('\0'..='\x7f').chain("\"\\äß🦀".chars()).collect();
    assert_eq!(message(&awkward), awkward);
    for character in ["x", "\0", "\"", "🦀"] {
        let cut = message(&character.repeat(100_000));
        assert!(cut.len() > 500 && cut.len() < 4096);
        assert_eq!(cut.trim_end_matches('…'), character.repeat(cut.matches(character).count()));
        assert!(cut.ends_with('…'));
    }
    let error = testing::failure_of(|| std::panic::panic_any(7)).unwrap();
    assert_eq!(error.message, "the guest panicked with a value that is not a text");
    assert!(error.location.is_some());
}

#[test]
fn the_text_of_an_error_and_of_its_sources_is_never_lost() {
    extern "C" fn parse(pointer: u32, length: u32) -> u64 {
        let number = host_args::<String>(pointer, length).map_err(|error| error.to_string());
        match number.and_then(|text| text.parse::<i32>().map_err(|error| error.to_string())) {
            Ok(number) => return_ok(&number),
            Err(error) => return_err(error),
        }
    }
    extern "C" fn open(_: u32, _: u32) -> u64 {
        return_err(std::io::Error::other(ErrorData::new("inner", "the disk is a tree")))
    }
    extern "C" fn long(_: u32, _: u32) -> u64 {
        return_err("x".repeat(1 << 20))
    }
    assert_eq!(testing::call_function(parse, &json!("12")), Ok(json!(12)));
    let error = testing::call_function(parse, &json!("twelve")).unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("guest_error", "invalid digit found in string")
    );
    let error = testing::call_function(open, &json!(null)).unwrap_err();
    assert_eq!(error.message, "the disk is a tree");
    assert_eq!(testing::call_function(long, &json!(null)).unwrap_err().message.len(), 1 << 20);
}

#[test]
fn an_error_that_is_data_already_stays_what_it_is() {
    extern "C" fn refused(_: u32, _: u32) -> u64 {
        return_err(ErrorData {
            sources: vec!["a".into(), "b".into()],
            location: Some("x.c:1:2".into()),
            ..ErrorData::new("refused", "not today")
        })
    }
    let error = testing::call_function(refused, &json!(null)).unwrap_err();
    assert_eq!((error.code.as_str(), error.sources.len()), ("refused", 2));
    assert_eq!(error.location.as_deref(), Some("x.c:1:2"));
}

#[test]
fn what_cannot_be_sent_is_an_error() {
    extern "C" fn unwritable(_: u32, _: u32) -> u64 {
        return_ok(&std::collections::BTreeMap::from([(vec![1], 2)]))
    }
    extern "C" fn mislabelled(_: u32, _: u32) -> u64 {
        raw::return_envelope(Flags::COMPRESSED, b"not LZ4".to_vec())
    }
    assert_eq!(testing::call_function(unwritable, &json!(null)).unwrap_err().code, "invalid_result");
    assert_eq!(testing::call_function(mislabelled, &json!(null)).unwrap_err().code, "malformed_envelope");
}

#[test]
fn any_bytes_can_go_in_and_out() {
    extern "C" fn copy(pointer: u32, length: u32) -> u64 {
        raw::return_bytes(raw::with_bytes(pointer, length, <[u8]>::to_vec))
    }
    for bytes in [&b""[..], b"\0", b"no envelope"] {
        assert_eq!(testing::call_bytes(copy, bytes), bytes);
    }
}

#[cfg(feature = "lz4")]
#[test]
fn a_long_result_is_compressed_and_a_short_one_is_not() {
    extern "C" fn zeros(pointer: u32, length: u32) -> u64 {
        return_ok(&vec![0; host_args(pointer, length).unwrap_or(0)])
    }
    let returned = |count: usize| {
        testing::call_bytes(zeros, &Envelope::plain(count.to_string().as_bytes()).encode().unwrap())
    };
    assert_eq!(Envelope::decode(&returned(1_000)).unwrap().flags, Flags::NONE);
    let long = returned(100_000);
    assert!(long.len() < 2_000);
    assert_eq!(Envelope::decode(&long), Err(glasshouse_envelope::EnvelopeError::CompressedUnsupported));
    let content = glasshouse_envelope::Decoder::new().decode(&long).unwrap().content;
    assert_eq!(content.len(), 200_001);
}

mod described {
    use super::*;

    tools! {
        echo {
            description: "Says it back.",
            parameters: r#"{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"string"}}}"#,
            services: [],
        }
        refuse {
            description: "Never works.",
            parameters: r#"{"type":"object"}"#,
            services: ["files", "clock"],
        }
    }
}

#[test]
fn descriptions_are_a_json_array() {
    let tools: Vec<ToolDescription> = serde_json::from_str(described::TOOLS).unwrap();
    assert_eq!(
        tools[0].parameters.to_string(),
        r#"{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"string"}}}"#
    );
    assert_eq!((tools[0].name.as_str(), tools[0].entry.as_str()), ("echo", "echo"));
    assert_eq!(
        (tools[1].description.as_str(), tools[1].services.join(" ")),
        ("Never works.", "files clock".into())
    );
}

proptest! {
    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40), payload in "(?s).{0,40}") {
        let _ = testing::start(read_two, &bytes);
        let _ = testing::start(read_two, &Envelope::plain(payload.as_bytes()).encode().unwrap());
        let _ = testing::resume(&bytes);
    }
}
