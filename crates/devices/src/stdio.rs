//! Standard input, standard output and standard error of a process.
//!
//! - [`Stdin`]: what the embedder has queued, then the host's, if there is one.
//! - [`Output`]: what was written in a step; a report holds its beginning, its length and its hash.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::mem;

use serde::{Deserialize, Serialize};

use crate::{Context, DeviceError, OutputStream};

/// How much of its standard streams a process may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StdioLimits {
    /// Bytes of standard input that may be queued.
    pub queued_bytes: u64,
    /// Bytes of each output that a step's report holds; the rest is hashed and counted.
    pub kept_bytes: u32,
}

impl Default for StdioLimits {
    /// 16 MiB of input, 1 MiB of each output: far more than a person types or reads.
    fn default() -> Self {
        Self { queued_bytes: 16 << 20, kept_bytes: 1 << 20 }
    }
}

/// What a step wrote to one of its outputs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct OutputReport {
    /// Its beginning, as far as [`StdioLimits::kept_bytes`] goes.
    pub kept: Vec<u8>,
    /// Bytes that were written in all.
    pub total: u64,
    /// BLAKE3 of everything that was written; zeros when nothing was.
    pub hash: [u8; 32],
}

/// What was written in a step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    kept: Vec<u8>,
    total: u64,
    /// Made with the first byte: most steps write nothing.
    hasher: Option<Box<blake3::Hasher>>,
}

impl Output {
    pub(crate) fn write(&mut self, bytes: &[u8], kept_bytes: u32) {
        let room = (kept_bytes as usize).saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.total = self.total.saturating_add(bytes.len() as u64);
        if !bytes.is_empty() {
            self.hasher.get_or_insert_default().update(bytes);
        }
    }

    /// Takes what the step wrote into an empty report; the next step starts with nothing.
    pub(crate) fn report_to(&mut self, report: &mut OutputReport) {
        if let Some(hasher) = self.hasher.take() {
            report.hash = *hasher.finalize().as_bytes();
            report.kept = mem::take(&mut self.kept);
            report.total = mem::take(&mut self.total);
        }
    }
}

/// Standard input: what the embedder has queued.
#[derive(Debug, Clone, Default)]
struct Stdin {
    queue: VecDeque<u8>,
    closed: bool,
}

/// The standard streams of a process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stdio {
    stdin: Stdin,
    output: Output,
    error: Output,
    limits: StdioLimits,
    /// Whether input and outputs are a person's terminal, as the process is told.
    terminal: [bool; 3],
}

/// The standard streams between two steps, saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedStdio {
    queue: Vec<u8>,
    closed: bool,
    limits: StdioLimits,
    terminal: [bool; 3],
}

impl Stdio {
    pub(crate) fn save(&self) -> SavedStdio {
        SavedStdio {
            queue: self.stdin.queue.iter().copied().collect(),
            closed: self.stdin.closed,
            limits: self.limits,
            terminal: self.terminal,
        }
    }

    /// Streams that go on as those did; what they cannot be, if they are that.
    pub(crate) fn restore(saved: SavedStdio) -> Result<Self, &'static str> {
        let SavedStdio { queue, closed, limits, terminal } = saved;
        let allowed = StdioLimits::default();
        if limits.queued_bytes > allowed.queued_bytes || limits.kept_bytes > allowed.kept_bytes {
            return Err("standard streams with higher limits than there are");
        }
        if queue.len() as u64 > limits.queued_bytes {
            return Err("more queued input than its limit allows");
        }
        let stdin = Stdin { queue: queue.into(), closed };
        Ok(Self { stdin, limits, terminal, ..Self::default() })
    }

    /// Takes what the step wrote to standard output and standard error.
    pub(crate) fn report_to(&mut self, output: &mut OutputReport, error: &mut OutputReport) {
        self.output.report_to(output);
        self.error.report_to(error);
    }

    /// Whether the stream with this descriptor number is a terminal.
    pub(crate) fn is_terminal(&self, number: usize) -> bool {
        self.terminal.get(number).copied().unwrap_or_default()
    }
}

/// What a reader of standard input finds before it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StdinState {
    /// This many bytes are there.
    Queued(u64),
    /// The host is asked; it may have to wait.
    AtHost,
    /// It has ended.
    Ended,
}

impl Context {
    /// Queues bytes of standard input. They come before the host's.
    ///
    /// # Errors
    /// [`DeviceError::StdinFull`] over [`StdioLimits::queued_bytes`]; nothing is queued then.
    pub fn push_stdin(&mut self, bytes: &[u8]) -> Result<(), DeviceError> {
        let limit = self.stdio.limits.queued_bytes;
        let queue = &mut self.stdio.stdin.queue;
        if (queue.len() as u64).saturating_add(bytes.len() as u64) > limit {
            return Err(DeviceError::StdinFull { limit });
        }
        queue.extend(bytes);
        Ok(())
    }

    /// Queues a line of standard input; its end is added.
    ///
    /// # Errors
    /// Like [`Context::push_stdin`].
    pub fn push_stdin_line(&mut self, line: &str) -> Result<(), DeviceError> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.push_stdin(&bytes)
    }

    /// Ends standard input behind what is queued: the host's is not asked for any more.
    pub fn close_stdin(&mut self) {
        self.stdio.stdin.closed = true;
    }

    /// Sets how much of its standard streams the process may keep.
    pub fn set_stdio_limits(&mut self, limits: StdioLimits) {
        self.stdio.limits = limits;
    }

    /// Says whether standard input, output and error are a terminal, which programs ask for to choose how they write.
    pub fn set_terminal(&mut self, input: bool, output: bool, error: bool) {
        self.stdio.terminal = [input, output, error];
    }

    /// At most `limit` bytes of standard input; none at its end.
    pub(crate) fn read_stdin(&mut self, limit: u32) -> Result<Vec<u8>, DeviceError> {
        let stdin = &mut self.stdio.stdin;
        if !stdin.queue.is_empty() {
            let count = stdin.queue.len().min(limit as usize);
            return Ok(stdin.queue.drain(..count).collect());
        }
        if stdin.closed || limit == 0 {
            return Ok(Vec::new());
        }
        self.link.read_stdin(limit)
    }

    /// What a reader of standard input would find.
    pub(crate) fn stdin_state(&self) -> StdinState {
        let stdin = &self.stdio.stdin;
        if !stdin.queue.is_empty() {
            StdinState::Queued(stdin.queue.len() as u64)
        } else if stdin.closed || self.link.is_alone() {
            StdinState::Ended
        } else {
            StdinState::AtHost
        }
    }

    /// Writes to an output: the report counts it, the host sees it.
    pub(crate) fn write_output(&mut self, stream: OutputStream, bytes: &[u8]) {
        let kept = self.stdio.limits.kept_bytes;
        match stream {
            OutputStream::Output => self.stdio.output.write(bytes, kept),
            OutputStream::Error => self.stdio.error.write(bytes, kept),
        }
        self.link.observe(stream, bytes);
    }
}
