//! A module that tests of engines and kernels run: entries that behave well, badly and at length.
//!
//! | entry | what it does |
//! |---|---|
//! | `echo` | returns its arguments |
//! | `refuse` | fails with the error that its arguments are |
//! | `ask` | sends the requests in its arguments one after the other and returns their answers |
//! | `devices` | logs, emits, and returns the clock and some random bytes in hexadecimal |
//! | `count` | returns how often it was called on this instance |
//! | `spin` | never returns |
//! | `grow` | takes memory until there is none |
//! | `overflow` | recurses until the stack ends |
//! | `crash` | panics |
//! | `crash_twice` | panics while the message of its panic is being written |
//! | `malformed` | returns the place of bytes that are no envelope |
//! | `out_of_bounds` | returns a place outside of its memory |

#[cfg(target_arch = "wasm32")]
mod raw;

use std::{
    hint::black_box,
    sync::atomic::{AtomicU32, Ordering},
};

use glasshouse_guest::{
    ErrorData, Level, clock_now, emit, entry, log, protocol::Request, random_fill, request,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Returns its arguments.
pub async fn echo(arguments: Value) -> Result<Value, ErrorData> {
    Ok(arguments)
}

/// Fails with the error that its arguments are.
pub async fn refuse(error: ErrorData) -> Result<Value, ErrorData> {
    Err(error)
}

/// Sends requests one after the other; each answer is `{"ok": …}` or `{"error": …}`.
pub async fn ask(requests: Vec<Request>) -> Result<Vec<Value>, ErrorData> {
    let mut answers = Vec::new();
    for asked in &requests {
        answers.push(match request::<Value>(asked).await {
            Ok(answer) => serde_json::json!({ "ok": answer }),
            Err(error) => serde_json::json!({ "error": error }),
        });
    }
    Ok(answers)
}

/// What [`devices`] saw.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    /// The virtual clock, in nanoseconds.
    pub clock_nanoseconds: i64,
    /// Sixteen random bytes, in hexadecimal.
    pub random: String,
}

/// Uses every device once: logs the level's name at each level, emits its arguments.
pub async fn devices(arguments: Value) -> Result<Seen, ErrorData> {
    for level in [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace] {
        log(level, &format!("{level:?}"));
    }
    emit(&arguments)?;
    let mut bytes = [0; 16];
    random_fill(&mut bytes);
    let random = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Seen { clock_nanoseconds: clock_now(), random })
}

/// How often it was called on this instance.
pub async fn count(_: Value) -> Result<u32, ErrorData> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    Ok(CALLS.fetch_add(1, Ordering::Relaxed) + 1)
}

/// Never returns.
pub async fn spin(_: Value) -> Result<Value, ErrorData> {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Takes memory until there is none; then the allocator aborts.
pub async fn grow(_: Value) -> Result<Value, ErrorData> {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Recurses until the stack ends.
pub async fn overflow(_: Value) -> Result<u64, ErrorData> {
    fn deeper(level: u64) -> u64 {
        let space = black_box([level; 16]);
        if level == u64::MAX { space[0] } else { deeper(black_box(level + 1)).wrapping_add(space[3]) }
    }
    Ok(deeper(0))
}

/// Panics.
pub async fn crash(_: Value) -> Result<Value, ErrorData> {
    panic!("as asked")
}

/// Panics while the message of its panic is being written.
pub async fn crash_twice(_: Value) -> Result<Value, ErrorData> {
    struct Unwritable;
    impl std::fmt::Display for Unwritable {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("again")
        }
    }
    panic!("{Unwritable}")
}

entry!(echo, refuse, ask, devices, count, spin, grow, overflow, crash, crash_twice);
