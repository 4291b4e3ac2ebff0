//! What one process sees of the world, and the vocabulary of its steps.
//!
//! - [`Setup`]: what the devices start with; [`DeviceInput`]: what a host does to them between steps.
//! - [`Context`]: the private devices of a process: clock and timers, random stream, log, events, input, display, audio, head-up
//!   display. It lives as long as the process; whoever runs the process sets the clock before each step.
//! - [`ContextLimits`]: how much the devices may hold. [`SavedContext`]: the devices, saved.
//! - [`StepCall`]: what a step runs; [`StepReport`]: what became of it: [`StepOutcome`], fuel, memory, [`LogLine`]s, events,
//!   [`DeviceEvent`]s.
//! - [`TrapKind`]: why a step was stopped.
//! - [`DeviceError`]: a misuse of a device by the guest.
//! - [`HostFunction`], [`functions`]: the functions that a guest may import, which every engine binds; [`Guest`], [`Call`] and
//!   [`Stop`] are what their code is written against.
//! - [`InputPacket`], [`FrameReader`], [`AudioTaken`], [`MemoryDevice`]: the host's side of the devices.
//!
//! What a guest may import is described in the files of the devices: `own.rs`, `clock.rs`, `timer.rs`, `input/mod.rs`,
//! `display/mod.rs`, `audio/mod.rs`, `hud.rs`.
//! - [`Host`]: what the host contributes during a step and observes: [`FileRequest`], [`FileAnswer`], [`OutputStream`];
//!   every [`HostAnswer`] is recorded, and a recording takes the host's place.
//! - [`FileLimits`], [`FileReport`], [`Metadata`], [`FileError`]: the files of a process; [`StdioLimits`], [`OutputReport`]: its
//!   standard streams. Programs use both through WASI preview 1.
//!
//! **Invariant:** nothing here reads a clock, an entropy source or a file of the host. Two contexts with the same
//! seed, clock, input and calls give the same bytes everywhere. Whoever observes (reads frames, records audio, looks
//! at a report) changes nothing that a guest can notice.
//!
//! Every data type is `serde`-encodable without maps, untagged enums or fields that are left out, so that a
//! self-describing format and a compact one such as postcard both carry it.
//!
//! Features: `png` encodes frames as PNG, `wav` writes WAV files; both are for hosts with `std`.

#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "wav"))]
extern crate std;

mod audio;
mod bytes;
mod clock;
mod context;
mod display;
mod event;
mod files;
mod host;
mod hud;
mod import;
mod input;
mod json;
mod memory;
mod own;
mod queue;
mod saved;
mod setup;
mod stdio;
mod step;
#[cfg(test)]
mod testing;
mod timer;
mod wasi;

#[cfg(feature = "wav")]
pub use audio::WavWriter;
pub use audio::{AudioBlock, AudioFormat, AudioTaken, SampleFormat, wav_header};
pub use clock::ClockScale;
pub use context::{Context, ContextLimits, DeviceError, LOG_LEVEL_MAXIMUM, RandomSeed};
pub use display::{Frame, FrameInfo, FrameLayout, FrameReader, PALETTE_BYTES, PixelFormat};
pub use event::{DeviceEvent, HudChange, MemoryAccess};
pub use files::{
    DirectoryItem, FileAccess, FileError, FileKind, FileLimits, FileOperation, FileReport, Metadata,
    SavedContent, SavedDescriptor, SavedFiles, SavedNode, SavedObject, TimeChange,
};
pub use host::{
    FileAnswer, FileRequest, HOST_MODULE, Host, HostAnswer, HostLimits, OpenOptions, OutputStream,
};
pub use hud::{HudKind, HudOverlay, HudShape, HudSignal};
pub use import::{Call, FUEL_PER_BYTE, Guest, Handler, HostFunction, Stop, ValueType, find, functions};
pub use input::{
    AXIS_MAXIMUM, Action, GAMEPAD_AXES, GAMEPAD_BUTTONS, GAMEPADS, GamepadState, INPUT_STATE_BYTES, Input,
    InputError, InputPacket, InputScriptError, InputScriptReason, InputState, Key, KeySet, Point,
    PointerButton, parse_input_script,
};
pub use json::FieldError;
pub use memory::{MemoryDevice, MemoryError, ProcessMemory};
pub use own::MODULE;
pub use queue::RECORD_BYTES;
pub use saved::{RestoreError, SAVED_CONTEXT_VERSION, SavedContext};
pub use setup::{ActError, DeviceInput, MountPoint, Setup};
pub use stdio::{OutputReport, StdioLimits};
pub use step::{DeviceReport, LogLine, StepCall, StepOutcome, StepReport, TrapKind};
pub use wasi::WASI_MODULE;
