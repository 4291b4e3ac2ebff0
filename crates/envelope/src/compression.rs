//! Compressed payloads: the length of the content as a 32-bit integer, then an LZ4 block.
//!
//! The block format is that of LZ4 itself (`lz4_Block_format.md` of its authors), without a frame: the envelope has the
//! length and the checksum that a frame would bring.

use alloc::{vec, vec::Vec};

use crate::EnvelopeError;

/// Bytes before the block.
const LENGTH_BYTES: usize = 4;
/// The most content that a byte of a block can stand for: lengths go on in bytes of at most 255.
const MAXIMUM_RATIO: usize = 255;

/// The compressed form of `content`, which fits a payload; `None` when it would be no shorter.
pub(crate) fn compress(content: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(content.len()).ok()?;
    let mut out = vec![0; LENGTH_BYTES + lz4_flex::block::get_maximum_output_size(content.len())];
    let (head, block) = out.split_at_mut(LENGTH_BYTES);
    head.copy_from_slice(&length.to_le_bytes());
    let written = lz4_flex::block::compress_into(content, block).ok()?;
    out.truncate(LENGTH_BYTES + written);
    (out.len() < content.len()).then_some(out)
}

/// The content of a compressed payload, if it has at most `limit` bytes. No memory is taken for more than that, nor for
/// more than a block of this size could hold.
pub(crate) fn decompress(payload: &[u8], limit: usize) -> Result<Vec<u8>, EnvelopeError> {
    let Some((length, block)) = payload.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(EnvelopeError::BadCompression);
    };
    let declared = u32::from_le_bytes(*length);
    let length = match usize::try_from(declared) {
        Ok(length) if length <= limit => length,
        _ => return Err(EnvelopeError::ContentTooLarge { length: u64::from(declared), limit }),
    };
    if length / MAXIMUM_RATIO > block.len() {
        return Err(EnvelopeError::BadCompression);
    }
    let mut content = vec![0; length];
    match lz4_flex::block::decompress_into(block, &mut content) {
        Ok(written) if written == length => Ok(content),
        _ => Err(EnvelopeError::BadCompression),
    }
}
