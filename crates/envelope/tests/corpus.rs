//! The checks of the fuzz targets, on every compiler: over their corpus, and over many changed copies of it.
#![cfg(all(feature = "lz4", feature = "aead"))]

#[path = "../fuzz/checks.rs"]
mod checks;

use proptest::{collection::vec, prelude::*, sample::Index, test_runner::TestRunner};

/// Changed copies of each file.
const COPIES: u32 = 300;

/// Some bytes set, taken out, put in or doubled.
fn changed(mut bytes: Vec<u8>, changes: &[(u8, Index, u8)]) -> Vec<u8> {
    for &(kind, at, value) in changes {
        let at = at.index(bytes.len() + 1);
        match kind {
            0 if at < bytes.len() => bytes[at] = value,
            1 if at < bytes.len() => bytes[at] ^= 1 << (value % 8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.insert(at, value),
            _ => bytes.extend_from_within(at..),
        }
    }
    bytes
}

fn run(target: &str, check: fn(&[u8])) {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let corpus = std::path::Path::new(&package).join("fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 3, "the corpus is there");
    let value = prop_oneof![any::<u8>(), prop_oneof![Just(0), Just(0x7f), Just(0x80), Just(0xff)]];
    let changes = vec((0u8..5, any::<Index>(), value), 1..6);
    for file in files {
        let bytes = std::fs::read(file).unwrap();
        check(&bytes);
        let mut runner = TestRunner::new(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(COPIES)
        });
        runner
            .run(&changes, |changes| {
                check(&changed(bytes.clone(), &changes));
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn any_bytes_as_an_envelope() {
    run("decode", checks::decode);
}

#[test]
fn any_bytes_as_a_compressed_payload() {
    run("lz4", checks::lz4);
}

#[test]
fn any_bytes_as_an_encrypted_payload() {
    run("aead", checks::aead);
}
