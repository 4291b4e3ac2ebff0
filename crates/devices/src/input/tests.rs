//! Tests of input through host functions, and of scripts.

use alloc::{format, string::ToString, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    DeviceEvent,
    testing::{Machine, misuse},
};

fn send(machine: &mut Machine, time: u64, input: Input) {
    machine.context.send_input(InputPacket { time, input }).unwrap();
}

fn key(name: &str, action: Action) -> Input {
    Input::Key { key: Key::from_name(name).unwrap(), action }
}

/// A record, taken apart: time, kind, action, gamepad, code, and the rest.
fn parts(record: &[u8]) -> (u64, u8, u8, u8, u32, Vec<u8>) {
    assert_eq!((record.len(), record[9]), (32, 0));
    let time = u64::from_le_bytes(record[..8].try_into().unwrap());
    let code = u32::from_le_bytes(record[12..16].try_into().unwrap());
    (time, record[8], record[10], record[11], code, record[16..].to_vec())
}

/// The rest of a record with two numbers.
fn pair(x: i32, y: i32) -> Vec<u8> {
    [x.to_le_bytes(), y.to_le_bytes(), [0; 4], [0; 4]].concat()
}

fn records(machine: &mut Machine) -> Vec<(u64, u8, u8, u8, u32, Vec<u8>)> {
    machine.records().iter().map(|record| parts(record)).collect()
}

#[test]
fn a_key_arrives_at_its_time_pressed_repeated_and_released() {
    let mut machine = Machine::new();
    send(&mut machine, 30, key("ArrowUp", Action::Release));
    send(&mut machine, 10, key("ArrowUp", Action::Press));
    send(&mut machine, 20, key("ArrowUp", Action::Press));
    assert_eq!(machine.context.next_due(), Some(10));
    assert_eq!(records(&mut machine), []);
    machine.context.set_clock(25);
    let nothing = vec![0; 16];
    assert_eq!(
        records(&mut machine),
        [(10, 1, 1, 0, 0x52, nothing.clone()), (20, 1, 2, 0, 0x52, nothing.clone())]
    );
    assert!(machine.context.input_state().keys.contains(Key::from_name("ArrowUp").unwrap()));
    machine.call("sleep_until", &[30]).unwrap();
    assert_eq!(records(&mut machine), [(30, 1, 0, 0, 0x52, nothing)]);
    assert_eq!(machine.context.input_state(), InputState::default());
}

#[test]
fn what_is_sent_too_late_arrives_at_once() {
    let mut machine = Machine::new();
    machine.context.set_clock(100);
    send(&mut machine, 7, key("KeyA", Action::Press));
    assert_eq!(records(&mut machine)[0].0, 100);
}

#[test]
fn a_text_is_cut_between_characters() {
    let mut machine = Machine::new();
    let text = "0123456789abcde\u{e9}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}";
    send(&mut machine, 0, Input::Text { text: text.into() });
    let records = records(&mut machine);
    let pieces: Vec<_> = records.iter().map(|record| &record.5[..record.4 as usize]).collect();
    assert_eq!(pieces.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [15, 14, 8]);
    assert!(pieces.iter().all(|piece| core::str::from_utf8(piece).is_ok()));
    assert_eq!(pieces.concat(), text.as_bytes());
    assert!(
        records.iter().all(|record| record.1 == 2 && record.5[record.4 as usize..].iter().all(|b| *b == 0))
    );
}

#[test]
fn a_drag_is_a_press_moves_spread_over_its_time_and_a_release() {
    let mut machine = Machine::new();
    let path = [(1, 2), (-3, 4), (5, 6)].map(|(x, y)| Point { x, y }).to_vec();
    send(&mut machine, 10, Input::PointerDrag { button: PointerButton::Right, path, duration: 5 });
    machine.call("sleep_until", &[15]).unwrap();
    let expected = [
        (10, 3, 0, 0, 0, pair(1, 2)),
        (10, 4, 1, 0, 2, pair(1, 2)),
        (12, 3, 0, 0, 0, pair(-3, 4)),
        (15, 3, 0, 0, 0, pair(5, 6)),
        (15, 4, 0, 0, 2, pair(5, 6)),
    ];
    assert_eq!(records(&mut machine), expected);
}

