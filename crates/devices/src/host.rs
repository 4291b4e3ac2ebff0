//! What the host contributes during a step, and what it observes.
//!
//! - [`Host`]: what an embedder implements: standard input, standard output, mounted directories, extra functions.
//! - [`FileRequest`], [`FileAnswer`]: operations on mounted directories.
//! - [`HostAnswer`]: what the host answered; a step's report lists all of them, in order.
//! - [`Link`]: a process's connection to its host, or to a recording of one.
//!
//! **Invariant:** nothing of the host reaches a process but through an answer that is recorded, so a recording takes the
//! place of the host.

mod file;

use alloc::{borrow::ToOwned, boxed::Box, collections::VecDeque, format, vec::Vec};
use core::fmt;

use glasshouse_envelope::{Envelope, Flags};
use glasshouse_protocol::ErrorData;
use serde::{Deserialize, Serialize};

use crate::{
    Call, Context, DeviceError, FileError, HostFunction, Stop,
    ValueType::{I32, I64},
};

pub use file::{FileAnswer, FileRequest, OpenOptions};

/// The module name of the functions that only this host has.
pub const HOST_MODULE: &str = "host";

/// The entry that stands for every function of the module `host`: names are the host's own.
pub(crate) static HOST_FUNCTION: HostFunction = HostFunction {
    module: HOST_MODULE,
    name: "",
    parameters: &[I32, I32],
    result: Some(I64),
    handler: call_host,
};

/// Bytes that an answer counts for in [`HostLimits::answer_bytes`] beside its content.
const ANSWER_BYTES: u64 = 64;

/// One of a process's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OutputStream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// What the host contributes during a step, and what it observes. Every method but [`Host::output`] may take its time;
/// none is called between steps.
pub trait Host {
    /// At most `limit` bytes of standard input; none at its end. May wait for them.
    fn read_stdin(&mut self, limit: u32) -> Vec<u8> {
        let _ = limit;
        Vec::new()
    }

    /// Bytes that the process has just written. What the observer does with them never reaches the process.
    fn output(&mut self, stream: OutputStream, bytes: &[u8]) {
        let _ = (stream, bytes);
    }

    /// Performs an operation on a mounted directory.
    ///
    /// # Errors
    /// Why it fails; the process learns it.
    fn file(&mut self, request: FileRequest<'_>) -> Result<FileAnswer, FileError> {
        let _ = request;
        Err(FileError::NotFound)
    }

    /// Calls an extra function: its answer, an encoded envelope, or `None` when there is no function of this name.
    fn call(&mut self, name: &str, input: &[u8]) -> Option<Vec<u8>> {
        let _ = (name, input);
        None
    }
}

/// Something that the host answered during a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HostAnswer {
    /// Bytes of standard input; none at its end.
    Stdin(Vec<u8>),
    /// What an operation on a mounted directory gave.
    File(Result<FileAnswer, FileError>),
    /// The encoded envelope that an extra function returned.
    Called(Vec<u8>),
    /// There is no extra function of the name that was called.
    UnknownFunction,
}

impl HostAnswer {
    /// What kind of answer it is, for messages.
    fn kind(&self) -> &'static str {
        match self {
            Self::Stdin(_) => "standard input",
            Self::File(_) => "a file operation",
            Self::Called(_) | Self::UnknownFunction => "an extra function",
        }
    }

    fn bytes(&self) -> u64 {
        ANSWER_BYTES
            + match self {
                Self::Stdin(bytes) | Self::Called(bytes) => bytes.len() as u64,
                Self::File(Ok(answer)) => answer.bytes(),
                Self::File(Err(_)) | Self::UnknownFunction => 0,
            }
    }
}

/// How much a step may take from its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostLimits {
    /// Bytes of all answers of a step, with 64 for each answer; one more stops the step. Not looked at where answers
    /// are not kept.
    pub answer_bytes: u64,
    /// Bytes that are asked for at once.
    pub piece_bytes: u32,
}

impl Default for HostLimits {
    /// 256 MiB of answers, since they are all kept until the step's end; 1 MiB at once, which is more than a system call
    /// gives in most cases.
    fn default() -> Self {
        Self { answer_bytes: 256 << 20, piece_bytes: 1 << 20 }
    }
}

/// Where a process's answers come from.
enum Source {
    /// Nowhere: standard input is empty and there is nothing else.
    Nobody,
    Host(Box<dyn Host + Send>),
    Recording(VecDeque<HostAnswer>),
}

/// A process's connection to its host.
pub(crate) struct Link {
    source: Source,
    answers: Vec<HostAnswer>,
    answer_bytes: u64,
    limits: HostLimits,
    keep: bool,
    /// The number of the next handle.
    next_handle: u32,
    /// The answer of the extra function that was called last, until the guest takes it.
    called: Vec<u8>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            source: Source::Nobody,
            answers: Vec::new(),
            answer_bytes: 0,
            limits: HostLimits::default(),
            keep: true,
            next_handle: 0,
            called: Vec::new(),
        }
    }
}

