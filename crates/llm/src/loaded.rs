//! A model with everything that turns messages into messages.

use std::sync::Arc;

use glasshouse_protocol::ModelDescription;

use crate::cache::SharedPrefixes;
use crate::constraint::ConstraintFactory;
use crate::gguf::Gguf;
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;
use crate::{KvCache, KvType, LlmError, Model, PrefixStatistics};

/// The metadata key by which a model file says which version of the agent protocol the model was trained on.
const AGENT_PROTOCOL: &str = "glasshouse.agent_protocol";
/// The version that this program speaks.
const AGENT_PROTOCOL_VERSION: u32 = 1;

/// How the sessions of a model keep what they have evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheOptions {
    /// As what keys and values are kept.
    pub kv_type: KvType,
    /// Memory for beginnings of conversations that others may share, in bytes; 0 keeps none.
    pub prefix_bytes: usize,
}

impl Default for CacheOptions {
    /// Half precision, and 64 MiB of beginnings: the system prompts and tools of a few agents.
    fn default() -> Self {
        Self { kv_type: KvType::F16, prefix_bytes: 64 << 20 }
    }
}

/// A model, its tokenizer, its chat template and its constraints: all that sessions share.
#[derive(Debug)]
pub struct LoadedModel {
    pub(crate) model: Model,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) template: ChatTemplate,
    pub(crate) constraints: ConstraintFactory,
    description: ModelDescription,
    kv_type: KvType,
    prefixes: SharedPrefixes,
}

impl LoadedModel {
    /// Loads everything from one model file; `threads` compute, 0 means as many as the machine has cores.
    ///
    /// # Errors
    /// [`LlmError`] when a part of the file is missing, damaged or not supported.
    pub fn load(gguf: Arc<Gguf>, threads: usize) -> Result<Self, LlmError> {
        Self::load_with(gguf, threads, CacheOptions::default())
    }

    /// The same, with a choice of how sessions keep what they have evaluated.
    ///
    /// # Errors
    /// As for [`load`](Self::load), and [`LlmError::Unsupported`] when the model's keys and values cannot be kept so.
    pub fn load_with(gguf: Arc<Gguf>, threads: usize, cache: CacheOptions) -> Result<Self, LlmError> {
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        let template = ChatTemplate::new(gguf.get_string("tokenizer.chat_template")?, &tokenizer)?;
        let architecture = gguf.string("general.architecture")?.to_string();
        let name = gguf.get_string("general.name")?.unwrap_or("unnamed").to_string();
        let knows_agent_protocol = gguf.get_u32(AGENT_PROTOCOL)? == Some(AGENT_PROTOCOL_VERSION);
        let model = Model::load(gguf, threads)?;
        if !model.continues_texts() {
            return Err(LlmError::Unsupported(format!(
                "the model sees a text as a whole (`{architecture}`) and cannot answer; it is for embeddings"
            )));
        }
        tokenizer.check_vocabulary(model.config().vocabulary_size)?;
        let CacheOptions { kv_type, prefix_bytes } = cache;
        model.new_cache_of(kv_type, 0)?;
        let description = ModelDescription {
            name,
            architecture,
            context_length: u32::try_from(model.config().context_length).unwrap_or(u32::MAX),
            knows_agent_protocol,
        };
        Ok(Self {
            model,
            tokenizer,
            template,
            constraints: ConstraintFactory::default(),
            description,
            kv_type,
            prefixes: SharedPrefixes::new(prefix_bytes),
        })
    }

    /// What the model is.
    pub fn description(&self) -> &ModelDescription {
        &self.description
    }

    /// As what its sessions keep keys and values.
    pub fn kv_type(&self) -> KvType {
        self.kv_type
    }

    /// What the beginnings that its sessions share take, and what they were worth; those of [`Session::apart`] not counted.
    ///
    /// [`Session::apart`]: crate::Session::apart
    pub fn prefix_statistics(&self) -> PrefixStatistics {
        self.prefixes.lock().statistics()
    }

    /// An empty cache for a session.
    pub(crate) fn new_cache(&self) -> KvCache {
        KvCache::new(self.model.kv_shape(self.kv_type), self.model.config().context_length)
    }

    /// The beginnings that its sessions share.
    pub(crate) fn prefixes(&self) -> &SharedPrefixes {
        &self.prefixes
    }

    /// The network.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The chat template.
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }
}