#[test]
fn wheel_and_gamepad_arrive_as_numbers() {
    let mut machine = Machine::new();
    send(&mut machine, 0, Input::PointerWheel { x: -1, y: 240 });
    send(&mut machine, 0, Input::GamepadButton { gamepad: 3, button: 31, action: Action::Press });
    send(&mut machine, 0, Input::GamepadAxis { gamepad: 1, axis: 7, value: -32767 });
    let mut axis = vec![0; 16];
    axis[..4].copy_from_slice(&(-32767_i32).to_le_bytes());
    let expected = [(0, 5, 0, 0, 0, pair(-1, 240)), (0, 6, 1, 3, 31, vec![0; 16]), (0, 7, 0, 1, 7, axis)];
    assert_eq!(records(&mut machine), expected);
}

#[test]
fn a_composite_state_arrives_as_what_differs() {
    let mut machine = Machine::new();
    send(&mut machine, 0, key("KeyA", Action::Press));
    send(&mut machine, 0, key("KeyB", Action::Press));
    machine.records();
    let mut state = InputState::default();
    state.keys.set(Key::from_name("KeyB").unwrap(), true);
    state.pointer = Point { x: 3, y: 4 };
    state.pointer_buttons = 0b10;
    state.gamepads[2].buttons = 1 << 5;
    state.gamepads[2].axes[1] = 9;
    send(&mut machine, 0, Input::State(state));
    let kinds: Vec<_> = records(&mut machine).iter().map(|r| (r.1, r.2, r.3, r.4)).collect();
    assert_eq!(kinds, [(1, 0, 0, 4), (3, 0, 0, 0), (4, 1, 0, 1), (6, 1, 2, 5), (7, 0, 2, 1)]);
    assert_eq!(machine.context.input_state(), state);
    send(&mut machine, 0, Input::State(state));
    assert_eq!(records(&mut machine), []);
}

