//! The private devices of one process: virtual clock, random stream, log, events.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{DeviceReport, LogLine};

/// What a process's random stream starts from.
pub type RandomSeed = [u8; 32];

/// The least important log level, trace.
pub const LOG_LEVEL_MAXIMUM: u32 = 4;

/// How much a step may log and emit, so that a guest cannot fill the host's memory through its devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContextLimits {
    /// Log lines per step; further ones are counted and dropped.
    pub log_lines: u32,
    /// Bytes of one log line; a longer one is cut at a character's boundary.
    pub log_line_bytes: u32,
    /// Events per step; one more stops the step.
    pub events: u32,
    /// Bytes of all events of one step; one more stops the step.
    pub event_bytes: u32,
}

impl Default for ContextLimits {
    /// 1,000 lines of at most 4 KiB: far more than a person reads of one step. 1,000 events, 1 MiB in all: enough to
    /// report on every token of a step, and small against the memory of a process.
    fn default() -> Self {
        Self { log_lines: 1_000, log_line_bytes: 4 << 10, events: 1_000, event_bytes: 1 << 20 }
    }
}

/// A misuse of a device by the guest. The step that did it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DeviceError {
    /// A log level over [`LOG_LEVEL_MAXIMUM`].
    #[error("log level {level} does not exist; the levels are 0 (error) to 4 (trace)")]
    LogLevel {
        /// The level that was given.
        level: u32,
    },
    /// One event more than [`ContextLimits::events`].
    #[error("the step emitted more than {limit} events")]
    TooManyEvents {
        /// The limit.
        limit: u32,
    },
    /// More bytes of events than [`ContextLimits::event_bytes`].
    #[error("the step emitted more than {limit} bytes of events")]
    TooManyEventBytes {
        /// The limit, in bytes.
        limit: u32,
    },
}

/// The private devices of one process. See the crate's page for its life.
#[derive(Debug, Clone)]
pub struct Context {
    clock_nanoseconds: u64,
    random: ChaCha8Rng,
    limits: ContextLimits,
    logs: Vec<LogLine>,
    logs_dropped: u64,
    events: Vec<Vec<u8>>,
    event_bytes: u32,
}

impl Context {
    /// Devices with the default limits. The clock is virtual time in nanoseconds.
    pub fn new(clock_nanoseconds: u64, seed: RandomSeed) -> Self {
        Self::with_limits(clock_nanoseconds, seed, ContextLimits::default())
    }

    /// Devices with the given limits. The clock is virtual time in nanoseconds.
    pub fn with_limits(clock_nanoseconds: u64, seed: RandomSeed, limits: ContextLimits) -> Self {
        Self {
            clock_nanoseconds,
            random: ChaCha8Rng::from_seed(seed),
            limits,
            logs: Vec::new(),
            logs_dropped: 0,
            events: Vec::new(),
            event_bytes: 0,
        }
    }

    /// Sets the virtual clock: nanoseconds that the guest reads until it is set again.
    pub fn set_clock(&mut self, nanoseconds: u64) {
        self.clock_nanoseconds = nanoseconds;
    }

    /// The virtual clock in nanoseconds. It stands still during a step.
    pub fn clock_now(&self) -> u64 {
        self.clock_nanoseconds
    }

    /// Fills `bytes` with the next bytes of the process's random stream: ChaCha8 with the seed as key and a zero
    /// nonce. Each call takes whole 32-bit words of the stream, so three calls for one byte use twelve.
    pub fn random_fill(&mut self, bytes: &mut [u8]) {
        self.random.fill_bytes(bytes);
    }

    /// Appends a line to the log. Over [`ContextLimits::log_lines`] it is dropped, and [`Context::take_logs`] says so.
    pub fn log(&mut self, level: u32, text: &str) -> Result<(), DeviceError> {
        if level > LOG_LEVEL_MAXIMUM {
            return Err(DeviceError::LogLevel { level });
        }
        if self.logs.len() as u64 >= u64::from(self.limits.log_lines) {
            self.logs_dropped = self.logs_dropped.saturating_add(1);
            return Ok(());
        }
        let text = cut(text, self.limits.log_line_bytes as usize).to_owned();
        self.logs.push(LogLine { level: level as u8, text });
        Ok(())
    }

    /// The most bytes of a log line that are kept: a host need not copy more out of the guest.
    pub fn log_line_limit(&self) -> u32 {
        self.limits.log_line_bytes
    }

    /// Fails exactly when [`Context::emit`] would for an event of this many bytes: a host asks before it copies.
    pub fn can_emit(&self, bytes: u32) -> Result<(), DeviceError> {
        if self.events.len() as u64 >= u64::from(self.limits.events) {
            return Err(DeviceError::TooManyEvents { limit: self.limits.events });
        }
        match self.event_bytes.checked_add(bytes) {
            Some(sum) if sum <= self.limits.event_bytes => Ok(()),
            _ => Err(DeviceError::TooManyEventBytes { limit: self.limits.event_bytes }),
        }
    }

    /// Appends an event: JSON by convention, not checked here.
    pub fn emit(&mut self, event: &[u8]) -> Result<(), DeviceError> {
        let bytes = u32::try_from(event.len())
            .map_err(|_| DeviceError::TooManyEventBytes { limit: self.limits.event_bytes })?;
        self.can_emit(bytes)?;
        self.event_bytes += bytes;
        self.events.push(event.to_vec());
        Ok(())
    }

