//! Verifies the signature that a module carries.
//!
//! The format is the one of the WebAssembly tool conventions (`Signatures.md`), which `wasmsign2` writes: the module's
//! first section is a custom section `signature`,
//!
//! ```text
//! version 1 | content type 1 | hash function 1 (SHA-256) | sets, each with its length:
//!     hashes, 32 bytes each
//!     signatures, each with its length: key identifier | algorithm 1 (Ed25519) | 64 bytes
//! ```
//!
//! A signature is one of `"wasmsig"`, 1, 1, 1 and all hashes of its set. The hashes are those of more and more of what lies
//! behind the section; only the last, that of all of it, is accepted here, so that nobody can cut a signed module short.
//! Counts and lengths are LEB128.

use std::vec::Vec;

use ct_codecs::{Base64, Decoder};
use sha2::{Digest, Sha256};
use thiserror::Error;
use wasmparser::BinaryReader;

/// The section that holds signatures.
const SECTION: &str = "signature";
/// What is signed starts so: the domain, the format's version, the content type of a module, SHA-256.
const PREFIX: &[u8] = b"wasmsig\x01\x01\x01";
/// Behind the domain: what a section starts with.
const HEADER: &[u8] = b"\x01\x01\x01";
/// Ed25519, in a signature and in front of a key's raw bytes.
const ED25519: u8 = 1;
const HASH_BYTES: usize = 32;
/// As many of each as other implementations accept. Bounds the time that a hostile section takes.
const SETS_MAXIMUM: u32 = 64;
const HASHES_MAXIMUM: u32 = 64;
const SIGNATURES_MAXIMUM: u32 = 256;
/// Signatures that are tried, of all sets together: some tens of milliseconds.
const TRIES_MAXIMUM: usize = 512;

/// Why a module's signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is no signature.
    #[error("the module is not signed")]
    Unsigned,
    /// There are signatures, but none that this key made.
    #[error("the module is not signed with the given key")]
    WrongKey,
    /// The key signed a module, but not this one.
    #[error("the module was changed after it was signed")]
    Damaged,
    /// The signature cannot be read.
    #[error("the module's section `signature` is malformed or of an unknown version")]
    Malformed,
    /// The bytes do not start like a WebAssembly module.
    #[error("this is not a WebAssembly module: it does not start with the bytes `\\0asm` and version 1")]
    NotWasm,
}

/// Why a file is not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "this is not an Ed25519 public key: it must be one in PEM or DER, an OpenSSH line `ssh-ed25519 …`, \
     or the byte 1 and 32 bytes as `wasmsign2 keygen` writes it"
)]
pub struct PublicKeyError;

/// An Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(ed25519_compact::PublicKey);

impl PublicKey {
    /// Reads the content of a key file: the raw bytes that `wasmsign2 keygen` writes, DER, PEM, or an OpenSSH public key,
    /// of which the first Ed25519 one of the file is taken.
    ///
    /// # Errors
    /// [`PublicKeyError`] when it is none of these, or no point of the curve that can sign.
    pub fn parse(file: &[u8]) -> Result<Self, PublicKeyError> {
        let text = core::str::from_utf8(file).unwrap_or_default();
        let key = match file.strip_prefix(&[ED25519]) {
            Some(bytes) if bytes.len() == ed25519_compact::PublicKey::BYTES => {
                ed25519_compact::PublicKey::from_slice(bytes)
            }
            _ => ed25519_compact::PublicKey::from_der(file)
                .or_else(|_| ed25519_compact::PublicKey::from_pem(text.trim())),
        };
        let key = key.ok().or_else(|| text.lines().find_map(openssh)).ok_or(PublicKeyError)?;
        key.validate().map_err(|_| PublicKeyError)?;
        Ok(Self(key))
    }
}

