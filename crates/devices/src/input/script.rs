//! Input from a text file: one JSON object a line, so that a run can be repeated.
//!
//! ```text
//! {"at_ms": 100, "key": "ArrowUp", "action": "press"}                      "press", "release", or "tap": both at once
//! {"at_ms": 100, "text": "hello"}
//! {"at_ms": 100, "pointer": "move", "x": 10, "y": 20}
//! {"at_ms": 100, "pointer": "press", "button": "left"}                     or "release"; left, middle, right, back, forward;
//!                                                                          with "x" and "y" the pointer moves there first
//! {"at_ms": 100, "pointer": "wheel", "x": 0, "y": -120}                    120 is one notch
//! {"at_ms": 100, "pointer": "drag", "button": "left", "path": [[1, 2], [30, 40]], "duration_ms": 500}
//! {"at_ms": 100, "gamepad": 0, "button": "south", "action": "press"}       or the button's number
//! {"at_ms": 100, "gamepad": 0, "axis": "left_x", "value": -32767}          or the axis's number
//! {"at_ms": 100, "state": {"keys": ["KeyA"], "pointer": [1, 2], "buttons": ["left"],
//!                          "gamepads": [{"buttons": ["south"], "axes": [0, 32767]}]}}         on one line; all optional
//! ```
//!
//! `at_ns` says nanoseconds in the place of `at_ms`. Empty lines and lines that start with `#` are skipped. Lines need
//! not be in order of time.

use alloc::vec::Vec;

use serde_json::Value;
use thiserror::Error;

use super::{
    Action, GAMEPAD_AXES, GAMEPADS, GamepadState, Input, InputError, InputPacket, InputState, Key, Point,
    PointerButton,
};
use crate::{
    ContextLimits,
    json::{FieldError, Fields, named, number, required},
};

/// A line of a script that is no input.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {reason}")]
pub struct InputScriptError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: InputScriptReason,
}

/// What is wrong with a line of a script.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InputScriptReason {
    /// The line says something that no input says.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The input would be refused.
    #[error(transparent)]
    Input(#[from] InputError),
    /// It cannot be told what the line is about.
    #[error("one of the fields `key`, `text`, `pointer`, `gamepad` and `state` says what arrives")]
    Nothing,
}

const MILLISECOND: u64 = 1_000_000;

const ACTIONS: &[(&str, Action)] = &[("press", Action::Press), ("release", Action::Release)];

const POINTER_BUTTONS: &[(&str, PointerButton)] = &[
    ("left", PointerButton::Left),
    ("middle", PointerButton::Middle),
    ("right", PointerButton::Right),
    ("back", PointerButton::Back),
    ("forward", PointerButton::Forward),
];

/// The buttons of the W3C's standard gamepad.
const GAMEPAD_BUTTONS: &[(&str, u8)] = &[
    ("south", 0),
    ("east", 1),
    ("west", 2),
    ("north", 3),
    ("left_shoulder", 4),
    ("right_shoulder", 5),
    ("left_trigger", 6),
    ("right_trigger", 7),
    ("select", 8),
    ("start", 9),
    ("left_stick", 10),
    ("right_stick", 11),
    ("up", 12),
    ("down", 13),
    ("left", 14),
    ("right", 15),
    ("guide", 16),
];

const GAMEPAD_AXIS_NAMES: &[(&str, u8)] = &[
    ("left_x", 0),
    ("left_y", 1),
    ("right_x", 2),
    ("right_y", 3),
    ("left_trigger", 4),
    ("right_trigger", 5),
];

const KEY: &str = "the name of a key, as in \"ArrowUp\"";
const TIME: &str = "a whole number of 64 bits without sign";
const PLACE: &str = "a whole number of 32 bits";
const BUTTON: &str = "left, middle, right, back or forward";
const PAD_BUTTON: &str = "the name or number of a gamepad's button";
const AXIS: &str = "a whole number of 16 bits";

