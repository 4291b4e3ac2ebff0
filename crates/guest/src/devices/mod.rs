//! The process's own devices. They answer at once, within the step, and the same in every run with the same seed and
//! the same input.
//!
//! - [`clock_now`], [`random_fill`], [`log`](log()), [`emit`], [`emit_bytes`]: what every guest uses.
//! - [`clock`]: virtual time, sleeping, timers. [`input`]: what arrives.
//! - [`display`], [`audio`], [`hud`]: what a host may show and play.

pub mod audio;
pub mod clock;
pub mod display;
pub mod hud;
pub mod input;

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    /// Something failed.
    Error = 0,
    /// Something is not as it should be.
    Warn = 1,
    /// What a person watching wants to know.
    Info = 2,
    /// What a developer wants to know.
    Debug = 3,
    /// Everything.
    Trace = 4,
}

/// The virtual clock, in nanoseconds; [`clock`] has more of it. The host's wall clock is
/// [`clock::now`](crate::clock::now).
pub fn clock_now() -> i64 {
    host::clock_now().cast_signed()
}

/// Fills `bytes` from the process's seeded generator: the same seed gives the same bytes on every host.
pub fn random_fill(bytes: &mut [u8]) {
    host::random_fill(bytes);
}

/// Writes one line to the process's log. The macros [`error!`](crate::error!) to [`trace!`](crate::trace!) format it.
pub fn log(level: Level, text: &str) {
    host::log(level, text);
}

/// Publishes an event as JSON.
///
/// # Errors
///
/// `invalid_event` when `event` cannot be written as JSON.
pub fn emit(event: &impl serde::Serialize) -> Result<(), glasshouse_protocol::ErrorData> {
    let bytes = serde_json::to_vec(event)
        .map_err(|error| glasshouse_protocol::ErrorData::from_error("invalid_event", &error))?;
    host::emit(&bytes);
    Ok(())
}

/// Publishes an event that is JSON already.
pub fn emit_bytes(json: &[u8]) {
    host::emit(json);
}

/// Ends the step with an error, as JSON of an [`ErrorData`](glasshouse_protocol::ErrorData).
#[cfg(target_arch = "wasm32")]
pub(crate) fn fail(json: &[u8]) -> ! {
    host::fail(json)
}

/// Takes the answer of the last call of a host function. `envelope` is as long as it is.
pub(crate) fn take_answer(envelope: &mut [u8]) {
    host::take_answer(envelope);
}

#[cfg(target_arch = "wasm32")]
mod host {
    use super::Level;

    mod imports {
        #[link(wasm_import_module = "glasshouse")]
        unsafe extern "C" {
            pub safe fn clock_now() -> u64;
            pub safe fn clock_wall() -> u64;
            pub safe fn sleep_until(deadline: u64) -> u64;
            pub safe fn timer_set(id: u32, time: u64, interval: u64);
            pub safe fn timer_cancel(id: u32) -> u32;
            pub safe fn display_configure(width: u32, height: u32, stride: u32, format: u32);
            pub fn display_palette(pointer: *const u8, length: usize);
            pub fn display_present(pointer: *const u8, length: usize) -> u64;
            pub safe fn audio_configure(rate: u32, channels: u32, format: u32);
            pub fn audio_play(pointer: *const u8, length: usize) -> u64;
            pub fn hud_signal(pointer: *const u8, length: usize);
            pub fn hud_overlay(pointer: *const u8, length: usize);
            pub fn hud_remove(pointer: *const u8, length: usize) -> u32;
            pub fn input_next(pointer: *mut u8, length: usize) -> u32;
            pub fn input_state(pointer: *mut u8, length: usize) -> u32;
            pub fn random_fill(pointer: *mut u8, length: usize);
            pub fn log(level: u32, pointer: *const u8, length: usize);
            pub fn emit(pointer: *const u8, length: usize);
            pub fn fail(pointer: *const u8, length: usize) -> !;
            pub fn take_answer(pointer: *mut u8, length: usize);
        }
    }

    pub(super) use imports::{
        audio_configure, clock_now, clock_wall, display_configure, sleep_until, timer_cancel, timer_set,
    };

    pub(super) fn display_palette(colours: &[u8]) {
        // SAFETY: the host only reads the `length` bytes at `pointer`, which are borrowed for the call.
        unsafe { imports::display_palette(colours.as_ptr(), colours.len()) }
    }

    pub(super) fn display_present(frame: &[u8]) -> u64 {
        // SAFETY: as above.
        unsafe { imports::display_present(frame.as_ptr(), frame.len()) }
    }

    pub(super) fn audio_play_f32(samples: &[f32]) -> u64 {
        // SAFETY: as above. In a guest, numbers are little-endian, as the host takes them.
        unsafe { imports::audio_play(samples.as_ptr().cast(), size_of_val(samples)) }
    }

    pub(super) fn audio_play_i16(samples: &[i16]) -> u64 {
        // SAFETY: as above.
        unsafe { imports::audio_play(samples.as_ptr().cast(), size_of_val(samples)) }
    }

    pub(super) fn hud_signal(json: &[u8]) {
        // SAFETY: as above.
        unsafe { imports::hud_signal(json.as_ptr(), json.len()) }
    }

    pub(super) fn hud_overlay(json: &[u8]) {
        // SAFETY: as above.
        unsafe { imports::hud_overlay(json.as_ptr(), json.len()) }
    }

    pub(super) fn hud_remove(id: &[u8]) -> u32 {
        // SAFETY: as above.
        unsafe { imports::hud_remove(id.as_ptr(), id.len()) }
    }

    /// Takes whole records; returns the bytes of those that there were.
    pub(super) fn input_next(records: &mut [u8]) -> u32 {
        // SAFETY: the host writes at most the `length` bytes at `pointer`, which are borrowed for the call.
        unsafe { imports::input_next(records.as_mut_ptr(), records.len()) }
    }

    pub(super) fn input_state(state: &mut [u8]) {
        // SAFETY: as above.
        unsafe { imports::input_state(state.as_mut_ptr(), state.len()) };
    }

    pub(super) fn random_fill(bytes: &mut [u8]) {
        // SAFETY: the host writes exactly the `length` bytes at `pointer`, which are borrowed for the call.
        unsafe { imports::random_fill(bytes.as_mut_ptr(), bytes.len()) }
    }

    pub(super) fn log(level: Level, text: &str) {
        // SAFETY: the host only reads the `length` bytes at `pointer`, which are borrowed for the call.
        unsafe { imports::log(level as u32, text.as_ptr(), text.len()) }
    }

    pub(super) fn emit(json: &[u8]) {
        // SAFETY: the host only reads the `length` bytes at `pointer`, which are borrowed for the call.
        unsafe { imports::emit(json.as_ptr(), json.len()) }
    }

    pub(super) fn fail(json: &[u8]) -> ! {
        // SAFETY: the host only reads the `length` bytes at `pointer`, which are borrowed for the call.
        unsafe { imports::fail(json.as_ptr(), json.len()) }
    }

    pub(super) fn take_answer(envelope: &mut [u8]) {
        // SAFETY: the host writes exactly the `length` bytes at `pointer`, which are borrowed for the call.
        unsafe { imports::take_answer(envelope.as_mut_ptr(), envelope.len()) }
    }
}

#[cfg(not(target_arch = "wasm32"))]
use crate::testing::devices as host;
