//! What processes can ask for: each service parses nothing itself, and its answer is a recorded input of the kernel.
//!
//! - [`Services`]: all of them, and the dispatch from a request to its service.
//! - [`ModelService`]: text generation, one session per process, all advancing together.
//! - [`FileSystem`]: the files that the host grants, if any.
//! - [`Clock`]: the wall clock.
//!
//! A request reaches this module only after the kernel found its service among the process's grants.

mod clock;
mod files;
mod model;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use glasshouse_kernel::{Capability, ProcessId, RequestId};
use glasshouse_memory::{MemoryError, MemoryStore};
use glasshouse_protocol::{ErrorData, FoundMemory, Request, StoredMemory};
use serde::Serialize;

pub use clock::Clock;
pub use files::{FileSystem, NoFiles};
pub use model::ModelService;
pub(crate) use model::Recorded;

use crate::Observer;

/// A service's answer: JSON, or what went wrong as data for the process that asked.
pub type Answer = Result<Vec<u8>, ErrorData>;

/// More memories than this are of no use in a prompt.
const MAXIMUM_FOUND_MEMORIES: u32 = 50;

/// One request of a process.
pub struct ServiceCall<'a> {
    /// Which one.
    pub request: RequestId,
    /// Who asks.
    pub process: ProcessId,
    /// The request's JSON.
    pub payload: &'a [u8],
    /// What the process may use.
    pub grants: &'a [Capability],
    /// Derived by the kernel for this request.
    pub seed: u64,
}

impl ServiceCall<'_> {
    /// The request, typed.
    pub(crate) fn request(&self) -> Result<Request, ErrorData> {
        serde_json::from_slice(self.payload)
            .map_err(|error| ErrorData::new("bad_request", format!("the request is malformed: {error}")))
    }
}

/// The services of one runtime.
pub struct Services {
    /// Text generation; without a model, such requests are answered with an error.
    pub model: Option<ModelService>,
    /// The files that the host grants.
    pub files: Box<dyn FileSystem>,
    /// The wall clock.
    pub clock: Clock,
    /// Long-term memory.
    pub memory: MemoryStore,
    /// Set by the person to stop the run.
    pub stop: Arc<AtomicBool>,
}

/// What performing a request came to.
pub enum Performed {
    /// The answer. An error is data for the process that asked; the run goes on.
    Answer(Answer),
    /// Text is being generated: [`Services::advance`] goes on with it, and has the answer in the end.
    Begun,
}

impl Services {
    /// Performs a request, or begins to.
    pub fn perform(&mut self, call: &ServiceCall<'_>) -> Performed {
        let request = match call.request() {
            Ok(request) => request,
            Err(error) => return Performed::Answer(Err(error)),
        };
        let begun = self.model.as_mut().and_then(|model| model.begin(call, &request));
        begun.unwrap_or_else(|| Performed::Answer(self.answer(call, request)))
    }

    /// Whether text is being generated.
    pub fn is_generating(&self) -> bool {
        self.model.as_ref().is_some_and(ModelService::is_generating)
    }

    /// Does one piece of all generations together, or ends them where they are if the person stopped the run: the answers
    /// that there are now.
    pub fn advance(&mut self, observer: &mut dyn Observer) -> Vec<(RequestId, Answer)> {
        let Some(model) = &mut self.model else { return Vec::new() };
        if self.stop.load(Ordering::Relaxed) { model.cancel_all() } else { model.advance(observer) }
    }

    /// Answers a request that no generation is needed for.
    fn answer(&mut self, call: &ServiceCall<'_>, request: Request) -> Answer {
        match request {
            Request::Generate(_) | Request::DescribeModel {} => Err(no_model()),
            Request::ReadClock {} => json(&self.clock.read()),
            Request::ReadFile { path } => json(&self.files.read(call.grants, &path)?),
            Request::WriteFile { path, content } => json(&self.files.write(call.grants, &path, &content)?),
            Request::ListDirectory { path } => json(&self.files.list(call.grants, &path)?),
            Request::SearchFiles { query, path } => json(&self.files.search(call.grants, &query, &path)?),
            Request::StoreMemory { text } => {
                let id = self.memory.store(&text, None).map_err(|error| memory_error(&error))?;
                json(&StoredMemory { id })
            }
            Request::SearchMemory { query, limit } => {
                let limit = limit.min(MAXIMUM_FOUND_MEMORIES);
                let found =
                    self.memory.search(&query, limit as usize).map_err(|error| memory_error(&error))?;
                let found: Vec<FoundMemory> = found
                    .into_iter()
                    .map(|memory| FoundMemory { id: memory.id, text: memory.text })
                    .collect();
                json(&found)
            }
            // The kernel answers tool calls itself.
            Request::CallTool { name, .. } => {
                Err(ErrorData::new("unknown_tool", format!("no tool {name} is registered")))
            }
        }
    }

    /// Forgets what is kept for a process that ended.
    pub fn release(&mut self, process: ProcessId) {
        if let Some(model) = &mut self.model {
            model.release(process);
        }
    }

    /// Forgets what is kept for the processes of a run before, which may not have come to its end.
    pub fn release_all(&mut self) {
        if let Some(model) = &mut self.model {
            model.release_all();
        }
    }
}

fn no_model() -> ErrorData {
    ErrorData::new("no_model", "no model is loaded; start with --model FILE")
}

fn memory_error(error: &MemoryError) -> ErrorData {
    ErrorData::from_error(error.code(), error)
}

fn json<T: Serialize>(value: &T) -> Answer {
    serde_json::to_vec(value).map_err(|error| ErrorData::from_error("bad_answer", &error))
}
