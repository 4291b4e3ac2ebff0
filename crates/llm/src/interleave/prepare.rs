//! A model's file with the rows of its matrices interleaved: it is used where it is mapped, without a copy.

use std::io::{self, Write};

use super::Interleaving;
use crate::gguf::{Gguf, INTERLEAVED, TensorInfo};
use crate::kernels::GROUP_ROWS;
use crate::weights::is_table;
use crate::{Config, LlmError};

/// Writes the file of `gguf` with the rows of all matrices interleaved where that takes no room: everything else, and every
/// place, stays. A model from it has the same bits; it is ready at once, and processes that map the file share its memory.
/// Only this crate can read it.
///
/// # Errors
/// [`LlmError::Unsupported`] when the model is in several files or prepared already; the errors of [`Config::read`]; and, within,
/// those of `out`.
pub fn prepare(gguf: &Gguf, out: &mut impl Write) -> Result<io::Result<()>, LlmError> {
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
    let interleaving = |info: &TensorInfo| {
        let is_matrix = !is_table(gguf, &config, &info.name);
        let rows = info.rows() as usize;
        Interleaving::of(info).filter(|interleaving| is_matrix && interleaving.is_in_place(rows))
    };
    let first = gguf.tensors().iter().map(|tensor| tensor.offset as usize).min().unwrap_or(bytes.len());
    let mut header = bytes[..first].to_vec();
    for (at, info) in gguf.type_positions().zip(gguf.tensors()) {
        if interleaving(info).is_some() {
            let id = info.tensor_type.id() | INTERLEAVED;
            header[at..at + 4].copy_from_slice(&id.to_le_bytes());
        }
    }
    let mut matrices: Vec<(&TensorInfo, Interleaving)> =
        gguf.tensors().iter().filter_map(|info| Some((info, interleaving(info)?))).collect();
    matrices.sort_by_key(|(info, _)| info.offset);
    Ok(write(bytes, &header, &matrices, out))
}

/// Writes `header` in the place of the file's, and the rest with these matrices interleaved.
fn write(
    bytes: &[u8],
    header: &[u8],
    matrices: &[(&TensorInfo, Interleaving)],
    out: &mut impl Write,
) -> io::Result<()> {
    out.write_all(header)?;
    let mut written = header.len();
    for (info, interleaving) in matrices {
        let start = info.offset as usize;
        out.write_all(&bytes[written..start])?;
        let end = start + info.rows() as usize * interleaving.row_bytes();
        let mut group = vec![0; interleaving.group_bytes()];
        for original in bytes[start..end].chunks_exact(interleaving.row_bytes() * GROUP_ROWS) {
            interleaving.pack_group(original, &mut group);
            out.write_all(&group)?;
        }
        written = end;
    }
    out.write_all(&bytes[written..])?;
    out.flush()
}
