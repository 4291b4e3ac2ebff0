//! Compressed and encrypted payloads: they come back, and nothing else does.
#![cfg(all(feature = "lz4", feature = "aead"))]

#[path = "../fuzz/checks.rs"]
mod checks;

use std::borrow::Cow;

use checks::stored;
use glasshouse_envelope::{
    Decoder, Encoder, Envelope, EnvelopeError, Flags, HEADER_LENGTH, Header, Key, MAXIMUM_PAYLOAD, Message,
    Sender,
};
use proptest::prelude::*;

fn key() -> Key {
    Key::new(&[7; 32])
}

fn sealing() -> Encoder {
    Encoder::new().compress_from(64).encrypt(key(), Sender::Host)
}

fn opening() -> Decoder {
    Decoder::new().decrypt(key(), Sender::Host)
}

fn flags_of(bytes: &[u8]) -> Flags {
    Header::decode(bytes).unwrap().flags
}

#[test]
fn a_codec_without_options_writes_what_plain_envelopes_are() {
    let bytes = Encoder::new().encode(Flags::ERROR, b"test").unwrap();
    assert_eq!(bytes, Envelope::new(Flags::ERROR, b"test").encode().unwrap());
    let message = Decoder::new().decode(&bytes).unwrap();
    assert!(matches!(message, Message { flags: Flags::ERROR, content: Cow::Borrowed(b"test") }));
}

#[test]
fn a_block_of_another_implementation_is_read() {
    // 40 bytes of `a` in `lz4`'s block format, by hand: one literal, a match of 34 at distance 1, five literals.
    let block = [0x1f, b'a', 1, 0, 15, 0x50, b'a', b'a', b'a', b'a', b'a'];
    let mut payload = 40u32.to_le_bytes().to_vec();
    payload.extend_from_slice(&block);
    let bytes = stored(0x01, &payload);
    assert_eq!(Decoder::new().decode(&bytes).unwrap().content.as_ref(), [b'a'; 40]);
    assert_eq!(Envelope::decode(&bytes), Err(EnvelopeError::CompressedUnsupported));
}

#[test]
fn encryption_is_that_of_rfc_8439() {
    // Made by another implementation: see golden/encrypted.py.
    let bytes = Encoder::new().encrypt(Key::new(&core::array::from_fn(|index| index as u8)), Sender::Guest);
    let bytes = { bytes }.encode(Flags::EXPECTS_RESPONSE, b"What is 17 * 23?").unwrap();
    let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hexadecimal, include_str!("golden/encrypted.hex").trim());
}

