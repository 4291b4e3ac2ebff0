//! The display: the guest presents frames, of which a host shows the latest.

use super::host;

/// How a pixel is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum PixelFormat {
    /// One byte: the number of a palette entry.
    Indexed8 = 1,
    /// Three bytes: red, green, blue.
    Rgb24 = 2,
    /// Four bytes: red, green, blue, alpha; not premultiplied.
    Rgba32 = 3,
    /// Four bytes: blue, green, red, alpha.
    Bgra32 = 4,
    /// One byte, from 0 for black to 255 for white.
    Luma8 = 5,
}

impl PixelFormat {
    /// Bytes of a pixel.
    pub const fn pixel_bytes(self) -> u32 {
        match self {
            Self::Indexed8 | Self::Luma8 => 1,
            Self::Rgb24 => 3,
            Self::Rgba32 | Self::Bgra32 => 4,
        }
    }
}

/// How a frame lies in memory. A frame has `stride * height` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next; at least a row of pixels.
    pub stride: u32,
    /// How a pixel is encoded.
    pub format: PixelFormat,
}

impl Layout {
    /// Rows that follow each other without a gap.
    pub const fn packed(width: u32, height: u32, format: PixelFormat) -> Self {
        Self { width, height, stride: width.saturating_mul(format.pixel_bytes()), format }
    }
}

/// Says what the frames from now on are. A side of 0 or of more than 4,096 pixels, a frame of more than 32 MiB and a
/// stride that is too short stop the step.
pub fn configure(layout: Layout) {
    host::display_configure(layout.width, layout.height, layout.stride, layout.format as u32);
}

/// Sets the colours of [`PixelFormat::Indexed8`], each red, green, blue and alpha, for the frames from now on. Those that
/// are not given become opaque black. None, or more than 256, stop the step.
pub fn set_palette(colours: &[[u8; 4]]) {
    host::display_palette(colours.as_flattened());
}

/// Shows a frame; returns its number, from 1. The step is stopped when the display is not configured, or for frames of
/// another length.
pub fn present(frame: &[u8]) -> u64 {
    host::display_present(frame)
}
