//! Language models on the CPU, from a GGUF file to logits and text.
//!
//! - [`gguf`]: the container format: [`gguf::Gguf`] reads it from a map, owned or static bytes; [`gguf::GgufWriter`]
//!   writes it.
//! - [`LlmError`]: everything that can go wrong, as a sentence with a way out.
//!
//! Invariant: the logits of a model are the same bits for any thread count, any chunking of the prompt and any
//! instruction set; the scalar kernels are the definition and every other kernel is tested against them.

pub mod constraint;
mod error;
pub mod gguf;
pub mod sampler;
pub mod stream;
pub mod template;
pub mod tokenizer;

pub use error::LlmError;