/// `ssh-ed25519 BASE64 comment`: the base64 holds the algorithm's name and the key, each behind its length.
fn openssh(line: &str) -> Option<ed25519_compact::PublicKey> {
    let base64 = line.trim().strip_prefix("ssh-ed25519 ")?.split_whitespace().next()?;
    let bytes = Base64::decode_to_vec(base64, None).ok()?;
    let key = bytes.strip_prefix(b"\0\0\0\x0bssh-ed25519\0\0\0\x20")?;
    ed25519_compact::PublicKey::from_slice(key).ok()
}

/// Verifies that this module, as a whole, was signed with the secret key that belongs to `key`.
///
/// # Errors
/// [`SignatureError`].
pub fn verify(module: &[u8], key: &PublicKey) -> Result<(), SignatureError> {
    let sections = module.strip_prefix(b"\0asm\x01\0\0\0").ok_or(SignatureError::NotWasm)?;
    let (signatures, signed) = split(sections).ok_or(SignatureError::Unsigned)?;
    let sets = sets(signatures)?;
    let hash = Sha256::digest(signed);
    let mut is_signed_by_key = false;
    for set in &sets {
        let mut message = PREFIX.to_vec();
        message.extend_from_slice(set.hashes);
        for signature in &set.signatures {
            if key.0.verify(&message, signature).is_ok() {
                is_signed_by_key = true;
                if set.hashes.ends_with(&hash) {
                    return Ok(());
                }
            }
        }
    }
    Err(if is_signed_by_key { SignatureError::Damaged } else { SignatureError::WrongKey })
}

/// Whether a module carries a signature, of whatever key and validity.
pub fn is_signed(module: &[u8]) -> bool {
    module.strip_prefix(b"\0asm\x01\0\0\0").and_then(split).is_some()
}

/// The content of the signature's section, and everything behind it. None if the first section is another.
fn split(sections: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = BinaryReader::new(sections, 0);
    let is_custom = reader.read_u8().ok()? == 0;
    let length = reader.read_var_u32().ok()? as usize;
    let section = reader.read_bytes(length).ok()?;
    let signed = &sections[reader.current_position()..];
    let mut reader = BinaryReader::new(section, 0);
    let is_signature = is_custom && reader.read_string().ok()? == SECTION;
    is_signature.then(|| (&section[reader.current_position()..], signed))
}

/// Hashes, and signatures of all of them.
struct Set<'a> {
    hashes: &'a [u8],
    signatures: Vec<ed25519_compact::Signature>,
}

fn sets(section: &[u8]) -> Result<Vec<Set<'_>>, SignatureError> {
    let malformed = |_| SignatureError::Malformed;
    let section = section.strip_prefix(HEADER).ok_or(SignatureError::Malformed)?;
    let mut reader = BinaryReader::new(section, 0);
    let mut sets = Vec::new();
    let mut tries = 0;
    for _ in 0..count(&mut reader, SETS_MAXIMUM)? {
        let mut set = prefixed(&mut reader)?;
        let hashes = count(&mut set, HASHES_MAXIMUM)? as usize;
        let hashes = set.read_bytes(hashes * HASH_BYTES).map_err(malformed)?;
        let mut signatures = Vec::new();
        for _ in 0..count(&mut set, SIGNATURES_MAXIMUM)? {
            let mut signature = prefixed(&mut set)?;
            prefixed(&mut signature)?;
            // Other algorithms may be added to the format; they are not ours to judge.
            if signature.read_u8().map_err(malformed)? == ED25519 {
                let mut bytes = prefixed(&mut signature)?;
                let bytes = bytes.read_bytes(bytes.bytes_remaining()).map_err(malformed)?;
                let signature = ed25519_compact::Signature::from_slice(bytes);
                signatures.push(signature.map_err(|_| SignatureError::Malformed)?);
            }
        }
        tries += signatures.len();
        if tries > TRIES_MAXIMUM {
            return Err(SignatureError::Malformed);
        }
        sets.push(Set { hashes, signatures });
    }
    if !reader.eof() {
        return Err(SignatureError::Malformed);
    }
    Ok(sets)
}

