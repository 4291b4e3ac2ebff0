//! A frame: its layout, its identity, its bytes, and what people look at.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::PALETTE_BYTES;
use crate::{ContextLimits, DeviceError};

/// How a pixel is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PixelFormat {
    /// A number of a palette entry.
    Indexed8,
    /// Red, green, blue.
    Rgb24,
    /// Red, green, blue, alpha.
    Rgba32,
    /// Blue, green, red, alpha.
    Bgra32,
    /// Black to white.
    Luma8,
}

impl PixelFormat {
    /// All, the first of which has code 1.
    pub const ALL: [Self; 5] = [Self::Indexed8, Self::Rgb24, Self::Rgba32, Self::Bgra32, Self::Luma8];

    /// The format of this code.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get((code as usize).checked_sub(1)?).copied()
    }

    /// Bytes of a pixel.
    pub fn pixel_bytes(self) -> u32 {
        match self {
            Self::Indexed8 | Self::Luma8 => 1,
            Self::Rgb24 => 3,
            Self::Rgba32 | Self::Bgra32 => 4,
        }
    }
}

/// How a frame lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FrameLayout {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// How a pixel is encoded.
    pub format: PixelFormat,
}

impl FrameLayout {
    /// Bytes of a frame.
    pub fn bytes(&self) -> u64 {
        u64::from(self.stride) * u64::from(self.height)
    }

    /// Whether there can be such a frame.
    pub(crate) fn check(&self, limits: &ContextLimits) -> Result<(), DeviceError> {
        let Self { width, height, stride, format } = *self;
        let (side, pixel_bytes) = (limits.frame_side, format.pixel_bytes());
        if width == 0 || height == 0 || width > side || height > side {
            return Err(DeviceError::FrameSide { width, height, limit: side });
        }
        if u64::from(stride) < u64::from(width) * u64::from(pixel_bytes) {
            return Err(DeviceError::Stride { stride, width, pixel_bytes });
        }
        let (bytes, limit) = (self.bytes(), limits.frame_bytes);
        if bytes > limit.into() { Err(DeviceError::FrameBytes { bytes, limit }) } else { Ok(()) }
    }
}

/// Which frame it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FrameInfo {
    /// Its number, from 1.
    pub index: u64,
    /// When it was presented: virtual nanoseconds.
    pub time: u64,
    /// How it lies in memory.
    pub layout: FrameLayout,
    /// SHA-256 of its bytes as they were presented. A palette is not among them.
    pub sha256: [u8; 32],
}

/// A frame with its bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    pub(super) info: FrameInfo,
    /// [`PALETTE_BYTES`] for Indexed8, empty for the other formats.
    pub(super) palette: Vec<u8>,
    #[serde(with = "crate::bytes")]
    pub(super) bytes: Vec<u8>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Frame {
    /// No frame yet: something that a frame can be copied into.
    pub const EMPTY: Self = Self {
        info: FrameInfo {
            index: 0,
            time: 0,
            layout: FrameLayout { width: 0, height: 0, stride: 0, format: PixelFormat::Luma8 },
            sha256: [0; 32],
        },
        palette: Vec::new(),
        bytes: Vec::new(),
    };

    /// Which frame it is.
    pub fn info(&self) -> &FrameInfo {
        &self.info
    }

    /// Its bytes as they were presented: stride × height.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its palette if it is Indexed8, else nothing.
    pub fn palette(&self) -> &[u8] {
        &self.palette
    }

    /// Copies another frame into this one, and allocates only when this one is smaller.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.info = other.info;
        self.palette.clone_from(&other.palette);
        self.bytes.clone_from(&other.bytes);
    }

    /// What a frame from outside cannot be, if it is that.
    pub(super) fn check(&self, limits: &ContextLimits) -> Result<(), &'static str> {
        let layout = &self.info.layout;
        let palette = if layout.format == PixelFormat::Indexed8 { PALETTE_BYTES } else { 0 };
        if layout.check(limits).is_err() {
            Err("a frame that its limits do not allow")
        } else if self.bytes.len() as u64 != layout.bytes() || self.palette.len() != palette {
            Err("a frame of another length than its layout")
        } else if self.info.sha256 != <[u8; 32]>::from(Sha256::digest(&self.bytes)) {
            Err("a frame with another hash than its bytes")
        } else {
            Ok(())
        }
    }

    /// Its pixels as red, green, blue and alpha, 4 bytes each, rows without padding.
    pub fn to_rgba(&self) -> Vec<u8> {
        let FrameLayout { width, height, stride, format } = self.info.layout;
        let mut pixels = Vec::with_capacity(width as usize * height as usize * 4);
        // A frame of stride 0 has no rows; `chunks` needs one.
        for row in self.bytes.chunks(stride.max(1) as usize) {
            let row = &row[..row.len().min((width * format.pixel_bytes()) as usize)];
            for pixel in row.chunks_exact(format.pixel_bytes() as usize) {
                pixels.extend_from_slice(&match (format, pixel) {
                    (PixelFormat::Indexed8, [index]) => self.entry(*index),
                    (PixelFormat::Rgb24, [red, green, blue]) => [*red, *green, *blue, u8::MAX],
                    (PixelFormat::Bgra32, [blue, green, red, alpha]) => [*red, *green, *blue, *alpha],
                    (_, [red, green, blue, alpha]) => [*red, *green, *blue, *alpha],
                    (_, rest) => {
                        let luma = rest.first().copied().unwrap_or_default();
                        [luma, luma, luma, u8::MAX]
                    }
                });
            }
        }
        pixels
    }

    fn entry(&self, index: u8) -> [u8; 4] {
        let start = usize::from(index) * 4;
        let entry = self.palette.get(start..start + 4).and_then(|entry| entry.try_into().ok());
        entry.unwrap_or([0, 0, 0, u8::MAX])
    }

    /// The frame as a PNG file of 8-bit RGBA.
    ///
    /// # Errors
    /// What the encoder says; an empty frame has no picture.
    #[cfg(feature = "png")]
    pub fn to_png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let FrameLayout { width, height, .. } = self.info.layout;
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.to_rgba())?;
        writer.finish()?;
        Ok(file)
    }
}
