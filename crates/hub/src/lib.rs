//! Gets model files from a model hub or any address, and keeps them on this machine.
//!
//! - [`Source`]: where a model comes from, as a person writes it: `hf:OWNER/REPO[:QUANT]`, a URL, a name of the registry.
//! - [`registry`]: ternary instruct models, with what they need, and which of them suit a machine.
//! - [`Hub`]: finds the files of a source ([`Plan`]) and downloads them: in parallel ranges, resumable, checksummed.
//! - [`Store`]: the folder of models: what is there, whole or in part; find and remove by name.
//! - [`Event`]: what a download tells while it goes on. Nothing here prints.
//! - [`HubError`]: everything that can go wrong, as a sentence with a way out.
//!
//! Invariant: a file of the store has its final name only if it is whole: it has the length that was announced, and the
//! checksum if one is known. Until then it is `NAME.part` beside what is known of it, `NAME.part.json`.
//!
//! Invariant: the token for the hub is sent to the hub alone, never to where it redirects.

mod answer;
mod client;
mod error;
mod hub;
pub mod machine;
mod ranges;
mod record;
pub mod registry;
mod repository;
mod source;
mod store;
mod transfer;

pub use client::{DEFAULT_ENDPOINT, HubOptions, Patience, Stop, Timeouts};
pub use error::HubError;
pub use hub::{Event, Hub, Plan, PlannedFile, Pulled};
pub use source::{Source, check_name};
pub use store::{Manifest, Store, StoredFile, StoredModel};
