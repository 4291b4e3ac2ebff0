//! How many bytes are encoded: as one piece, where serde would go through them number by number. The encoding is the same.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserializer, Serializer, de};

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    deserializer.deserialize_byte_buf(Bytes)
}

struct Bytes;

impl<'de> de::Visitor<'de> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    /// What a self-describing format has: a list of numbers, whose length is not believed beforehand.
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut numbers: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = numbers.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Piece(#[serde(with = "crate::bytes")] Vec<u8>);

    #[test]
    fn one_piece_is_encoded_as_its_numbers_would_be_and_decoded_from_both_kinds_of_formats() {
        let bytes = vec![0, 1, 255, 7];
        let piece = Piece(bytes.clone());
        let compact = postcard::to_allocvec(&piece).unwrap();
        assert_eq!(compact, postcard::to_allocvec(&bytes).unwrap());
        assert_eq!(postcard::from_bytes::<Piece>(&compact).unwrap(), piece);
        let described = serde_json::to_string(&piece).unwrap();
        assert_eq!(described, "[0,1,255,7]");
        assert_eq!(serde_json::from_str::<Piece>(&described).unwrap(), piece);
        assert!(postcard::from_bytes::<Piece>(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1]).is_err());
    }
}
