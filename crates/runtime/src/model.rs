//! Where the model comes from, and loading it.

use std::{path::PathBuf, sync::Arc};

use glasshouse_kernel::ModelHash;
use glasshouse_llm::{LlmError, LoadedModel, gguf::Gguf};

use crate::{RuntimeError, host};

/// Where the model comes from.
#[derive(Debug, Clone, Default)]
pub enum ModelSource {
    /// The pocket model, on hosts that have it in the program.
    #[default]
    BuiltIn,
    /// A GGUF file.
    File(PathBuf),
    /// A model that was loaded already.
    Loaded(HashedModel),
    /// No model: requests for one are answered with an error.
    None,
}

/// A loaded model, and what a log names it by.
#[derive(Debug, Clone)]
pub struct HashedModel {
    /// The model.
    pub model: Arc<LoadedModel>,
    /// BLAKE3 of the whole file.
    pub hash: ModelHash,
}

impl HashedModel {
    /// Loads the model of a file whose bytes are all in memory; `threads` compute, 0 means as many as the machine has
    /// cores.
    ///
    /// # Errors
    /// [`RuntimeError::Model`].
    pub fn from_bytes(bytes: Vec<u8>, threads: usize) -> Result<Self, RuntimeError> {
        let hash = ModelHash(*blake3::hash(&bytes).as_bytes());
        let gguf = Gguf::from_vec(bytes).map_err(RuntimeError::Model)?;
        let model = LoadedModel::load(Arc::new(gguf), threads).map_err(RuntimeError::Model)?;
        Ok(Self { model: Arc::new(model), hash })
    }
}

impl ModelSource {
    /// Reads the file's header and maps its data; no tensor is touched. `None` when there is no file.
    ///
    /// # Errors
    /// [`RuntimeError::Model`].
    pub fn open(&self) -> Result<Option<Arc<Gguf>>, RuntimeError> {
        let gguf = match self {
            Self::None | Self::Loaded(_) => return Ok(None),
            Self::BuiltIn => host::BUILT_IN_MODEL.map_or_else(
                || Err(LlmError::Unsupported("no model is part of this program; load one".into())),
                Gguf::from_static,
            ),
            Self::File(path) => Gguf::open(path),
        };
        Ok(Some(Arc::new(gguf.map_err(RuntimeError::Model)?)))
    }

    /// BLAKE3 of the whole file, of a split model of all files in their order: what a log names the model by.
    pub(crate) fn hash(&self) -> Result<Option<ModelHash>, RuntimeError> {
        if let Self::Loaded(model) = self {
            return Ok(Some(model.hash));
        }
        Ok(self.open()?.map(|gguf| {
            let mut hasher = blake3::Hasher::new();
            for shard in gguf.shards() {
                hasher.update(shard);
            }
            ModelHash(*hasher.finalize().as_bytes())
        }))
    }

    pub(crate) fn load(&self, threads: Option<usize>) -> Result<Option<Arc<LoadedModel>>, RuntimeError> {
        if let Self::Loaded(model) = self {
            return Ok(Some(Arc::clone(&model.model)));
        }
        let Some(gguf) = self.open()? else { return Ok(None) };
        // Zero: as many as the machine has cores.
        let threads = threads.unwrap_or(0);
        Ok(Some(Arc::new(LoadedModel::load(gguf, threads).map_err(RuntimeError::Model)?)))
    }
}
