//! Where the model comes from, and loading it.

use std::{path::PathBuf, sync::Arc};

use glasshouse_kernel::ModelHash;
use glasshouse_llm::{LoadedModel, gguf::Gguf};

use crate::{RuntimeError, builtin};

/// Where the model comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ModelSource {
    /// The pocket model.
    #[default]
    BuiltIn,
    /// A GGUF file.
    File(PathBuf),
    /// No model: requests for one are answered with an error.
    None,
}

impl ModelSource {
    /// Reads the file's header and maps its data; no tensor is touched.
    pub fn open(&self) -> Result<Option<Arc<Gguf>>, RuntimeError> {
        let gguf = match self {
            Self::None => return Ok(None),
            Self::BuiltIn => Gguf::from_static(builtin::POCKET_MODEL),
            Self::File(path) => Gguf::open(path),
        };
        Ok(Some(Arc::new(gguf.map_err(RuntimeError::Model)?)))
    }

    /// BLAKE3 of the whole file: what a log names the model by.
    pub(crate) fn hash(&self) -> Result<Option<ModelHash>, RuntimeError> {
        Ok(self.open()?.map(|gguf| ModelHash(*blake3::hash(gguf.bytes()).as_bytes())))
    }

    pub(crate) fn load(&self, threads: Option<usize>) -> Result<Option<Arc<LoadedModel>>, RuntimeError> {
        let Some(gguf) = self.open()? else { return Ok(None) };
        // Zero: as many as the machine has cores.
        let threads = threads.unwrap_or(0);
        Ok(Some(Arc::new(LoadedModel::load(gguf, threads).map_err(RuntimeError::Model)?)))
    }
}
