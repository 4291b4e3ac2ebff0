//! Saves the devices of a process, and restores them so that it goes on as if nothing had been.
//!
//! - [`SavedContext`]: everything that a guest can notice of its devices, and what the next report will say.
//! - [`RestoreError`]: why saved devices are not taken over.
//!
//! **Invariant:** what is restored was checked in full before: a context from a file that was tampered with is refused,
//! or is one to which a process could have come within its limits.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    Context, ContextLimits, DeviceEvent, LOG_LEVEL_MAXIMUM, LogLine, RandomSeed,
    audio::AudioState,
    clock::Clock,
    context::Output,
    display::SavedDisplay,
    files::SavedFiles,
    hud::{Hud, ID_BYTES_MAXIMUM},
    queue::Queue,
    stdio::{SavedStdio, Stdio},
    wasi::Program,
};

/// The version of what [`SavedContext::encode`] writes.
pub const SAVED_CONTEXT_VERSION: u16 = 1;

/// The devices of a process, saved. Who observes (readers of frames, recorded audio) is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedContext {
    version: u16,
    limits: ContextLimits,
    clock: Clock,
    random_seed: RandomSeed,
    /// 32-bit words that were drawn.
    random_words: u128,
    output: Box<Output>,
    queue: Option<Box<Queue>>,
    display: Option<SavedDisplay>,
    audio: Option<AudioState>,
    hud: Option<Box<Hud>>,
    program: Program,
    stdio: SavedStdio,
    files: SavedFiles,
}

/// Why saved devices are not taken over.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// They were saved by another version.
    #[error("the devices were saved in version {version}; this reads version {SAVED_CONTEXT_VERSION}")]
    Version {
        /// Their version.
        version: u16,
    },
    /// The bytes are not what [`SavedContext::encode`] writes.
    #[error("the saved devices are cut off or damaged")]
    Damaged,
    /// A limit is higher than what the host allows.
    #[error("the saved devices have the limit {limit} for `{name}`; {allowed} is allowed")]
    Limit {
        /// The field of [`ContextLimits`].
        name: &'static str,
        /// The saved limit.
        limit: u32,
        /// What is allowed.
        allowed: u32,
    },
    /// No process can have come to such devices.
    #[error("the saved devices are not possible: {fault}")]
    Impossible {
        /// What is not possible.
        fault: String,
    },
}

impl SavedContext {
    /// The saved devices as bytes: the version, little-endian, then the rest in postcard's encoding.
    pub fn encode(&self) -> Vec<u8> {
        // Encoding into memory fails for nothing that these types hold.
        postcard::to_extend(self, self.version.to_le_bytes().to_vec()).unwrap_or_default()
    }

    /// Reads saved devices. They are checked when they are restored.
    ///
    /// # Errors
    /// [`RestoreError::Version`], [`RestoreError::Damaged`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RestoreError> {
        let (version, rest) = bytes.split_first_chunk().ok_or(RestoreError::Damaged)?;
        let version = u16::from_le_bytes(*version);
        if version != SAVED_CONTEXT_VERSION {
            return Err(RestoreError::Version { version });
        }
        match postcard::take_from_bytes::<Self>(rest) {
            Ok((saved, [])) => Ok(saved),
            _ => Err(RestoreError::Damaged),
        }
    }
}

impl Context {
    /// Saves the devices.
    pub fn save(&self) -> SavedContext {
        SavedContext {
            version: SAVED_CONTEXT_VERSION,
            limits: *self.limits,
            clock: self.clock.clone(),
            random_seed: self.random_seed,
            random_words: self.random.as_ref().map_or(0, |random| random.get_word_pos()),
            output: self.output.clone(),
            queue: used(self.queue.clone()),
            display: self.display.as_ref().and_then(|display| display.save()),
            audio: used(self.audio.as_ref().map(|audio| audio.save())),
            hud: used(self.hud.clone()),
            program: (*self.program).clone(),
            stdio: self.stdio.save(),
            files: self.save_files(),
        }
    }

