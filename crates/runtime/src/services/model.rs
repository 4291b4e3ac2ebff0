//! The `model` service: one conversation session per process, all on one loaded model, whose generations advance together.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use glasshouse_kernel::{ProcessId, RequestId};
use glasshouse_llm::scheduler::{Finished, Scheduler, Ticket};
use glasshouse_llm::{Generation, GuardConfig, LlmError, LoadedModel, Session, TokenEvent};
use glasshouse_protocol::{ErrorData, GenerateRequest, GenerateResponse, Request};

use super::{Answer, Performed, ServiceCall, json};
use crate::{Observer, host};

/// Generates text for processes.
pub struct ModelService {
    scheduler: Scheduler,
    /// An empty session: all others are its siblings.
    first: Session,
    guard: Option<GuardConfig>,
    /// Of the processes whose requests are answered.
    sessions: BTreeMap<ProcessId, Session>,
    /// Of the generations that are going on: who waits for them, and the requests.
    waiting: BTreeMap<Ticket, (ProcessId, RequestId)>,
}

/// What a recorded generation owes to its host, and a repetition takes from the log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Recorded {
    /// A person stopped it after so many tokens.
    pub(crate) cancelled_after: Option<u32>,
    /// The token that took so many milliseconds that the guard halted there.
    pub(crate) late: Option<(u64, f64)>,
}

impl ModelService {
    /// A service on `model` whose generations are guarded so.
    pub fn new(model: Arc<LoadedModel>, guard: Option<GuardConfig>) -> Self {
        let (sessions, waiting) = (BTreeMap::new(), BTreeMap::new());
        let first = Session::new(Arc::clone(&model));
        Self { scheduler: Scheduler::new(model), first, guard, sessions, waiting }
    }

    /// Takes a `model.*` request; `None` when it is for another service.
    pub(crate) fn begin(&mut self, call: &ServiceCall<'_>, request: &Request) -> Option<Performed> {
        Some(match request {
            Request::Generate(request) => match self.start(call, request) {
                Ok((session, mut generation)) => {
                    if self.guard.as_ref().is_some_and(|guard| guard.has_deadline) {
                        generation.set_timer(stopwatch());
                    }
                    let ticket = self.scheduler.submit(session, generation);
                    self.waiting.insert(ticket, (call.process, call.request));
                    Performed::Begun
                }
                Err(error) => Performed::Answer(Err(failure(&error))),
            },
            Request::DescribeModel {} => Performed::Answer(json(self.scheduler.model().description())),
            _ => return None,
        })
    }

    /// Begins a generation in the session of the process that asks.
    fn start(
        &mut self,
        call: &ServiceCall<'_>,
        request: &GenerateRequest,
    ) -> Result<(Session, Generation), LlmError> {
        let held = self.sessions.remove(&call.process);
        let mut session = held.unwrap_or_else(|| self.first.sibling());
        match session.start_guarded(request, call.seed, self.guard.as_ref()) {
            Ok(generation) => Ok((session, generation)),
            Err(error) => {
                self.sessions.insert(call.process, session);
                Err(error)
            }
        }
    }

    /// From here on sessions share beginnings of conversations with all others of the model, or, apart, with later ones of this
    /// service alone.
    pub(crate) fn share(&mut self, is_apart: bool) {
        let model = Arc::clone(self.scheduler.model());
        self.first = if is_apart { Session::apart(model) } else { Session::new(model) };
    }

    /// Whether generations are going on.
    pub(crate) fn is_generating(&self) -> bool {
        !self.scheduler.is_empty()
    }

    /// Evaluates a part of the prompts and chooses a token of each generation behind its prompt: the answers of those that
    /// ended.
    pub(crate) fn advance(&mut self, observer: &mut dyn Observer) -> Vec<(RequestId, Answer)> {
        let waiting = &self.waiting;
        let finished = self.scheduler.step(&mut |ticket, token| {
            if let Some((process, _)) = waiting.get(&ticket) {
                observer.token(*process, token);
            }
            ControlFlow::Continue(())
        });
        finished.into_iter().filter_map(|finished| self.finish(finished)).collect()
    }

    /// Ends all generations where they are: their answers.
    pub(crate) fn cancel_all(&mut self) -> Vec<(RequestId, Answer)> {
        let tickets: Vec<Ticket> = self.waiting.keys().copied().collect();
        tickets.into_iter().filter_map(|ticket| self.cancel(ticket)).collect()
    }

    fn cancel(&mut self, ticket: Ticket) -> Option<(RequestId, Answer)> {
        let finished = self.scheduler.cancel(ticket)?;
        self.finish(finished)
    }

    /// Puts the session of a generation back, and answers the request if somebody waits for it.
    fn finish(&mut self, finished: Finished) -> Option<(RequestId, Answer)> {
        let Finished { ticket, session, outcome } = finished;
        let (process, request) = self.waiting.remove(&ticket)?;
        self.sessions.insert(process, session);
        Some((request, answer(outcome)))
    }

    /// Answers a recorded `model.*` request, however long it takes; `None` when it is for another service.
    pub(crate) fn answer_again(
        &mut self,
        call: &ServiceCall<'_>,
        request: &Request,
        recorded: &Recorded,
        observer: &mut dyn Observer,
    ) -> Option<Answer> {
        let Request::Generate(request) = request else {
            return match self.begin(call, request)? {
                Performed::Answer(answer) => Some(answer),
                Performed::Begun => None,
            };
        };
        let (mut session, mut generation) = match self.start(call, request) {
            Ok(started) => started,
            Err(error) => return Some(Err(failure(&error))),
        };
        let outcome = generate_again(&mut session, &mut generation, recorded, &mut |token| {
            observer.token(call.process, token);
        });
        self.sessions.insert(call.process, session);
        Some(answer(outcome))
    }

    /// Drops the session of a process that ended, and what it was waiting for.
    pub(crate) fn release(&mut self, process: ProcessId) {
        let ticket = self.waiting.iter().find(|(_, (waits, _))| *waits == process).map(|(ticket, _)| *ticket);
        if let Some(ticket) = ticket {
            self.cancel(ticket);
        }
        self.sessions.remove(&process);
    }

    /// Drops all sessions, and the generations that are going on.
    pub(crate) fn release_all(&mut self) {
        self.cancel_all();
        self.sessions.clear();
    }
}

/// Generates as it was recorded.
fn generate_again(
    session: &mut Session,
    generation: &mut Generation,
    recorded: &Recorded,
    on_token: &mut dyn FnMut(&TokenEvent<'_>),
) -> Result<GenerateResponse, LlmError> {
    let Recorded { cancelled_after, late } = *recorded;
    if cancelled_after == Some(0) {
        return generation.cancel(session);
    }
    generation.set_timer(move |index| {
        late.filter(|(token, _)| *token == index).map(|(_, milliseconds)| milliseconds)
    });
    let mut on_token = |token: &TokenEvent<'_>| {
        on_token(token);
        if cancelled_after == Some(token.index + 1) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    loop {
        if let Some(response) = generation.advance(session, &mut on_token)? {
            return Ok(response);
        }
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

fn answer(outcome: Result<GenerateResponse, LlmError>) -> Answer {
    json(&outcome.map_err(|error| failure(&error))?)
}

fn failure(error: &LlmError) -> ErrorData {
    ErrorData::from_error(error.code(), error)
}