/// Reads the packets of a script, in the order of its lines.
///
/// # Errors
/// Every line that is not right.
pub fn parse_input_script(
    text: &str,
    limits: &ContextLimits,
) -> Result<Vec<InputPacket>, Vec<InputScriptError>> {
    let (mut packets, mut errors) = (Vec::new(), Vec::new());
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match parse_line(text, limits) {
            Ok(parsed) => packets.extend(parsed),
            Err(reason) => errors.push(InputScriptError { line, reason }),
        }
    }
    if errors.is_empty() { Ok(packets) } else { Err(errors) }
}

fn parse_line(text: &str, limits: &ContextLimits) -> Result<Vec<InputPacket>, InputScriptReason> {
    let mut fields = Fields::parse(text.as_bytes())?;
    let time = duration(&mut fields, ["at_ms", "at_ns"])?;
    let mut inputs = Vec::new();
    if fields.has("key") {
        parse_key(&mut fields, &mut inputs)?;
    } else if let Some(text) = fields.text("text")? {
        inputs.push(Input::Text { text });
    } else if fields.has("pointer") {
        parse_pointer(&mut fields, &mut inputs)?;
    } else if fields.has("gamepad") {
        inputs.push(parse_gamepad(&mut fields)?);
    } else if let Some(state) = fields.take("state") {
        inputs.push(Input::State(parse_state(Fields::of(state, "state")?)?));
    } else {
        return Err(InputScriptReason::Nothing);
    }
    fields.finish()?;
    let packets = inputs.into_iter().map(|input| {
        input.check(limits)?;
        Ok(InputPacket { time, input })
    });
    packets.collect()
}