    /// Makes devices of saved ones, which go on exactly where those were. `allowed` is the most that their limits may be.
    ///
    /// # Errors
    /// Why they are refused.
    pub fn restore(saved: SavedContext, allowed: &ContextLimits) -> Result<Self, RestoreError> {
        if saved.version != SAVED_CONTEXT_VERSION {
            return Err(RestoreError::Version { version: saved.version });
        }
        check_limits(&saved.limits, allowed)?;
        let (limits, now) = (saved.limits, saved.clock.now);
        refuse(saved.clock.fault())?;
        refuse(saved.report_fault())?;
        refuse(saved.queue.as_ref().and_then(|queue| queue.fault(now, &limits)))?;
        refuse(saved.hud.as_ref().and_then(|hud| hud.fault(&limits)))?;
        let display = saved.display.map(|display| display.restore(now, &limits)).transpose();
        let display = display.map_err(impossible)?.map(Box::new);
        let audio = saved.audio.map(|audio| audio.restore(&limits)).transpose();
        let audio = audio.map_err(impossible)?.map(Box::new);
        let random = (saved.random_words > 0).then(|| {
            let mut random = Box::new(ChaCha8Rng::from_seed(saved.random_seed));
            random.set_word_pos(saved.random_words);
            random
        });
        let mut context = Self {
            clock: saved.clock,
            random_seed: saved.random_seed,
            random,
            limits: Box::new(limits),
            output: saved.output,
            queue: saved.queue,
            display,
            audio,
            hud: saved.hud,
            link: Box::default(),
            stdio: Box::new(Stdio::restore(saved.stdio).map_err(impossible)?),
            files: Box::default(),
            program: Box::new(saved.program),
        };
        context.restore_files(&saved.files).map_err(|error| impossible(error.to_string()))?;
        Ok(context)
    }
}

/// A device's state, unless it is as if nobody had used it: whether it exists must not show, since observers make some exist.
fn used<T: Default + PartialEq>(state: Option<T>) -> Option<T> {
    state.filter(|state| *state != T::default())
}

fn impossible(fault: impl Into<String>) -> RestoreError {
    RestoreError::Impossible { fault: fault.into() }
}

fn refuse(fault: Option<impl Into<String>>) -> Result<(), RestoreError> {
    fault.map_or(Ok(()), |fault| Err(impossible(fault)))
}

impl SavedContext {
    /// What the parts of the next report cannot be, if they are that.
    fn report_fault(&self) -> Option<&'static str> {
        let (limits, output) = (&self.limits, &self.output);
        let over = |count: usize, limit: u32| count as u64 > u64::from(limit);
        let event_bytes = output.events.iter().map(Vec::len).sum();
        let line = |line: &LogLine| {
            over(line.text.len(), limits.log_line_bytes) || u32::from(line.level) > LOG_LEVEL_MAXIMUM
        };
        if over(output.logs.len(), limits.log_lines) || output.logs.iter().any(line) {
            Some("a log that its limits do not allow")
        } else if over(output.events.len(), limits.events) || over(event_bytes, limits.event_bytes) {
            Some("more events than its limits allow")
        } else if event_bytes as u64 != u64::from(output.event_bytes) {
            Some("events of another length than was counted")
        } else if over(output.noted.events.len(), limits.device_events) {
            Some("more device events than its limits allow")
        } else if !output.noted.events.iter().all(may_be_reported) {
            Some("an event that no step has")
        } else if self.random_words >= RANDOM_WORDS {
            Some("a random stream past its end")
        } else {
            None
        }
    }
}

/// Whether a step's report can have such an event.
fn may_be_reported(event: &DeviceEvent) -> bool {
    match event {
        DeviceEvent::MemoryAccessed { .. } => false,
        DeviceEvent::HudChanged { id, .. } => id.len() as u64 <= u64::from(ID_BYTES_MAXIMUM),
        _ => true,
    }
}

/// Words of a random stream, after which it starts again: 2^64 blocks of 16.
const RANDOM_WORDS: u128 = 1 << 68;

fn check_limits(limits: &ContextLimits, allowed: &ContextLimits) -> Result<(), RestoreError> {
    // Taken apart, so that a limit that is added is not forgotten here.
    macro_rules! check {
        ($($name:ident),* $(,)?) => {{
            let ContextLimits { $($name),* } = *limits;
            $(if $name > allowed.$name {
                let (limit, allowed) = ($name, allowed.$name);
                return Err(RestoreError::Limit { name: stringify!($name), limit, allowed });
            })*
        }};
    }
    check!(
        log_lines,
        log_line_bytes,
        events,
        event_bytes,
        device_events,
        timers,
        input_pending,
        input_queue,
        input_text_bytes,
        frame_side,
        frame_bytes,
        audio_rate,
        audio_channels,
        audio_bytes,
        hud_elements,
        hud_text_bytes,
    );
    Ok(())
}

#[cfg(test)]
mod tests;
