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
use glasshouse_llm::{LoadedModel, Session, TokenEvent};
use glasshouse_protocol::{ErrorData, GenerateRequest, GenerateResponse, Request};

use super::{ServiceCall, json};
use crate::Observer;

/// Generates text for processes.
pub struct ModelService {
    model: Arc<LoadedModel>,
    sessions: BTreeMap<ProcessId, Session>,
    stop: Arc<AtomicBool>,
}

impl ModelService {
    /// A service on `model`; generation ends early once `stop` is set.
    pub fn new(model: Arc<LoadedModel>, stop: Arc<AtomicBool>) -> Self {
        Self { model, sessions: BTreeMap::new(), stop }
    }

    /// Answers a `model.*` request as JSON; `None` when it is for another service. Generation stops early after
    /// `maximum` tokens, if given: where a recorded run was stopped.
    pub(crate) fn answer(
        &mut self,
        call: &ServiceCall<'_>,
        request: &Request,
        maximum: Option<u32>,
        observer: &mut dyn Observer,
    ) -> Option<Result<Vec<u8>, ErrorData>> {
        Some(match request {
            Request::Generate(request) => self
                .generate(call.process, request, call.seed, maximum, observer)
                .and_then(|answer| json(&answer)),
            Request::DescribeModel {} => json(self.model.description()),
            _ => return None,
        })
    }

    /// Generates the next message of the process's conversation.
    fn generate(
        &mut self,
        process: ProcessId,
        request: &GenerateRequest,
        seed: u64,
        maximum: Option<u32>,
        observer: &mut dyn Observer,
    ) -> Result<GenerateResponse, ErrorData> {
        let session = self.sessions.entry(process).or_insert_with(|| Session::new(Arc::clone(&self.model)));
        let stop = &self.stop;
        let mut generated = 0;
        let mut on_token = |token: &TokenEvent<'_>| {
            observer.token(process, token);
            generated += 1;
            if stop.load(Ordering::Relaxed) || maximum == Some(generated) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        session
            .generate(request, seed, &mut on_token)
            .map_err(|error| ErrorData::from_error(error.code(), &error))
    }

    /// Drops the session of a process that ended.
    pub fn release(&mut self, process: ProcessId) {
        self.sessions.remove(&process);
    }
}
