//! Downloads from a server that does right and wrong: each test is one promise.
//!
//! - `server`: does what a test tells it. `bench`: a hub, a store and what was told.
//! - `one_file`, `repository`, `store`: promises about a file at an address, a repository of the hub, and what is kept.

mod bench;
mod one_file;
mod repository;
mod server;
mod store;
