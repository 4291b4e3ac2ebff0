//! Long-term memory of an agent: texts in one SQLite file, found again by full-text search.
//!
//! - [`MemoryStore`]: the store; [`MemoryStore::open`] a file, or [`MemoryStore::open_in_memory`].
//! - [`Memory`]: a text that a search found, with its score. [`Record`]: a text as it was stored.
//! - [`MemoryError`]: what can go wrong, one variant per cause that a person can act on.
//!
//! Invariants: a text that [`MemoryStore::store`] returned an id for survives a crash of the process; the order of
//! a search's results depends on the stored texts and the query alone; no query text is an error.

mod error;
#[cfg(target_arch = "wasm32")]
mod origin_private;
mod query;
mod sqlite;

use std::path::Path;
use std::time::Duration;

pub use error::MemoryError;

use query::Query;
use sqlite::Database;

/// The longest text, in bytes. A memory is a fact or a short note that goes back into a prompt; a text beyond
/// this would fill the context of most models by itself.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// The most results of one search, so that no limit asked for makes the host build an endless answer.
pub const MAX_RESULTS: usize = 1000;

/// How long an operation waits for another program that is writing to the same file.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A text that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// Its identifier; ids rise in the order of storing and are never used again.
    pub id: i64,
    /// The text, as it was stored.
    pub text: String,
    /// How well it matches; higher is better. Comparable within one search only (a negated bm25).
    pub score: f64,
}

/// A text as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its identifier.
    pub id: i64,
    /// The text.
    pub text: String,
    /// When it was stored, in milliseconds since 1970-01-01T00:00:00Z, if the one who stored it knew.
    pub unix_ms: Option<i64>,
}

/// A store of memories. Several may be open on one file, in one program or in many.
#[derive(Debug)]
pub struct MemoryStore {
    database: Database,
}

impl MemoryStore {
    /// Opens the store in the file at `path`, creating it if there is none.
    ///
    /// # Errors
    /// [`MemoryError::CannotOpen`], [`MemoryError::NotADatabase`], [`MemoryError::ForeignDatabase`],
    /// [`MemoryError::NewerVersion`], [`MemoryError::Corrupt`] or [`MemoryError::Locked`]. A file that is refused
    /// is left as it was.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, MemoryError> {
        Ok(Self { database: Database::open(path.as_ref(), BUSY_TIMEOUT)? })
    }

    /// Opens the store in the private files that a browser keeps for a page's origin (OPFS). Works in a dedicated worker
    /// only, and in one worker of the origin at a time.
    ///
    /// # Errors
    /// [`MemoryError::NoStorage`] when the browser gives none, and those of [`MemoryStore::open`].
    #[cfg(target_arch = "wasm32")]
    pub async fn open_origin_private() -> Result<Self, MemoryError> {
        Self::open(origin_private::prepare().await?)
    }

    /// Opens an empty store that is gone when it is dropped.
    ///
    /// # Errors
    /// [`MemoryError::Database`] if SQLite cannot allocate.
    pub fn open_in_memory() -> Result<Self, MemoryError> {
        Ok(Self { database: Database::open_in_memory()? })
    }

    /// Stores `text` and returns its id. The same text may be stored twice; it then has two ids.
    ///
    /// # Errors
    /// [`MemoryError::EmptyText`] (nothing but white space), [`MemoryError::TextTooLong`],
    /// [`MemoryError::DiskFull`], [`MemoryError::ReadOnly`], [`MemoryError::Locked`]; then nothing is stored.
    pub fn store(&mut self, text: &str, unix_ms: Option<i64>) -> Result<i64, MemoryError> {
        if text.trim().is_empty() {
            return Err(MemoryError::EmptyText);
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(MemoryError::TextTooLong { bytes: text.len(), limit: MAX_TEXT_BYTES });
        }
        self.database.insert(text, unix_ms)
    }

    /// The best matches of `query`, best first, at most `limit` (and at most [`MAX_RESULTS`]).
    ///
    /// Any text is a query: its words are looked for, whatever characters stand between them, without regard to
    /// case, accents and English endings. Words that any question has ("what", "is", "my") count only when there
    /// is no other word. What is returned is the first of these that finds anything: texts with all words, texts
    /// with some, texts with words that begin so, texts that contain the query literally. Equal scores are in the
    /// order of storing. An empty query finds nothing.
    ///
    /// # Errors
    /// [`MemoryError::Locked`], [`MemoryError::Corrupt`], [`MemoryError::Database`].
    pub fn search(&self, query: &str, limit: usize) -> Result<Vec<Memory>, MemoryError> {
        let limit = limit.min(MAX_RESULTS);
        let query = Query::parse(query);
        if limit == 0 || query.is_empty() {
            return Ok(Vec::new());
        }
        for expression in query.expressions() {
            let found = self.database.matching(&expression, limit)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        self.database.containing(query.text(), limit)
    }

    /// The memory with this id, if there is one.
    ///
    /// # Errors
    /// [`MemoryError::Locked`], [`MemoryError::Corrupt`], [`MemoryError::Database`].
    pub fn get(&self, id: i64) -> Result<Option<Record>, MemoryError> {
        self.database.get(id)
    }

    /// Memories in the order of storing: those with an id over `after`, at most `limit` (and at most [`MAX_RESULTS`]).
    ///
    /// # Errors
    /// [`MemoryError::Locked`], [`MemoryError::Corrupt`], [`MemoryError::Database`].
    pub fn list(&self, after: i64, limit: usize) -> Result<Vec<Record>, MemoryError> {
        self.database.list(after, limit.min(MAX_RESULTS))
    }

    /// Removes the memory with this id; whether there was one.
    ///
    /// # Errors
    /// As [`MemoryStore::store`]; then nothing is removed.
    pub fn delete(&mut self, id: i64) -> Result<bool, MemoryError> {
        self.database.delete(id)
    }

    /// How many memories there are.
    ///
    /// # Errors
    /// [`MemoryError::Locked`], [`MemoryError::Corrupt`], [`MemoryError::Database`].
    pub fn count(&self) -> Result<u64, MemoryError> {
        self.database.count()
    }
}
