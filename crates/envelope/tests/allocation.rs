//! What decoding costs the allocator.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
};

#[cfg(feature = "alloc")]
use glasshouse_envelope::{Decoder, Encoder};
use glasshouse_envelope::{Envelope, EnvelopeError, Flags, Header};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
struct Counting;

// SAFETY: everything is the system allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(act: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    act();
    ALLOCATIONS.get() - before
}

/// An envelope on the stack, and its length.
fn encoded(flags: Flags, payload: &[u8]) -> ([u8; 8192], usize) {
    let mut bytes = [0; 8192];
    let length = Envelope::new(flags, payload).encode_into(&mut bytes).unwrap();
    (bytes, length)
}

#[test]
fn the_counter_sees_an_allocation() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1);
}

#[test]
fn encoding_into_a_buffer_and_decoding_where_it_lies_allocate_nothing() {
    for flags in [Flags::NONE, Flags::EXPECTS_RESPONSE, Flags::ERROR] {
        for length in [0, 1, 64, 4096] {
            let payload = [7; 4096];
            let payload = &payload[..length];
            let count = allocations(|| {
                let (bytes, length) = encoded(flags, payload);
                let envelope = Envelope::decode(&bytes[..length]).unwrap();
                assert_eq!((envelope.flags, envelope.payload), (flags, payload));
                assert!(bytes.as_ptr_range().contains(&envelope.payload.as_ptr()) || payload.is_empty());
                black_box(Header::decode(&bytes).unwrap());
            });
            assert_eq!(count, 0);
        }
    }
}

#[test]
fn refusing_allocates_nothing() {
    let (bytes, length) = encoded(Flags::NONE, b"payload");
    let count = allocations(|| {
        for end in 0..length {
            assert!(Envelope::decode(&bytes[..end]).is_err());
        }
        for position in 0..length {
            let mut damaged = bytes;
            damaged[position] ^= 0x80;
            assert!(Envelope::decode(&damaged[..length]).is_err());
        }
        // A length of 4 GiB is refused before anything of that size is asked for.
        let mut large = bytes;
        large[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(
            Envelope::decode(&large),
            Err(EnvelopeError::PayloadTooLarge { length: u64::from(u32::MAX) })
        );
    });
    assert_eq!(count, 0);
}

#[cfg(feature = "alloc")]
#[test]
fn a_decoder_borrows_what_is_plain_and_an_encoder_allocates_the_envelope_alone() {
    let (bytes, length) = encoded(Flags::ERROR, &[1; 1000]);
    let mut decoder = Decoder::new();
    assert_eq!(allocations(|| drop(black_box(decoder.decode(&bytes[..length]).unwrap()))), 0);
    let mut encoder = Encoder::new();
    assert_eq!(allocations(|| drop(black_box(encoder.encode(Flags::ERROR, &[1; 1000]).unwrap()))), 1);
}
