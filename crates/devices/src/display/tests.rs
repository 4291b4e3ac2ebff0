//! Tests of the display through its host functions.

use alloc::{vec, vec::Vec};

use super::*;
use crate::testing::{Machine, misuse};

fn configured(width: u64, height: u64, stride: u64, format: u64) -> Machine {
    let mut machine = Machine::new();
    machine.call("display_configure", &[width, height, stride, format]).unwrap();
    machine
}

#[test]
fn a_frame_has_its_number_time_layout_and_the_hash_of_its_bytes() {
    let mut machine = configured(2, 2, 3, 5);
    machine.context.set_clock(99);
    let paid = machine.paid;
    assert_eq!(machine.call_with("display_present", b"abcabc"), Ok(1));
    assert_eq!(machine.paid - paid, 6);
    assert_eq!(machine.call_with("display_present", b"abcdef"), Ok(2));
    let frame = machine.context.latest_frame().unwrap();
    assert_eq!(frame.bytes(), b"abcdef");
    let layout = FrameLayout { width: 2, height: 2, stride: 3, format: PixelFormat::Luma8 };
    // `printf abcdef | sha256sum`
    let sha256 = [
        0xbe, 0xf5, 0x7e, 0xc7, 0xf5, 0x3a, 0x6d, 0x40, 0xbe, 0xb6, 0x40, 0xa7, 0x80, 0xa6, 0x39, 0xc8, 0x3b,
        0xc2, 0x9a, 0xc8, 0xa9, 0x81, 0x6f, 0x1f, 0xc6, 0xc5, 0xc6, 0xdc, 0xd9, 0x3c, 0x47, 0x21,
    ];
    assert_eq!(*frame.info(), FrameInfo { index: 2, time: 99, layout, sha256 });
    let events = machine.context.take_report().events;
    assert_eq!(events[0], DeviceEvent::DisplayConfigured { layout });
    assert_eq!(events[2], DeviceEvent::FramePresented { frame: *frame.info() });
    assert_eq!(events.iter().map(DeviceEvent::name).nth(1), Some("FramePresented"));
}

#[test]
fn every_format_becomes_the_colours_that_it_means() {
    for (format, bytes, expected) in [
        (2, b"\x01\x02\x03\x04\x05\x06\xee".as_slice(), [1, 2, 3, 255, 4, 5, 6, 255]),
        (3, b"\x01\x02\x03\x04\x05\x06\x07\x08\xee", [1, 2, 3, 4, 5, 6, 7, 8]),
        (4, b"\x01\x02\x03\x04\x05\x06\x07\x08\xee", [3, 2, 1, 4, 7, 6, 5, 8]),
        (5, b"\x01\xff\xee", [1, 1, 1, 255, 255, 255, 255, 255]),
    ] {
        // One row of two pixels and a byte of padding.
        let mut machine = configured(2, 1, bytes.len() as u64, format);
        machine.call_with("display_present", bytes).unwrap();
        assert_eq!(machine.context.latest_frame().unwrap().to_rgba(), expected, "format {format}");
    }
}

