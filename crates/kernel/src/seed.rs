//! Everything random comes from the kernel's seed, by key derivation with a label for each use.

use crate::{ProcessId, RequestId};

/// Labels of BLAKE3's key derivation. A change of one changes every trace.
const PROCESS_LABEL: &str = "glasshouse kernel v1: random stream of a process";
const REQUEST_LABEL: &str = "glasshouse kernel v1: seed of a request";

/// The seed of a process's random stream.
pub(crate) fn process_seed(kernel_seed: u64, process: ProcessId) -> [u8; 32] {
    derive(PROCESS_LABEL, kernel_seed, process.0)
}

/// The seed that a service gets with a request.
pub(crate) fn request_seed(kernel_seed: u64, request: RequestId) -> u64 {
    let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = derive(REQUEST_LABEL, kernel_seed, request.0);
    u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7])
}

fn derive(label: &str, kernel_seed: u64, id: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(label);
    hasher.update(&kernel_seed.to_le_bytes());
    hasher.update(&id.to_le_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_by_use_by_id_and_by_kernel() {
        let first = process_seed(1, ProcessId(1));
        assert_eq!(first, process_seed(1, ProcessId(1)));
        assert_ne!(first, process_seed(1, ProcessId(2)));
        assert_ne!(first, process_seed(2, ProcessId(1)));
        assert_ne!(first[..8], request_seed(1, RequestId(1)).to_le_bytes());
        assert_ne!(request_seed(1, RequestId(1)), request_seed(1, RequestId(2)));
    }
}
