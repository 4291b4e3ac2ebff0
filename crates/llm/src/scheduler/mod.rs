//! Many generations on one model: their tokens pass through the layers together, so the weights are read once for all.
//!
//! - [`Scheduler`]: a state machine; whoever drives it calls [`Scheduler::step`] until nothing is left.
//! - [`Ticket`]: names a generation that was submitted; [`Finished`]: what became of it.
//!
//! A round takes one token of each generation that decodes, and a piece of prompt divided among those that are in their
//! prompts: a long prompt delays the others by no more than a piece at each token (continuous batching with chunked
//! prefill: Yu et al., Orca, 2022; Agrawal et al., Sarathi, 2023). What a generation comes to does not depend on its company,
//! and the order of everything is that of submission.

use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_protocol::GenerateResponse;

use crate::session::Evaluation;
use crate::{Generation, LlmError, LoadedModel, Session, TokenEvent};

/// Names a generation of one scheduler. Later ones are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A generation that is over, and its session, which is usable again.
#[derive(Debug)]
pub struct Finished {
    /// Which one.
    pub ticket: Ticket,
    /// The session that it belongs to.
    pub session: Session,
    /// The response, or why there is none.
    pub outcome: Result<GenerateResponse, LlmError>,
}

/// Told of every token; may end its generation after it.
pub type OnToken<'a> = dyn FnMut(Ticket, &TokenEvent<'_>) -> ControlFlow<()> + 'a;

/// A generation that goes on.
#[derive(Debug)]
struct Job {
    ticket: Ticket,
    session: Session,
    generation: Generation,
    /// What it has evaluated in this round.
    evaluation: Option<Evaluation>,
}

impl Job {
    fn finish(self, outcome: Result<GenerateResponse, LlmError>) -> Finished {
        Finished { ticket: self.ticket, session: self.session, outcome }
    }
}

/// The generations that are going on, on one model.
#[derive(Debug)]
pub struct Scheduler {
    model: Arc<LoadedModel>,
    /// In the order of submission.
    jobs: Vec<Job>,
    submitted: u64,
    /// Kept between rounds to save the allocation.
    logits: Vec<f32>,
}

impl Scheduler {
    /// A scheduler for sessions of `model`.
    pub fn new(model: Arc<LoadedModel>) -> Self {
        Self { model, jobs: Vec::new(), submitted: 0, logits: Vec::new() }
    }

    /// The model.
    pub fn model(&self) -> &Arc<LoadedModel> {
        &self.model
    }

    /// Generations that are not over.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether nothing is left to do.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Takes over `generation`, which `session` started or has advanced so far.
    ///
    /// # Panics
    /// When the session is of another model.
    pub fn submit(&mut self, session: Session, generation: Generation) -> Ticket {
        assert!(Arc::ptr_eq(session.model(), &self.model), "the session is of the scheduler's model");
        let ticket = Ticket(self.submitted);
        self.submitted += 1;
        self.jobs.push(Job { ticket, session, generation, evaluation: None });
        ticket
    }

    /// The session and generation of `ticket`, if it is not over.
    pub fn get(&self, ticket: Ticket) -> Option<(&Session, &Generation)> {
        let job = self.jobs.iter().find(|job| job.ticket == ticket)?;
        Some((&job.session, &job.generation))
    }

    /// Ends a generation where it is, as [`Generation::cancel`] does; `None` if it is over already.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<Finished> {
        let place = self.jobs.iter().position(|job| job.ticket == ticket)?;
        let mut job = self.jobs.remove(place);
        let outcome = job.generation.cancel(&mut job.session);
        Some(job.finish(outcome))
    }

    /// Does one round: evaluates a piece of the prompts and a token of each other generation together, and chooses the next
    /// token of each that can have one. Answers the generations that ended.
    pub fn step(&mut self, on_token: &mut OnToken<'_>) -> Vec<Finished> {
        let mut finished = Vec::new();
        self.each(&mut finished, |Job { ticket, session, generation, .. }| {
            generation.advance_if_ready(session, &mut |token| on_token(*ticket, token))
        });
        self.plan(&mut finished);
        let model = Arc::clone(&self.model);
        let mut batch = Vec::new();
        for Job { session, evaluation, .. } in &mut self.jobs {
            batch.extend(evaluation.as_ref().map(|evaluation| session.sequence(evaluation)));
        }
        let mut logits = std::mem::take(&mut self.logits);
        model.model().forward_checked(&mut batch, &mut logits);
        let mut left = logits.as_slice();
        self.each(&mut finished, |Job { ticket, session, generation, evaluation }| {
            let Some(evaluation) = evaluation.take() else { return Ok(None) };
            let own;
            (own, left) = left.split_at(evaluation.rows() * model.model().config().vocabulary_size);
            generation.advance_after(session, &evaluation, own, &mut |token| on_token(*ticket, token))
        });
        self.logits = logits;
        finished
    }

    /// Decides what each generation has evaluated in this round. Those in their prompts divide a piece among them: each gets
    /// an equal share of what those before it left.
    fn plan(&mut self, finished: &mut Vec<Finished>) {
        let mut waiting = self.jobs.iter().filter(|job| job.generation.is_in_prompt(&job.session)).count();
        let mut left = self.jobs.first().map_or(0, |job| job.generation.piece());
        let model = Arc::clone(&self.model);
        self.each(finished, |Job { session, generation, evaluation, .. }| {
            let mut share = 1;
            let is_in_prompt = generation.is_in_prompt(session);
            if is_in_prompt {
                share = left.div_ceil(waiting);
                waiting -= 1;
                if share == 0 {
                    return Ok(None);
                }
            }
            let planned = generation.evaluation(session, share).and_then(|planned| {
                let sequence = planned.as_ref().map(|planned| session.sequence(planned));
                sequence.map_or(Ok(()), |sequence| model.model().check_continuation(&sequence))?;
                Ok(planned)
            });
            match planned {
                Ok(planned) => *evaluation = planned,
                Err(error) => return generation.fail(session, error),
            }
            if is_in_prompt {
                left -= evaluation.as_ref().map_or(0, Evaluation::len);
            }
            Ok(None)
        });
    }

    /// Advances every job, and takes out those that are over.
    fn each(
        &mut self,
        finished: &mut Vec<Finished>,
        mut advance: impl FnMut(&mut Job) -> Result<Option<GenerateResponse>, LlmError>,
    ) {
        for mut job in std::mem::take(&mut self.jobs) {
            match advance(&mut job) {
                Ok(None) => self.jobs.push(job),
                Ok(Some(response)) => finished.push(job.finish(Ok(response))),
                Err(error) => finished.push(job.finish(Err(error))),
            }
        }
    }
}
