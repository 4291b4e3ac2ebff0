//! A model's file with the rows of its matrices interleaved: it is used where it is mapped, without a copy.

use std::io::{self, Write};

use super::Interleaving;
use crate::gguf::{Gguf, INTERLEAVED, TensorInfo};
use crate::kernels::GROUP_ROWS;
use crate::weights::is_table;
use crate::{Config, LlmError};

/// A model's file with the rows of all matrices interleaved where that takes no room: everything else, and every place, stays.
/// A model from it has the same bits; it is ready at once, and processes that map the file share its memory. Only this crate can
/// read it.
pub struct Prepared<'a> {
    /// The bytes of the file that it is made of.
    bytes: &'a [u8],
    /// What comes before the first tensor.
    header: Vec<u8>,
    /// The tensors whose rows are interleaved, in the order of their places.
    matrices: Vec<(&'a TensorInfo, Interleaving)>,
}

impl<'a> Prepared<'a> {
    /// That of `gguf`.
    ///
    /// # Errors
    /// [`LlmError::Unsupported`] when the model is in several files or prepared already; those of [`Config::read`].
    pub fn of(gguf: &'a Gguf) -> Result<Self, LlmError> {
        let mut shards = gguf.shards();
        let (Some(bytes), None) = (shards.next(), shards.next()) else {
            return Err(LlmError::Unsupported(
                "the model is in several files; merge them into one before preparing it".to_owned(),
            ));
        };
        if gguf.tensors().iter().any(|tensor| tensor.interleaved) {
            return Err(LlmError::Unsupported("the model is prepared already".to_owned()));
        }
        let config = Config::read(gguf)?;
        let first = gguf.tensors().iter().map(|tensor| tensor.offset as usize).min().unwrap_or(bytes.len());
        let mut header = bytes[..first].to_vec();
        let mut matrices = Vec::new();
        for (at, info) in gguf.type_positions().zip(gguf.tensors()) {
            let Some(interleaving) = Interleaving::of(info) else { continue };
            if !is_table(gguf, &config, &info.name) && interleaving.is_in_place(info.rows() as usize) {
                let id = info.tensor_type.id() | INTERLEAVED;
                header[at..at + 4].copy_from_slice(&id.to_le_bytes());
                matrices.push((info, interleaving));
            }
        }
        matrices.sort_by_key(|(info, _)| info.offset);
        Ok(Self { bytes, header, matrices })
    }

    /// Writes it, interleaving the rows on the way.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(&self.header)?;
        let mut written = self.header.len();
        for (info, interleaving) in &self.matrices {
            let start = info.offset as usize;
            out.write_all(&self.bytes[written..start])?;
            let end = start + info.rows() as usize * interleaving.row_bytes();
            let mut group = vec![0; interleaving.group_bytes()];
            for original in self.bytes[start..end].chunks_exact(interleaving.row_bytes() * GROUP_ROWS) {
                interleaving.pack_group(original, &mut group);
                out.write_all(&group)?;
            }
            written = end;
        }
        out.write_all(&self.bytes[written..])?;
        out.flush()
    }
}
