//! A saved process goes on as if nothing had been, and what is not a saved process is refused.

use alloc::{format, string::ToString, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    Action, ClockScale, DeviceReport, Frame, GamepadState, Input, InputPacket, InputState, Key, Point,
    PointerButton, Stop, testing::Machine,
};

/// Something that happens to a process.
#[derive(Debug, Clone)]
enum Operation {
    Call(&'static str, Vec<u64>),
    CallWith(&'static str, Vec<u8>),
    Send(InputPacket),
    SetClock(u64),
    Advance(u64),
    Pause(bool),
    Scale(u32, u32),
    Epoch(u64),
    TakeReport,
}

/// What can be seen of it.
#[derive(Debug, PartialEq)]
enum Seen {
    Call(Result<u64, Stop>, Vec<u8>),
    Presented(Result<u64, Stop>, Option<Frame>),
    Sent(bool),
    Report(Vec<LogLine>, Vec<Vec<u8>>, DeviceReport),
    Nothing,
}

fn apply(machine: &mut Machine, operation: &Operation) -> Seen {
    let context = &mut machine.context;
    match operation {
        Operation::Call(name, arguments) => {
            let result = machine.call(name, arguments);
            return Seen::Call(result, machine.memory[..256].to_vec());
        }
        Operation::CallWith(name @ "display_present", bytes) => {
            let result = machine.call_with(name, bytes);
            return Seen::Presented(result, machine.context.latest_frame());
        }
        Operation::CallWith(name, bytes) => {
            return Seen::Call(machine.call_with(name, bytes), vec![]);
        }
        Operation::Send(packet) => return Seen::Sent(context.send_input(packet.clone()).is_ok()),
        Operation::SetClock(time) => context.set_clock(*time),
        Operation::Advance(time) => context.advance_clock(*time),
        Operation::Pause(true) => context.pause_clock(),
        Operation::Pause(false) => context.resume_clock(),
        Operation::Scale(numerator, denominator) => {
            context.set_clock_scale(ClockScale::new(*numerator, *denominator).unwrap());
        }
        Operation::Epoch(time) => context.set_clock_epoch(*time),
        Operation::TakeReport => {
            return Seen::Report(context.take_logs(), context.take_events(), context.take_report());
        }
    }
    Seen::Nothing
}

fn input() -> impl Strategy<Value = Input> {
    let action = || prop_oneof![Just(Action::Press), Just(Action::Release)];
    let key = || (4..20u8).prop_map(|usage| Key::from_usage(usage).unwrap());
    let point = || (any::<i32>(), any::<i32>()).prop_map(|(x, y)| Point { x, y });
    let state = (prop::collection::vec(key(), 0..4), point(), 0..32u32, any::<u32>(), -9..9i16).prop_map(
        |(keys, pointer, pointer_buttons, buttons, axis)| {
            let gamepad = GamepadState { buttons, axes: [axis; 8] };
            InputState { keys: keys.into_iter().collect(), pointer, pointer_buttons, gamepads: [gamepad; 4] }
        },
    );
    prop_oneof![
        (key(), action()).prop_map(|(key, action)| Input::Key { key, action }),
        "\\PC{0,40}".prop_map(|text| Input::Text { text }),
        point().prop_map(|to| Input::PointerMove { to }),
        action().prop_map(|action| Input::PointerButton { button: PointerButton::Middle, action }),
        (prop::collection::vec(point(), 0..6), 0..60u64).prop_map(|(path, duration)| {
            Input::PointerDrag { button: PointerButton::Left, path, duration }
        }),
        (0..5u8, 0..34u8, action()).prop_map(|(gamepad, button, action)| Input::GamepadButton {
            gamepad,
            button,
            action
        }),
        (0..5u8, 0..9u8, any::<i16>()).prop_map(|(gamepad, axis, value)| Input::GamepadAxis {
            gamepad,
            axis,
            value
        }),
        state.prop_map(Input::State),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::{Call, CallWith};
    let short = || prop::collection::vec(any::<u8>(), 0..40);
    let element = (0..6u8, "[a-c]{0,1}", any::<i64>()).prop_map(|(shape, id, number)| match shape {
        0 => CallWith("hud_remove", id.into_bytes()),
        1..4 => {
            let json = format!(r#"{{"id":"{id}","kind":"timer","value":"{number}","number":{number}}}"#);
            CallWith("hud_signal", json.into_bytes())
        }
        _ => {
            let json = format!(r#"{{"id":"{id}","shape":"text","x":{},"y":1,"text":"é"}}"#, number >> 32);
            CallWith("hud_overlay", json.into_bytes())
        }
    });
    prop_oneof![
        Just(Call("clock_now", vec![])),
        Just(Call("clock_wall", vec![])),
        (0..200u64).prop_map(|time| Call("sleep_until", vec![time])),
        (0..6u64, 0..200u64, 0..20u64)
            .prop_map(|(id, time, interval)| Call("timer_set", vec![id, time, interval])),
        (0..6u64).prop_map(|id| Call("timer_cancel", vec![id])),
        (0..256u64).prop_map(|length| Call("random_fill", vec![0, length])),
        (0..7u64).prop_map(|level| Call("log", vec![level, 0, 9])),
        short().prop_map(|event| CallWith("emit", event)),
        (30..200u64).prop_map(|length| Call("input_next", vec![0, length])),
        Just(Call("input_state", vec![0, 128])),
        // Mostly a display that there can be, and frames that fit it.
        (0..3u64, 1..3u64, 3..5u64, 0..6u64).prop_map(|(width, height, stride, format)| {
            Call("display_configure", vec![width, height, stride, format])
        }),
        prop::collection::vec(any::<[u8; 4]>(), 0..5)
            .prop_map(|palette| CallWith("display_palette", palette.concat())),
        prop::collection::vec(prop::array::uniform4(0..4u8), 1..3)
            .prop_map(|frame| CallWith("display_present", frame.concat())),
        (0..3u64, 0..4u64, 0..4u64)
            .prop_map(|(rate, channels, format)| Call("audio_configure", vec![rate, channels, format])),
        (0..40u64).prop_map(|length| Call("audio_play", vec![0, length])),
        element,
        (0..200u64, input()).prop_map(|(time, input)| Operation::Send(InputPacket { time, input })),
        (0..200u64).prop_map(Operation::SetClock),
        (0..30u64).prop_map(Operation::Advance),
        any::<bool>().prop_map(Operation::Pause),
        (0..5u32, 1..5u32).prop_map(|(numerator, denominator)| Operation::Scale(numerator, denominator)),
        any::<u64>().prop_map(Operation::Epoch),
        Just(Operation::TakeReport),
    ]
}

/// Limits that short tests reach.
fn limits() -> ContextLimits {
    ContextLimits {
        log_lines: 4,
        events: 5,
        device_events: 12,
        timers: 4,
        input_pending: 40,
        input_queue: 10,
        frame_bytes: 40,
        hud_elements: 3,
        ..ContextLimits::default()
    }
}

fn restored(machine: &Machine) -> Context {
    let bytes = machine.context.save().encode();
    let saved = SavedContext::decode(&bytes).unwrap();
    assert_eq!(saved.encode(), bytes);
    Context::restore(saved, &limits()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_process_that_was_saved_and_restored_anywhere_goes_on_the_same(
        operations in prop::collection::vec(operation(), 1..80),
        cuts in prop::collection::vec(0..80usize, 1..4),
    ) {
        let mut whole = Machine::with(Context::with_limits(3, [7; 32], limits()));
        let mut cut = Machine::with(Context::with_limits(3, [7; 32], limits()));
        for (index, operation) in operations.iter().enumerate() {
            if cuts.contains(&index) {
                cut.context = restored(&cut);
            }
            prop_assert_eq!(apply(&mut whole, operation), apply(&mut cut, operation));
        }
        prop_assert_eq!(whole.paid, cut.paid);
        prop_assert_eq!(whole.context.save().encode(), cut.context.save().encode());
        prop_assert_eq!(whole.context.latest_frame(), cut.context.latest_frame());
    }

    #[test]
    fn damaged_bytes_are_refused_or_are_a_process_that_works(
        operations in prop::collection::vec(operation(), 1..60),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        more in prop::collection::vec(operation(), 1..40),
    ) {
        let mut machine = Machine::with(Context::with_limits(3, [7; 32], limits()));
        for operation in &operations {
            apply(&mut machine, operation);
        }
        let mut bytes = machine.context.save().encode();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(context) = SavedContext::decode(&bytes).and_then(|saved| Context::restore(saved, &limits())) {
            machine.context = context;
            for operation in &more {
                apply(&mut machine, operation);
            }
            restored(&machine);
        }
    }
}

#[test]
fn bytes_that_are_cut_off_too_long_or_of_another_version_are_refused() {
    let bytes = Context::new(5, [1; 32]).save().encode();
    for end in 0..bytes.len() {
        assert_eq!(SavedContext::decode(&bytes[..end]), Err(RestoreError::Damaged), "{end}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(SavedContext::decode(&longer), Err(RestoreError::Damaged));
    let mut newer = bytes;
    newer[0] = 2;
    assert_eq!(SavedContext::decode(&newer), Err(RestoreError::Version { version: 2 }));
}

#[test]
fn a_limit_that_is_higher_than_allowed_is_refused() {
    let saved = Context::new(0, [0; 32]).save();
    let allowed = ContextLimits { frame_bytes: 1 << 20, ..ContextLimits::default() };
    let error = RestoreError::Limit { name: "frame_bytes", limit: 32 << 20, allowed: 1 << 20 };
    assert_eq!(Context::restore(saved, &allowed).map(|_| ()), Err(error));
}

#[test]
fn devices_to_which_no_process_comes_are_refused() {
    let mut machine = Machine::new();
    machine.call("display_configure", &[4, 4, 4, 5]).unwrap();
    machine.call("display_present", &[0, 16]).unwrap();
    machine.call("audio_configure", &[48_000, 2, 2]).unwrap();
    machine.call("timer_set", &[1, 10, 0]).unwrap();
    let saved = machine.context.save();
    let allowed = ContextLimits::default();
    assert!(Context::restore(saved.clone(), &allowed).is_ok());
    let fault = |change: &dyn Fn(&mut SavedContext)| {
        let mut saved = saved.clone();
        change(&mut saved);
        Context::restore(saved, &allowed).map(|_| ()).unwrap_err().to_string()
    };
    let said = [
        fault(&|saved| saved.version = 7),
        fault(&|saved| saved.clock.now = 11),
        fault(&|saved| saved.limits.timers = 0),
        fault(&|saved| saved.limits.frame_bytes = 15),
        fault(&|saved| saved.limits.audio_rate = 47_999),
        fault(&|saved| saved.random_words = u128::MAX),
        fault(&|saved| saved.output.logs.push(LogLine { level: 5, text: "".into() })),
        fault(&|saved| saved.output.events.push(vec![0; (1 << 20) + 1])),
    ];
    let expected = [
        "the devices were saved in version 7; this reads version 1",
        "the saved devices are not possible: something due that has not arrived",
        "the saved devices are not possible: more timers than its limits allow",
        "the saved devices are not possible: a display that its limits do not allow",
        "the saved devices are not possible: an audio format that its limits do not allow",
        "the saved devices are not possible: a random stream past its end",
        "the saved devices are not possible: a log that its limits do not allow",
        "the saved devices are not possible: more events than its limits allow",
    ];
    assert_eq!(said, expected);
    // A byte of the frame that is not what was hashed.
    let mut bytes = saved.encode();
    let frame = bytes.windows(16).rposition(|window| window == [0; 16]).unwrap();
    bytes[frame] = 1;
    let damaged = SavedContext::decode(&bytes).and_then(|saved| Context::restore(saved, &allowed));
    assert!(damaged.unwrap_err().to_string().contains("another hash than its bytes"));
}

#[test]
fn observers_are_not_saved_and_change_nothing_that_is() {
    let (mut alone, mut observed) = (Machine::new(), Machine::new());
    let reader = observed.context.frame_reader();
    observed.context.record_audio(true);
    assert_eq!(alone.context.save().encode(), observed.context.save().encode());
    for machine in [&mut alone, &mut observed] {
        machine.call("display_configure", &[4, 4, 4, 5]).unwrap();
        machine.call("audio_configure", &[48_000, 1, 2]).unwrap();
        for _ in 0..3 {
            machine.call("display_present", &[0, 16]).unwrap();
            machine.call("audio_play", &[0, 16]).unwrap();
        }
    }
    assert_eq!(reader.info().unwrap().index, 3);
    assert_eq!(alone.context.save().encode(), observed.context.save().encode());
    assert_eq!(alone.context.take_report(), observed.context.take_report());
}