#[test]
fn a_palette_colours_the_frames_after_it_and_its_rest_is_black() {
    let mut machine = configured(3, 1, 3, 1);
    let picture = |machine: &mut Machine| {
        machine.call_with("display_present", &[0, 1, 255]).unwrap();
        machine.context.latest_frame().unwrap().to_rgba()
    };
    const BLACK: [u8; 4] = [0, 0, 0, 255];
    assert_eq!(picture(&mut machine), [BLACK; 3].concat());
    machine.call_with("display_palette", &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    let before = machine.context.latest_frame().unwrap();
    assert_eq!(before.to_rgba(), [BLACK; 3].concat());
    assert_eq!(picture(&mut machine), [[1, 2, 3, 4], [5, 6, 7, 8], BLACK].concat());
    machine.call_with("display_palette", &[9; 4]).unwrap();
    assert_eq!(picture(&mut machine), [[9; 4], BLACK, BLACK].concat());
    let after = machine.context.latest_frame().unwrap();
    assert_eq!((after.palette().len(), after.info().sha256), (PALETTE_BYTES, before.info().sha256));
    let sha256 = Sha256::digest(after.palette()).into();
    assert!(machine.context.take_report().events.contains(&DeviceEvent::PaletteChanged { sha256 }));
}

#[test]
fn what_no_display_can_be_is_said() {
    let mut machine = Machine::new();
    for (arguments, message) in [
        ([1, 1, 1, 0], "pixel format 0 does not exist"),
        ([1, 1, 1, 6], "pixel format 6 does not exist"),
        ([0, 1, 1, 5], "a frame of 0 × 1 pixels"),
        ([1, 4097, 1, 5], "a frame of 1 × 4097 pixels"),
        ([2, 1, 7, 3], "rows of 7 bytes do not hold 2 pixels of 4 bytes"),
        ([4096, 4096, 16384, 3], "a frame of 67108864 bytes is more than 33554432"),
        ([1, 4096, 0xffff_ffff, 5], "is more than 33554432"),
    ] {
        let said = misuse(machine.call("display_configure", &arguments));
        assert!(said.contains(message), "{said}");
    }
    let said = misuse(machine.call("display_present", &[0, 0]));
    assert!(said.contains("before the display was configured"), "{said}");
    machine.call("display_configure", &[2, 2, 2, 5]).unwrap();
    for length in [0, 3, 5] {
        let said = misuse(machine.call("display_present", &[0, length]));
        assert!(said.contains("configured for 4"), "{said}");
    }
    assert!(misuse(machine.call("display_present", &[0xffff, 4])).contains("outside of the memory"));
    for length in [0, 3, 1028] {
        assert!(misuse(machine.call("display_palette", &[0, length])).contains("is not 1 to 256 entries"));
    }
    assert!(misuse(machine.call("display_palette", &[0xffff, 4])).contains("outside of the memory"));
    assert_eq!(machine.context.latest_frame(), None);
}

#[test]
fn a_frame_that_cannot_be_paid_for_is_not_shown() {
    let mut machine = configured(4, 4, 4, 5);
    machine.fuel = machine.paid + 15;
    assert_eq!(machine.call("display_present", &[0, 16]), Err(Stop::OutOfFuel));
    assert_eq!(machine.context.latest_frame(), None);
}

#[test]
fn a_reader_follows_a_display_that_changes_its_size() {
    let mut machine = Machine::new();
    let reader = machine.context.frame_reader();
    let mut frame = Frame::EMPTY;
    assert!(!reader.read_newer(&mut frame));
    for (index, side) in (1..).zip([8, 2, 16]) {
        machine.call("display_configure", &[side, side, side, 5]).unwrap();
        assert_eq!(machine.call("display_present", &[0, side * side]), Ok(index));
        assert!(reader.read_newer(&mut frame));
        assert!(!reader.read_newer(&mut frame));
        assert_eq!((frame.info().index, frame.bytes().len() as u64), (index, side * side));
    }
    let copies: Vec<Frame> = vec![frame, reader.latest().unwrap(), machine.context.latest_frame().unwrap()];
    assert!(copies.windows(2).all(|pair| pair[0] == pair[1]));
    drop(machine);
    assert_eq!(reader.info().unwrap().index, 3);
}

#[cfg(feature = "png")]
#[test]
fn a_screenshot_is_a_png_file_of_the_picture() {
    let mut machine = configured(2, 1, 8, 4);
    machine.call_with("display_present", &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    let frame = machine.context.latest_frame().unwrap();
    let file = frame.to_png().unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height, info.color_type), (2, 1, png::ColorType::Rgba));
    assert_eq!(pixels, frame.to_rgba());
    assert!(Frame::EMPTY.to_png().is_err());
}
