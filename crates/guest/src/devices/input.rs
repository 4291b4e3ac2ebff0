//! What arrives for the process: keys, text, the pointer, gamepads, and its timers, in order of time.

use std::{string::String, time::Duration};

use super::host;

/// Bytes of a record as the host writes it.
const RECORD_BYTES: usize = 32;
/// Bytes of the state as the host writes it.
const STATE_BYTES: usize = 128;
/// Gamepads that a process can have.
pub const GAMEPADS: usize = 4;
/// Axes of a gamepad.
pub const GAMEPAD_AXES: usize = 8;

/// Something that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When, in the process's virtual time.
    pub time: Duration,
    /// What.
    pub event: Event,
}

/// What arrived. Positions are in pixels of a frame, right and down.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A key.
    Key {
        /// Which.
        key: Key,
        /// What was done with it.
        action: Action,
    },
    /// Text was entered. A long one is several records.
    Text(String),
    /// The pointer moved.
    PointerMove {
        /// Where to.
        to: Point,
    },
    /// A button of the pointer.
    PointerButton {
        /// 0 left, 1 middle, 2 right, 3 back, 4 forward.
        button: u32,
        /// What was done with it.
        action: Action,
        /// Where the pointer was.
        at: Point,
    },
    /// The wheel turned: 120 for one notch.
    PointerWheel {
        /// To the right and down.
        by: Point,
    },
    /// A button of a gamepad.
    GamepadButton {
        /// Which gamepad, from 0.
        gamepad: u8,
        /// Which button, numbered as in the W3C's standard gamepad.
        button: u32,
        /// What was done with it.
        action: Action,
    },
    /// An axis of a gamepad.
    GamepadAxis {
        /// Which gamepad, from 0.
        gamepad: u8,
        /// 0 left x, 1 left y, 2 right x, 3 right y, 4 left trigger, 5 right trigger.
        axis: u32,
        /// From -32767 to 32767, which stand for -1 and 1.
        value: i32,
    },
    /// A timer was due.
    Timer {
        /// Its number.
        id: u32,
        /// How often, since its last record.
        expirations: u64,
    },
    /// Something that this version of the SDK does not know, of this kind.
    Unknown(u16),
}

/// What was done with a key or a button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was released.
    Release,
    /// It was pressed.
    Press,
    /// It was pressed while it was pressed, as keys are that are held.
    Repeat,
}

/// A place, or a way, in pixels of a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    /// To the right.
    pub x: i32,
    /// Down.
    pub y: i32,
}

/// A key, by its place on the keyboard: a usage of the USB HID keyboard page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub u8);

impl Key {
    /// The letter A; the others follow in order of the alphabet.
    pub const A: Self = Self(0x04);
    /// The letter D.
    pub const D: Self = Self(0x07);
    /// The letter S.
    pub const S: Self = Self(0x16);
    /// The letter W.
    pub const W: Self = Self(0x1A);
    /// Enter.
    pub const ENTER: Self = Self(0x28);
    /// Escape.
    pub const ESCAPE: Self = Self(0x29);
    /// The space bar.
    pub const SPACE: Self = Self(0x2C);
    /// The arrow to the right.
    pub const RIGHT: Self = Self(0x4F);
    /// The arrow to the left.
    pub const LEFT: Self = Self(0x50);
    /// The arrow down.
    pub const DOWN: Self = Self(0x51);
    /// The arrow up.
    pub const UP: Self = Self(0x52);
}

/// What is pressed and where things are, as of what has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    keys: [u8; 32],
    /// The pointer.
    pub pointer: Point,
    /// Pressed buttons of the pointer: bit `b` for button `b`.
    pub pointer_buttons: u32,
    /// Records that were lost because the guest did not take the ones before.
    pub lost_records: u32,
    /// The gamepads.
    pub gamepads: [Gamepad; GAMEPADS],
}

/// What is pressed on a gamepad and how its axes stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gamepad {
    /// Pressed buttons: bit `b` for button `b`.
    pub buttons: u32,
    /// The axes, each from -32767 to 32767.
    pub axes: [i16; GAMEPAD_AXES],
}

impl State {
    /// Whether a key is pressed.
    pub fn is_pressed(&self, key: Key) -> bool {
        self.keys[usize::from(key.0 / 8)] >> (key.0 % 8) & 1 == 1
    }
}

/// Takes the oldest record that has not been taken; none when nothing more has arrived.
pub fn next() -> Option<Record> {
    let mut bytes = [0; RECORD_BYTES];
    (host::input_next(&mut bytes) > 0).then(|| Record::decode(&bytes))
}

