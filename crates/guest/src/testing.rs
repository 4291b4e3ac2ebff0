//! An in-memory host: drives an entry through real envelopes in an ordinary test, one host per thread.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    future::Future,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use glasshouse_envelope::{Decoder, Envelope, Flags};
use glasshouse_protocol::{ErrorData, Request};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Level, buffers, executor, panics::Report};

/// A function that [`host_externs!`](crate::host_externs!) may declare.
type HostFunction = Box<dyn FnMut(Value) -> Result<Value, ErrorData>>;

/// What the head-up display has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HudElement {
    Signal,
    Overlay,
}

/// What the devices of this thread's host hold.
#[derive(Default)]
struct Host {
    clock_nanoseconds: u64,
    wall_nanoseconds: u64,
    /// Time and interval of each timer, in nanoseconds.
    timers: BTreeMap<u32, (u64, u64)>,
    input: VecDeque<[u8; 32]>,
    input_state: Option<[u8; 128]>,
    /// Width, height, stride and format.
    display: Option<[u32; 4]>,
    frames: u64,
    frame: Vec<u8>,
    /// Rate, channels and format.
    audio: Option<[u32; 3]>,
    samples: Vec<f32>,
    hud: BTreeMap<(HudElement, String), Value>,
    random: u64,
    logs: Vec<(Level, String)>,
    events: Vec<Vec<u8>>,
    functions: BTreeMap<String, HostFunction>,
    /// The answer of the last host function, until it is taken.
    answer: Option<Vec<u8>>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
    /// Whether a panic is the guest's; and its report.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static FAILURE: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
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
    let mut message = start(entry, &plain(arguments)?);
    while message.0 == Flags::EXPECTS_RESPONSE {
        let request: Request = serde_json::from_slice(&message.1).map_err(broken)?;
        let input = match answer(request) {
            Ok(value) => plain(&value)?,
            Err(error) => envelope(Flags::ERROR, &serde_json::to_vec(&error).map_err(broken)?)?,
        };
        message = resume(&input);
    }
    result(&message)
}

/// Calls an entry that the guest exports itself (see [`host_args`](crate::host_args)) with `arguments`.
///
/// # Errors
///
/// The error that the entry returned, or `invalid_answer` when its result is not JSON.
pub fn call_function(entry: extern "C" fn(u32, u32) -> u64, arguments: &Value) -> Result<Value, ErrorData> {
    result(&open(&call_bytes(entry, &plain(arguments)?)))
}

/// Calls an entry that the guest exports itself with any bytes; returns the bytes that it returns.
pub fn call_bytes(entry: extern "C" fn(u32, u32) -> u64, input: &[u8]) -> Vec<u8> {
    // A longer input has been refused before anything of it is looked at.
    let length = input.len() as u32;
    buffers::read_output(entry(buffers::write_input(input), length))
}

/// One step: calls `entry` with the bytes of an envelope; returns the flags and the payload of the one it returns.
pub fn start<Arguments, Output, Running>(entry: fn(Arguments) -> Running, input: &[u8]) -> (Flags, Vec<u8>)
where
    Arguments: DeserializeOwned,
    Output: Serialize,
    Running: Future<Output = Result<Output, ErrorData>> + 'static,
{
    buffers::write_input(input);
    open(&executor::begin(input, entry).encode())
}

/// One step: resumes the waiting call with the bytes of an envelope.
pub fn resume(input: &[u8]) -> (Flags, Vec<u8>) {
    buffers::write_input(input);
    open(&executor::resume(input).encode())
}

/// Adds a host function for the guests of this thread, as an embedder would.
pub fn host_function(
    name: impl Into<String>,
    function: impl FnMut(Value) -> Result<Value, ErrorData> + 'static,
) {
    HOST.with_borrow_mut(|host| host.functions.insert(name.into(), Box::new(function)));
}

/// Runs a part of a guest; returns what the host receives when that panics.
pub fn failure_of(run: impl FnOnce()) -> Option<ErrorData> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let otherwise = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if WATCHED.get() {
                FAILURE.set(Some(Report::of(panic).json().to_vec()));
            } else {
                otherwise(panic);
            }
        }));
    });
    let before = WATCHED.replace(true);
    let ended = panic::catch_unwind(AssertUnwindSafe(run));
    WATCHED.set(before);
    ended.err()?;
    let report = FAILURE.take()?;
    Some(serde_json::from_slice(&report).expect("the report of a panic is the JSON of an error"))
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
pub fn set_clock(nanoseconds: u64) {
    HOST.with_borrow_mut(|host| host.move_clock(nanoseconds));
}

