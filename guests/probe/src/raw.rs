//! Entries that break the rules of a step, which the SDK does not let happen.

/// Returns the place of bytes that are no envelope.
#[unsafe(no_mangle)]
extern "C" fn malformed(_: u32, _: u32) -> u64 {
    static BYTES: [u8; 16] = *b"not an envelope!";
    (BYTES.as_ptr() as u64) << 32 | 16
}

/// Returns a place outside of its memory.
#[unsafe(no_mangle)]
extern "C" fn out_of_bounds(_: u32, _: u32) -> u64 {
    0xFFFF_FFF0_FFFF_FFFF
}