/// What is pressed and where things are now.
pub fn state() -> State {
    let mut bytes = [0; STATE_BYTES];
    host::input_state(&mut bytes);
    let point = |start| Point { x: signed(&bytes, start), y: signed(&bytes, start + 4) };
    let gamepad = |number: usize| {
        let start = 48 + 20 * number;
        let axis = |axis: usize| i16::from_le_bytes(part(&bytes, start + 4 + 2 * axis));
        Gamepad { buttons: unsigned(&bytes, start), axes: std::array::from_fn(axis) }
    };
    State {
        keys: part(&bytes, 0),
        pointer: point(32),
        pointer_buttons: unsigned(&bytes, 40),
        lost_records: unsigned(&bytes, 44),
        gamepads: std::array::from_fn(gamepad),
    }
}

impl Record {
    fn decode(bytes: &[u8; RECORD_BYTES]) -> Self {
        let point = Point { x: signed(bytes, 16), y: signed(bytes, 20) };
        let action = match bytes[10] {
            0 => Action::Release,
            1 => Action::Press,
            _ => Action::Repeat,
        };
        let (gamepad, code) = (bytes[11], unsigned(bytes, 12));
        let event = match u16::from_le_bytes(part(bytes, 8)) {
            1 => Event::Key { key: Key(code as u8), action },
            2 => {
                let text = &bytes[16..][..(code as usize).min(16)];
                Event::Text(String::from_utf8_lossy(text).into_owned())
            }
            3 => Event::PointerMove { to: point },
            4 => Event::PointerButton { button: code, action, at: point },
            5 => Event::PointerWheel { by: point },
            6 => Event::GamepadButton { gamepad, button: code, action },
            7 => Event::GamepadAxis { gamepad, axis: code, value: point.x },
            8 => Event::Timer { id: code, expirations: u64::from_le_bytes(part(bytes, 16)) },
            kind => Event::Unknown(kind),
        };
        Self { time: Duration::from_nanos(u64::from_le_bytes(part(bytes, 0))), event }
    }
}

/// `N` bytes from `start` on. Every place that is asked for lies in a record, or in the state.
fn part<const N: usize>(bytes: &[u8], start: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[start..start + N]);
    out
}

fn unsigned(bytes: &[u8], start: usize) -> u32 {
    u32::from_le_bytes(part(bytes, start))
}

fn signed(bytes: &[u8], start: usize) -> i32 {
    i32::from_le_bytes(part(bytes, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn every_kind_of_record_is_understood() {
        let record = |kind: u8, action: u8, gamepad: u8, code: u32, data: &[u8]| {
            let mut bytes = [0; RECORD_BYTES];
            bytes[0] = 7;
            (bytes[8], bytes[10], bytes[11]) = (kind, action, gamepad);
            bytes[12..16].copy_from_slice(&code.to_le_bytes());
            bytes[16..16 + data.len()].copy_from_slice(data);
            bytes
        };
        let (at, there) = ([255, 255, 255, 255, 3, 0, 0, 0], Point { x: -1, y: 3 });
        let expected = [
            (record(1, 2, 0, 0x52, &[]), Event::Key { key: Key::UP, action: Action::Repeat }),
            (record(2, 0, 0, 3, "ßabc".as_bytes()), Event::Text("ßa".into())),
            (record(3, 0, 0, 0, &at), Event::PointerMove { to: there }),
            (record(4, 1, 0, 2, &at), Event::PointerButton { button: 2, action: Action::Press, at: there }),
            (record(5, 0, 0, 0, &at), Event::PointerWheel { by: there }),
            (
                record(6, 0, 3, 31, &[]),
                Event::GamepadButton { gamepad: 3, button: 31, action: Action::Release },
            ),
            (record(7, 0, 1, 5, &at), Event::GamepadAxis { gamepad: 1, axis: 5, value: -1 }),
            (record(8, 0, 0, 9, &[2, 1, 0, 0, 0, 0, 0, 0]), Event::Timer { id: 9, expirations: 258 }),
            (record(99, 0, 0, 0, &[]), Event::Unknown(99)),
        ];
        for (bytes, event) in expected {
            testing::send_input_record(bytes);
            assert_eq!(next(), Some(Record { time: Duration::from_nanos(7), event }));
        }
        assert_eq!(next(), None);
    }

    #[test]
    fn the_state_says_what_is_pressed_and_where_things_are() {
        let mut bytes = [0; STATE_BYTES];
        bytes[0x52 / 8] = 1 << (0x52 % 8);
        bytes[32] = 5;
        bytes[36..40].copy_from_slice(&(-6_i32).to_le_bytes());
        (bytes[40], bytes[44]) = (2, 9);
        bytes[48 + 20..][..6].copy_from_slice(&[1, 0, 0, 0, 255, 255]);
        testing::set_input_state(bytes);
        let state = state();
        assert!(state.is_pressed(Key::UP) && !state.is_pressed(Key::DOWN) && !state.is_pressed(Key(255)));
        assert_eq!((state.pointer, state.pointer_buttons, state.lost_records), (Point { x: 5, y: -6 }, 2, 9));
        assert_eq!((state.gamepads[1].buttons, state.gamepads[1].axes[0]), (1, -1));
    }
}
