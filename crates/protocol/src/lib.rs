//! The typed requests and answers that processes and services exchange, shared by host and guest.
//!
//! - [`Request`]: what a process asks of a service; its JSON is the payload of an envelope with `EXPECTS_RESPONSE`.
//! - [`GenerateRequest`] / [`GenerateResponse`], [`ModelDescription`]: the `model` service; [`Message`]s are what it
//!   continues, [`Sampling`] is how.
//! - [`ToolDescription`]: how a tool presents itself to a model.
//! - [`DirectoryEntry`], [`FileText`], [`SearchMatch`]: answers of the `files` service.
//! - [`ClockReading`], [`StoredMemory`], [`FoundMemory`]: answers of the `clock` and `memory` services.
//! - [`ErrorData`]: an error as data: a stable code, a message a person can act on, a source chain.
//!
//! The wire form is JSON with a fixed field order, so the same value always has the same bytes.

#![no_std]

extern crate alloc;

mod error;
mod message;
mod model;
mod request;
mod sampling;
mod tool;

pub use error::ErrorData;
pub use message::{Message, RejectedCall, Role, ToolCall};
pub use model::{
    Constraint, FinishReason, GenerateRequest, GenerateResponse, GuardHalt, GuardedToken, ModelDescription,
    TokenLogprob, Usage,
};
pub use request::{
    ClockReading, DirectoryEntry, EntryKind, FileText, FileWritten, FoundMemory, Request, SearchMatch,
    SearchMatches, StoredMemory,
};
pub use sampling::{Dry, Mirostat, Sampling, SamplingStep, TokenBias, Xtc};
pub use tool::ToolDescription;

/// Service names, as they stand before the dot of a request's `service` field.
pub mod services {
    /// Text generation.
    pub const MODEL: &str = "model";
    /// The host's wall clock.
    pub const CLOCK: &str = "clock";
    /// The mounted directories.
    pub const FILES: &str = "files";
    /// Long-term memory.
    pub const MEMORY: &str = "memory";
    /// Calls of granted tools; answered by the kernel, not by a host service.
    pub const TOOL: &str = "tool";
}

/// Codes of [`ErrorData`] that a program on the other side of a boundary acts on.
pub mod codes {
    /// The prompt does not fit the model's context.
    pub const CONTEXT_OVERFLOW: &str = "context_overflow";
}
