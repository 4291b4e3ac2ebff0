//! Language models on the CPU, from a GGUF file to logits and text.
//!
//! - [`gguf`]: the container format: [`gguf::Gguf`] reads it from a map, owned or static bytes; [`gguf::GgufWriter`]
//!   writes it.
//! - [`Model`], [`Config`], [`KvCache`], [`Kernels`]: the transformer; tokens in, logits out.
//! - [`LoadedModel`], [`Session`]: a model with its [`tokenizer`], [`template`] and [`constraint`]s, and a conversation
//!   with it: [`sampler`] chooses its tokens, [`stream`] makes them text.
//! - [`LlmError`]: everything that can go wrong, as a sentence with a way out.
//!
//! Invariant: the logits of a model are the same bits for any thread count, any chunking of the prompt and any
//! instruction set; the scalar kernels are the definition and every other kernel is tested against them.

pub mod bench;
mod buffer;
mod cache;
mod config;
pub mod constraint;
mod error;
mod formats;
pub mod generate_random;
pub mod gguf;
mod kernels;
mod loaded;
mod matrix;
mod model;
mod rope;
pub mod sampler;
mod session;
pub mod stream;
pub mod template;
mod threads;
pub mod tokenizer;
mod weights;

pub use cache::KvCache;
pub use config::{Activation, Architecture, Config, RopeStyle};
pub use error::LlmError;
pub use formats::{encode_i2s_trailer, encode_row};
pub use kernels::Kernels;
pub use loaded::LoadedModel;
pub use model::Model;
pub use session::{Session, TokenEvent};
pub use threads::ThreadPool;
