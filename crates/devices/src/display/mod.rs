//! The display of a process: the guest presents frames, a host looks at the latest one.
//!
//! - [`FrameLayout`], [`PixelFormat`]: how a frame lies in memory; [`FrameInfo`]: which frame it is; [`Frame`]: with its bytes.
//! - [`FrameReader`]: the latest frame, from any thread, without the process ever waiting.
//!
//! ```text
//! display_configure(width: i32, height: i32, stride: i32, format: i32)    sets up frames; formats as below
//! display_palette(pointer: i32, length: i32)                             sets the colours of Indexed8: 1 to 256 entries
//! display_present(pointer: i32, length: i32) -> i64                      shows a frame; its number, from 1
//! ```
//!
//! `width` and `height` are pixels, `stride` bytes from one row to the next, at least a row of pixels. Formats:
//!
//! ```text
//! 1 Indexed8   1 byte: a number of a palette entry
//! 2 RGB24      3 bytes: red, green, blue
//! 3 RGBA32     4 bytes: red, green, blue, alpha (0 transparent, 255 opaque; not premultiplied)
//! 4 BGRA32     4 bytes: blue, green, red, alpha
//! 5 Luma8      1 byte: 0 black to 255 white
//! ```
//!
//! A palette entry is four bytes: red, green, blue, alpha. Setting a palette sets all 256: entries that are not given
//! become opaque black, as all are at first. It holds for frames that are presented from then on. A frame has exactly
//! stride × height bytes, the last row's padding among them. Every byte of a palette or a frame costs 1 fuel. Numbers
//! of frames go on when the display is configured anew. A misuse stops the step: an unknown format, a side of 0 or over
//! [`crate::ContextLimits::frame_side`], a stride that is too short, more bytes than
//! [`crate::ContextLimits::frame_bytes`], another length than configured, a frame before any configuration.

mod frame;
mod share;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::share::FrameWriter;
pub use self::{
    frame::{Frame, FrameInfo, FrameLayout, PixelFormat},
    share::FrameReader,
};
use crate::{
    Call, Context, ContextLimits, DeviceError, DeviceEvent, HostFunction, Stop,
    ValueType::{I32, I64},
    own::{function, words},
};

/// The table.
pub(crate) const FUNCTIONS: &[HostFunction] = &[
    function("display_configure", &[I32, I32, I32, I32], None, display_configure),
    function("display_palette", &[I32, I32], None, display_palette),
    function("display_present", &[I32, I32], Some(I64), display_present),
];

/// Bytes of a palette: 256 entries of red, green, blue and alpha.
pub const PALETTE_BYTES: usize = 1024;

/// Bytes of an entry of a palette.
const ENTRY_BYTES: usize = 4;

/// The state of a display.
#[derive(Debug, Clone)]
pub(crate) struct Display {
    layout: Option<FrameLayout>,
    palette: Box<[u8; PALETTE_BYTES]>,
    frames: u64,
    writer: FrameWriter,
}

/// A display as it is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedDisplay {
    layout: Option<FrameLayout>,
    palette: alloc::vec::Vec<u8>,
    frames: u64,
    /// The latest frame; none when none was presented.
    latest: Option<Frame>,
}

impl Default for Display {
    fn default() -> Self {
        let mut palette = Box::new([0; PALETTE_BYTES]);
        blacken(&mut palette[..]);
        Self { layout: None, palette, frames: 0, writer: FrameWriter::default() }
    }
}

/// Makes palette entries opaque black.
fn blacken(entries: &mut [u8]) {
    for entry in entries.chunks_exact_mut(ENTRY_BYTES) {
        entry.copy_from_slice(&[0, 0, 0, u8::MAX]);
    }
}

/// `display_configure(width, height, stride, format)`.
fn display_configure(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [width, height, stride, code] = words(arguments);
    let format = PixelFormat::from_code(code).ok_or(DeviceError::PixelFormat { code })?;
    let layout = FrameLayout { width, height, stride, format };
    layout.check(&call.context.limits)?;
    call.context.display.get_or_insert_default().layout = Some(layout);
    call.context.note(DeviceEvent::DisplayConfigured { layout });
    Ok(0)
}

