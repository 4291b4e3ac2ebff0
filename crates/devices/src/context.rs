//! The private devices of one process, and their limits: random stream, log and events; the others are in files of their own.

use alloc::{borrow::ToOwned, boxed::Box, format, string::String, vec::Vec};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    DeviceEvent, DeviceReport, LogLine,
    audio::Audio,
    clock::Clock,
    display::Display,
    event::Noted,
    files::Files,
    host::Link,
    hud::Hud,
    json::FieldError,
    queue::{Queue, RECORD_BYTES},
    stdio::Stdio,
    wasi::Program,
};

/// What a process's random stream starts from.
pub type RandomSeed = [u8; 32];

/// The least important log level, trace.
pub const LOG_LEVEL_MAXIMUM: u32 = 4;

/// How much a process may make its devices hold, so that a guest cannot fill the host's memory through them.
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
    /// [`DeviceEvent`]s of one step; further ones are counted and dropped.
    pub device_events: u32,
    /// Timers that are set at a time; one more stops the step.
    pub timers: u32,
    /// Records of input that wait for their time; the host's packet is refused.
    pub input_pending: u32,
    /// Records that the guest has not taken yet; further ones are counted and dropped.
    pub input_queue: u32,
    /// Bytes of text in one packet of input; a longer one is refused.
    pub input_text_bytes: u32,
    /// Pixels of a frame in each direction; more stops the step.
    pub frame_side: u32,
    /// Bytes of a frame; more stops the step.
    pub frame_bytes: u32,
    /// Frames of audio in a second; more stops the step.
    pub audio_rate: u32,
    /// Channels of audio; more stops the step.
    pub audio_channels: u32,
    /// Bytes of audio that are kept for a host that records it; further frames are counted and dropped.
    pub audio_bytes: u32,
    /// Elements of the head-up display, signals and overlays together; one more stops the step.
    pub hud_elements: u32,
    /// Bytes of a text of such an element; more stops the step.
    pub hud_text_bytes: u32,
}

impl Default for ContextLimits {
    /// What an ordinary process does not come near, and small against the memory of a process.
    fn default() -> Self {
        Self {
            // Far more than a person reads of one step.
            log_lines: 1_000,
            log_line_bytes: 4 << 10,
            // Enough to report on every token of a step.
            events: 1_000,
            event_bytes: 1 << 20,
            // 20 seconds of a game that sleeps, draws and plays a sound 60 times a second.
            device_events: 4_096,
            // A program's timers are looked through when one is set.
            timers: 64,
            // A script of a few minutes of play; 1 MiB at most.
            input_pending: 16 << 10,
            // Seconds of a fast mouse.
            input_queue: 1_024,
            // A pasted page.
            input_text_bytes: 4 << 10,
            // 4K in both directions, with 4 bytes a pixel.
            frame_side: 4_096,
            frame_bytes: 32 << 20,
            // Studio equipment.
            audio_rate: 192_000,
            audio_channels: 8,
            // 43 seconds of stereo at 48 kHz in 32 bits.
            audio_bytes: 16 << 20,
            // More than fits on a screen.
            hud_elements: 256,
            hud_text_bytes: 1_024,
        }
    }
}

