//! The `files` service as processes see it, whatever the host keeps files in.

use glasshouse_kernel::Capability;
use glasshouse_protocol::{DirectoryEntry, ErrorData, FileText, FileWritten, SearchMatches};

/// Text files that a host grants to processes. Every method checks the caller's grants.
pub trait FileSystem {
    /// What a process is granted that may use all of it; empty when there is nothing.
    fn capabilities(&self) -> &[Capability];

    /// The start of a file's text.
    ///
    /// # Errors
    /// What a person would be told, with a stable code.
    fn read(&self, grants: &[Capability], path: &str) -> Result<FileText, ErrorData>;

    /// Creates or replaces a file.
    ///
    /// # Errors
    /// As [`Self::read`]; `read_only` where writing is not granted.
    fn write(&self, grants: &[Capability], path: &str, content: &str) -> Result<FileWritten, ErrorData>;

    /// The entries of a directory, sorted by name.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn list(&self, grants: &[Capability], path: &str) -> Result<Vec<DirectoryEntry>, ErrorData>;

    /// Lines below a directory that contain `query`, ignoring case.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn search(&self, grants: &[Capability], query: &str, path: &str) -> Result<SearchMatches, ErrorData>;
}

/// No files: nothing is granted, so the kernel refuses every request before it comes here.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl NoFiles {
    fn refuse<T>() -> Result<T, ErrorData> {
        Err(ErrorData::new("no_mount", "no folder is mounted"))
    }
}

impl FileSystem for NoFiles {
    fn capabilities(&self) -> &[Capability] {
        &[]
    }

    fn read(&self, _grants: &[Capability], _path: &str) -> Result<FileText, ErrorData> {
        Self::refuse()
    }

    fn write(&self, _grants: &[Capability], _path: &str, _content: &str) -> Result<FileWritten, ErrorData> {
        Self::refuse()
    }

    fn list(&self, _grants: &[Capability], _path: &str) -> Result<Vec<DirectoryEntry>, ErrorData> {
        Self::refuse()
    }

    fn search(&self, _grants: &[Capability], _query: &str, _path: &str) -> Result<SearchMatches, ErrorData> {
        Self::refuse()
    }
}
