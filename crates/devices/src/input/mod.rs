//! Input: what a host sends to a process (keys, text, pointer, gamepads) and what the guest reads of it.
//!
//! - [`InputPacket`], [`Input`]: what a host sends, and when it is to arrive; [`InputError`]: why a packet is refused.
//! - [`InputState`]: what is pressed and where the pointer is. [`Key`]: the table of keys.
//! - [`parse_input_script`]: packets from a text file of one JSON object a line.
//!
//! ```text
//! input_next(pointer: i32, length: i32) -> i32       takes records out of the queue: as many as fit; the bytes written, 0 when empty
//! input_state(pointer: i32, length: i32) -> i32      copies the current state: at most `length` bytes; 128, the size of the state
//! ```
//!
//! `length` of `input_next` is at least 32. Each byte that is written costs 1 fuel. Timers put records into the same
//! queue. Records come in the order of their times; of equal times input before timers, and each in the order in which
//! it was sent, or of the timers' numbers. When the queue is full, new records are lost and counted; the state is kept
//! all the same.
//!
//! A record has 32 bytes, integers little-endian, unused bytes zero:
//!
//! ```text
//!  0  u64  when it arrived: virtual nanoseconds
//!  8  u16  kind: 1 key, 2 text, 3 pointer moved, 4 pointer button, 5 wheel, 6 gamepad button, 7 gamepad axis, 8 timer
//! 10  u8   kinds 1, 4, 6: 0 released, 1 pressed; kind 1 also 2: pressed again while it was pressed (repeat)
//! 11  u8   kinds 6, 7: the gamepad, 0 to 3
//! 12  u32  kind 1: the key, a usage of the USB HID keyboard page
//!          kind 2: bytes of text in this record, 1 to 16
//!          kind 4: the button: 0 left, 1 middle, 2 right, 3 back, 4 forward
//!          kind 6: the button, 0 to 31, numbered as in the W3C's standard gamepad
//!          kind 7: the axis, 0 to 7: left x, left y, right x, right y, left trigger, right trigger
//!          kind 8: the timer's number
//! 16       kind 2: UTF-8, whole characters; a longer text is several records
//!          kinds 3, 4: i32 x, i32 y: the pointer in frame pixels, right and down
//!          kind 5: i32 x, i32 y: 120 for one notch, right and down
//!          kind 7: i32 from -32767 to 32767: -1 to 1; a trigger from 0
//!          kind 8: u64 how often the timer was due since its last record
//! ```
//!
//! The state has 128 bytes:
//!
//! ```text
//!  0  [u8; 32]   pressed keys: the key of usage u is bit u % 8 of byte u / 8
//! 32  i32, i32   the pointer, x and y
//! 40  u32        pressed pointer buttons, bit b for button b
//! 44  u32        records that were lost because the queue was full
//! 48  4 gamepads of 20 bytes: u32 pressed buttons, 8 axes of i16
//! ```

mod key;
mod script;
#[cfg(test)]
mod tests;

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::{
    key::{Key, KeySet},
    script::{InputScriptError, InputScriptReason, parse_input_script},
};
use crate::{
    Call, Context, ContextLimits, DeviceError, HostFunction, Stop,
    ValueType::I32,
    own::{function, words},
    queue::RECORD_BYTES,
};

/// The table.
pub(crate) const FUNCTIONS: &[HostFunction] = &[
    function("input_next", &[I32, I32], Some(I32), input_next),
    function("input_state", &[I32, I32], Some(I32), input_state),
];

/// Gamepads that a process can have.
pub const GAMEPADS: usize = 4;
/// Buttons of a gamepad.
pub const GAMEPAD_BUTTONS: u8 = 32;
/// Axes of a gamepad.
pub const GAMEPAD_AXES: usize = 8;
/// The largest value of an axis, which stands for 1; -32767 stands for -1.
pub const AXIS_MAXIMUM: i16 = i16::MAX;
/// Bytes of the state as a guest reads it.
pub const INPUT_STATE_BYTES: usize = 128;

/// `input_next(pointer, length)`.
fn input_next(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [pointer, length] = words(arguments);
    call.check(pointer, length)?;
    if (length as usize) < RECORD_BYTES {
        return Err(DeviceError::RecordRoom { length }.into());
    }
    let waiting = call.context.queue.as_ref().map_or(0, |queue| queue.ready());
    let taken = waiting.min(length as usize / RECORD_BYTES);
    call.pay((taken * RECORD_BYTES) as u64)?;
    let mut place = pointer;
    for _ in 0..taken {
        let Some(record) = call.context.queue.as_mut().and_then(|queue| queue.take()) else { break };
        // The whole place was checked.
        let _ = call.try_write(place, &record);
        place += RECORD_BYTES as u32;
    }
    Ok((place - pointer).into())
}

