//! Tests of the audio output through its host functions.

use super::*;
use crate::testing::{Machine, misuse};

const STEREO: AudioFormat = AudioFormat { rate: 48_000, channels: 2, samples: SampleFormat::I16 };

fn stereo() -> Machine {
    let mut machine = Machine::new();
    machine.call("audio_configure", &[48_000, 2, 2]).unwrap();
    machine
}

#[test]
fn offsets_count_frames_whether_or_not_a_host_listens() {
    let mut machine = stereo();
    assert_eq!(machine.call("audio_play", &[0, 8]), Ok(0));
    machine.context.record_audio(true);
    assert_eq!(machine.call("audio_play", &[0, 400]), Ok(2));
    machine.context.record_audio(false);
    assert_eq!(machine.call("audio_play", &[0, 0]), Ok(102));
    assert_eq!(machine.call("audio_play", &[0, 4]), Ok(102));
    assert_eq!(machine.context.audio_played(), Some((STEREO, 103)));
    let taken = machine.context.take_audio();
    assert_eq!((taken.blocks.len(), taken.blocks[0].offset, taken.blocks[0].end()), (1, 2, 102));
    assert_eq!(taken.frames_lost, 0);
    assert_eq!(machine.paid, 412);
}

#[test]
fn what_was_recorded_is_what_was_played_with_its_format() {
    let mut machine = stereo();
    machine.context.record_audio(true);
    machine.call_with("audio_play", b"abcd").unwrap();
    machine.call_with("audio_play", b"efgh").unwrap();
    // The same format again is no new stream.
    machine.call("audio_configure", &[48_000, 2, 2]).unwrap();
    machine.call("audio_configure", &[8_000, 1, 1]).unwrap();
    assert_eq!(machine.call_with("audio_play", b"\0\0\x80\x3f"), Ok(0));
    let mono = AudioFormat { rate: 8_000, channels: 1, samples: SampleFormat::F32 };
    let taken = machine.context.take_audio();
    let blocks = [
        AudioBlock { stream: 1, offset: 0, format: STEREO, bytes: b"abcdefgh".to_vec() },
        AudioBlock { stream: 2, offset: 0, format: mono, bytes: b"\0\0\x80\x3f".to_vec() },
    ];
    assert_eq!(taken.blocks, blocks);
    assert_eq!(machine.context.take_audio(), AudioTaken::default());
    let events = machine.context.take_report().events;
    let sha256 = Sha256::digest(b"efgh").into();
    assert_eq!(events[2], DeviceEvent::AudioPlayed { stream: 1, offset: 1, frames: 1, sha256 });
    assert_eq!(events[3], DeviceEvent::AudioConfigured { stream: 2, format: mono });
}

#[test]
fn a_host_that_does_not_take_loses_the_end_and_is_told_how_much() {
    let limits = ContextLimits { audio_bytes: 16, ..ContextLimits::default() };
    let mut machine = Machine::with(Context::with_limits(0, [0; 32], limits));
    machine.call("audio_configure", &[48_000, 2, 2]).unwrap();
    machine.context.record_audio(true);
    for (length, offset) in [(12, 0), (8, 3), (4, 5)] {
        assert_eq!(machine.call("audio_play", &[0, length]), Ok(offset));
    }
    let taken = machine.context.take_audio();
    assert_eq!((taken.blocks[0].bytes.len(), taken.frames_lost), (12, 3));
    assert_eq!(machine.call("audio_play", &[0, 16]), Ok(6));
    assert_eq!(machine.context.take_audio().blocks[0].offset, 6);
}

#[test]
fn long_audio_is_hashed_and_kept_whole() {
    let mut machine = stereo();
    machine.context.record_audio(true);
    let samples: Vec<u8> = (0..300_000_u32).map(|number| (number * 7 % 253) as u8).collect();
    machine.call_with("audio_play", &samples).unwrap();
    let sha256 = Sha256::digest(&samples).into();
    let played = DeviceEvent::AudioPlayed { stream: 1, offset: 0, frames: 75_000, sha256 };
    assert_eq!(machine.context.take_report().events.pop(), Some(played));
    assert_eq!(machine.context.take_audio().blocks[0].bytes, samples);
}

#[test]
fn what_no_audio_can_be_is_said() {
    let mut machine = Machine::new();
    let said = misuse(machine.call("audio_play", &[0, 0]));
    assert!(said.contains("before it was configured"), "{said}");
    for (arguments, message) in [
        ([48_000, 2, 0], "sample format 0"),
        ([48_000, 2, 3], "sample format 3"),
        ([0, 2, 1], "a sample rate of 0 Hz"),
        ([192_001, 2, 1], "a sample rate of 192001 Hz"),
        ([48_000, 0, 1], "0 channels"),
        ([48_000, 9, 1], "9 channels"),
    ] {
        let said = misuse(machine.call("audio_configure", &arguments));
        assert!(said.contains(message), "{said}");
    }
    machine.call("audio_configure", &[48_000, 2, 2]).unwrap();
    let said = misuse(machine.call("audio_play", &[0, 6]));
    assert!(said.contains("6 bytes of audio are not whole frames of 4 bytes"), "{said}");
    assert!(misuse(machine.call("audio_play", &[0xfffc, 8])).contains("outside of the memory"));
    machine.fuel = machine.paid + 3;
    assert_eq!(machine.call("audio_play", &[0, 4]), Err(Stop::OutOfFuel));
    assert_eq!(machine.context.audio_played(), Some((STEREO, 0)));
}

#[test]
fn a_header_says_format_and_lengths() {
    let header = wav_header(&STEREO, 8).unwrap();
    let expected =
        b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0\x80\xbb\0\0\0\xee\x02\0\x04\0\x10\0data\x08\0\0\0";
    assert_eq!(header, expected);
    let floats = AudioFormat { rate: 8_000, channels: 1, samples: SampleFormat::F32 };
    let header = wav_header(&floats, 8).unwrap();
    let expected = b"RIFF\x3a\0\0\0WAVEfmt \x12\0\0\0\x03\0\x01\0\x40\x1f\0\0\0\x7d\0\0\x04\0\x20\0\0\0fact\x04\0\0\0\x02\0\0\0data\x08\0\0\0";
    assert_eq!(header, expected);
    assert_eq!(wav_header(&STEREO, u32::MAX), None);
}

#[cfg(feature = "wav")]
#[test]
fn a_wav_file_has_every_frame_at_its_time_and_silence_between() {
    use std::io::Cursor;

    let block =
        |stream, offset, bytes: &[u8]| AudioBlock { stream, offset, format: STEREO, bytes: bytes.to_vec() };
    let mut writer = WavWriter::new(Cursor::new(Vec::new()), &block(1, 2, b"abcd")).unwrap();
    writer.write(&block(1, 3, b"efgh")).unwrap();
    writer.write(&block(1, 2_000, b"ijkl")).unwrap();
    for wrong in [block(2, 2_001, b"mnop"), block(1, 2_000, b"mnop")] {
        assert_eq!(writer.write(&wrong).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
    let too_far = writer.write(&block(1, 1 << 30, b"mnop")).unwrap_err();
    assert_eq!(too_far.kind(), std::io::ErrorKind::FileTooLarge);
    let file = writer.finish().unwrap().into_inner();
    let (header, samples) = file.split_at(44);
    assert_eq!(header, wav_header(&STEREO, 2_001 * 4).unwrap());
    let silence = |frames: usize| vec![0; frames * 4];
    assert_eq!(samples, [silence(2), b"abcdefgh".to_vec(), silence(1_996), b"ijkl".to_vec()].concat());
}
