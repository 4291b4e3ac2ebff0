//! An in-memory host: drives an entry through real envelopes in an ordinary test, one host per thread.

use std::{cell::RefCell, future::Future};

use glasshouse_envelope::{Envelope, Flags};
use glasshouse_protocol::{ErrorData, Request};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Level,
    executor::{self, Message},
};

/// What the devices of this thread's host hold.
#[derive(Debug, Default)]
struct Host {
    clock_nanoseconds: i64,
    random: u64,
    logs: Vec<(Level, String)>,
    events: Vec<Vec<u8>>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// Calls `entry` with `arguments` and answers its requests with `answer` until it ends.
///
/// # Errors
///
/// The error that the entry ended with, or `invalid_answer` when a request or a result is not the JSON it should be.
pub fn call<Arguments, Output, Running>(
    entry: fn(Arguments) -> Running,
    arguments: &Value,
    mut answer: impl FnMut(Request) -> Result<Value, ErrorData>,
) -> Result<Value, ErrorData>
where
    Arguments: DeserializeOwned,
    Output: Serialize,
    Running: Future<Output = Result<Output, ErrorData>> + 'static,
{
    let broken = |error: serde_json::Error| ErrorData::from_error("invalid_answer", &error);
    let mut message = start(entry, &plain(arguments)?);
    while message.0 == Flags::EXPECTS_RESPONSE {
        let request: Request = serde_json::from_slice(&message.1).map_err(broken)?;
        let input = match answer(request) {
            Ok(value) => plain(&value)?,
            Err(error) => envelope(Flags::ERROR, &serde_json::to_vec(&error).map_err(broken)?)?,
        };
        message = resume(&input);
    }
    if message.0.is_error() {
        return Err(serde_json::from_slice(&message.1).map_err(broken)?);
    }
    serde_json::from_slice(&message.1).map_err(broken)
}

/// One step: calls `entry` with the bytes of an envelope; returns the flags and the payload of the one it returns.
pub fn start<Arguments, Output, Running>(entry: fn(Arguments) -> Running, input: &[u8]) -> (Flags, Vec<u8>)
where
    Arguments: DeserializeOwned,
    Output: Serialize,
    Running: Future<Output = Result<Output, ErrorData>> + 'static,
{
    open(&executor::begin(input, entry))
}

/// One step: resumes the waiting call with the bytes of an envelope.
pub fn resume(input: &[u8]) -> (Flags, Vec<u8>) {
    open(&executor::resume(input))
}

/// What was logged on this thread since the last call.
pub fn take_logs() -> Vec<(Level, String)> {
    HOST.with_borrow_mut(|host| std::mem::take(&mut host.logs))
}

/// What was emitted on this thread since the last call.
pub fn take_events() -> Vec<Vec<u8>> {
    HOST.with_borrow_mut(|host| std::mem::take(&mut host.events))
}

/// Sets this thread's virtual clock.
pub fn set_clock(nanoseconds: i64) {
    HOST.with_borrow_mut(|host| host.clock_nanoseconds = nanoseconds);
}

fn plain(value: &Value) -> Result<Vec<u8>, ErrorData> {
    envelope(Flags::NONE, value.to_string().as_bytes())
}

fn envelope(flags: Flags, payload: &[u8]) -> Result<Vec<u8>, ErrorData> {
    Envelope::new(flags, payload).encode().map_err(|error| ErrorData::from_error("invalid_answer", &error))
}

/// Through the bytes, as a real host reads it.
fn open(message: &Message) -> (Flags, Vec<u8>) {
    let bytes = message.encode();
    let envelope = Envelope::decode(&bytes).expect("a guest returns a well-formed envelope");
    (envelope.flags, envelope.payload.to_vec())
}

/// The devices, as [`crate::clock_now`] and its siblings reach them.
pub(crate) mod devices {
    use super::{HOST, Level};

    pub(crate) fn clock_now() -> i64 {
        HOST.with_borrow(|host| host.clock_nanoseconds)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014), from seed 0.
    pub(crate) fn random_fill(bytes: &mut [u8]) {
        HOST.with_borrow_mut(|host| {
            for chunk in bytes.chunks_mut(8) {
                host.random = host.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut mixed = host.random;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
            }
        });
    }

    pub(crate) fn log(level: Level, text: &str) {
        HOST.with_borrow_mut(|host| host.logs.push((level, text.to_owned())));
    }

    pub(crate) fn emit(json: &[u8]) {
        HOST.with_borrow_mut(|host| host.events.push(json.to_vec()));
    }
}