/// `input_state(pointer, length)`.
fn input_state(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [pointer, length] = words(arguments);
    call.check(pointer, length)?;
    let state = call.context.queue.as_ref().map_or([0; INPUT_STATE_BYTES], |queue| queue.state_bytes());
    let wanted = (length as usize).min(INPUT_STATE_BYTES);
    call.write(pointer, &state[..wanted])?;
    Ok(INPUT_STATE_BYTES as u64)
}

/// Input for a process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InputPacket {
    /// When it arrives: virtual nanoseconds of the process. What is past arrives at once.
    pub time: u64,
    /// What arrives.
    pub input: Input,
}

/// What arrives. Positions are in frame pixels, right and down.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Input {
    /// A key is pressed or released. Pressed while it is pressed, it arrives as a repeat.
    Key {
        /// The key.
        key: Key,
        /// What is done with it.
        action: Action,
    },
    /// Text is entered.
    Text {
        /// The text.
        text: String,
    },
    /// The pointer moves.
    PointerMove {
        /// Where to.
        to: Point,
    },
    /// A button of the pointer is pressed or released where the pointer is.
    PointerButton {
        /// The button.
        button: PointerButton,
        /// What is done with it.
        action: Action,
    },
    /// The wheel turns; 120 is one notch.
    PointerWheel {
        /// To the right.
        x: i32,
        /// Down.
        y: i32,
    },
    /// The pointer is dragged: it moves to the first point, the button is pressed, it moves along the path, the button is
    /// released at the last point. The moves are spread evenly over the time.
    PointerDrag {
        /// The button.
        button: PointerButton,
        /// The path.
        path: Vec<Point>,
        /// How long it takes, in virtual nanoseconds.
        duration: u64,
    },
    /// A button of a gamepad is pressed or released.
    GamepadButton {
        /// The gamepad.
        gamepad: u8,
        /// The button, numbered as in the W3C's standard gamepad.
        button: u8,
        /// What is done with it.
        action: Action,
    },
    /// An axis of a gamepad moves.
    GamepadAxis {
        /// The gamepad.
        gamepad: u8,
        /// The axis: 0 left x, 1 left y, 2 right x, 3 right y, 4 left trigger, 5 right trigger.
        axis: u8,
        /// From -32767 to 32767.
        value: i16,
    },
    /// Everything is as this says: what differs arrives, keys first, then the pointer, then the gamepads.
    State(InputState),
}

/// What is done with a key or a button.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// It is released.
    Release,
    /// It is pressed.
    Press,
}

/// A button of the pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PointerButton {
    /// The left one, number 0.
    Left,
    /// The middle one, number 1.
    Middle,
    /// The right one, number 2.
    Right,
    /// The one for the page before, number 3.
    Back,
    /// The one for the page after, number 4.
    Forward,
}

impl PointerButton {
    /// All, by number.
    pub const ALL: [Self; 5] = [Self::Left, Self::Middle, Self::Right, Self::Back, Self::Forward];
}

/// A place in a frame, in pixels, right and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Point {
    /// To the right.
    pub x: i32,
    /// Down.
    pub y: i32,
}

/// What is pressed and where things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct InputState {
    /// Pressed keys.
    pub keys: KeySet,
    /// The pointer.
    pub pointer: Point,
    /// Pressed buttons of the pointer: bit `b` for button `b`.
    pub pointer_buttons: u32,
    /// The gamepads.
    pub gamepads: [GamepadState; GAMEPADS],
}

/// What is pressed on a gamepad and how its axes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct GamepadState {
    /// Pressed buttons: bit `b` for button `b`.
    pub buttons: u32,
    /// The axes.
    pub axes: [i16; GAMEPAD_AXES],
}

