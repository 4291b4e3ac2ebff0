//! The checks of the fuzz targets, on every compiler: over their corpus, and over many changed copies of it.
#![cfg(all(feature = "lz4", feature = "aead"))]

#[path = "../fuzz/checks.rs"]
mod checks;

/// Changed copies of each file.
const COPIES: u64 = 300;

/// Deterministic numbers (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % end as u64) as usize
    }

    /// Some bytes set, taken out, put in or doubled.
    fn changed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 => bytes.insert(at, self.below(256) as u8),
                _ => bytes.extend_from_within(at..),
            }
        }
        bytes
    }
}

fn run(target: &str, check: fn(&[u8])) {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let corpus = std::path::Path::new(&package).join("fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 3, "the corpus is there");
    for (number, file) in files.iter().enumerate() {
        let bytes = std::fs::read(file).unwrap();
        check(&bytes);
        for copy in 0..COPIES {
            check(&Numbers(number as u64 * COPIES + copy).changed(&bytes));
        }
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
