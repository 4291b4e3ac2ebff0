//! Holds the rewriting pass against what it promises.
//!
//! - [`specification`]: the specification's tests do the same with and without the pass.
//! - [`modules`], [`floats`]: what makes random modules: wasm-smith, and programs full of NaNs.
//! - [`oracle`]: decides whether a module does the same everywhere.
//! - [`engines`]: what the modules run on: wasmtime's compiler, its interpreter Pulley, and wasmi.
//! - [`host`]: runs modules as a host does: sets accounts, starts them, says why a call ended.
//! - [`effort`]: how much is tried.
//! - [`value`], [`stream`]: values and traps, spelled alike for every engine; random numbers.

pub mod effort;
pub mod engines;
pub mod floats;
pub mod host;
pub mod modules;
pub mod oracle;
pub mod specification;
pub mod stream;
pub mod value;