/// Why a packet is refused. Nothing of it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InputError {
    /// No key has this usage.
    #[error("{usage:#04x} is no key of the USB HID keyboard page")]
    Key {
        /// What was given.
        usage: u8,
    },
    /// A text without characters.
    #[error("the text is empty")]
    EmptyText,
    /// More text than [`ContextLimits::input_text_bytes`].
    #[error("the text has more than {limit} bytes")]
    LongText {
        /// The limit.
        limit: u32,
    },
    /// A drag without a path.
    #[error("the path of the drag has no points")]
    EmptyPath,
    /// A button that the pointer does not have.
    #[error("the pointer has the buttons 0 to 4, not those of {buttons:#x}")]
    PointerButtons {
        /// What was given, bit `b` for button `b`.
        buttons: u32,
    },
    /// A gamepad that there is not.
    #[error("there is no gamepad {gamepad}; they are 0 to 3")]
    Gamepad {
        /// What was given.
        gamepad: u8,
    },
    /// A button that a gamepad does not have.
    #[error("a gamepad has no button {button}; they are 0 to 31")]
    GamepadButton {
        /// What was given.
        button: u8,
    },
    /// An axis that a gamepad does not have.
    #[error("a gamepad has no axis {axis}; they are 0 to 7")]
    GamepadAxis {
        /// What was given.
        axis: u8,
    },
    /// A value that no axis has.
    #[error("an axis goes from -32767 to 32767, not to {value}")]
    AxisValue {
        /// What was given.
        value: i16,
    },
    /// More waits than [`ContextLimits::input_pending`].
    #[error("more than {limit} records of input would wait for their time")]
    Full {
        /// The limit.
        limit: u32,
    },
}

impl Context {
    /// Sends input to the process. It arrives in the guest's queue when the process's time reaches the packet's.
    ///
    /// # Errors
    /// Why the packet is refused.
    pub fn send_input(&mut self, packet: InputPacket) -> Result<(), InputError> {
        packet.input.check(&self.limits)?;
        let now = self.clock.now;
        let limit = self.limits.input_pending;
        self.queue.get_or_insert_default().send(packet, now, limit)?;
        self.deliver();
        Ok(())
    }

    /// What is pressed and where things are, as of what has arrived.
    pub fn input_state(&self) -> InputState {
        self.queue.as_ref().map_or_else(InputState::default, |queue| queue.state)
    }

    /// When the next input or timer is due, in the process's virtual time: the host need not run it before for their sake.
    pub fn next_due(&self) -> Option<u64> {
        self.queue.as_ref().and_then(|queue| queue.next_due())
    }
}

impl Input {
    /// Whether this can be input at all.
    pub(crate) fn check(&self, limits: &ContextLimits) -> Result<(), InputError> {
        match self {
            Self::Key { key, .. } => check_key(*key),
            Self::Text { text } if text.is_empty() => Err(InputError::EmptyText),
            Self::Text { text } if text.len() as u64 > u64::from(limits.input_text_bytes) => {
                Err(InputError::LongText { limit: limits.input_text_bytes })
            }
            Self::Text { .. } | Self::PointerMove { .. } => Ok(()),
            Self::PointerButton { .. } | Self::PointerWheel { .. } => Ok(()),
            Self::PointerDrag { path, .. } if path.is_empty() => Err(InputError::EmptyPath),
            Self::PointerDrag { .. } => Ok(()),
            Self::GamepadButton { gamepad, button, .. } => {
                check_gamepad(*gamepad)?;
                let button = *button;
                if button < GAMEPAD_BUTTONS { Ok(()) } else { Err(InputError::GamepadButton { button }) }
            }
            Self::GamepadAxis { gamepad, axis, value } => {
                check_gamepad(*gamepad)?;
                let axis = *axis;
                if usize::from(axis) >= GAMEPAD_AXES {
                    return Err(InputError::GamepadAxis { axis });
                }
                check_axis(*value)
            }
            Self::State(state) => state.check(),
        }
    }

    /// Records that arrive of it, for what waits; a state, of which nobody knows yet what will differ, counts as one.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            // A record may have to end up to three bytes early, before a character that does not fit.
            Self::Text { text } => (text.len() as u64).div_ceil(13),
            Self::PointerDrag { path, .. } => path.len() as u64 + 2,
            _ => 1,
        }
    }
}

impl InputState {
    /// Whether there can be such a state.
    pub(crate) fn check(&self) -> Result<(), InputError> {
        self.keys.iter().try_for_each(check_key)?;
        let buttons = self.pointer_buttons;
        if buttons >> PointerButton::ALL.len() != 0 {
            return Err(InputError::PointerButtons { buttons });
        }
        self.gamepads.iter().flat_map(|gamepad| gamepad.axes).try_for_each(check_axis)
    }
}

fn check_key(key: Key) -> Result<(), InputError> {
    key.name().map(|_| ()).ok_or(InputError::Key { usage: key.usage() })
}

fn check_gamepad(gamepad: u8) -> Result<(), InputError> {
    if usize::from(gamepad) < GAMEPADS { Ok(()) } else { Err(InputError::Gamepad { gamepad }) }
}

fn check_axis(value: i16) -> Result<(), InputError> {
    if value == i16::MIN { Err(InputError::AxisValue { value }) } else { Ok(()) }
}
