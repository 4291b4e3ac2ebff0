//! Which model a file is, without reading all of it.

use super::Gguf;

/// Places in each tensor that are looked at, evenly spread.
const SAMPLES: usize = 8;
/// Bytes of each.
const SAMPLE_BYTES: usize = 64;

impl Gguf {
    /// A hash of the file's header (metadata, names, types, shapes and places of all tensors) and of samples of each
    /// tensor's bytes. Models that differ in architecture, tokenizer or training differ in it; two files that were made to
    /// differ only between the samples do not. The files of a split model and one file of the same have different ones.
    ///
    /// It is that of the file, so it is asked for before weights are rearranged in place.
    pub(crate) fn identity(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for (number, bytes) in self.shards().enumerate() {
            let offsets =
                self.tensors().iter().filter(|tensor| tensor.shard == number).map(|tensor| tensor.offset);
            let header = offsets.min().map_or(bytes.len(), |offset| offset as usize);
            hasher.update(&bytes[..header.min(bytes.len())]);
        }
        for tensor in self.tensors() {
            let bytes = self.tensor_bytes(tensor);
            let last = bytes.len().saturating_sub(SAMPLE_BYTES);
            for sample in 0..SAMPLES {
                let start = last * sample / (SAMPLES - 1);
                hasher.update(&bytes[start..bytes.len().min(start + SAMPLE_BYTES)]);
            }
            // The system maps more than what is read, and of many tensors that is a part of the file.
            self.release(tensor);
        }
        if let Some((packing, _)) = self.i2s_packing() {
            // The caller may have chosen how the same bytes are read.
            hasher.update(packing.name().as_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}
