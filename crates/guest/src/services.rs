//! The services, one `async fn` per request. Each answers with what the service said, or with its error.

/// Text generation.
pub mod model {
    use glasshouse_protocol::{ErrorData, GenerateRequest, GenerateResponse, ModelDescription, Request};

    use crate::request;

    /// Generates the next assistant message of a conversation.
    ///
    /// # Errors
    ///
    /// The service's.
    pub async fn generate(generation: GenerateRequest) -> Result<GenerateResponse, ErrorData> {
        request(&Request::Generate(generation)).await
    }

    /// What the model is.
    ///
    /// # Errors
    ///
    /// The service's.
    pub async fn describe() -> Result<ModelDescription, ErrorData> {
        request(&Request::DescribeModel {}).await
    }
}

/// Calls of granted tools.
pub mod tools {
    use glasshouse_protocol::{ErrorData, Request};
    use serde_json::Value;

    use crate::request;

    /// Calls the tool `name` with an arguments object.
    ///
    /// # Errors
    ///
    /// The tool's, or `unknown_tool` and `capability_denied` when there is no such tool for this process.
    pub async fn call(name: &str, arguments: Value) -> Result<Value, ErrorData> {
        request(&Request::CallTool { name: name.to_owned(), arguments }).await
    }
}

/// The mounted directories. Paths are relative to the mounts.
pub mod files {
    use glasshouse_protocol::{DirectoryEntry, ErrorData, FileText, FileWritten, Request, SearchMatches};

    use crate::request;

    /// Reads a text file.
    ///
    /// # Errors
    ///
    /// The service's.
    pub async fn read(path: impl Into<String>) -> Result<FileText, ErrorData> {
        request(&Request::ReadFile { path: path.into() }).await
    }

    /// Creates or replaces a file.
    ///
    /// # Errors
    ///
    /// The service's.
    pub async fn write(
        path: impl Into<String>,
        content: impl Into<String>,
    ) -> Result<FileWritten, ErrorData> {
        request(&Request::WriteFile { path: path.into(), content: content.into() }).await
    }

    /// Lists a directory, sorted by name.
    ///
    /// # Errors
    ///
    /// The service's.
    pub async fn list(path: impl Into<String>) -> Result<Vec<DirectoryEntry>, ErrorData> {
        request(&Request::ListDirectory { path: path.into() }).await
    }

    /// Finds lines that contain `query`, ignoring case, in the files below `path`.
    ///
    /// # Errors
    ///
    /// The service's.
    pub async fn search(
        query: impl Into<String>,
        path: impl Into<String>,
    ) -> Result<SearchMatches, ErrorData> {
        request(&Request::SearchFiles { query: query.into(), path: path.into() }).await
    }
}

/// Long-term memory.
pub mod memory {
    use glasshouse_protocol::{ErrorData, FoundMemory, Request, StoredMemory};

    use crate::request;

    /// Keeps a text.
    ///
    /// # Errors
    ///
    /// The service's.
    pub async fn store(text: impl Into<String>) -> Result<StoredMemory, ErrorData> {
        request(&Request::StoreMemory { text: text.into() }).await
    }

    /// The texts that match best, best first, at most `limit`.
    ///
    /// # Errors
    ///
    /// The service's.
    pub async fn search(query: impl Into<String>, limit: u32) -> Result<Vec<FoundMemory>, ErrorData> {
        request(&Request::SearchMemory { query: query.into(), limit }).await
    }
}

/// The host's wall clock.
pub mod clock {
    use glasshouse_protocol::{ClockReading, ErrorData, Request};

    use crate::request;

    /// What the wall clock says now.
    ///
    /// # Errors
    ///
    /// The service's.
    pub async fn now() -> Result<ClockReading, ErrorData> {
        request(&Request::ReadClock {}).await
    }
}
