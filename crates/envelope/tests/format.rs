//! The bytes on the wire: known encodings, every malformation, and properties over arbitrary input.

use glasshouse_envelope::{
    Envelope, EnvelopeError, Flags, HEADER_LENGTH, Header, MAXIMUM_PAYLOAD, checked_range, pack, unpack,
};
use proptest::prelude::*;

/// Payload, flags and bytes of envelopes made by an independent implementation of version 1 (zlib's CRC-32).
const GOLDEN: [(&[u8], Flags, &str); 8] = [
    (b"", Flags::NONE, "494101000000000000000000"),
    (b"hello world", Flags::NONE, "494101000b00000085114a0d68656c6c6f20776f726c64"),
    (b"input data", Flags::NONE, "494101000a0000004a3f1c95696e7075742064617461"),
    (b"123456789", Flags::NONE, "49410100090000002639f4cb313233343536373839"),
    (b"test", Flags::ERROR, "49410108040000000c7e7fd874657374"),
    (b"error message", Flags::ERROR, "494101080d0000006fe2895e6572726f72206d657373616765"),
    (
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        Flags::EXPECTS_RESPONSE,
        "494101041000000088e2cece000102030405060708090a0b0c0d0e0f",
    ),
    (b"e", Flags::ERROR, "49410108010000005a7adaef65"),
];

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sample() -> Vec<u8> {
    Envelope::plain(b"hello world").encode().unwrap()
}

fn altered(position: usize, value: u8) -> Vec<u8> {
    let mut bytes = sample();
    bytes[position] = value;
    bytes
}

fn refusal(bytes: &[u8]) -> EnvelopeError {
    Envelope::decode(bytes).unwrap_err()
}

#[test]
fn encodes_the_golden_bytes_and_reads_them_back() {
    for (payload, flags, expected) in GOLDEN {
        let envelope = Envelope::new(flags, payload);
        let bytes = envelope.encode().unwrap();
        assert_eq!(hexadecimal(&bytes), expected);
        assert_eq!(Envelope::decode(&bytes), Ok(envelope));
    }
}

#[test]
fn decoding_borrows_the_payload() {
    let bytes = sample();
    let payload = Envelope::decode(&bytes).unwrap().payload;
    assert_eq!(payload.as_ptr(), bytes[HEADER_LENGTH..].as_ptr());
}

#[test]
fn every_prefix_of_an_envelope_is_truncated() {
    let bytes = sample();
    for available in 0..bytes.len() {
        let needed = if available < HEADER_LENGTH { HEADER_LENGTH } else { bytes.len() };
        assert_eq!(refusal(&bytes[..available]), EnvelopeError::Truncated { needed, available });
    }
}

#[test]
fn each_malformation_is_its_own_error() {
    assert_eq!(refusal(&altered(0, 0x41)), EnvelopeError::BadMagic { found: 0x4141 });
    assert_eq!(refusal(&altered(2, 0)), EnvelopeError::UnsupportedVersion { found: 0 });
    assert_eq!(refusal(&altered(2, 2)), EnvelopeError::UnsupportedVersion { found: 2 });
    assert_eq!(refusal(&altered(3, 0x14)), EnvelopeError::UnknownFlags { bits: 0x10 });
    assert_eq!(refusal(&altered(3, 0xF3)), EnvelopeError::UnknownFlags { bits: 0xF0 });
    assert_eq!(refusal(&altered(3, 0x01)), EnvelopeError::CompressedUnsupported);
    assert_eq!(refusal(&altered(3, 0x02)), EnvelopeError::EncryptedUnsupported);
    assert_eq!(refusal(&altered(4, 10)), EnvelopeError::TrailingBytes { count: 1 });
    assert_eq!(
        refusal(&altered(12, b'j')),
        EnvelopeError::ChecksumMismatch { expected: 0x0d4a_1185, actual: crc32fast::hash(b"jello world") }
    );
}

