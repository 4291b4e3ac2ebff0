//! The executor: one future, a queue of requests, and the bytes that go in and out of a step.

use std::{
    cell::RefCell,
    collections::{BTreeSet, VecDeque},
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use glasshouse_envelope::{Envelope, EnvelopeError, Flags};
use glasshouse_protocol::{ErrorData, Request};
use serde::{Serialize, de::DeserializeOwned};

/// What a step returns: the flags and the payload of its envelope.
pub(crate) struct Message {
    pub(crate) flags: Flags,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn error(error: &ErrorData) -> Self {
        // An `ErrorData` is strings all through: it always serializes.
        Self { flags: Flags::ERROR, payload: serde_json::to_vec(error).unwrap_or_default() }
    }

    /// The envelope, or that of an error when there is none for this message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self.flags, &self.payload).unwrap_or_else(|error| {
            let code = match error {
                EnvelopeError::PayloadTooLarge { .. } => "result_too_large",
                _ => "malformed_envelope",
            };
            let message = Self::error(&ErrorData::from_error(code, &error));
            encode(message.flags, &message.payload).unwrap_or_default()
        })
    }
}

/// From so many bytes on, content is compressed where that makes it shorter. Below it, the fuel that compressing costs
/// buys too little.
#[cfg(feature = "lz4")]
const COMPRESS_FROM: usize = 16 << 10;

/// The envelope of what the guest says.
#[cfg(feature = "lz4")]
pub(crate) fn encode(flags: Flags, payload: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    // The encoder sets the flags of storage; whoever names one here has not stored the payload so.
    Envelope::new(flags, &[]).encode()?;
    glasshouse_envelope::Encoder::new().compress_from(COMPRESS_FROM).encode(flags, payload)
}

/// The envelope of what the guest says.
#[cfg(not(feature = "lz4"))]
pub(crate) fn encode(flags: Flags, payload: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    Envelope::new(flags, payload).encode()
}

type Task = Pin<Box<dyn Future<Output = Result<Vec<u8>, ErrorData>>>>;
pub(crate) type Answer = Result<Vec<u8>, ErrorData>;

#[derive(Default)]
enum State {
    /// No future.
    #[default]
    Idle,
    /// A step is running; its future is on the stack.
    Running,
    /// The future waits for the answer to request `outstanding`.
    Waiting { task: Task, outstanding: u64 },
}

#[derive(Default)]
struct Executor {
    state: State,
    next_request: u64,
    /// Requests that the host has not seen, oldest first.
    queue: VecDeque<(u64, Vec<u8>)>,
    /// Requests whose future still exists and has no answer.
    awaited: BTreeSet<u64>,
    /// An answer that was delivered and not yet taken. There is at most one: it is taken before the step ends, or
    /// nobody awaits it.
    delivered: Option<(u64, Answer)>,
}

thread_local! {
    static EXECUTOR: RefCell<Executor> = RefCell::default();
}

/// Starts an entry with the envelope that the host wrote.
pub(crate) fn begin<Arguments, Output, Running>(input: &[u8], entry: fn(Arguments) -> Running) -> Message
where
    Arguments: DeserializeOwned,
    Output: Serialize,
    Running: Future<Output = Result<Output, ErrorData>> + 'static,
{
    if !EXECUTOR.with_borrow(|executor| matches!(executor.state, State::Idle)) {
        return Message::error(&ErrorData::new("busy", "another call of this process has not finished"));
    }
    let arguments = match arguments(input) {
        Ok(arguments) => arguments,
        Err(error) => return Message::error(&error),
    };
    let running = entry(arguments);
    drive(Box::pin(async move {
        let output = running.await?;
        serde_json::to_vec(&output).map_err(|error| ErrorData::from_error("invalid_result", &error))
    }))
}

/// Continues the waiting future with the envelope that the host wrote.
pub(crate) fn resume(input: &[u8]) -> Message {
    let state = EXECUTOR.with_borrow_mut(|executor| mem::take(&mut executor.state));
    let State::Waiting { task, outstanding } = state else {
        return Message::error(&ErrorData::new("not_waiting", "no call of this process waits for an answer"));
    };
    let answer = match answer(input) {
        Ok(answer) => answer,
        Err(error) => {
            // The protocol is broken, so the process fails; its future goes with it.
            drop(task);
            forget_requests();
            return Message::error(&error);
        }
    };
    EXECUTOR.with_borrow_mut(|executor| {
        if executor.awaited.remove(&outstanding) {
            executor.delivered = Some((outstanding, answer));
        }
    });
    drive(task)
}