impl Clone for Link {
    /// A copy has no host, since a host serves one process.
    fn clone(&self) -> Self {
        let source = match &self.source {
            Source::Recording(answers) => Source::Recording(answers.clone()),
            Source::Nobody | Source::Host(_) => Source::Nobody,
        };
        Self {
            source,
            answers: self.answers.clone(),
            answer_bytes: self.answer_bytes,
            limits: self.limits,
            keep: self.keep,
            next_handle: self.next_handle,
            called: self.called.clone(),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Nobody => "nobody",
            Source::Host(_) => "a host",
            Source::Recording(_) => "a recording",
        };
        f.debug_struct("Link")
            .field("source", &source)
            .field("answers", &self.answers.len())
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Whether nobody answers.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self.source, Source::Nobody)
    }

    /// The most bytes that are asked for at once.
    pub(crate) fn piece_bytes(&self) -> u32 {
        self.limits.piece_bytes.max(1)
    }

    /// A number for a new handle.
    pub(crate) fn new_handle(&mut self) -> u32 {
        let handle = self.next_handle;
        self.next_handle = self.next_handle.wrapping_add(1);
        handle
    }

    /// Gets an answer from the host, or the next one of the recording.
    fn ask(
        &mut self,
        alone: HostAnswer,
        of_host: impl FnOnce(&mut dyn Host) -> HostAnswer,
    ) -> Result<HostAnswer, DeviceError> {
        let answer = match &mut self.source {
            Source::Nobody => return Ok(alone),
            Source::Host(host) => of_host(host.as_mut()),
            Source::Recording(answers) => {
                let answer = answers.pop_front().ok_or(DeviceError::RecordingEnded)?;
                if answer.kind() != alone.kind() {
                    let (expected, found) = (alone.kind(), answer.kind());
                    return Err(DeviceError::RecordingDiffers { expected, found });
                }
                answer
            }
        };
        if self.keep {
            self.answer_bytes = self.answer_bytes.saturating_add(answer.bytes());
            if self.answer_bytes > self.limits.answer_bytes {
                return Err(DeviceError::TooManyHostBytes { limit: self.limits.answer_bytes });
            }
            self.answers.push(answer.clone());
        }
        Ok(answer)
    }

    /// At most `limit` bytes of the host's standard input.
    pub(crate) fn read_stdin(&mut self, limit: u32) -> Result<Vec<u8>, DeviceError> {
        let limit = limit.min(self.piece_bytes());
        match self.ask(HostAnswer::Stdin(Vec::new()), |host| HostAnswer::Stdin(host.read_stdin(limit)))? {
            HostAnswer::Stdin(mut bytes) => {
                bytes.truncate(limit as usize);
                Ok(bytes)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Performs an operation on a mounted directory.
    pub(crate) fn file(&mut self, request: FileRequest<'_>) -> Result<FileAnswer, Fault> {
        let answer =
            self.ask(HostAnswer::File(Err(FileError::NotFound)), |host| HostAnswer::File(host.file(request)));
        match answer.map_err(Stop::from)? {
            HostAnswer::File(answer) => Ok(answer?),
            _ => Err(FileError::InputOutput.into()),
        }
    }

    /// Calls an extra function: an encoded envelope.
    fn call(&mut self, name: &str, input: &[u8]) -> Result<Vec<u8>, DeviceError> {
        let answer = self.ask(HostAnswer::UnknownFunction, |host| {
            host.call(name, input).map_or(HostAnswer::UnknownFunction, HostAnswer::Called)
        })?;
        Ok(match answer {
            HostAnswer::Called(envelope) => envelope,
            _ => unknown_function(name),
        })
    }

    /// Shows the host what the process has written.
    pub(crate) fn observe(&mut self, stream: OutputStream, bytes: &[u8]) {
        if let Source::Host(host) = &mut self.source {
            host.output(stream, bytes);
        }
    }

    /// Takes the answers of the step.
    pub(crate) fn take_answers(&mut self) -> Vec<HostAnswer> {
        self.answer_bytes = 0;
        core::mem::take(&mut self.answers)
    }
}

/// Why an operation that may need the host does not succeed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The process learns it.
    File(FileError),
    /// The step ends.
    Stop(Stop),
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl Context {
    /// Connects the process to its host. A context without one has empty standard input, no mounted directories and no
    /// extra functions; what it writes is kept in the report only. Open files of mounted directories are opened again,
    /// by their paths, when they are next used.
    pub fn attach(&mut self, host: Box<dyn Host + Send>) {
        self.link.source = Source::Host(host);
        self.forget_mounted_handles();
    }

    /// Answers from a recording instead of a host: what [`DeviceReport::answers`](crate::DeviceReport::answers) of the
    /// step lists. A step that asks for more, or for something else, is stopped. A process that ran without a host is
    /// replayed without a recording.
    pub fn replay(&mut self, answers: Vec<HostAnswer>) {
        if !matches!(self.link.source, Source::Recording(_)) {
            self.forget_mounted_handles();
        }
        self.link.source = Source::Recording(answers.into());
    }

    /// Whether a host, or a recording of one, answers.
    pub fn has_host(&self) -> bool {
        !self.link.is_alone()
    }

    /// How many answers of the recording were not asked for yet.
    pub fn answers_left(&self) -> usize {
        match &self.link.source {
            Source::Recording(answers) => answers.len(),
            Source::Nobody | Source::Host(_) => 0,
        }
    }

    /// Whether the host's answers are kept for the report, as they are from the start. Without them a step can take as
    /// much from its host as it likes, and cannot be replayed.
    pub fn keep_answers(&mut self, keep: bool) {
        self.link.keep = keep;
    }

    /// Sets how much a step may take from its host.
    pub fn set_host_limits(&mut self, limits: HostLimits) {
        self.link.limits = limits;
    }
}

/// The envelope that a call of an unknown extra function is answered with.
fn unknown_function(name: &str) -> Vec<u8> {
    let error = ErrorData::new("unknown_host_function", format!("this host has no function `{name}`"));
    // Neither can fail: the error is three texts, and shorter than a payload may be.
    let payload = serde_json::to_vec(&error).unwrap_or_default();
    Envelope::new(Flags::ERROR, &payload).encode().unwrap_or_default()
}

/// Any function of the module `host`: `(pointer, length) -> length of the answer`.
fn call_host(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [pointer, length] = crate::own::words(arguments);
    let input = call.read(pointer, length)?;
    let name = call.name().to_owned();
    let answer = call.context.link.call(&name, &input)?;
    let length = answer.len() as u64;
    call.context.link.called = answer;
    Ok(length)
}

/// `take_answer(pointer, length)` of the module `glasshouse`: copies the answer of the last call of an extra function,
/// whose length was its result.
pub(crate) fn take_answer(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [pointer, length] = crate::own::words(arguments);
    let answer = core::mem::take(&mut call.context.link.called);
    if answer.len() != length as usize {
        return Err(Stop::Misused(format!(
            "`take_answer` was given {length} bytes for an answer of {}",
            answer.len()
        )));
    }
    call.write(pointer, &answer)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    struct Echo;

    impl Host for Echo {
        fn read_stdin(&mut self, limit: u32) -> Vec<u8> {
            vec![b'x'; limit as usize + 1]
        }

        fn call(&mut self, name: &str, input: &[u8]) -> Option<Vec<u8>> {
            (name == "echo").then(|| input.to_vec())
        }
    }

    #[test]
    fn a_recording_gives_the_same_answers_and_then_stops() {
        let mut context = Context::new(0, [0; 32]);
        context.attach(Box::new(Echo));
        assert_eq!(context.link.read_stdin(3), Ok(b"xxx".to_vec()));
        assert_eq!(context.link.call("echo", b"abc"), Ok(b"abc".to_vec()));
        assert_eq!(context.link.call("other", b"abc"), Ok(unknown_function("other")));
        let answers = context.link.take_answers();
        assert_eq!(answers.len(), 3);

        let mut replayed = Context::new(0, [0; 32]);
        replayed.replay(answers.clone());
        assert_eq!(replayed.link.read_stdin(3), Ok(b"xxx".to_vec()));
        assert_eq!(replayed.link.call("echo", b"abc"), Ok(b"abc".to_vec()));
        assert_eq!(replayed.answers_left(), 1);
        let differs =
            DeviceError::RecordingDiffers { expected: "standard input", found: "an extra function" };
        assert_eq!(replayed.link.read_stdin(3), Err(differs));
        assert_eq!(replayed.link.read_stdin(3), Err(DeviceError::RecordingEnded));
    }

    #[test]
    fn a_step_takes_no_more_from_its_host_than_its_limit() {
        let mut context = Context::new(0, [0; 32]);
        context.attach(Box::new(Echo));
        context.set_host_limits(HostLimits { answer_bytes: 200, piece_bytes: 50 });
        assert_eq!(context.link.read_stdin(1000).map(|bytes| bytes.len()), Ok(50));
        let limit = DeviceError::TooManyHostBytes { limit: 200 };
        assert_eq!(context.link.read_stdin(1000), Err(limit));
    }

    #[test]
    fn an_unknown_function_answers_with_an_error_that_says_so() {
        let answer = unknown_function("f");
        let envelope = Envelope::decode(&answer).unwrap();
        assert!(envelope.flags.contains(Flags::ERROR));
        let error: ErrorData = serde_json::from_slice(envelope.payload).unwrap();
        assert_eq!(error.code, "unknown_host_function");
    }
}
