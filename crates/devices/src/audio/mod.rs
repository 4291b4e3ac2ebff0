//! The audio output of a process: the guest plays samples, a host may record them.
//!
//! - [`AudioFormat`], [`SampleFormat`]: what samples are; [`AudioBlock`], [`AudioTaken`]: what a host takes.
//!
//! ```text
//! audio_configure(rate: i32, channels: i32, format: i32)      sets up a stream; format 1: f32, 2: i16, both little-endian
//! audio_play(pointer: i32, length: i32) -> i64                plays whole frames; where they start in the stream, in frames
//! ```
//!
//! `rate` is frames in a second; a frame is one sample of every channel, in order (left, right, …). `length` is bytes.
//! Played frames follow each other without gaps: the first starts at 0, each further one where the last ended, so the
//! offset is exact to the sample, whether or not a host listens. To configure the format that is already set changes
//! nothing; another one begins a new stream at 0. Each byte that is played costs 1 fuel. A misuse stops the step: an
//! unknown format, a rate of 0 or over [`crate::ContextLimits::audio_rate`], no channels or more than
//! [`crate::ContextLimits::audio_channels`], half a frame, samples before any configuration.

#[cfg(test)]
mod tests;
mod wav;

use alloc::{vec, vec::Vec};
use core::mem;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

#[cfg(feature = "wav")]
pub use self::wav::WavWriter;
pub use self::wav::wav_header;
use crate::{
    Call, Context, ContextLimits, DeviceError, DeviceEvent, HostFunction, Stop,
    ValueType::{I32, I64},
    own::{function, words},
};

/// Bytes of samples that are copied at once: a guest may play all of its memory.
const PIECE_BYTES: u32 = 64 << 10;

/// The table.
pub(crate) const FUNCTIONS: &[HostFunction] = &[
    function("audio_configure", &[I32, I32, I32], None, audio_configure),
    function("audio_play", &[I32, I32], Some(I64), audio_play),
];

/// How a sample is encoded, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SampleFormat {
    /// A 32-bit float, -1 to 1.
    F32,
    /// A signed 16-bit integer.
    I16,
}

impl SampleFormat {
    /// The format of this code.
    pub fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::F32),
            2 => Some(Self::I16),
            _ => None,
        }
    }

    /// Bytes of a sample.
    pub fn sample_bytes(self) -> u32 {
        match self {
            Self::F32 => 4,
            Self::I16 => 2,
        }
    }
}

/// What the samples of a stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AudioFormat {
    /// Frames in a second.
    pub rate: u32,
    /// Samples in a frame.
    pub channels: u32,
    /// How a sample is encoded.
    pub samples: SampleFormat,
}

impl AudioFormat {
    /// Bytes of a frame: one sample of every channel.
    pub fn frame_bytes(&self) -> u32 {
        self.channels.saturating_mul(self.samples.sample_bytes())
    }

    fn check(&self, limits: &ContextLimits) -> Result<(), DeviceError> {
        let Self { rate, channels, .. } = *self;
        if rate == 0 || rate > limits.audio_rate {
            return Err(DeviceError::SampleRate { rate, limit: limits.audio_rate });
        }
        if channels == 0 || channels > limits.audio_channels {
            return Err(DeviceError::Channels { channels, limit: limits.audio_channels });
        }
        Ok(())
    }
}

/// Recorded audio: frames of one stream that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioBlock {
    /// The number of the stream, from 1.
    pub stream: u32,
    /// Where the block starts in the stream, in frames.
    pub offset: u64,
    /// The format of the stream.
    pub format: AudioFormat,
    /// The samples.
    pub bytes: Vec<u8>,
}

impl AudioBlock {
    /// Where the block ends in the stream, in frames.
    pub fn end(&self) -> u64 {
        let frames = (self.bytes.len() as u64).checked_div(self.format.frame_bytes().into());
        self.offset.saturating_add(frames.unwrap_or(0))
    }
}

/// What a host takes of what was recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AudioTaken {
    /// The blocks, in order.
    pub blocks: Vec<AudioBlock>,
    /// Frames that are missing after these blocks, because [`ContextLimits::audio_bytes`] were waiting to be taken.
    pub frames_lost: u64,
}

/// The audio state of a process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Audio {
    state: AudioState,
    /// Whether a host takes what is played.
    recording: bool,
    taken: AudioTaken,
    taken_bytes: u32,
}

/// What the guest can notice, and is saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AudioState {
    format: Option<AudioFormat>,
    /// Streams until now: the number of the present one.
    streams: u32,
    /// Frames until now in the present stream.
    frames: u64,
}