/// `display_palette(pointer, length)`.
fn display_palette(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [pointer, length] = words(arguments);
    call.check(pointer, length)?;
    let bytes = length as usize;
    if bytes == 0 || bytes > PALETTE_BYTES || !bytes.is_multiple_of(ENTRY_BYTES) {
        return Err(DeviceError::Palette { length }.into());
    }
    let entries = call.read(pointer, length)?;
    let display = call.context.display.get_or_insert_default();
    let (given, rest) = display.palette.split_at_mut(bytes);
    given.copy_from_slice(&entries);
    blacken(rest);
    let sha256 = Sha256::digest(&display.palette[..]).into();
    call.context.note(DeviceEvent::PaletteChanged { sha256 });
    Ok(0)
}

/// `display_present(pointer, length)`.
fn display_present(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [pointer, length] = words(arguments);
    call.check(pointer, length)?;
    let layout = call.context.display.as_ref().and_then(|display| display.layout);
    let layout = layout.ok_or(DeviceError::DisplayNotConfigured)?;
    let expected = layout.bytes() as u32;
    if length != expected {
        return Err(DeviceError::FrameLength { length, expected }.into());
    }
    call.pay(length.into())?;
    // Taken out of the context while the frame is copied straight from the guest's memory.
    let Some(mut display) = call.context.display.take() else { return Ok(0) };
    let time = call.context.clock_now();
    let info = display.present(layout, time, |bytes| {
        // The whole place was checked.
        let _ = call.try_read(pointer, bytes);
    });
    call.context.display = Some(display);
    call.context.note(DeviceEvent::FramePresented { frame: info });
    Ok(info.index)
}

impl Display {
    /// Shows a frame, whose bytes `fill` copies.
    fn present(&mut self, layout: FrameLayout, time: u64, fill: impl FnOnce(&mut [u8])) -> FrameInfo {
        let index = self.frames.saturating_add(1);
        self.frames = index;
        let palette = &self.palette;
        self.writer.write(|frame| {
            frame.bytes.resize(layout.bytes() as usize, 0);
            fill(&mut frame.bytes);
            frame.palette.clear();
            if layout.format == PixelFormat::Indexed8 {
                frame.palette.extend_from_slice(&palette[..]);
            }
            frame.info = FrameInfo { index, time, layout, sha256: Sha256::digest(&frame.bytes).into() };
            frame.info
        })
    }

    /// What is to be saved; nothing when the guest has not used its display.
    pub(crate) fn save(&self) -> Option<SavedDisplay> {
        let unused = self.layout.is_none() && self.palette == Self::default().palette;
        (!unused).then(|| SavedDisplay {
            layout: self.layout,
            palette: self.palette.to_vec(),
            frames: self.frames,
            latest: self.writer.latest(),
        })
    }
}

impl SavedDisplay {
    /// The display, or what it cannot be.
    pub(crate) fn restore(self, now: u64, limits: &ContextLimits) -> Result<Display, &'static str> {
        let palette: Box<[u8; PALETTE_BYTES]> =
            self.palette.try_into().map_err(|_| "a palette of another length than 256 entries")?;
        if self.layout.is_some_and(|layout| layout.check(limits).is_err()) {
            return Err("a display that its limits do not allow");
        }
        match &self.latest {
            Some(frame) => {
                frame.check(limits)?;
                if frame.info.index != self.frames || frame.info.time > now {
                    return Err("a latest frame that is not the latest");
                }
            }
            None if self.frames == 0 => {}
            None => return Err("a latest frame that is missing"),
        }
        let writer = FrameWriter::holding(self.latest);
        Ok(Display { layout: self.layout, palette, frames: self.frames, writer })
    }
}

impl Context {
    /// A handle that reads the latest frame of this process, from any thread, for as long as it likes. While there is
    /// one, frames are kept three times.
    pub fn frame_reader(&mut self) -> FrameReader {
        self.display.get_or_insert_default().writer.reader()
    }

    /// A copy of the latest frame; none before the first.
    pub fn latest_frame(&self) -> Option<Frame> {
        self.display.as_ref().and_then(|display| display.writer.latest())
    }
}