/// A time in milliseconds or, by its second name, in nanoseconds; one of the two must be there.
fn duration(fields: &mut Fields, [milliseconds, nanoseconds]: [&'static str; 2]) -> Result<u64, FieldError> {
    if let Some(time) = fields.number::<u64>(milliseconds, TIME)? {
        return time
            .checked_mul(MILLISECOND)
            .ok_or(FieldError::Wrong { field: milliseconds, expected: TIME });
    }
    let time = fields.number(nanoseconds, TIME)?;
    required(milliseconds, time)
}

fn parse_key(fields: &mut Fields, inputs: &mut Vec<Input>) -> Result<(), FieldError> {
    let name = required("key", fields.text("key")?)?;
    let key = Key::from_name(&name).ok_or(FieldError::Wrong { field: "key", expected: KEY })?;
    const TAP: &[Action] = &[Action::Press, Action::Release];
    let names = [("press", &TAP[..1]), ("release", &TAP[1..]), ("tap", TAP)];
    let actions = required("action", fields.one_of("action", &names, "press, release or tap")?)?;
    inputs.extend(actions.iter().map(|action| Input::Key { key, action: *action }));
    Ok(())
}

fn parse_pointer(fields: &mut Fields, inputs: &mut Vec<Input>) -> Result<(), FieldError> {
    let what = required("pointer", fields.text("pointer")?)?;
    let button = |fields: &mut Fields| required("button", fields.one_of("button", POINTER_BUTTONS, BUTTON)?);
    match what.as_str() {
        "move" => {
            let to = required("x", place(fields)?)?;
            inputs.push(Input::PointerMove { to });
        }
        "wheel" => {
            let Point { x, y } = required("x", place(fields)?)?;
            inputs.push(Input::PointerWheel { x, y });
        }
        "drag" => {
            let path = required("path", fields.list("path")?)?;
            let path = path.iter().map(point).collect::<Option<_>>();
            let path = path.ok_or(FieldError::Wrong { field: "path", expected: "a list of [x, y]" })?;
            let duration = duration(fields, ["duration_ms", "duration_ns"])?;
            inputs.push(Input::PointerDrag { button: button(fields)?, path, duration });
        }
        action => {
            let expected = "move, press, release, wheel or drag";
            let action = named(action, ACTIONS).ok_or(FieldError::Wrong { field: "pointer", expected })?;
            inputs.extend(place(fields)?.map(|to| Input::PointerMove { to }));
            inputs.push(Input::PointerButton { button: button(fields)?, action });
        }
    }
    Ok(())
}

/// The fields `x` and `y`: both or none.
fn place(fields: &mut Fields) -> Result<Option<Point>, FieldError> {
    match (fields.number("x", PLACE)?, fields.number("y", PLACE)?) {
        (None, None) => Ok(None),
        (x, y) => Ok(Some(Point { x: required("x", x)?, y: required("y", y)? })),
    }
}

fn point(value: &Value) -> Option<Point> {
    match value.as_array().map(Vec::as_slice) {
        Some([x, y]) => Some(Point { x: number(x)?, y: number(y)? }),
        _ => None,
    }
}

fn parse_gamepad(fields: &mut Fields) -> Result<Input, FieldError> {
    let gamepad = required("gamepad", fields.number("gamepad", "0, 1, 2 or 3")?)?;
    if let Some(button) = fields.take("button") {
        let button = named_or_number(&button, GAMEPAD_BUTTONS);
        let button = button.ok_or(FieldError::Wrong { field: "button", expected: PAD_BUTTON })?;
        let action = required("action", fields.one_of("action", ACTIONS, "press or release")?)?;
        return Ok(Input::GamepadButton { gamepad, button, action });
    }
    let axis = required("axis", fields.take("axis"))?;
    let axis = named_or_number(&axis, GAMEPAD_AXIS_NAMES);
    let expected = "the name or number of a gamepad's axis";
    let axis = axis.ok_or(FieldError::Wrong { field: "axis", expected })?;
    let value = required("value", fields.number("value", AXIS)?)?;
    Ok(Input::GamepadAxis { gamepad, axis, value })
}

fn named_or_number(value: &Value, names: &[(&str, u8)]) -> Option<u8> {
    match value.as_str() {
        Some(name) => named(name, names),
        None => number(value),
    }
}

fn parse_state(mut fields: Fields) -> Result<InputState, FieldError> {
    let mut state = InputState::default();
    for name in fields.list("keys")?.unwrap_or_default() {
        let key = name.as_str().and_then(Key::from_name);
        state.keys.set(key.ok_or(FieldError::Wrong { field: "keys", expected: KEY })?, true);
    }
    if let Some(pointer) = fields.take("pointer") {
        let expected = "[x, y]";
        state.pointer = point(&pointer).ok_or(FieldError::Wrong { field: "pointer", expected })?;
    }
    for name in fields.list("buttons")?.unwrap_or_default() {
        let button = name.as_str().and_then(|name| named(name, POINTER_BUTTONS));
        let button = button.ok_or(FieldError::Wrong { field: "buttons", expected: BUTTON })?;
        state.pointer_buttons |= 1 << button as u32;
    }
    let gamepads = fields.list("gamepads")?.unwrap_or_default();
    if gamepads.len() > GAMEPADS {
        return Err(FieldError::Wrong { field: "gamepads", expected: "a list of at most 4" });
    }
    for (place, gamepad) in state.gamepads.iter_mut().zip(gamepads) {
        *place = parse_gamepad_state(Fields::of(gamepad, "gamepads")?)?;
    }
    fields.finish()?;
    Ok(state)
}

fn parse_gamepad_state(mut fields: Fields) -> Result<GamepadState, FieldError> {
    let mut state = GamepadState::default();
    for button in fields.list("buttons")?.unwrap_or_default() {
        let button = named_or_number(&button, GAMEPAD_BUTTONS).filter(|button| *button < 32);
        state.buttons |= 1 << button.ok_or(FieldError::Wrong { field: "buttons", expected: PAD_BUTTON })?;
    }
    let axes = fields.list("axes")?.unwrap_or_default();
    if axes.len() > GAMEPAD_AXES {
        return Err(FieldError::Wrong { field: "axes", expected: "a list of at most 8" });
    }
    for (place, value) in state.axes.iter_mut().zip(&axes) {
        *place = number(value).ok_or(FieldError::Wrong { field: "axes", expected: AXIS })?;
    }
    fields.finish()?;
    Ok(state)
}