/// `audio_configure(rate, channels, format)`.
fn audio_configure(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [rate, channels, code] = words(arguments);
    let samples = SampleFormat::from_code(code).ok_or(DeviceError::SampleFormat { code })?;
    let format = AudioFormat { rate, channels, samples };
    format.check(&call.context.limits)?;
    let state = &mut call.context.audio.get_or_insert_default().state;
    if state.format != Some(format) {
        let stream = state.streams.saturating_add(1);
        *state = AudioState { format: Some(format), streams: stream, frames: 0 };
        call.context.note(DeviceEvent::AudioConfigured { stream, format });
    }
    Ok(0)
}

/// `audio_play(pointer, length)`.
fn audio_play(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [pointer, length] = words(arguments);
    call.check(pointer, length)?;
    let format = call.context.audio.as_ref().and_then(|audio| audio.state.format);
    let format = format.ok_or(DeviceError::AudioNotConfigured)?;
    let frame_bytes = format.frame_bytes();
    if !length.is_multiple_of(frame_bytes) {
        return Err(DeviceError::PartialFrame { length, frame_bytes }.into());
    }
    call.pay(length.into())?;
    // Taken out of the context while samples are copied straight from the guest's memory.
    let Some(mut audio) = call.context.audio.take() else { return Ok(0) };
    let AudioState { streams: stream, frames: offset, .. } = audio.state;
    let frames = length / frame_bytes;
    audio.state.frames = offset.saturating_add(frames.into());
    let mut kept = audio.begin(frames, length, call.context.limits.audio_bytes);
    let mut hash = Sha256::new();
    let mut piece = vec![0; length.min(PIECE_BYTES) as usize];
    let mut done = 0;
    while done < length {
        let bytes = &mut piece[..(length - done).min(PIECE_BYTES) as usize];
        // The whole place was checked.
        let _ = call.try_read(pointer + done, bytes);
        hash.update(&*bytes);
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(bytes);
        }
        done += bytes.len() as u32;
    }
    if let Some(bytes) = kept.filter(|bytes| !bytes.is_empty()) {
        audio.keep(AudioBlock { stream, offset, format, bytes });
    }
    call.context.audio = Some(audio);
    if frames > 0 {
        let sha256 = hash.finalize().into();
        call.context.note(DeviceEvent::AudioPlayed { stream, offset, frames, sha256 });
    }
    Ok(offset)
}

impl Audio {
    /// Room for a block that a host is to be given; none when no host records, or when the block is lost.
    fn begin(&mut self, frames: u32, length: u32, limit: u32) -> Option<Vec<u8>> {
        if !self.recording {
            return None;
        }
        let lost = &mut self.taken.frames_lost;
        // Once something was lost nothing more is kept until the host has taken the rest, so that what is lost is one gap.
        match self.taken_bytes.checked_add(length).filter(|bytes| *lost == 0 && *bytes <= limit) {
            Some(bytes) => {
                self.taken_bytes = bytes;
                Some(Vec::with_capacity(length as usize))
            }
            None => {
                *lost = lost.saturating_add(frames.into());
                None
            }
        }
    }

    /// Appends a block to what the host is to be given.
    fn keep(&mut self, mut block: AudioBlock) {
        let blocks = &mut self.taken.blocks;
        match blocks.last_mut().filter(|last| last.stream == block.stream && last.end() == block.offset) {
            Some(last) => last.bytes.append(&mut block.bytes),
            None => blocks.push(block),
        }
    }

    pub(crate) fn save(&self) -> AudioState {
        self.state
    }
}

impl AudioState {
    /// The audio output, or what it cannot be. Nothing is recorded.
    pub(crate) fn restore(self, limits: &ContextLimits) -> Result<Audio, &'static str> {
        match self.format {
            Some(format) if format.check(limits).is_err() => {
                Err("an audio format that its limits do not allow")
            }
            Some(_) if self.streams == 0 => Err("audio without a stream"),
            None if self.streams != 0 || self.frames != 0 => Err("an audio stream without a format"),
            _ => Ok(Audio { state: self, ..Audio::default() }),
        }
    }
}

impl Context {
    /// From now on, keeps what is played for [`Context::take_audio`], or stops to do so. The guest cannot tell.
    pub fn record_audio(&mut self, recording: bool) {
        self.audio.get_or_insert_default().recording = recording;
    }

    /// Takes what was recorded since it was taken last.
    pub fn take_audio(&mut self) -> AudioTaken {
        let Some(audio) = &mut self.audio else { return AudioTaken::default() };
        audio.taken_bytes = 0;
        mem::take(&mut audio.taken)
    }

    /// The format of the present stream and the frames that were played in it, heard or not; none before the first.
    pub fn audio_played(&self) -> Option<(AudioFormat, u64)> {
        let audio = self.audio.as_ref()?;
        Some((audio.state.format?, audio.state.frames))
    }
}
