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
use glasshouse_llm::{Generation, GuardConfig, LlmError, LoadedModel, Session, TokenEvent};
use glasshouse_protocol::{ErrorData, Request};

use super::{Answer, Performed, ServiceCall, json};
use crate::{Observer, host};

/// Generates text for processes.
pub struct ModelService {
    model: Arc<LoadedModel>,
    guard: Option<GuardConfig>,
    sessions: BTreeMap<ProcessId, Session>,
    stop: Arc<AtomicBool>,
}

/// What a recorded generation owes to its host, and a repetition takes from the log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Recorded {
    /// A person stopped it after so many tokens.
    pub(crate) cancelled_after: Option<u32>,
    /// The token that took so many milliseconds that the guard halted there.
    pub(crate) late: Option<(u64, f64)>,
}

/// A generation that is going on.
pub struct Generating {
    process: ProcessId,
    generation: Generation,
}

impl ModelService {
    /// A service on `model` whose generations are guarded so; they end early once `stop` is set.
    pub fn new(model: Arc<LoadedModel>, guard: Option<GuardConfig>, stop: Arc<AtomicBool>) -> Self {
        Self { model, guard, sessions: BTreeMap::new(), stop }
    }

    /// Takes a `model.*` request; `None` when it is for another service.
    pub(crate) fn begin(&mut self, call: &ServiceCall<'_>, request: &Request) -> Option<Performed> {
        Some(match request {
            Request::Generate(request) => {
                let process = call.process;
                let guard = self.guard.clone();
                match self.session(process).start_guarded(request, call.seed, guard.as_ref()) {
                    Ok(mut generation) => {
                        if guard.is_some_and(|guard| guard.has_deadline) {
                            generation.set_timer(stopwatch());
                        }
                        Performed::Generating(Box::new(Generating { process, generation }))
                    }
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

    /// Answers a recorded `model.*` request, however long it takes; `None` when it is for another service.
    pub(crate) fn answer_again(
        &mut self,
        call: &ServiceCall<'_>,
        request: &Request,
        recorded: &Recorded,
        observer: &mut dyn Observer,
    ) -> Option<Answer> {
        let mut generating = match self.begin(call, request)? {
            Performed::Answer(answer) => return Some(answer),
            Performed::Generating(generating) => generating,
        };
        let late = recorded.late;
        generating.generation.set_timer(move |index| {
            late.filter(|(token, _)| *token == index).map(|(_, milliseconds)| milliseconds)
        });
        loop {
            if let Some(answer) = self.advance(&mut generating, recorded.cancelled_after, observer) {
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

/// Says how many milliseconds have passed since it was asked last.
fn stopwatch() -> impl FnMut(u64) -> Option<f64> + Send + 'static {
    let mut last = host::unix_milliseconds();
    move |_| {
        let now = host::unix_milliseconds();
        // Somebody may have set the clock back.
        let elapsed = now.saturating_sub(last).max(0);
        last = now;
        Some(elapsed as f64)
    }
}

fn failure(error: &LlmError) -> ErrorData {
    ErrorData::from_error(error.code(), error)
}
