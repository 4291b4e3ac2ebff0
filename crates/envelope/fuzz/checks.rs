//! What holds for any bytes. Each function panics when it does not.
#![allow(dead_code, reason = "each fuzz target uses one of them")]

use glasshouse_envelope::{
    Decoder, Encoder, Envelope, Flags, HEADER_LENGTH, Header, Key, MAXIMUM_PAYLOAD, Sender,
};

/// Content that a reader in these checks takes.
const LIMIT: usize = 1 << 20;

/// An envelope around a payload as it is stored, with a right length and checksum.
pub fn stored(flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Envelope::plain(payload).encode().unwrap();
    bytes[3] = flags;
    bytes
}

/// Bytes as an envelope: what is read is written as the same bytes, and nothing is read beyond them.
pub fn decode(bytes: &[u8]) {
    if let Ok(header) = Header::decode(bytes) {
        assert!(header.length <= MAXIMUM_PAYLOAD);
    }
    match Envelope::decode(bytes) {
        Ok(envelope) => {
            assert_eq!(envelope.encode().unwrap(), bytes);
            let message = Decoder::new().decode(bytes).unwrap();
            assert_eq!((message.flags, message.content.as_ref()), (envelope.flags, envelope.payload));
        }
        Err(_) => {
            // A codec reads more kinds, but no more bytes, and none of those that are damaged.
            if let Ok(message) = Decoder::new().limit(LIMIT).decode(bytes) {
                assert!(Header::decode(bytes).unwrap().flags.contains(Flags::COMPRESSED));
                assert!(message.content.len() <= LIMIT);
            }
        }
    }
    if let [flags, payload @ ..] = bytes {
        assert_eq!(Envelope::decode(&stored(flags & 0x0c, payload)).unwrap().payload, payload);
    }
}

/// Bytes as a compressed payload, and as content that is compressed and comes back.
pub fn lz4(bytes: &[u8]) {
    if let Ok(message) = Decoder::new().limit(LIMIT).decode(&stored(0x01, bytes)) {
        assert!(message.content.len() <= LIMIT);
        let declared = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        assert_eq!(message.content.len(), declared as usize);
    }
    let envelope = Encoder::new().compress_from(0).encode(Flags::ERROR, bytes).unwrap();
    assert!(envelope.len() <= HEADER_LENGTH + bytes.len());
    let message = Decoder::new().decode(&envelope).unwrap();
    assert_eq!((message.flags, message.content.as_ref()), (Flags::ERROR, bytes));
}

/// Bytes as an encrypted payload, which nobody without the key could write; as content that is encrypted and comes back;
/// and as a change of that, which is noticed.
pub fn aead(bytes: &[u8]) {
    let key = || Key::new(&[0x5a; 32]);
    let mut decoder = Decoder::new().decrypt(key(), Sender::Guest);
    for flags in [0x00, 0x01, 0x02, 0x03] {
        assert!(decoder.decode(&stored(flags, bytes)).is_err());
    }
    let mut encoder = Encoder::new().compress_from(32).encrypt(key(), Sender::Guest);
    let envelope = encoder.encode(Flags::EXPECTS_RESPONSE, bytes).unwrap();
    if let [first, second, ..] = bytes {
        let payload = &envelope[HEADER_LENGTH..];
        let bit = usize::from(u16::from_le_bytes([*first, *second])) % (payload.len() * 8);
        let mut changed = payload.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(decoder.decode(&stored(envelope[3], &changed)).is_err());
    }
    let message = decoder.decode(&envelope).unwrap();
    assert_eq!((message.flags, message.content.as_ref()), (Flags::EXPECTS_RESPONSE, bytes));
}