/// A misuse of a device by the guest. The step that did it is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
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
    /// One timer more than [`ContextLimits::timers`].
    #[error("the process set more than {limit} timers")]
    TooManyTimers {
        /// The limit.
        limit: u32,
    },
    /// A place for input records that does not hold one.
    #[error("a place of {length} bytes holds no input record of {RECORD_BYTES}")]
    RecordRoom {
        /// The length that was given.
        length: u32,
    },
    /// A pixel format that does not exist.
    #[error(
        "pixel format {code} does not exist; they are 1 (Indexed8), 2 (RGB24), 3 (RGBA32), 4 (BGRA32), 5 (Luma8)"
    )]
    PixelFormat {
        /// The number that was given.
        code: u32,
    },
    /// A frame without pixels, or with more in a direction than [`ContextLimits::frame_side`].
    #[error("a frame of {width} × {height} pixels is not possible; each side has 1 to {limit}")]
    FrameSide {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// The limit.
        limit: u32,
    },
    /// Rows that are shorter than their pixels.
    #[error("rows of {stride} bytes do not hold {width} pixels of {pixel_bytes} bytes")]
    Stride {
        /// Bytes from one row to the next.
        stride: u32,
        /// Pixels in a row.
        width: u32,
        /// Bytes of a pixel.
        pixel_bytes: u32,
    },
    /// A frame with more bytes than [`ContextLimits::frame_bytes`].
    #[error("a frame of {bytes} bytes is more than {limit}")]
    FrameBytes {
        /// Bytes of the frame.
        bytes: u64,
        /// The limit, in bytes.
        limit: u32,
    },
    /// A frame of another length than the display was configured for.
    #[error("a frame of {length} bytes was presented; the display was configured for {expected}")]
    FrameLength {
        /// The length that was given.
        length: u32,
        /// Stride times height.
        expected: u32,
    },
    /// A palette that is no list of colours.
    #[error("a palette of {length} bytes is not 1 to 256 entries of 4 bytes")]
    Palette {
        /// The length that was given.
        length: u32,
    },
    /// A frame before the display was configured.
    #[error("a frame was presented before the display was configured")]
    DisplayNotConfigured,
    /// A sample format that does not exist.
    #[error("sample format {code} does not exist; they are 1 (f32) and 2 (i16)")]
    SampleFormat {
        /// The number that was given.
        code: u32,
    },
    /// A sample rate of 0, or over [`ContextLimits::audio_rate`].
    #[error("a sample rate of {rate} Hz is not between 1 and {limit}")]
    SampleRate {
        /// The rate that was given.
        rate: u32,
        /// The limit.
        limit: u32,
    },
    /// No channels, or more than [`ContextLimits::audio_channels`].
    #[error("{channels} channels are not between 1 and {limit}")]
    Channels {
        /// The number that was given.
        channels: u32,
        /// The limit.
        limit: u32,
    },
    /// Audio before its format was configured.
    #[error("audio was played before it was configured")]
    AudioNotConfigured,
    /// Audio that ends within a frame.
    #[error("{length} bytes of audio are not whole frames of {frame_bytes} bytes")]
    PartialFrame {
        /// The length that was given.
        length: u32,
        /// Bytes of a frame: a sample of every channel.
        frame_bytes: u32,
    },
    /// An element of the head-up display that is not one.
    #[error("head-up display: {0}")]
    Hud(FieldError),
    /// More JSON than any element of the head-up display needs.
    #[error("head-up display: {length} bytes of JSON are more than {limit}")]
    HudBytes {
        /// The length that was given.
        length: u32,
        /// The limit, in bytes.
        limit: u32,
    },
    /// One element more than [`ContextLimits::hud_elements`].
    #[error("head-up display: more than {limit} elements")]
    TooManyHudElements {
        /// The limit.
        limit: u32,
    },
    /// More queued bytes than [`StdioLimits::queued_bytes`](crate::StdioLimits::queued_bytes).
    #[error("standard input has room for {limit} bytes")]
    StdinFull {
        /// The limit, in bytes.
        limit: u64,
    },
    /// More bytes of answers than [`HostLimits::answer_bytes`](crate::HostLimits::answer_bytes).
    #[error("the step took more than {limit} bytes from its host")]
    TooManyHostBytes {
        /// The limit, in bytes.
        limit: u64,
    },
    /// A replayed step asked the host for more than the recording holds.
    #[error("the step asked its host for more than the recording holds")]
    RecordingEnded,
    /// A replayed step asked the host for something else than the recording holds.
    #[error("the step asked its host for {expected}, and the recording holds {found}")]
    RecordingDiffers {
        /// What was asked for.
        expected: &'static str,
        /// What the recording holds.
        found: &'static str,
    },
}

/// The private devices of one process. See the crate's page for its life. It is small, since it is moved at each step.
#[derive(Debug, Clone)]
pub struct Context {
    pub(crate) clock: Clock,
    pub(crate) random_seed: RandomSeed,
    pub(crate) limits: Box<ContextLimits>,
    pub(crate) output: Box<Output>,
    // Made when they are first used: most processes need none of them.
    pub(crate) random: Option<Box<ChaCha8Rng>>,
    pub(crate) queue: Option<Box<Queue>>,
    pub(crate) display: Option<Box<Display>>,
    pub(crate) audio: Option<Box<Audio>>,
    pub(crate) hud: Option<Box<Hud>>,
    pub(crate) link: Box<Link>,
    pub(crate) stdio: Box<Stdio>,
    pub(crate) files: Box<Files>,
    pub(crate) program: Box<Program>,
}

/// What the next report says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    pub(crate) logs: Vec<LogLine>,
    pub(crate) logs_dropped: u64,
    pub(crate) events: Vec<Vec<u8>>,
    /// Bytes of all events.
    pub(crate) event_bytes: u32,
    pub(crate) noted: Noted,
}

impl Context {
    /// Devices with the default limits. The clock is virtual time in nanoseconds.
    pub fn new(clock_nanoseconds: u64, seed: RandomSeed) -> Self {
        Self::with_limits(clock_nanoseconds, seed, ContextLimits::default())
    }

