//! The one error type of the crate.

use std::path::PathBuf;

/// Why a model could not be read or run. Every message names the thing, the reason and a way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LlmError {
    /// The file could not be opened or mapped.
    #[error("cannot open the model file {}: {source}; check the path and its permissions", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write the model file {}: {source}; check the path and the free space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are not a GGUF file that this crate accepts.
    #[error(
        "the model file is damaged or not GGUF: {problem} (at byte {offset}); download it again or export it anew as GGUF v3"
    )]
    Format {
        /// Byte offset from the start of the file.
        offset: u64,
        /// What is wrong there.
        problem: String,
    },
    /// A file of a split model does not belong to the others.
    #[error(
        "the model's file {} does not fit the others: {problem}; keep all files of one model in one folder, under the names \
         that they came with", path.display()
    )]
    Shard {
        /// The file, or its number.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A metadata key that the model needs is absent.
    #[error("the model file has no metadata key `{key}`; export it anew with a current converter")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata key holds a value of another type or range.
    #[error("the metadata key `{key}` should hold {expected} but holds {found}; export the model anew")]
    WrongValue {
        /// The key.
        key: String,
        /// What was needed.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A tensor that the model needs is absent.
    #[error(
        "the model file has no tensor `{name}`; it is incomplete, or of another architecture than it says"
    )]
    MissingTensor {
        /// The tensor's name.
        name: String,
    },
    /// A tensor has a shape or type that does not fit the model's configuration.
    #[error("the tensor `{name}` {problem}; the file does not match its own configuration")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file asks for something that this crate does not do.
    #[error("{0}")]
    Unsupported(String),
    /// A token id outside the vocabulary.
    #[error("token {token} is outside the vocabulary of {vocabulary_size} tokens")]
    UnknownToken {
        /// The id.
        token: u32,
        /// Number of tokens in the vocabulary.
        vocabulary_size: usize,
    },
    /// The KV cache cannot hold that many tokens.
    #[error("{needed} tokens do not fit the context of {capacity}; shorten the conversation")]
    ContextFull {
        /// Tokens that would be in the cache.
        needed: usize,
        /// Tokens that it can hold.
        capacity: usize,
    },
    /// A call with no tokens, which has no logits.
    #[error("a model needs at least one token to evaluate")]
    NoTokens,
    /// A KV cache made by a model of another shape.
    #[error("the KV cache belongs to a model of another shape; make it with this model's `new_cache`")]
    ForeignCache,
    /// The tokenizer metadata cannot be used.
    #[error("{message}; convert the model anew with a current converter")]
    Tokenizer {
        /// What is wrong.
        message: String,
    },
    /// The chat template failed, or refused the conversation.
    #[error("the model's chat template failed: {message}")]
    Template {
        /// What it said, with the line.
        message: String,
    },
    /// A generation request that makes no sense.
    #[error("{message}")]
    InvalidRequest {
        /// What to change.
        message: String,
    },
    /// A guard that cannot be.
    #[error("the guard cannot be used: {message}")]
    InvalidGuard {
        /// What to change.
        message: String,
    },
    /// A grammar or JSON schema that cannot be compiled, or that became too complex while generating.
    #[error("the output constraint cannot be used: {message}")]
    Grammar {
        /// What the grammar compiler said.
        message: String,
    },
    /// The prompt alone fills the context.
    #[error(
        "the prompt has {prompt_tokens} tokens, but the model's context holds {context_length}; shorten the \
         conversation or use a model with a longer context"
    )]
    ContextOverflow {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens that the context holds.
        context_length: usize,
    },
    /// There is no memory for the weights.
    #[error(
        "the model needs {bytes} more bytes of memory than there are; use a smaller model, or close what else takes \
         memory"
    )]
    OutOfMemory {
        /// Bytes that could not be had.
        bytes: usize,
    },
    /// Bytes that should be a saved session are not one that can go on.
    #[error(
        "the saved session cannot be restored: {problem}; start the conversation anew, or load the model it was saved with"
    )]
    SavedSession {
        /// What is wrong.
        problem: String,
    },
    /// The model computed something that is not a number.
    #[error("the model's logit for token {token} is not a finite number; the model file is probably damaged")]
    InvalidLogits {
        /// The first such token.
        token: u32,
    },
    /// The model computed an embedding that is not of numbers.
    #[error(
        "the model's embedding of the text has numbers that are not finite; the model file is probably damaged"
    )]
    InvalidEmbedding,
    /// No token may come next.
    #[error(
        "no token of the vocabulary is allowed next; the output constraint and the vocabulary do not fit"
    )]
    NothingAllowed,
}

impl LlmError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } | Self::Write { .. } | Self::Shard { .. } => "model_file",
            Self::ContextOverflow { .. } | Self::ContextFull { .. } => "context_overflow",
            Self::InvalidRequest { .. } | Self::NoTokens => "invalid_request",
            Self::InvalidGuard { .. } => "invalid_guard",
            Self::Grammar { .. } | Self::NothingAllowed => "invalid_grammar",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::SavedSession { .. } => "saved_session",
            Self::Template { .. } => "chat_template",
            Self::Unsupported(_) => "unsupported_model",
            _ => "invalid_model",
        }
    }
}