/// Sets the wall time that belongs to virtual time 0, in nanoseconds since 1970-01-01T00:00:00Z.
pub fn set_wall_clock(nanoseconds: u64) {
    HOST.with_borrow_mut(|host| host.wall_nanoseconds = nanoseconds);
}

/// Lets a record arrive for the guest, in the bytes of `docs/guest-abi.md`.
pub fn send_input_record(record: [u8; 32]) {
    HOST.with_borrow_mut(|host| host.input.push_back(record));
}

/// Sets the state of the input devices, in the bytes of `docs/guest-abi.md`.
pub fn set_input_state(state: [u8; 128]) {
    HOST.with_borrow_mut(|host| host.input_state = Some(state));
}

/// The bytes of the frame that was presented last on this thread, and its number.
pub fn last_frame() -> (Vec<u8>, u64) {
    HOST.with_borrow(|host| (host.frame.clone(), host.frames))
}

/// What was played on this thread since the last call, from -1 to 1.
pub fn take_samples() -> Vec<f32> {
    HOST.with_borrow_mut(|host| std::mem::take(&mut host.samples))
}

/// The signal of this id that this thread's head-up display has.
pub fn hud_signal(id: &str) -> Option<Value> {
    HOST.with_borrow(|host| host.hud.get(&(HudElement::Signal, id.to_owned())).cloned())
}

/// The overlay of this id that this thread's head-up display has.
pub fn hud_overlay(id: &str) -> Option<Value> {
    HOST.with_borrow(|host| host.hud.get(&(HudElement::Overlay, id.to_owned())).cloned())
}

impl Host {
    /// Sets the clock; the timers that are due by then come to the queue.
    fn move_clock(&mut self, to: u64) {
        self.clock_nanoseconds = to;
        let due = |timers: &BTreeMap<u32, (u64, u64)>| {
            let due = timers.iter().filter(|(_, (time, _))| *time <= to);
            due.min_by_key(|(id, (time, _))| (*time, **id))
                .map(|(id, (time, interval))| (*id, *time, *interval))
        };
        while let Some((id, time, interval)) = due(&self.timers) {
            let expirations = (to - time).checked_div(interval).map_or(1, |more| more + 1);
            if interval == 0 {
                self.timers.remove(&id);
            } else {
                self.timers.insert(id, (time + interval * expirations, interval));
            }
            let mut record = [0; 32];
            record[..8].copy_from_slice(&time.to_le_bytes());
            record[8] = 8;
            record[12..16].copy_from_slice(&id.to_le_bytes());
            record[16..24].copy_from_slice(&expirations.to_le_bytes());
            self.input.push_back(record);
        }
    }
}

fn plain(value: &Value) -> Result<Vec<u8>, ErrorData> {
    envelope(Flags::NONE, value.to_string().as_bytes())
}

fn envelope(flags: Flags, payload: &[u8]) -> Result<Vec<u8>, ErrorData> {
    Envelope::new(flags, payload).encode().map_err(|error| ErrorData::from_error("invalid_answer", &error))
}

fn broken(error: serde_json::Error) -> ErrorData {
    ErrorData::from_error("invalid_answer", &error)
}

/// What the last message of a call says.
fn result((flags, payload): &(Flags, Vec<u8>)) -> Result<Value, ErrorData> {
    if flags.is_error() {
        return Err(serde_json::from_slice(payload).map_err(broken)?);
    }
    serde_json::from_slice(payload).map_err(broken)
}

/// As a real host reads it.
fn open(bytes: &[u8]) -> (Flags, Vec<u8>) {
    let message = Decoder::new().decode(bytes).expect("a guest returns a well-formed envelope");
    (message.flags, message.content.into_owned())
}

/// The host's side of a call that [`host_externs!`](crate::host_externs!) makes; returns the length of the answer.
#[doc(hidden)]
pub fn answer_call(name: &str, request: &[u8]) -> i64 {
    // Taken out while it runs: it may use this module.
    let function = HOST.with_borrow_mut(|host| host.functions.remove(name));
    let (flags, payload) = match function {
        None => {
            let message = format!("the host has no function `{name}`");
            (Flags::ERROR, json(&ErrorData::new("unknown_host_function", message)))
        }
        Some(mut function) => {
            let argument = serde_json::from_slice(&open(request).1).expect("an argument is JSON");
            let result = function(argument);
            HOST.with_borrow_mut(|host| {
                host.functions.entry(name.to_owned()).or_insert(function);
            });
            match result {
                Ok(value) => (Flags::NONE, json(&value)),
                Err(error) => (Flags::ERROR, json(&error)),
            }
        }
    };
    let answer = envelope(flags, &payload).expect("an answer fits an envelope");
    let length = answer.len() as i64;
    HOST.with_borrow_mut(|host| host.answer = Some(answer));
    length
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("values and errors are JSON")
}