    /// Devices with the given limits. The clock is virtual time in nanoseconds.
    pub fn with_limits(clock_nanoseconds: u64, seed: RandomSeed, limits: ContextLimits) -> Self {
        Self {
            clock: Clock::new(clock_nanoseconds),
            random_seed: seed,
            limits: Box::new(limits),
            output: Box::default(),
            random: None,
            queue: None,
            display: None,
            audio: None,
            hud: None,
            link: Box::default(),
            stdio: Box::default(),
            files: Box::default(),
            program: Box::new(Program::new(clock_nanoseconds)),
        }
    }

    /// The limits of these devices.
    pub fn limits(&self) -> &ContextLimits {
        &self.limits
    }

    /// Appends an event to the report.
    pub(crate) fn note(&mut self, event: DeviceEvent) {
        self.output.noted.note(self.limits.device_events, event);
    }

    /// Fills `bytes` with the next bytes of the process's random stream: ChaCha8 with the seed as key and a zero
    /// nonce. Each call takes whole 32-bit words of the stream, so three calls for one byte use twelve.
    pub fn random_fill(&mut self, bytes: &mut [u8]) {
        let seed = self.random_seed;
        let random = self.random.get_or_insert_with(|| Box::new(ChaCha8Rng::from_seed(seed)));
        random.fill_bytes(bytes);
    }

    /// Appends a line to the log. Over [`ContextLimits::log_lines`] it is dropped, and [`Context::take_logs`] says so.
    pub fn log(&mut self, level: u32, text: &str) -> Result<(), DeviceError> {
        if level > LOG_LEVEL_MAXIMUM {
            return Err(DeviceError::LogLevel { level });
        }
        if self.output.logs.len() as u64 >= u64::from(self.limits.log_lines) {
            self.output.logs_dropped = self.output.logs_dropped.saturating_add(1);
            return Ok(());
        }
        let text = cut(text, self.limits.log_line_bytes as usize).to_owned();
        self.output.logs.push(LogLine { level: level as u8, text });
        Ok(())
    }

    /// The most bytes of a log line that are kept: a host need not copy more out of the guest.
    pub fn log_line_limit(&self) -> u32 {
        self.limits.log_line_bytes
    }

    /// Fails exactly when [`Context::emit`] would for an event of this many bytes: a host asks before it copies.
    pub fn can_emit(&self, bytes: u32) -> Result<(), DeviceError> {
        if self.output.events.len() as u64 >= u64::from(self.limits.events) {
            return Err(DeviceError::TooManyEvents { limit: self.limits.events });
        }
        match self.output.event_bytes.checked_add(bytes) {
            Some(sum) if sum <= self.limits.event_bytes => Ok(()),
            _ => Err(DeviceError::TooManyEventBytes { limit: self.limits.event_bytes }),
        }
    }

    /// Appends an event: JSON by convention, not checked here.
    pub fn emit(&mut self, event: &[u8]) -> Result<(), DeviceError> {
        let bytes = u32::try_from(event.len())
            .map_err(|_| DeviceError::TooManyEventBytes { limit: self.limits.event_bytes })?;
        self.can_emit(bytes)?;
        self.output.event_bytes += bytes;
        self.output.events.push(event.to_vec());
        Ok(())
    }

    /// Takes the step's log lines; the next step starts with none. When lines were dropped, a last line says how many.
    pub fn take_logs(&mut self) -> Vec<LogLine> {
        let mut logs = core::mem::take(&mut self.output.logs);
        let dropped = core::mem::take(&mut self.output.logs_dropped);
        if dropped > 0 {
            let text =
                format!("{dropped} more log lines were dropped: a step keeps {}", self.limits.log_lines);
            logs.push(LogLine { level: 1, text });
        }
        logs
    }

    /// Takes what else the devices did in the step.
    pub fn take_report(&mut self) -> DeviceReport {
        let mut report = DeviceReport::default();
        self.report_to(&mut report);
        report
    }

    /// Takes what else the devices did in the step into an empty report where it lies: moving a report takes as long as
    /// everything else that a short step costs.
    #[inline]
    pub fn report_to(&mut self, report: &mut DeviceReport) {
        report.events = core::mem::take(&mut self.output.noted.events);
        report.events_dropped = core::mem::take(&mut self.output.noted.dropped);
        report.answers = self.link.take_answers();
        self.stdio.report_to(&mut report.output, &mut report.error);
        self.files.accesses.report_to(&mut report.files);
    }

    /// Takes the step's events; the next step starts with none.
    pub fn take_events(&mut self) -> Vec<Vec<u8>> {
        self.output.event_bytes = 0;
        core::mem::take(&mut self.output.events)
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
        ContextLimits { log_lines: 2, log_line_bytes: 5, events: 2, event_bytes: 8, ..Default::default() }
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
