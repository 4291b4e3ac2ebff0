//! Where an envelope lies in a linear memory: pointer and length packed in one word.

use core::ops::Range;

use crate::EnvelopeError;

/// `pointer << 32 | length`. All 32 bits of the pointer are the pointer's: whether an envelope is an error is said by
/// its flags, never by this word.
pub const fn pack(pointer: u32, length: u32) -> u64 {
    (pointer as u64) << 32 | length as u64
}

/// Pointer and length of a packed word.
pub const fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// The byte range that a packed word names, if all of it lies in a memory of `memory_length` bytes.
///
/// # Errors
///
/// [`EnvelopeError::OutOfBounds`] when it does not; the sum is taken in 64 bits, so it cannot wrap.
pub fn checked_range(word: u64, memory_length: usize) -> Result<Range<usize>, EnvelopeError> {
    let (pointer, length) = unpack(word);
    let end = u64::from(pointer) + u64::from(length);
    if end > memory_length as u64 {
        return Err(EnvelopeError::OutOfBounds { pointer, length, memory_length: memory_length as u64 });
    }
    // Both fit: they are at most `memory_length`, which is a `usize`.
    Ok(pointer as usize..end as usize)
}
