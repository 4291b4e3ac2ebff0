//! The game on the devices of a process, played by a script.

use std::fs;

use glasshouse_devices::{Context, Frame, StepCall, StepOutcome, parse_input_script};
use glasshouse_engine::{Instance, InstanceLimits, Machine, native::Wasmtime};
use glasshouse_envelope::{Envelope, Flags};
use serde_json::{Value, json};

use crate::modules::{module, root};

/// Frames of the scripted game.
const FRAMES: u32 = 600;

/// A game in progress.
struct Game {
    instance: <Wasmtime as Machine>::Instance,
    context: Context,
}

impl Game {
    /// The game of the script.
    fn scripted() -> Self {
        let mut game = Self::new();
        let script = fs::read_to_string(root().join("guests/examples/snake/input.jsonl")).unwrap();
        for packet in parse_input_script(&script, game.context.limits()).unwrap() {
            game.context.send_input(packet).unwrap();
        }
        game
    }

    fn new() -> Self {
        let machine = Wasmtime::new().unwrap();
        let module = machine.compile(&module("snake")).unwrap();
        let instance = machine.instantiate(&module, InstanceLimits::default()).unwrap();
        let mut context = Context::new(0, [7; 32]);
        context.record_audio(true);
        Self { instance, context }
    }

    fn play(&mut self, frames: u32) -> Value {
        let input = Envelope::plain(json!({ "frames": frames }).to_string().as_bytes()).encode().unwrap();
        let call = StepCall::Start { entry: "play".into(), input };
        let report = self.instance.step(&call, &mut self.context, 1_000_000_000);
        let StepOutcome::Returned(bytes) = report.outcome else { panic!("{:?}", report.outcome) };
        let envelope = Envelope::decode(&bytes).unwrap();
        assert_eq!(envelope.flags, Flags::NONE, "{}", String::from_utf8_lossy(envelope.payload));
        serde_json::from_slice(envelope.payload).unwrap()
    }

    fn frame(&self) -> Frame {
        self.context.latest_frame().unwrap()
    }

    /// Everything that was played, as bytes.
    fn sound(&mut self) -> Vec<u8> {
        self.context.take_audio().blocks.into_iter().flat_map(|block| block.bytes).collect()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_scripted_game_ends_with_the_same_frame_every_time() {
    let mut game = Game::scripted();
    let standing = game.play(FRAMES);
    let frame = game.frame();
    assert_eq!((frame.info().index, frame.info().time), (600, 10_000_000_000));
    assert_eq!(standing, json!({"score": 5, "length": 9, "frames": 600, "over": false}));
    let sha256 = "254650f65263ec3466e021fc11b733502cff9c9e5f746ec170fae9a566314c97";
    assert_eq!(hexadecimal(&frame.info().sha256), sha256);
    let sound = game.sound();
    assert_eq!(sound.len(), 600 * 400 * 2);
    assert!(sound.iter().any(|byte| *byte != 0));
}

#[test]
fn a_game_in_pieces_is_the_game_at_once() {
    let mut whole = Game::scripted();
    whole.play(FRAMES);
    let mut pieces = Game::scripted();
    for frames in [1, 99, 0, 250, 250] {
        pieces.play(frames);
    }
    assert_eq!(pieces.frame().info(), whole.frame().info());
    assert_eq!(pieces.sound(), whole.sound());
}
