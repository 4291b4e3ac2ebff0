//! Everything that is SQLite's: the schema and its migrations, the statements, the meaning of its error codes.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};

use crate::{Memory, MemoryError, Record};

/// Marks a database file as a memory store: "GHme" in the `application_id` of its header.
const APPLICATION_ID: i64 = 0x4748_6d65;

/// The size of the smallest SQLite file there can be, one page of the smallest size, in bytes.
const SMALLEST_FILE: u64 = 512;

/// The schema, one step per version: step *n* makes version *n + 1* of version *n* (`user_version` in the header).
///
/// The index holds no text of its own (external content); triggers keep it in step with the table. Identifiers
/// are never used again, so that an id that a process kept cannot come to mean another memory.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE memories (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        text TEXT NOT NULL,
        unix_ms INTEGER
    ) STRICT;
    CREATE VIRTUAL TABLE memories_index USING fts5 (
        text, content = 'memories', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
    );
    CREATE TRIGGER memories_inserted AFTER INSERT ON memories BEGIN
        INSERT INTO memories_index (rowid, text) VALUES (new.id, new.text);
    END;
    CREATE TRIGGER memories_deleted AFTER DELETE ON memories BEGIN
        INSERT INTO memories_index (memories_index, rowid, text) VALUES ('delete', old.id, old.text);
    END;
    CREATE TRIGGER memories_updated AFTER UPDATE ON memories BEGIN
        INSERT INTO memories_index (memories_index, rowid, text) VALUES ('delete', old.id, old.text);
        INSERT INTO memories_index (rowid, text) VALUES (new.id, new.text);
    END;
"];

/// An open database with the newest schema.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
}

impl Database {
    pub(crate) fn open(path: &Path, busy_timeout: Duration) -> Result<Self, MemoryError> {
        if is_too_short(path) {
            return Err(MemoryError::NotADatabase { path: path.to_owned() });
        }
        // Not the default flags: a path is a path here, never a `file:` URI with options in it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(path, flags)
            .map_err(|source| MemoryError::CannotOpen { path: path.to_owned(), source })?;
        connection.busy_timeout(busy_timeout).map_err(classify)?;
        let mut database = Self { connection };
        database.check_owner(path)?;
        database.migrate()?;
        Ok(database)
    }

    pub(crate) fn open_in_memory() -> Result<Self, MemoryError> {
        let mut database = Self { connection: Connection::open_in_memory().map_err(classify)? };
        database.migrate()?;
        Ok(database)
    }

    /// Refuses a file of another program before anything is written to it.
    fn check_owner(&self, path: &Path) -> Result<(), MemoryError> {
        let owned = self.read_header().map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => MemoryError::NotADatabase { path: path.to_owned() },
            Some(ErrorCode::CannotOpen) => MemoryError::CannotOpen { path: path.to_owned(), source: error },
            _ => classify(error),
        })?;
        if owned { Ok(()) } else { Err(MemoryError::ForeignDatabase { path: path.to_owned() }) }
    }

    /// Whether the file is a memory store, or empty and so free to become one.
    ///
    /// Both are read in one transaction, since another connection may make the file a memory store in between.
    fn read_header(&self) -> Result<bool, rusqlite::Error> {
        let snapshot = self.connection.unchecked_transaction()?;
        let application: i64 = snapshot.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let objects: i64 = snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok(application == APPLICATION_ID || (application == 0 && objects == 0))
    }

    fn migrate(&mut self) -> Result<(), MemoryError> {
        const KNOWN: i64 = MIGRATIONS.len() as i64;
        if self.version()? == KNOWN {
            return Ok(());
        }
        // The version is read again under the write lock: another program may have migrated in between.
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(classify)?;
        let found: i64 =
            transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(classify)?;
        let Some(steps) = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..)) else {
            return Err(MemoryError::NewerVersion { found, known: KNOWN });
        };
        for step in steps {
            transaction.execute_batch(step).map_err(classify)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(classify)?;
        transaction.pragma_update(None, "user_version", KNOWN).map_err(classify)?;
        transaction.commit().map_err(classify)
    }

    fn version(&self) -> Result<i64, MemoryError> {
        self.connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(classify)
    }

    pub(crate) fn insert(&mut self, text: &str, unix_ms: Option<i64>) -> Result<i64, MemoryError> {
        self.connection
            .prepare_cached("INSERT INTO memories (text, unix_ms) VALUES (?1, ?2)")
            .and_then(|mut statement| statement.insert(params![text, unix_ms]))
            .map_err(classify)
    }

    pub(crate) fn delete(&mut self, id: i64) -> Result<bool, MemoryError> {
        self.connection
            .prepare_cached("DELETE FROM memories WHERE id = ?1")
            .and_then(|mut statement| statement.execute([id]))
            .map(|rows| rows > 0)
            .map_err(classify)
    }

    pub(crate) fn get(&self, id: i64) -> Result<Option<Record>, MemoryError> {
        self.connection
            .prepare_cached("SELECT id, text, unix_ms FROM memories WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id], record).optional())
            .map_err(classify)
    }

    pub(crate) fn list(&self, after: i64, limit: usize) -> Result<Vec<Record>, MemoryError> {
        self.connection
            .prepare_cached("SELECT id, text, unix_ms FROM memories WHERE id > ?1 ORDER BY id LIMIT ?2")
            .and_then(|mut statement| statement.query_map(params![after, limit as i64], record)?.collect())
            .map_err(classify)
    }

    pub(crate) fn count(&self) -> Result<u64, MemoryError> {
        self.connection
            .prepare_cached("SELECT count(*) FROM memories")
            .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)))
            .map(i64::unsigned_abs)
            .map_err(classify)
    }

    /// Memories that match a full-text expression, best first. bm25 is smaller for better matches.
    pub(crate) fn matching(&self, expression: &str, limit: usize) -> Result<Vec<Memory>, MemoryError> {
        self.memories(
            "SELECT memories.id, memories.text, -bm25(memories_index) AS score
             FROM memories_index JOIN memories ON memories.id = memories_index.rowid
             WHERE memories_index MATCH ?1 ORDER BY score DESC, memories.id LIMIT ?2",
            expression,
            limit,
        )
    }

    /// Memories that contain `text` literally (ASCII letters in any case), in the order of storing.
    pub(crate) fn containing(&self, text: &str, limit: usize) -> Result<Vec<Memory>, MemoryError> {
        self.memories(
            "SELECT id, text, 0.0 FROM memories WHERE instr(lower(text), lower(?1)) > 0 ORDER BY id LIMIT ?2",
            text,
            limit,
        )
    }

    fn memories(&self, statement: &str, text: &str, limit: usize) -> Result<Vec<Memory>, MemoryError> {
        let memory = |row: &Row<'_>| Ok(Memory { id: row.get(0)?, text: row.get(1)?, score: row.get(2)? });
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(statement)
            .and_then(|mut statement| statement.query_map(params![text, limit], memory)?.collect())
            .map_err(classify)
    }
}

