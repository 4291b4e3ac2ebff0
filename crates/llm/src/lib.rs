//! Language models on the CPU, from a GGUF file to logits and text.
//!
//! - [`gguf`]: the container format: [`gguf::Gguf`] reads it from a map, owned or static bytes; [`gguf::GgufWriter`]
//!   writes it.
//! - [`Model`], [`Config`], [`KvCache`], [`Kernels`]: the transformer; tokens in, logits out.
//! - [`LoadedModel`], [`Session`], [`Generation`]: a model with its [`tokenizer`], [`template`] and [`constraint`]s, a
//!   conversation with it and its next message: [`sampler`] chooses its tokens, [`stream`] makes them text, [`output`]
//!   takes that apart into reasoning, text and calls, and a guard ([`GuardConfig`]) may stop it.
//! - [`Embedder`]: a model that makes vectors of texts.
//! - [`scheduler`]: the generations of many sessions, advanced together.
//! - [`LlmError`]: everything that can go wrong, as a sentence with a way out.
//!
//! Hosts: everything here runs natively and on `wasm32-unknown-unknown`, where a model's bytes come in a vector
//! ([`gguf::Gguf::from_vec`]) and one thread computes; only [`bench`] needs a clock. What differs is in `host`.
//!
//! Invariant: the logits of a model are the same bits for any thread count, any chunking of the prompt and any
//! instruction set; the scalar kernels are the definition and every other kernel is tested against them.

mod architecture;
mod attention;
pub mod bench;
mod cache;
mod config;
pub mod constraint;
mod embedder;
mod error;
mod fingerprint;
mod formats;
pub mod generate_random;
pub mod gguf;
mod graph;
mod guard;
mod host;
mod interleave;
mod kernels;
mod loaded;
mod matrix;
mod model;
pub mod output;
pub mod perplexity;
mod rope;
pub mod sampler;
pub mod scheduler;
mod session;
pub mod stream;
pub mod template;
mod threads;
pub mod tokenizer;
pub mod verify;
mod weights;

pub use architecture::{
    Activation, Architecture, FeedForward, LocalRope, NormKind, NormPlacement, Positions, QueryKeyNorm,
    RopeStyle, WindowRule,
};
pub use cache::{KvCache, KvType, PrefixStatistics};
pub use config::{Config, PositionScale, RopeConfig, RopeScaling};
pub use embedder::{Embedder, Pooling};
pub use error::LlmError;
pub use fingerprint::{Fingerprint, fingerprint};
pub use formats::{encode_i2s_trailer, encode_row};
pub use guard::{GuardConfig, MAXIMUM_FACTS_BYTES, Scorer};
pub use interleave::Prepared;
pub use kernels::Kernels;
pub use loaded::{CacheOptions, LoadedModel};
pub use model::{Logits, Model, Sequence};
pub use session::{Draft, DraftStatistics, Generation, Progress, Session, TokenEvent};
pub use threads::ThreadPool;