#[test]
fn content_is_compressed_from_the_threshold_on_and_only_where_it_gets_shorter() {
    let mut encoder = Encoder::new().compress_from(100);
    let random: Vec<u8> = (0..400u32).map(|number| (number.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    for (content, compressed) in [(vec![b'x'; 99], false), (vec![b'x'; 100], true), (random, false)] {
        let bytes = encoder.encode(Flags::NONE, &content).unwrap();
        assert_eq!(flags_of(&bytes).contains(Flags::COMPRESSED), compressed, "{} bytes", content.len());
        assert!(bytes.len() <= HEADER_LENGTH + content.len());
        assert_eq!(Decoder::new().decode(&bytes).unwrap().content.as_ref(), content);
    }
}

#[test]
fn what_is_encrypted_was_compressed_before() {
    let bytes = sealing().encode(Flags::ERROR, &[b'x'; 10_000]).unwrap();
    assert_eq!(flags_of(&bytes), Flags::ERROR | Flags::COMPRESSED | Flags::ENCRYPTED);
    assert!(bytes.len() < 200, "{} bytes", bytes.len());
    let message = opening().decode(&bytes).unwrap();
    assert_eq!((message.flags, message.content.as_ref()), (Flags::ERROR, [b'x'; 10_000].as_slice()));
}

#[test]
fn no_bit_of_an_encrypted_envelope_can_change() {
    let bytes = sealing().encode(Flags::EXPECTS_RESPONSE, b"the launch code is 4417").unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        // A payload that was changed on purpose has a right checksum.
        if bit / 8 >= HEADER_LENGTH {
            let flags = changed[3];
            changed = stored(flags, &changed[HEADER_LENGTH..]);
        }
        let mut decoder = opening();
        assert!(decoder.decode(&changed).is_err(), "bit {bit}");
        assert!(decoder.decode(&bytes).is_ok(), "a forgery changes nothing for the message itself");
    }
}

#[test]
fn a_message_is_read_once_in_order_from_its_sender_and_with_its_key() {
    let mut encoder = sealing();
    let [first, second, third]: [Vec<u8>; 3] =
        core::array::from_fn(|_| encoder.encode(Flags::NONE, b"again and again").unwrap());
    assert_ne!(first, second, "each message has a nonce of its own");
    let mut decoder = opening();
    assert!(decoder.decode(&first).is_ok());
    assert_eq!(decoder.decode(&first), Err(EnvelopeError::Replayed { counter: 0 }));
    assert!(decoder.decode(&third).is_ok(), "a message may be lost");
    assert_eq!(decoder.decode(&second), Err(EnvelopeError::Replayed { counter: 1 }));
    let mut other = Decoder::new().decrypt(Key::new(&[8; 32]), Sender::Host);
    assert_eq!(other.decode(&first), Err(EnvelopeError::Unauthentic));
    let mut reflected = Decoder::new().decrypt(key(), Sender::Guest);
    assert_eq!(reflected.decode(&first), Err(EnvelopeError::Replayed { counter: 0 }));
}

#[test]
fn encryption_cannot_be_left_away() {
    let plain = Envelope::plain(b"trust me").encode().unwrap();
    assert_eq!(opening().decode(&plain), Err(EnvelopeError::NotEncrypted));
    let sealed = sealing().encode(Flags::NONE, b"secret").unwrap();
    assert_eq!(Decoder::new().decode(&sealed), Err(EnvelopeError::EncryptedUnsupported));
    assert_eq!(Envelope::decode(&sealed), Err(EnvelopeError::EncryptedUnsupported));
    for length in 0..28 {
        assert_eq!(opening().decode(&stored(0x02, &vec![0; length])), Err(EnvelopeError::Unauthentic));
    }
}

#[test]
fn the_limit_holds_before_memory_is_taken() {
    let bomb = Encoder::new().compress_from(0).encode(Flags::NONE, &vec![0; 1 << 20]).unwrap();
    assert!(bomb.len() < 5000);
    assert_eq!(
        Decoder::new().limit(1 << 19).decode(&bomb),
        Err(EnvelopeError::ContentTooLarge { length: 1 << 20, limit: 1 << 19 })
    );
    assert_eq!(Decoder::new().limit(1 << 20).decode(&bomb).unwrap().content.len(), 1 << 20);
    let plain = Envelope::plain(&[1; 100]).encode().unwrap();
    assert_eq!(
        Decoder::new().limit(99).decode(&plain),
        Err(EnvelopeError::ContentTooLarge { length: 100, limit: 99 })
    );
    // Lengths that no limit of the format allows, and one that no block of this size can have.
    let mut payload = u32::MAX.to_le_bytes().to_vec();
    payload.extend_from_slice(&[0; 16]);
    assert!(matches!(
        Decoder::new().decode(&stored(0x01, &payload)),
        Err(EnvelopeError::ContentTooLarge { length: 0xffff_ffff, limit: MAXIMUM_PAYLOAD })
    ));
    payload[..4].copy_from_slice(&(200u32 << 20).to_le_bytes());
    assert_eq!(Decoder::new().decode(&stored(0x01, &payload)), Err(EnvelopeError::BadCompression));
}

#[test]
fn compressed_payloads_that_lie_are_refused() {
    let good = Encoder::new().compress_from(0).encode(Flags::NONE, &[b'x'; 300]).unwrap();
    let payload = &good[HEADER_LENGTH..];
    for declared in [0u32, 1, 299, 301, 5000] {
        let mut changed = payload.to_vec();
        changed[..4].copy_from_slice(&declared.to_le_bytes());
        assert_eq!(
            Decoder::new().decode(&stored(0x01, &changed)),
            Err(EnvelopeError::BadCompression),
            "{declared}"
        );
    }
    for length in 0..payload.len() {
        let cut = stored(0x01, &payload[..length]);
        assert_eq!(Decoder::new().decode(&cut), Err(EnvelopeError::BadCompression), "cut to {length}");
    }
}

proptest! {
    #[test]
    fn every_message_comes_back(
        content in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..2000),
            proptest::collection::vec(0u8..3, 0..2000),
        ],
        threshold in 0usize..500,
        bits in 0u8..4,
        compressed: bool,
        encrypted: bool,
    ) {
        let flags = Flags::from_bits(bits << 2).unwrap();
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        if compressed {
            encoder = encoder.compress_from(threshold);
        }
        if encrypted {
            encoder = encoder.encrypt(key(), Sender::Guest);
            decoder = decoder.decrypt(key(), Sender::Guest);
        }
        for _ in 0..2 {
            let bytes = encoder.encode(flags, &content).unwrap();
            let message = decoder.decode(&bytes).unwrap();
            prop_assert_eq!((message.flags, message.content.as_ref()), (flags, content.as_slice()));
        }
    }

    #[test]
    fn no_stored_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..300), flags in 0u8..16) {
        let bytes = stored(flags, &payload);
        let _ = Decoder::new().decode(&bytes);
        prop_assert!(opening().decode(&bytes).is_err());
    }
}