    /// Takes the step's log lines; the next step starts with none. When lines were dropped, a last line says how many.
    pub fn take_logs(&mut self) -> Vec<LogLine> {
        let mut logs = core::mem::take(&mut self.logs);
        let dropped = core::mem::take(&mut self.logs_dropped);
        if dropped > 0 {
            let text =
                format!("{dropped} more log lines were dropped: a step keeps {}", self.limits.log_lines);
            logs.push(LogLine { level: 1, text });
        }
        logs
    }

    /// Takes what else the devices did in the step.
    pub fn take_report(&mut self) -> DeviceReport {
        DeviceReport::default()
    }

    /// Takes the step's events; the next step starts with none.
    pub fn take_events(&mut self) -> Vec<Vec<u8>> {
        self.event_bytes = 0;
        core::mem::take(&mut self.events)
    }

    /// Like [`Context::log`] for bytes that a guest claims to be UTF-8: whatever is not is shown as U+FFFD.
    pub fn log_bytes(&mut self, level: u32, text: &[u8]) -> Result<(), DeviceError> {
        self.log(level, &String::from_utf8_lossy(text))
    }
}

/// The longest start of `text` that has at most `limit` bytes.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> ContextLimits {
        ContextLimits { log_lines: 2, log_line_bytes: 5, events: 2, event_bytes: 8 }
    }

    #[test]
    fn the_random_stream_is_chacha8_with_the_seed_as_key() {
        // First block of the ChaCha8 stream with an all-zero key and nonce.
        let mut bytes = [0; 8];
        Context::new(0, [0; 32]).random_fill(&mut bytes);
        assert_eq!(bytes, [0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6]);
    }

    #[test]
    fn the_same_seed_gives_the_same_stream_and_another_seed_another() {
        let (mut a, mut b, mut c) =
            (Context::new(0, [7; 32]), Context::new(0, [7; 32]), Context::new(0, [8; 32]));
        let mut bytes = [[0; 100]; 3];
        a.random_fill(&mut bytes[0]);
        b.random_fill(&mut bytes[1]);
        c.random_fill(&mut bytes[2]);
        assert_eq!(bytes[0], bytes[1]);
        assert_ne!(bytes[0], bytes[2]);
    }

    #[test]
    fn the_clock_reads_what_was_set() {
        let mut context = Context::new(0, [0; 32]);
        assert_eq!(context.clock_now(), 0);
        context.set_clock(17);
        assert_eq!((context.clock_now(), context.clock_now()), (17, 17));
    }

    #[test]
    fn long_log_lines_are_cut_at_a_character_and_surplus_ones_counted() {
        let mut context = Context::with_limits(0, [0; 32], limits());
        context.log(0, "abcdé").unwrap();
        context.log_bytes(4, b"a\xffb").unwrap();
        context.log(2, "dropped").unwrap();
        context.log(2, "dropped").unwrap();
        let logs = context.take_logs();
        assert_eq!(logs[0], LogLine { level: 0, text: "abcd".into() });
        assert_eq!(logs[1], LogLine { level: 4, text: "a\u{fffd}b".into() });
        assert_eq!(
            logs[2],
            LogLine { level: 1, text: "2 more log lines were dropped: a step keeps 2".into() }
        );
        assert!(context.take_logs().is_empty());
    }

    #[test]
    fn a_log_level_that_does_not_exist_is_refused() {
        let mut context = Context::new(0, [0; 32]);
        assert_eq!(context.log(5, "x"), Err(DeviceError::LogLevel { level: 5 }));
    }

    #[test]
    fn events_are_bounded_by_number_and_bytes_until_they_are_taken() {
        let mut context = Context::with_limits(0, [0; 32], limits());
        context.emit(b"{}").unwrap();
        assert_eq!(context.emit(&[0; 7]), Err(DeviceError::TooManyEventBytes { limit: 8 }));
        context.emit(&[0; 6]).unwrap();
        assert_eq!(context.emit(b""), Err(DeviceError::TooManyEvents { limit: 2 }));
        assert_eq!(context.can_emit(u32::MAX), Err(DeviceError::TooManyEvents { limit: 2 }));
        assert_eq!(context.take_events(), [b"{}".to_vec(), [0; 6].to_vec()]);
        context.emit(&[0; 8]).unwrap();
    }

    #[test]
    fn a_report_survives_a_compact_encoding() {
        use crate::{StepCall, StepOutcome, StepReport, TrapKind};
        let report = StepReport {
            outcome: StepOutcome::Trapped { kind: TrapKind::OutOfFuel, message: "out".into() },
            fuel_used: u64::MAX,
            memory_bytes: 65536,
            logs: alloc::vec![LogLine { level: 2, text: "hello".into() }],
            events: alloc::vec![b"{}".to_vec()],
            devices: DeviceReport::default(),
        };
        let bytes = postcard::to_allocvec(&report).unwrap();
        assert_eq!(postcard::from_bytes::<StepReport>(&bytes).unwrap(), report);
        let call = StepCall::Start { entry: "run".into(), input: b"abc".to_vec() };
        let bytes = postcard::to_allocvec(&call).unwrap();
        assert_eq!(postcard::from_bytes::<StepCall>(&bytes).unwrap(), call);
    }
}