#[test]
fn the_state_lies_in_memory_as_documented() {
    let mut machine = Machine::new();
    assert_eq!(machine.call("input_state", &[0, 128]), Ok(128));
    assert_eq!(machine.memory[..128], [0; 128]);
    let mut state =
        InputState { pointer: Point { x: -2, y: 7 }, pointer_buttons: 0b10001, ..Default::default() };
    state.keys.set(Key::from_name("KeyA").unwrap(), true);
    state.gamepads[3] = GamepadState { buttons: 1 << 31, axes: [0, 0, 0, 0, 0, 0, 0, -3] };
    send(&mut machine, 0, Input::State(state));
    machine.memory.fill(0xee);
    let paid = machine.paid;
    assert_eq!(machine.call("input_state", &[8, 127]), Ok(128));
    assert_eq!(machine.paid - paid, 127);
    let bytes = &machine.memory[8..];
    assert_eq!(bytes[0], 1 << 4);
    assert_eq!(bytes[32..40], pair(-2, 7)[..8]);
    assert_eq!(bytes[40..48], [0b10001, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[108..112], [0, 0, 0, 0x80]);
    assert_eq!((bytes[126], bytes[127]), (0xfd, 0xee));
}

#[test]
fn a_full_queue_loses_the_newest_and_counts_them_but_keeps_the_state() {
    let limits = ContextLimits { input_queue: 2, ..ContextLimits::default() };
    let mut machine = Machine::with(Context::with_limits(0, [0; 32], limits));
    for (name, action) in
        [("KeyA", Action::Press), ("KeyB", Action::Press), ("KeyA", Action::Release), ("KeyC", Action::Press)]
    {
        send(&mut machine, 0, key(name, action));
    }
    machine.call("timer_set", &[1, 0, 0]).unwrap();
    let codes: Vec<_> = records(&mut machine).iter().map(|record| (record.4, record.2)).collect();
    assert_eq!(codes, [(4, 1), (5, 1)]);
    let keys = ["KeyB", "KeyC"].map(|name| Key::from_name(name).unwrap());
    assert_eq!(machine.context.input_state().keys, keys.into_iter().collect());
    machine.call("input_state", &[0, 128]).unwrap();
    assert_eq!(machine.memory[44..48], [3, 0, 0, 0]);
    let events = machine.context.take_report().events;
    assert_eq!(
        events[..2],
        [DeviceEvent::InputDelivered { records: 2 }, DeviceEvent::InputDropped { records: 2 },]
    );
    assert_eq!(events[3..], [DeviceEvent::InputDropped { records: 1 }]);
}

#[test]
fn as_many_records_are_taken_as_fit() {
    let mut machine = Machine::new();
    for _ in 0..3 {
        send(&mut machine, 0, key("KeyA", Action::Press));
    }
    let paid = machine.paid;
    assert_eq!(machine.call("input_next", &[0, 95]), Ok(64));
    assert_eq!(machine.call("input_next", &[0, 1024]), Ok(32));
    assert_eq!(machine.call("input_next", &[0, 32]), Ok(0));
    assert_eq!(machine.paid - paid, 96);
    assert!(misuse(machine.call("input_next", &[0, 31])).contains("31 bytes holds no input record of 32"));
    assert!(misuse(machine.call("input_next", &[0xffff, 32])).contains("outside of the memory"));
    assert!(misuse(machine.call("input_state", &[0xffff, 2])).contains("outside of the memory"));
}

#[test]
fn what_cannot_be_paid_for_stays_in_the_queue() {
    let mut machine = Machine::new();
    send(&mut machine, 0, key("KeyA", Action::Press));
    machine.fuel = 31;
    assert_eq!(machine.call("input_next", &[0, 64]), Err(Stop::OutOfFuel));
    machine.fuel = u64::MAX;
    assert_eq!(machine.call("input_next", &[0, 64]), Ok(32));
}

#[test]
fn every_impossible_packet_is_refused_with_its_own_error() {
    let mut context = Context::new(0, [0; 32]);
    // No key has this number; it can only come from outside.
    let no_key: Key = postcard::from_bytes(&[0xff]).unwrap();
    let mut bad_state = InputState { pointer_buttons: 1 << 5, ..InputState::default() };
    let wrong_buttons = Input::State(bad_state);
    bad_state.pointer_buttons = 0;
    bad_state.gamepads[0].axes[0] = i16::MIN;
    let pad = |gamepad, button| Input::GamepadButton { gamepad, button, action: Action::Press };
    let axis = |gamepad, axis, value| Input::GamepadAxis { gamepad, axis, value };
    let drag = |points: usize| {
        let path = vec![Point::default(); points];
        Input::PointerDrag { button: PointerButton::Left, path, duration: 0 }
    };
    for (input, error) in [
        (Input::Key { key: no_key, action: Action::Press }, InputError::Key { usage: 0xff }),
        (Input::Text { text: "".into() }, InputError::EmptyText),
        (Input::Text { text: "x".repeat(4097) }, InputError::LongText { limit: 4096 }),
        (drag(0), InputError::EmptyPath),
        (drag(16_384), InputError::Full { limit: 16_384 }),
        (pad(4, 0), InputError::Gamepad { gamepad: 4 }),
        (pad(0, 32), InputError::GamepadButton { button: 32 }),
        (axis(255, 0, 0), InputError::Gamepad { gamepad: 255 }),
        (axis(0, 8, 0), InputError::GamepadAxis { axis: 8 }),
        (axis(0, 0, i16::MIN), InputError::AxisValue { value: i16::MIN }),
        (wrong_buttons, InputError::PointerButtons { buttons: 32 }),
        (Input::State(bad_state), InputError::AxisValue { value: i16::MIN }),
    ] {
        assert_eq!(context.send_input(InputPacket { time: 0, input }), Err(error));
    }
    assert_eq!(context.take_report().events, []);
    context.send_input(InputPacket { time: 1, input: drag(16_382) }).unwrap();
    let one = InputPacket { time: 1, input: Input::PointerWheel { x: 0, y: 0 } };
    assert_eq!(context.send_input(one.clone()), Err(InputError::Full { limit: 16_384 }));
    context.set_clock(1);
    assert_eq!(context.send_input(one), Ok(()));
}

#[test]
fn a_script_says_every_kind_of_input() {
    let script = r##"
# A comment, then every form.
{"at_ms": 2, "key": "ArrowUp", "action": "press"}
{"at_ns": 3, "key": "KeyA", "action": "tap"}
{"at_ms": 1, "text": "hé"}

{"at_ms": 1, "pointer": "move", "x": 10, "y": -20}
{"at_ms": 1, "pointer": "press", "button": "right", "x": 1, "y": 2}
{"at_ms": 1, "pointer": "release", "button": "right"}
{"at_ms": 1, "pointer": "wheel", "x": 0, "y": -120}
{"at_ms": 1, "pointer": "drag", "button": "left", "path": [[1, 2], [3, 4]], "duration_ms": 5}
{"at_ms": 1, "gamepad": 0, "button": "east", "action": "press"}
{"at_ms": 1, "gamepad": 1, "button": 31, "action": "release"}
{"at_ms": 1, "gamepad": 3, "axis": "right_y", "value": -32767}
{"at_ms": 1, "state": {"keys": ["KeyB"], "pointer": [5, 6], "buttons": ["left", "right"], "gamepads": [{"buttons": ["start", 31], "axes": [0, 7]}]}}
"##;
    let packets = parse_input_script(script, &ContextLimits::default()).unwrap();
    let mut state =
        InputState { pointer: Point { x: 5, y: 6 }, pointer_buttons: 0b101, ..Default::default() };
    state.keys.set(Key::from_name("KeyB").unwrap(), true);
    state.gamepads[0] = GamepadState { buttons: 1 << 9 | 1 << 31, axes: [0, 7, 0, 0, 0, 0, 0, 0] };
    let press = |action| Input::PointerButton { button: PointerButton::Right, action };
    let path = vec![Point { x: 1, y: 2 }, Point { x: 3, y: 4 }];
    let expected = [
        (2_000_000, key("ArrowUp", Action::Press)),
        (3, key("KeyA", Action::Press)),
        (3, key("KeyA", Action::Release)),
        (1_000_000, Input::Text { text: "hé".into() }),
        (1_000_000, Input::PointerMove { to: Point { x: 10, y: -20 } }),
        (1_000_000, Input::PointerMove { to: Point { x: 1, y: 2 } }),
        (1_000_000, press(Action::Press)),
        (1_000_000, press(Action::Release)),
        (1_000_000, Input::PointerWheel { x: 0, y: -120 }),
        (1_000_000, Input::PointerDrag { button: PointerButton::Left, path, duration: 5_000_000 }),
        (1_000_000, Input::GamepadButton { gamepad: 0, button: 1, action: Action::Press }),
        (1_000_000, Input::GamepadButton { gamepad: 1, button: 31, action: Action::Release }),
        (1_000_000, Input::GamepadAxis { gamepad: 3, axis: 3, value: -32767 }),
        (1_000_000, Input::State(state)),
    ];
    assert_eq!(packets, expected.map(|(time, input)| InputPacket { time, input }));
}

#[test]
fn every_wrong_line_of_a_script_is_said_with_its_number() {
    let lines = [
        ("{\"at_ms\": 1, \"text\": \"fine\"}", ""),
        ("{", "not JSON: EOF while parsing an object at line 1 column 1"),
        ("{\"text\": \"x\"}", "the field `at_ms` is missing"),
        (
            "{\"at_ms\": -1, \"text\": \"x\"}",
            "the field `at_ms` is not a whole number of 64 bits without sign",
        ),
        (
            "{\"at_ms\": 18446744073709551615, \"text\": \"x\"}",
            "the field `at_ms` is not a whole number of 64 bits without sign",
        ),
        ("{\"at_ms\": 1, \"at_ns\": 1, \"text\": \"x\"}", "the field `at_ns` does not belong there"),
        (
            "{\"at_ms\": 1}",
            "one of the fields `key`, `text`, `pointer`, `gamepad` and `state` says what arrives",
        ),
        (
            "{\"at_ms\": 1, \"key\": \"Up\", \"action\": \"press\"}",
            "the field `key` is not the name of a key, as in \"ArrowUp\"",
        ),
        ("{\"at_ms\": 1, \"key\": \"KeyA\"}", "the field `action` is missing"),
        (
            "{\"at_ms\": 1, \"key\": \"KeyA\", \"action\": \"tap\", \"text\": \"x\"}",
            "the field `text` does not belong there",
        ),
        ("{\"at_ms\": 1, \"pointer\": \"move\", \"x\": 1}", "the field `y` is missing"),
        (
            "{\"at_ms\": 1, \"pointer\": \"jump\"}",
            "the field `pointer` is not move, press, release, wheel or drag",
        ),
        (
            "{\"at_ms\": 1, \"pointer\": \"drag\", \"button\": \"left\", \"path\": [], \"duration_ms\": 1}",
            "the path of the drag has no points",
        ),
        (
            "{\"at_ms\": 1, \"gamepad\": 4, \"axis\": 0, \"value\": 0}",
            "there is no gamepad 4; they are 0 to 3",
        ),
        (
            "{\"at_ms\": 1, \"gamepad\": 0, \"axis\": 0, \"value\": 0.5}",
            "the field `value` is not a whole number of 16 bits",
        ),
        (
            "{\"at_ms\": 1, \"state\": {\"keys\": [7]}}",
            "the field `keys` is not the name of a key, as in \"ArrowUp\"",
        ),
    ];
    let script = lines.map(|(line, _)| line).join("\n");
    let errors = parse_input_script(&script, &ContextLimits::default()).unwrap_err();
    let said: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let expected = (1..).zip(lines).filter(|(_, (_, message))| !message.is_empty());
    let expected: Vec<_> = expected.map(|(line, (_, message))| format!("line {line}: {message}")).collect();
    assert_eq!(said, expected);
}

proptest! {
    #[test]
    fn no_script_is_too_strange_for_the_parser(text in "\\PC{0,200}") {
        let _ = parse_input_script(&text, &ContextLimits::default());
    }

    #[test]
    fn records_come_in_order_and_the_state_is_that_of_the_last_of_each_key(
        sent in prop::collection::vec((0..100u64, 4..8u8, any::<bool>()), 1..60),
        moves in prop::collection::vec(0..30u64, 1..10),
    ) {
        let mut machine = Machine::new();
        for (time, usage, pressed) in &sent {
            let action = if *pressed { Action::Press } else { Action::Release };
            send(&mut machine, *time, Input::Key { key: Key::from_usage(*usage).unwrap(), action });
        }
        let mut arrived = vec![];
        for step in moves {
            let now = machine.context.clock_now() + step;
            machine.call("sleep_until", &[now]).unwrap();
            arrived.extend(records(&mut machine));
        }
        machine.call("sleep_until", &[1_000]).unwrap();
        arrived.extend(records(&mut machine));
        let mut expected = sent;
        expected.sort_by_key(|(time, _, _)| *time);
        let arrived: Vec<_> = arrived.iter().map(|r| (r.0, r.4 as u8, r.2 != 0)).collect();
        prop_assert_eq!(&arrived, &expected);
        let mut keys = KeySet::default();
        for (_, usage, pressed) in expected {
            keys.set(Key::from_usage(usage).unwrap(), pressed);
        }
        prop_assert_eq!(machine.context.input_state().keys, keys);
    }
}
