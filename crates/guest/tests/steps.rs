//! Entries, requests and devices, driven by the in-memory host.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use glasshouse_envelope::{Envelope, Flags};
use glasshouse_guest::{
    ErrorData, Level, clock, clock_now, emit, files, memory,
    protocol::{Request, ToolDescription},
    random_fill, testing, tools,
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
    let error =
        ErrorData { code: "not_found".into(), message: "no such file: a".into(), sources: vec!["x".into()] };
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
