//! The `model` service: one conversation session per process, all on one loaded model.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use glasshouse_kernel::ProcessId;
use glasshouse_llm::{Generation, LlmError, LoadedModel, Session, TokenEvent};
use glasshouse_protocol::{ErrorData, Request};

use super::{Answer, Performed, ServiceCall, json};
use crate::Observer;

/// Generates text for processes.
pub struct ModelService {
    model: Arc<LoadedModel>,
    sessions: BTreeMap<ProcessId, Session>,
    stop: Arc<AtomicBool>,
}

/// A generation that is going on.
pub struct Generating {
    process: ProcessId,
    generation: Generation,
}

impl ModelService {
    /// A service on `model`; generation ends early once `stop` is set.
    pub fn new(model: Arc<LoadedModel>, stop: Arc<AtomicBool>) -> Self {
        Self { model, sessions: BTreeMap::new(), stop }
    }

    /// Takes a `model.*` request; `None` when it is for another service.
    pub(crate) fn begin(&mut self, call: &ServiceCall<'_>, request: &Request) -> Option<Performed> {
        Some(match request {
            Request::Generate(request) => {
                let process = call.process;
                match self.session(process).start(request, call.seed) {
                    Ok(generation) => Performed::Generating(Box::new(Generating { process, generation })),
                    Err(error) => Performed::Answer(Err(failure(&error))),
                }
            }
            Request::DescribeModel {} => Performed::Answer(json(self.model.description())),
            _ => return None,
        })
    }

    /// Evaluates a part of the prompt or chooses a token: the answer once there is one. Generation stops early after
    /// `maximum` tokens, if given: where a recorded run was stopped.
    pub(crate) fn advance(
        &mut self,
        generating: &mut Generating,
        maximum: Option<u32>,
        observer: &mut dyn Observer,
    ) -> Option<Answer> {
        let Generating { process, generation } = generating;
        let stop = Arc::clone(&self.stop);
        let session = self.session(*process);
        if generation.generated_tokens() == 0 && (stop.load(Ordering::Relaxed) || maximum == Some(0)) {
            return Some(
                generation.cancel(session).map_err(|error| failure(&error)).and_then(|cut| json(&cut)),
            );
        }
        let mut on_token = |token: &TokenEvent<'_>| {
            observer.token(*process, token);
            if stop.load(Ordering::Relaxed) || maximum == Some(token.index + 1) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        match generation.advance(session, &mut on_token) {
            Ok(response) => response.as_ref().map(json),
            Err(error) => Some(Err(failure(&error))),
        }
    }

    /// Answers a `model.*` request, however long it takes; `None` when it is for another service.
    pub(crate) fn answer(
        &mut self,
        call: &ServiceCall<'_>,
        request: &Request,
        maximum: Option<u32>,
        observer: &mut dyn Observer,
    ) -> Option<Answer> {
        let mut generating = match self.begin(call, request)? {
            Performed::Answer(answer) => return Some(answer),
            Performed::Generating(generating) => generating,
        };
        loop {
            if let Some(answer) = self.advance(&mut generating, maximum, observer) {
                return Some(answer);
            }
        }
    }

    fn session(&mut self, process: ProcessId) -> &mut Session {
        self.sessions.entry(process).or_insert_with(|| Session::new(Arc::clone(&self.model)))
    }

    /// Drops the session of a process that ended.
    pub(crate) fn release(&mut self, process: ProcessId) {
        self.sessions.remove(&process);
    }

    /// Drops all sessions.
    pub(crate) fn release_all(&mut self) {
        self.sessions.clear();
    }
}

fn failure(error: &LlmError) -> ErrorData {
    ErrorData::from_error(error.code(), error)
}