/// The devices, as [`crate::clock_now`] and its siblings reach them.
pub(crate) mod devices {
    use super::{HOST, HudElement, Level};

    pub(crate) fn clock_now() -> u64 {
        HOST.with_borrow(|host| host.clock_nanoseconds)
    }

    pub(crate) fn clock_wall() -> u64 {
        HOST.with_borrow(|host| host.wall_nanoseconds + host.clock_nanoseconds)
    }

    pub(crate) fn sleep_until(deadline: u64) -> u64 {
        HOST.with_borrow_mut(|host| {
            host.move_clock(host.clock_nanoseconds.max(deadline));
            host.clock_nanoseconds
        })
    }

    pub(crate) fn timer_set(id: u32, time: u64, interval: u64) {
        HOST.with_borrow_mut(|host| {
            host.timers.insert(id, (time, interval));
            host.move_clock(host.clock_nanoseconds);
        });
    }

    pub(crate) fn timer_cancel(id: u32) -> u32 {
        HOST.with_borrow_mut(|host| host.timers.remove(&id)).is_some().into()
    }

    pub(crate) fn input_next(records: &mut [u8]) -> u32 {
        HOST.with_borrow_mut(|host| {
            let mut written = 0;
            for place in records.chunks_exact_mut(32) {
                let Some(record) = host.input.pop_front() else { break };
                place.copy_from_slice(&record);
                written += 32;
            }
            written
        })
    }

    pub(crate) fn input_state(state: &mut [u8]) {
        let bytes = HOST.with_borrow(|host| host.input_state).unwrap_or([0; 128]);
        let length = state.len().min(bytes.len());
        state[..length].copy_from_slice(&bytes[..length]);
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

    pub(crate) fn display_configure(width: u32, height: u32, stride: u32, format: u32) {
        HOST.with_borrow_mut(|host| host.display = Some([width, height, stride, format]));
    }

    pub(crate) fn display_palette(colours: &[u8]) {
        assert!((4..=1024).contains(&colours.len()), "a palette has 1 to 256 entries");
    }

    pub(crate) fn display_present(frame: &[u8]) -> u64 {
        HOST.with_borrow_mut(|host| {
            let [_, height, stride, _] =
                host.display.expect("a display is configured before it shows a frame");
            assert_eq!(
                frame.len() as u64,
                u64::from(stride) * u64::from(height),
                "a frame has the bytes of its layout"
            );
            host.frame = frame.to_vec();
            host.frames += 1;
            host.frames
        })
    }

    pub(crate) fn audio_configure(rate: u32, channels: u32, format: u32) {
        HOST.with_borrow_mut(|host| {
            if host.audio.replace([rate, channels, format]) != Some([rate, channels, format]) {
                host.samples.clear();
            }
        });
    }

    pub(crate) fn audio_play_f32(samples: &[f32]) -> u64 {
        HOST.with_borrow_mut(|host| {
            let [_, channels, _] = host.audio.expect("audio is configured before it is played");
            let start = host.samples.len() as u64 / u64::from(channels.max(1));
            host.samples.extend_from_slice(samples);
            start
        })
    }

    pub(crate) fn audio_play_i16(samples: &[i16]) -> u64 {
        let samples: Vec<f32> = samples.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
        audio_play_f32(&samples)
    }

    pub(crate) fn hud_signal(json: &[u8]) {
        set_element(HudElement::Signal, json);
    }

    pub(crate) fn hud_overlay(json: &[u8]) {
        set_element(HudElement::Overlay, json);
    }

    fn set_element(element: HudElement, json: &[u8]) {
        let value: serde_json::Value = serde_json::from_slice(json).expect("an element is JSON");
        let id = value["id"].as_str().expect("an element has an id").to_owned();
        HOST.with_borrow_mut(|host| host.hud.insert((element, id), value));
    }

    pub(crate) fn hud_remove(id: &[u8]) -> u32 {
        HOST.with_borrow_mut(|host| {
            let before = host.hud.len();
            host.hud.retain(|(_, known), _| known.as_bytes() != id);
            (before - host.hud.len()) as u32
        })
    }

    pub(crate) fn log(level: Level, text: &str) {
        HOST.with_borrow_mut(|host| host.logs.push((level, text.to_owned())));
    }

    pub(crate) fn emit(json: &[u8]) {
        HOST.with_borrow_mut(|host| host.events.push(json.to_vec()));
    }

    pub(crate) fn take_answer(envelope: &mut [u8]) {
        let answer = HOST.with_borrow_mut(|host| host.answer.take()).expect("there is an answer to take");
        assert_eq!(answer.len(), envelope.len(), "an answer is taken whole");
        envelope.copy_from_slice(&answer);
    }
}
