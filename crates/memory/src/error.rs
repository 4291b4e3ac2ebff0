//! What can go wrong with a memory store.

use std::path::PathBuf;

use thiserror::Error;

/// Why an operation on a memory store failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// There is nothing to store.
    #[error("the text to remember is empty")]
    EmptyText,
    /// The text is longer than [`crate::MAX_TEXT_BYTES`].
    #[error(
        "the text to remember has {bytes} bytes, more than the {limit} that one memory may have; store its parts separately"
    )]
    TextTooLong {
        /// Bytes of the text.
        bytes: usize,
        /// [`crate::MAX_TEXT_BYTES`].
        limit: usize,
    },
    /// The file cannot be opened or created.
    #[error("the memory file {} cannot be opened; check that its folder exists and that you may read and write it", path.display())]
    CannotOpen {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The host has no place to keep the store.
    #[error("long-term memory cannot be kept in this browser: {reason}")]
    NoStorage {
        /// Why, and what to do.
        reason: String,
    },
    /// The file is something else.
    #[error("the memory file {} is not a SQLite database; it was left as it is, name another file", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is a SQLite database of another program.
    #[error("the SQLite database {} belongs to another program; it was left as it is, name another file", path.display())]
    ForeignDatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later version of this crate.
    #[error(
        "the memory file has schema version {found}, this program knows versions up to {known}; use a newer program"
    )]
    NewerVersion {
        /// The file's version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The database's pages or its index are damaged.
    #[error("the memory file is damaged; restore it from a copy, or name another file")]
    Corrupt(#[source] rusqlite::Error),
    /// Another program kept the file locked for longer than [`crate::BUSY_TIMEOUT`].
    #[error("another program is using the memory file; try again when it is done")]
    Locked(#[source] rusqlite::Error),
    /// No space is left where the file is.
    #[error("no space is left to store the memory; free some and try again")]
    DiskFull(#[source] rusqlite::Error),
    /// The file may not be written.
    #[error("the memory file may only be read; change its permissions, or name another file")]
    ReadOnly(#[source] rusqlite::Error),
    /// The file could not be read or written.
    #[error("the memory file could not be read or written")]
    Io(#[source] rusqlite::Error),
    /// Anything else that SQLite reports.
    #[error("the memory database failed")]
    Database(#[source] rusqlite::Error),
}

impl MemoryError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::EmptyText => "memory_empty_text",
            Self::TextTooLong { .. } => "memory_text_too_long",
            Self::CannotOpen { .. } => "memory_cannot_open",
            Self::NoStorage { .. } => "memory_no_storage",
            Self::NotADatabase { .. } => "memory_not_a_database",
            Self::ForeignDatabase { .. } => "memory_foreign_database",
            Self::NewerVersion { .. } => "memory_newer_version",
            Self::Corrupt(_) => "memory_corrupt",
            Self::Locked(_) => "memory_locked",
            Self::DiskFull(_) => "memory_disk_full",
            Self::ReadOnly(_) => "memory_read_only",
            Self::Io(_) => "memory_io",
            Self::Database(_) => "memory_database",
        }
    }
}
