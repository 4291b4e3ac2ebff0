//! The event log file: every input in the order of applying, each followed by the effects that it had.
//!
//! - [`TraceWriter`]: writes one. [`TraceReader`]: opens one; [`Frames`] are its records.
//! - [`TraceHeader`]: what the run depends on besides its inputs. [`Record`]: an input or an effect.
//! - [`TraceError`]: every damage has its own value, with the position of the byte where it shows.
//!
//! ```text
//! offset  size  field                                           all integers little-endian
//!      0     8  magic      "GHTRACE\n"
//!      8     2  version    of the format: 2
//!     10     4  length     of the header's payload
//!     14     n  payload    the header: kernel, modules, model, further facts (postcard)
//!   14+n     4  checksum   CRC-32/IEEE of everything before
//!
//! then frames, each:
//!      0     4  length     of the payload
//!      4     8  sequence   0, 1, 2, … without gaps
//!     12     1  kind       1 input, 2 effect, 3 end
//!     13     n  payload    an Input or an Effect (postcard); of the end: see below
//!   13+n     4  checksum   CRC-32/IEEE of everything of the frame before
//!
//! The last frame is the end. Its payload: the number of frames before it, 8 bytes; BLAKE3 of all bytes of the file
//! before it, 32 bytes. Nothing follows it.
//! ```
//!
//! The checksum of a frame finds accidents at the frame where they are; the hash at the end covers what a 32-bit
//! checksum lets through. Equal runs have equal files: the format has no room for chance, and the file no time.

mod error;
mod reader;
mod writer;

use serde::{Deserialize, Serialize};

pub use error::TraceError;
pub use reader::{Frame, Frames, TraceReader};
pub use writer::TraceWriter;

use crate::{Effect, Input, KernelConfig, ModelHash, ModuleHash};

/// The only version of the format that is read. Version 1 had no setups, resident processes and device reports.
pub const TRACE_VERSION: u16 = 2;

/// The longest payload of a header. It names a run's modules, of which there are tens, and is read before
/// anything else.
pub const MAX_HEADER_BYTES: usize = 1 << 20;

/// The longest payload of a frame: the largest report of a step, which holds an envelope of at most 256 MiB, its
/// events and its log lines.
pub const MAX_FRAME_BYTES: usize = 512 << 20;

const MAGIC: [u8; 8] = *b"GHTRACE\n";
/// Bytes before the payload of the header.
const HEADER_START: usize = 14;
/// Bytes before the payload of a frame.
const FRAME_START: usize = 13;
/// Bytes of a checksum.
const CHECKSUM: usize = 4;
/// Bytes of the payload of the end.
const END_PAYLOAD: usize = 40;

const KIND_INPUT: u8 = 1;
const KIND_EFFECT: u8 = 2;
const KIND_END: u8 = 3;

/// What a run depends on besides its inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceHeader {
    /// What the kernel starts with, its seed among it.
    pub kernel: KernelConfig,
    /// The modules that may run: a name for people, and the hash.
    pub modules: Vec<(String, ModuleHash)>,
    /// The model, if there is one.
    pub model: Option<ModelHash>,
    /// Further facts for whoever replays, as names and values, in a fixed order.
    pub extra: Vec<(String, String)>,
}

/// What a frame holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Something was fed to the kernel.
    Input(Input),
    /// The kernel answered with it.
    Effect(Effect),
}

#[cfg(test)]
mod tests;
