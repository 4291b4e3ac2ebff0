//! The game on the SDK's in-memory host.

use glasshouse_guest::testing;
use serde_json::{Value, json};
use snake::play;

const FRAME_NANOSECONDS: u64 = 1_000_000_000 / 60;

fn play_frames(frames: u32) -> Value {
    testing::call(play, &json!({ "frames": frames }), |request| panic!("unexpected request: {request:?}"))
        .unwrap()
}

/// A key is pressed now.
fn press(usage: u8) {
    let mut record = [0; 32];
    (record[8], record[10], record[12]) = (1, 1, usage);
    testing::send_input_record(record);
}

#[test]
fn every_frame_is_shown_and_sounds_and_takes_a_sixtieth_of_a_second() {
    assert_eq!(play_frames(60), json!({"score": 0, "length": 4, "frames": 60, "over": false}));
    let (frame, number) = testing::last_frame();
    assert_eq!((frame.len(), number), (160 * 120, 60));
    assert_eq!(testing::take_samples().len(), 24_000);
    assert_eq!(glasshouse_guest::clock_now() as u64, 60 * 1_000_000_000 / 60);
    assert!(glasshouse_guest::clock_now() as u64 > 59 * FRAME_NANOSECONDS);
}

#[test]
fn the_snake_runs_into_a_wall_unless_it_is_steered() {
    assert_eq!(play_frames(119)["over"], json!(false));
    assert_eq!(play_frames(1)["over"], json!(true));
    let samples = testing::take_samples();
    assert!(samples[..119 * 400].iter().all(|sample| *sample == 0.0));
    assert!(samples[119 * 400..].iter().all(|sample| sample.abs() == 0.25));
    press(0x28);
    assert_eq!(play_frames(1), json!({"score": 0, "length": 4, "frames": 121, "over": false}));
}

#[test]
fn a_snake_that_is_steered_to_its_food_eats_it_with_a_beep() {
    play_frames(1);
    let (frame, _) = testing::last_frame();
    let food = frame.iter().position(|pixel| *pixel == 5).unwrap();
    let (column, row) = (food % 160 / 4, food / 160 / 4);
    // First to the food's row, then along it; from the middle of the board, (20, 15), to the right.
    press(if row < 15 { 0x52 } else { 0x51 });
    play_frames(5);
    let rows = row.abs_diff(15) as u32;
    if rows > 1 {
        play_frames(6 * (rows - 1));
    }
    press(if column < 20 { 0x50 } else { 0x4F });
    let columns = column.abs_diff(20) as u32;
    let standing = play_frames(6 * columns);
    assert_eq!(
        (standing["score"].clone(), standing["length"].clone()),
        (json!(1), json!(5)),
        "food {column} {row}"
    );
    assert!(testing::take_samples().iter().any(|sample| *sample != 0.0));
    let signal = json!({"id": "score", "kind": "resource", "value": "1", "number": 1});
    assert_eq!(testing::hud_signal("score"), Some(signal));
}

#[test]
fn frames_that_are_played_one_by_one_are_those_that_are_played_at_once() {
    let played = |calls: &[u32]| {
        let calls = calls.to_vec();
        std::thread::spawn(move || {
            press(0x52);
            for frames in calls {
                play_frames(frames);
            }
            (testing::last_frame(), testing::take_samples())
        })
        .join()
        .unwrap()
    };
    assert_eq!(played(&[90]), played(&[1; 90]));
}