fn count(reader: &mut BinaryReader<'_>, maximum: u32) -> Result<u32, SignatureError> {
    reader.read_var_u32().ok().filter(|count| *count <= maximum).ok_or(SignatureError::Malformed)
}

/// Bytes behind their length.
fn prefixed<'a>(reader: &mut BinaryReader<'a>) -> Result<BinaryReader<'a>, SignatureError> {
    let length = reader.read_var_u32().map_err(|_| SignatureError::Malformed)?;
    let bytes = reader.read_bytes(length as usize).map_err(|_| SignatureError::Malformed)?;
    Ok(BinaryReader::new(bytes, 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wasmsign2::{KeyPair, Module, SectionId, SectionLike};

    use super::*;

    const GUEST: &str = r#"(module (memory (export "memory") 1)
        (func (export "gh_allocate") (param i32) (result i32) i32.const 1024)
        (data (i32.const 0) "some data"))"#;

    fn guest() -> Vec<u8> {
        wat::parse_str(GUEST).unwrap()
    }

    fn key(pair: &KeyPair) -> PublicKey {
        PublicKey::parse(&pair.pk.to_bytes()).unwrap()
    }

    fn parsed(module: &[u8]) -> Module {
        Module::deserialize(&mut &*module).unwrap()
    }

    fn bytes(module: &Module) -> Vec<u8> {
        let mut bytes = Vec::new();
        module.serialize(&mut bytes).unwrap();
        bytes
    }

    fn sign(module: &[u8], pair: &KeyPair) -> Vec<u8> {
        bytes(&pair.sk.sign(parsed(module), None).unwrap())
    }

    #[test]
    fn modules_signed_by_wasmsign2_are_verified() {
        let pair = KeyPair::generate();
        let signed = sign(&guest(), &pair);
        assert_eq!(verify(&signed, &key(&pair)), Ok(()));
        assert!(is_signed(&signed));
        assert_eq!(pair.pk.verify(&mut signed.as_slice(), None).map_err(|error| error.to_string()), Ok(()));
    }

    #[test]
    fn each_of_several_signers_is_verified_and_no_other() {
        let (first, second, other) = (KeyPair::generate(), KeyPair::generate(), KeyPair::generate());
        let mut module = parsed(&guest());
        for (pair, extensions) in [(&first, false), (&second, true)] {
            let identifier = pair.pk.clone().attach_default_key_id().key_id;
            (module, _) = pair.sk.sign_multi(module, identifier.as_ref(), false, extensions).unwrap();
        }
        let signed = bytes(&module);
        // Delimiters were added after the first had signed.
        assert_eq!(verify(&signed, &key(&first)), Err(SignatureError::Damaged));
        assert_eq!(verify(&signed, &key(&second)), Ok(()));
        assert_eq!(verify(&signed, &key(&other)), Err(SignatureError::WrongKey));
        let (again, _) = first.sk.sign_multi(module, None, false, false).unwrap();
        for pair in [&first, &second] {
            assert_eq!(verify(&bytes(&again), &key(pair)), Ok(()));
        }
    }

    #[test]
    fn a_module_cut_short_at_a_signed_boundary_is_damaged() {
        let pair = KeyPair::generate();
        let parts = parsed(&guest()).split(|section| section.id() == SectionId::Code).unwrap();
        let (mut module, _) = pair.sk.sign_multi(parts, None, false, false).unwrap();
        assert_eq!(verify(&bytes(&module), &key(&pair)), Ok(()));
        let delimiters: Vec<usize> = module
            .sections
            .iter()
            .enumerate()
            .filter(|(_, section)| section.display(false).contains("signature_delimiter"))
            .map(|(place, _)| place)
            .collect();
        assert!(delimiters.len() > 1, "{delimiters:?}");
        module.sections.truncate(delimiters[0] + 1);
        assert_eq!(verify(&bytes(&module), &key(&pair)), Err(SignatureError::Damaged));
    }

    #[test]
    fn unsigned_and_foreign_bytes_are_told_apart() {
        let pair = KeyPair::generate();
        assert_eq!(verify(&guest(), &key(&pair)), Err(SignatureError::Unsigned));
        assert!(!is_signed(&guest()));
        assert_eq!(verify(b"\0asm\x01\0\0\0", &key(&pair)), Err(SignatureError::Unsigned));
        for bytes in [b"".as_slice(), b"#!/bin/sh", b"\0asm\x0d\0\x01\0"] {
            assert_eq!(verify(bytes, &key(&pair)), Err(SignatureError::NotWasm));
        }
        // A signature that is not in the first section is none.
        let mut module = parsed(&sign(&guest(), &pair));
        module.sections.rotate_left(1);
        assert_eq!(verify(&bytes(&module), &key(&pair)), Err(SignatureError::Unsigned));
    }

    #[test]
    fn a_change_of_any_byte_is_refused() {
        let pair = KeyPair::generate();
        let key = key(&pair);
        let signed = sign(&guest(), &pair);
        let content = signed.len() - (guest().len() - 8);
        for place in 0..signed.len() {
            let mut changed = signed.clone();
            changed[place] ^= 1 << (place % 8);
            let result = verify(&changed, &key);
            assert!(result.is_err(), "byte {place}");
            if place >= content {
                assert_eq!(result, Err(SignatureError::Damaged), "byte {place}");
            }
        }
        for length in 0..signed.len() {
            assert!(verify(&signed[..length], &key).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn counts_and_lengths_that_lie_are_malformed() {
        let key = key(&KeyPair::generate());
        for header in [
            b"".as_slice(),
            b"\x02\x01\x01\0",
            b"\x01\x01\x01\xff\xff\xff\xff\x0f",
            b"\x01\x01\x01\x01\xff\xff\xff\xff\x0f",
            b"\x01\x01\x01\x01\x02\x40\0",
            b"\x01\x01\x01\x01\x07\0\x01\xff\xff\xff\xff\x0f",
            b"\x01\x01\x01\0trailing",
        ] {
            let mut module = b"\0asm\x01\0\0\0\0".to_vec();
            module.push((1 + SECTION.len() + header.len()) as u8);
            module.push(SECTION.len() as u8);
            module.extend_from_slice(SECTION.as_bytes());
            module.extend_from_slice(header);
            assert_eq!(verify(&module, &key), Err(SignatureError::Malformed), "{header:?}");
        }
    }

    #[test]
    fn keys_are_read_in_every_format_that_tools_write() {
        let pair = KeyPair::generate();
        let raw = &pair.pk.to_bytes()[1..];
        let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
        blob.extend_from_slice(raw);
        let blob = <Base64 as ct_codecs::Encoder>::encode_to_string(blob).unwrap();
        let openssh = std::format!("ssh-rsa AAAA other\nssh-ed25519 {blob} somebody@somewhere\n");
        let pem = pair.pk.to_pem();
        for file in [
            pair.pk.to_bytes().as_slice(),
            pair.pk.to_der().as_slice(),
            pem.as_bytes(),
            std::format!("{}\n", pem.trim()).as_bytes(),
            openssh.as_bytes(),
        ] {
            assert_eq!(PublicKey::parse(file), Ok(key(&pair)), "{file:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let secret = KeyPair::generate().sk;
        for file in [
            b"".as_slice(),
            b"\x01",
            &secret.to_bytes(),
            secret.to_pem().as_bytes(),
            b"ssh-ed25519 AAAA",
            b"ssh-ed25519 ",
            // The neutral point would accept every signature.
            b"\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(PublicKey::parse(file), Err(PublicKeyError), "{file:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_verifying_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let key = key(&KeyPair::generate());
            let mut module = b"\0asm\x01\0\0\0\0\x7f\x09signature\x01\x01\x01".to_vec();
            module.extend_from_slice(&bytes);
            prop_assert!(verify(&module, &key).is_err());
            let _ = PublicKey::parse(&bytes);
        }
    }
}