#[test]
fn a_length_that_would_wrap_a_32_bit_address_is_too_large() {
    for length in [u32::MAX, u32::MAX - 11, u32::MAX - 12, MAXIMUM_PAYLOAD as u32 + 1] {
        let mut bytes = sample();
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        assert_eq!(refusal(&bytes), EnvelopeError::PayloadTooLarge { length: u64::from(length) });
    }
    let mut bytes = sample();
    bytes[4..8].copy_from_slice(&(MAXIMUM_PAYLOAD as u32).to_le_bytes());
    assert_eq!(refusal(&bytes), EnvelopeError::Truncated { needed: MAXIMUM_PAYLOAD + 12, available: 23 });
}

#[test]
fn a_header_is_read_without_its_payload() {
    let header = Header::decode(&sample()[..HEADER_LENGTH]).unwrap();
    assert_eq!(header, Header { flags: Flags::NONE, length: 11, checksum: 0x0d4a_1185 });
    assert_eq!(header.envelope_length(), 23);
}

#[test]
fn a_buffer_too_small_is_left_alone() {
    let mut buffer = [7u8; 20];
    let error = Envelope::plain(b"hello world").encode_into(&mut buffer).unwrap_err();
    assert_eq!(error, EnvelopeError::BufferTooSmall { needed: 23, available: 20 });
    assert_eq!(buffer, [7u8; 20]);
}

#[test]
fn packed_locations_keep_every_bit_of_the_pointer() {
    for (pointer, length, word) in [
        (0x1234_5678, 0x1000, 0x1234_5678_0000_1000),
        (0x8000_0000, 16, 0x8000_0000_0000_0010),
        (u32::MAX, u32::MAX, u64::MAX),
        (0, 0, 0),
    ] {
        assert_eq!(pack(pointer, length), word);
        assert_eq!(unpack(word), (pointer, length));
    }
}

#[test]
fn a_location_is_held_to_its_memory() {
    assert_eq!(checked_range(pack(10, 20), 30), Ok(10..30));
    assert_eq!(checked_range(pack(30, 0), 30), Ok(30..30));
    for (pointer, length) in [(10, 21), (31, 0), (u32::MAX, u32::MAX), (20, u32::MAX - 10)] {
        assert_eq!(
            checked_range(pack(pointer, length), 30),
            Err(EnvelopeError::OutOfBounds { pointer, length, memory_length: 30 })
        );
    }
}

fn any_flags() -> impl Strategy<Value = Flags> {
    prop_oneof![
        Just(Flags::NONE),
        Just(Flags::EXPECTS_RESPONSE),
        Just(Flags::ERROR),
        Just(Flags::EXPECTS_RESPONSE | Flags::ERROR)
    ]
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Envelope::decode(&bytes);
    }

    #[test]
    fn a_plausible_header_never_panics(rest in proptest::collection::vec(any::<u8>(), 0..64), flags in 0u8..16) {
        let mut bytes = vec![0x49, 0x41, 1, flags];
        bytes.extend_from_slice(&rest);
        if let Ok(envelope) = Envelope::decode(&bytes) {
            prop_assert_eq!(envelope.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded(payload in proptest::collection::vec(any::<u8>(), 0..512), flags in any_flags()) {
        let envelope = Envelope::new(flags, &payload);
        let bytes = envelope.encode().unwrap();
        prop_assert_eq!(Envelope::decode(&bytes), Ok(envelope));
        let mut buffer = vec![0xAA; bytes.len() + 5];
        prop_assert_eq!(envelope.encode_into(&mut buffer), Ok(bytes.len()));
        prop_assert_eq!(&buffer[..bytes.len()], &bytes[..]);
        prop_assert_eq!(&buffer[bytes.len()..], &[0xAA; 5]);
    }

    #[test]
    fn a_single_flipped_bit_is_refused_or_changes_the_flags(
        payload in proptest::collection::vec(any::<u8>(), 0..128),
        flags in any_flags(),
        position in any::<proptest::sample::Index>(),
    ) {
        let original = Envelope::new(flags, &payload);
        let mut bytes = original.encode().unwrap();
        let bit = position.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(decoded) = Envelope::decode(&bytes) {
            prop_assert_eq!(bit / 8, 3, "only the flags byte is outside of every check");
            prop_assert_ne!(decoded.flags, original.flags);
            prop_assert_eq!(decoded.payload, original.payload);
        }
    }
}
