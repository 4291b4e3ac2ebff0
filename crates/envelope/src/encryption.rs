//! Encrypted payloads: ChaCha20-Poly1305 (RFC 8439) over the content, with the header's fields as associated data.
//!
//! ```text
//! offset  size  field
//!      0     4  sender    which end of the channel wrote it
//!      4     8  counter   of that sender's messages; with the sender, the nonce
//!     12     n  content, encrypted
//! 12 + n    16  tag
//! ```
//!
//! The associated data are the eight bytes of the envelope's header before the checksum, which is one of the payload as
//! it is sent.

use alloc::vec::Vec;

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce, Tag};

use crate::EnvelopeError;

/// Bytes of a nonce.
const NONCE_BYTES: usize = 12;
/// Bytes of a tag.
const TAG_BYTES: usize = 16;
/// What encryption adds to a payload.
pub(crate) const ADDED_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// A 256-bit key, for one channel between two ends. Whoever gives it gives it once: a process that is forked or restored
/// counts its messages again from where the copy was made, and gets a new key for it.
#[derive(Clone)]
pub struct Key(ChaCha20Poly1305);

impl Key {
    /// The key of these bytes, which are random and secret.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(ChaCha20Poly1305::new(bytes.into()))
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// An end of a channel. The two have different nonces, so that both may send under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The one that started the other.
    Host,
    /// The process.
    Guest,
}

impl Sender {
    fn number(self) -> u32 {
        match self {
            Self::Host => 0,
            Self::Guest => 1,
        }
    }
}

/// The associated data of an envelope.
pub(crate) type HeaderFields = [u8; 8];

/// Encrypts what one end sends. Each message has a counter of its own, so no nonce comes twice.
#[derive(Debug)]
pub(crate) struct Sealing {
    key: Key,
    sender: Sender,
    /// Of the next message; `None` when there are no more.
    counter: Option<u64>,
}

impl Sealing {
    pub(crate) fn new(key: Key, sender: Sender) -> Self {
        Self { key, sender, counter: Some(0) }
    }

    /// The payload of `content` in an envelope with the header `fields`.
    pub(crate) fn seal(&mut self, fields: &HeaderFields, content: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let counter = self.counter.ok_or(EnvelopeError::NoncesExhausted)?;
        self.counter = counter.checked_add(1);
        let mut nonce = [0; NONCE_BYTES];
        nonce[..4].copy_from_slice(&self.sender.number().to_le_bytes());
        nonce[4..].copy_from_slice(&counter.to_le_bytes());
        let mut payload = Vec::with_capacity(content.len() + ADDED_BYTES);
        payload.extend_from_slice(&nonce);
        payload.extend_from_slice(content);
        let tag = self
            .key
            .0
            .encrypt_inout_detached(&Nonce::from(nonce), fields, (&mut payload[NONCE_BYTES..]).into())
            .map_err(|_| EnvelopeError::PayloadTooLarge { length: content.len() as u64 })?;
        payload.extend_from_slice(&tag);
        Ok(payload)
    }
}

/// Decrypts what one end sent, each message once and in the order of sending; messages that were lost leave gaps.
#[derive(Debug)]
pub(crate) struct Opening {
    key: Key,
    sender: Sender,
    /// The least counter that was not seen yet.
    next: Option<u64>,
}

impl Opening {
    pub(crate) fn new(key: Key, sender: Sender) -> Self {
        Self { key, sender, next: Some(0) }
    }

    /// The content of a payload in an envelope with the header `fields`. Nothing changes unless it is authentic.
    pub(crate) fn open(&mut self, fields: &HeaderFields, payload: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let Some((nonce, sealed)) = payload.split_first_chunk::<NONCE_BYTES>() else {
            return Err(EnvelopeError::Unauthentic);
        };
        let Some((content, tag)) = sealed.split_last_chunk::<TAG_BYTES>() else {
            return Err(EnvelopeError::Unauthentic);
        };
        let [s0, s1, s2, s3, counter @ ..] = *nonce;
        let (sender, counter) = (u32::from_le_bytes([s0, s1, s2, s3]), u64::from_le_bytes(counter));
        let mut content = content.to_vec();
        self.key
            .0
            .decrypt_inout_detached(
                &Nonce::from(*nonce),
                fields,
                content.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| EnvelopeError::Unauthentic)?;
        // Only now, so that nobody without the key learns what was seen.
        if sender != self.sender.number() || self.next.is_none_or(|next| counter < next) {
            return Err(EnvelopeError::Replayed { counter });
        }
        self.next = counter.checked_add(1);
        Ok(content)
    }
}
