//! A model with everything that turns messages into messages.

use std::sync::Arc;

use glasshouse_protocol::ModelDescription;

use crate::constraint::ConstraintFactory;
use crate::gguf::Gguf;
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;
use crate::{LlmError, Model};

/// The metadata key by which a model file says which version of the agent protocol the model was trained on.
const AGENT_PROTOCOL: &str = "glasshouse.agent_protocol";
/// The version that this program speaks.
const AGENT_PROTOCOL_VERSION: u32 = 1;

/// A model, its tokenizer, its chat template and its constraints: all that sessions share.
#[derive(Debug)]
pub struct LoadedModel {
    pub(crate) model: Model,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) template: ChatTemplate,
    pub(crate) constraints: ConstraintFactory,
    description: ModelDescription,
}

impl LoadedModel {
    /// Loads everything from one model file; `threads` compute, 0 means as many as the machine has cores.
    ///
    /// # Errors
    /// [`LlmError`] when a part of the file is missing, damaged or not supported.
    pub fn load(gguf: Arc<Gguf>, threads: usize) -> Result<Self, LlmError> {
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
        let description = ModelDescription {
            name,
            architecture,
            context_length: u32::try_from(model.config().context_length).unwrap_or(u32::MAX),
            knows_agent_protocol,
        };
        Ok(Self { model, tokenizer, template, constraints: ConstraintFactory::default(), description })
    }

    /// What the model is.
    pub fn description(&self) -> &ModelDescription {
        &self.description
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