/// Whether there is a file that is neither empty nor long enough to be a database. SQLite finds every other file that
/// is none, but takes one of a single byte for an empty one and overwrites it.
///
/// The file is not opened: closing it again would drop the locks that other connections of this process hold
/// (SQLite, "How To Corrupt An SQLite Database File", 2.2).
fn is_too_short(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && (1..SMALLEST_FILE).contains(&file.len()))
}

/// What a failure means to the one who uses the store.
fn classify(error: rusqlite::Error) -> MemoryError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => MemoryError::Corrupt(error),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => MemoryError::Locked(error),
        Some(ErrorCode::DiskFull) => MemoryError::DiskFull(error),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => MemoryError::ReadOnly(error),
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => MemoryError::Io(error),
        _ => MemoryError::Database(error),
    }
}

fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record { id: row.get(0)?, text: row.get(1)?, unix_ms: row.get(2)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_reported_and_loses_nothing() {
        let mut database = Database::open_in_memory().unwrap();
        database.insert("kept", None).unwrap();
        let pages: i64 =
            database.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        database.connection.pragma_update(None, "max_page_count", pages).unwrap();
        let error = database.insert(&"x ".repeat(20_000), None).unwrap_err();
        assert!(matches!(error, MemoryError::DiskFull(_)), "{error:?}");
        assert_eq!(database.count().unwrap(), 1);
        assert_eq!(database.matching("\"kept\"", 5).unwrap().len(), 1);
    }

    #[test]
    fn a_lock_held_by_another_program_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.db");
        let mut database = Database::open(&path, Duration::ZERO).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        assert!(matches!(database.insert("text", None), Err(MemoryError::Locked(_))));
        assert!(matches!(Database::open(&path, Duration::ZERO), Err(MemoryError::Locked(_))));
        other.execute_batch("ROLLBACK").unwrap();
        assert!(database.insert("text", None).is_ok());
    }

    #[test]
    fn a_file_of_a_later_version_is_refused_and_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.db");
        drop(Database::open(&path, Duration::ZERO).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = Database::open(&path, Duration::ZERO).unwrap_err();
        assert!(matches!(error, MemoryError::NewerVersion { found: 7, known: 1 }), "{error:?}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn the_index_stays_in_step_with_the_table() {
        let mut database = Database::open_in_memory().unwrap();
        let first = database.insert("the cat sleeps", None).unwrap();
        database.insert("the dog barks", None).unwrap();
        database.connection.execute("UPDATE memories SET text = 'a horse' WHERE id = ?1", [first]).unwrap();
        assert!(database.matching("\"cat\"", 5).unwrap().is_empty());
        assert_eq!(database.matching("\"horse\"", 5).unwrap().len(), 1);
        assert!(database.delete(first).unwrap());
        assert!(database.matching("\"horse\"", 5).unwrap().is_empty());
        database
            .connection
            .execute_batch("INSERT INTO memories_index (memories_index, rank) VALUES ('integrity-check', 1)")
            .unwrap();
    }
}