/// The arguments in the envelope of a call.
pub(crate) fn arguments<Arguments: DeserializeOwned>(input: &[u8]) -> Result<Arguments, ErrorData> {
    let envelope = Envelope::decode(input).map_err(malformed)?;
    if envelope.flags != Flags::NONE {
        return Err(unexpected_flags(envelope.flags));
    }
    serde_json::from_slice(envelope.payload)
        .map_err(|error| ErrorData::new("invalid_arguments", format!("the arguments do not fit: {error}")))
}

/// The answer in the envelope of a resumption, or of a host function.
pub(crate) fn answer(input: &[u8]) -> Result<Answer, ErrorData> {
    let envelope = Envelope::decode(input).map_err(malformed)?;
    match envelope.flags {
        Flags::NONE => Ok(Ok(envelope.payload.to_vec())),
        Flags::ERROR => Ok(Err(serde_json::from_slice(envelope.payload).unwrap_or_else(|_| {
            ErrorData::new("unknown_error", String::from_utf8_lossy(envelope.payload).into_owned())
        }))),
        flags => Err(unexpected_flags(flags)),
    }
}

fn malformed(error: EnvelopeError) -> ErrorData {
    ErrorData::from_error("malformed_envelope", &error)
}

fn unexpected_flags(flags: Flags) -> ErrorData {
    ErrorData::new("malformed_envelope", format!("an input cannot have the flags {flags:?}"))
}

/// Set when the future asks to be polled again in the same step.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls until the future is done or can get no further without an answer.
fn drive(mut task: Task) -> Message {
    EXECUTOR.with_borrow_mut(|executor| executor.state = State::Running);
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let poll = loop {
        let poll = task.as_mut().poll(&mut Context::from_waker(&waker));
        if poll.is_ready() || !woken.0.swap(false, Ordering::Relaxed) {
            break poll;
        }
    };
    let result = match poll {
        Poll::Ready(result) => result,
        Poll::Pending => {
            let request = EXECUTOR.with_borrow_mut(|executor| executor.queue.pop_front());
            match request {
                Some((outstanding, payload)) => {
                    EXECUTOR
                        .with_borrow_mut(|executor| executor.state = State::Waiting { task, outstanding });
                    return Message { flags: Flags::EXPECTS_RESPONSE, payload };
                }
                None => Err(ErrorData::new(
                    "stalled",
                    "the process waits for something that no request will bring",
                )),
            }
        }
    };
    drop(task);
    forget_requests();
    match result {
        Ok(payload) => Message { flags: Flags::NONE, payload },
        Err(error) => Message::error(&error),
    }
}

/// Back to idle. The future must be gone: its requests unregister themselves when they are dropped.
fn forget_requests() {
    EXECUTOR.with_borrow_mut(|executor| {
        executor.state = State::Idle;
        executor.queue.clear();
        executor.awaited.clear();
        executor.delivered = None;
    });
}

/// Asks a service and waits for its answer. The functions of [`model`](crate::model) and its siblings wrap this.
///
/// # Errors
///
/// What the service answered, or `malformed_answer` when its answer is not a `T`.
pub async fn request<T: DeserializeOwned>(request: &Request) -> Result<T, ErrorData> {
    let payload =
        serde_json::to_vec(request).map_err(|error| ErrorData::from_error("invalid_request", &error))?;
    let answer = Pending::Unsent(payload).await?;
    serde_json::from_slice(&answer).map_err(|error| ErrorData::from_error("malformed_answer", &error))
}

/// The future of one request.
enum Pending {
    Unsent(Vec<u8>),
    Sent(u64),
    Finished,
}

impl Future for Pending {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        let this = self.get_mut();
        match this {
            Self::Unsent(payload) => {
                let payload = mem::take(payload);
                let id = EXECUTOR.with_borrow_mut(|executor| {
                    let id = executor.next_request;
                    executor.next_request += 1;
                    executor.queue.push_back((id, payload));
                    executor.awaited.insert(id);
                    id
                });
                *this = Self::Sent(id);
                Poll::Pending
            }
            Self::Sent(id) => {
                let answer = EXECUTOR
                    .with_borrow_mut(|executor| executor.delivered.take_if(|(delivered, _)| delivered == id));
                match answer {
                    Some((_, answer)) => {
                        *this = Self::Finished;
                        Poll::Ready(answer)
                    }
                    None => Poll::Pending,
                }
            }
            Self::Finished => {
                Poll::Ready(Err(ErrorData::new("polled_twice", "a request was polled after its answer")))
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Self::Sent(id) = *self {
            // The executor is gone only when the thread ends, and then there is nothing to clean up.
            let _ = EXECUTOR.try_with(|executor| {
                let mut executor = executor.borrow_mut();
                executor.awaited.remove(&id);
                executor.queue.retain(|(queued, _)| *queued != id);
                executor.delivered.take_if(|(delivered, _)| *delivered == id);
            });
        }
    }
}
