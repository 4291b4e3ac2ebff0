//! Runs a recorded event log again and finds the first difference.
//!
//! - [`Replay`]: a place in a log. It says which input comes next and where that comes from ([`Next`]), and compares
//!   every live input and effect with the recorded one.
//! - [`ModelAnswers`]: whether the model's answers are computed again or taken from the log.
//! - [`Difference`]: the first thing that is not as it was, in words.
//!
//! What the host contributed to a run is a fact: it is taken from the log. What the run computed is computed again:
//! every step, and the model's answers. The loop, with a live kernel:
//!
//! ```
//! # use glasshouse_kernel::{Input, Kernel, replay::{Difference, Next, Replay}};
//! # use glasshouse_devices::StepReport;
//! # fn run_the_step(_: glasshouse_kernel::ProcessId) -> StepReport { unreachable!() }
//! # fn ask_the_model(_: glasshouse_kernel::RequestId) -> Result<Vec<u8>, glasshouse_protocol::ErrorData> { unreachable!() }
//! # fn go(mut replay: Replay, mut kernel: Kernel) -> Result<(), Box<dyn std::error::Error>> {
//! loop {
//!     let input = match replay.next_input() {
//!         Next::Fact(input) => input.clone(),
//!         Next::Step { process, .. } => Input::StepFinished { process, report: run_the_step(process) },
//!         Next::Model { request, .. } => Input::Completion { request, result: ask_the_model(request) },
//!         Next::End => break,
//!     };
//!     replay.input(&input)?;
//!     for effect in kernel.apply(input)? {
//!         replay.effect(&effect)?;
//!     }
//! }
//! let summary = replay.finish()?;
//! # let _ = summary; Ok(()) }
//! ```

mod difference;

use std::collections::BTreeMap;

use glasshouse_devices::StepReport;
use glasshouse_protocol::{ErrorData, services};

pub use difference::Difference;

use crate::{
    Effect, Input, ProcessId, RequestId,
    trace::{Frame, Record},
};

/// Where the model's answers come from in a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelAnswers {
    /// They are computed again and compared.
    Recomputed,
    /// They are taken from the log, as other services' are.
    Trusted,
}

/// The next input, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next<'a> {
    /// The host contributed it: apply it as it is.
    Fact(&'a Input),
    /// A step: run it and compare the whole report.
    Step {
        /// Whose step.
        process: ProcessId,
        /// What it did then.
        recorded: &'a StepReport,
    },
    /// An answer of the model: compute it and compare.
    Model {
        /// The request, as in the live [`Effect::Perform`].
        request: RequestId,
        /// What the model answered then.
        recorded: &'a Result<Vec<u8>, ErrorData>,
    },
    /// The log has no further input.
    End,
}

/// What a replay compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    /// Inputs, facts included.
    pub inputs: u64,
    /// Effects.
    pub effects: u64,
    /// Steps that were run again.
    pub steps: u64,
    /// Answers of the model that were computed again.
    pub model_answers: u64,
    /// Fuel that the steps used, as then.
    pub fuel: u64,
}

/// A place in a recorded log.
#[derive(Debug, Clone)]
pub struct Replay {
    frames: Vec<Frame>,
    position: usize,
    model: ModelAnswers,
    /// Requests that the live kernel asked the host to perform, and of which service.
    performed: BTreeMap<RequestId, String>,
    summary: ReplaySummary,
}

impl Replay {
    /// A replay of these records, from the first on.
    #[must_use]
    pub fn new(frames: Vec<Frame>, model: ModelAnswers) -> Self {
        Self { frames, position: 0, model, performed: BTreeMap::new(), summary: ReplaySummary::default() }
    }

    /// The next recorded input, and where the live one has to come from.
    #[must_use]
    pub fn next_input(&self) -> Next<'_> {
        let next = self.frames[self.position..].iter().find_map(|frame| match &frame.record {
            Record::Input(input) => Some(input),
            Record::Effect(_) => None,
        });
        match next {
            Some(Input::StepFinished { process, report }) => {
                Next::Step { process: *process, recorded: report }
            }
            Some(Input::Completion { request, result }) if self.is_recomputed(*request) => {
                Next::Model { request: *request, recorded: result }
            }
            Some(input) => Next::Fact(input),
            None => Next::End,
        }
    }

    /// Compares the live input with the one that is due. To be called before it is applied.
    ///
    /// # Errors
    /// The first difference: of the input, or that an effect was due instead.
    pub fn input(&mut self, live: &Input) -> Result<(), Box<Difference>> {
        let recorded = self.frames.get(self.position);
        let difference = match recorded.map(|frame| &frame.record) {
            Some(Record::Input(input)) => difference::of_inputs(input, live),
            Some(Record::Effect(effect)) => Some(difference::missing_effect(effect)),
            None => Some(difference::surplus_input(live)),
        };
        self.settle(difference)?;
        self.summary.inputs += 1;
        match live {
            Input::StepFinished { report, .. } => {
                self.summary.steps += 1;
                self.summary.fuel = self.summary.fuel.saturating_add(report.fuel_used);
            }
            Input::Completion { request, .. } if self.is_recomputed(*request) => {
                self.summary.model_answers += 1
            }
            _ => {}
        }
        Ok(())
    }

    /// Compares an effect of the last input with the one that is due.
    ///
    /// # Errors
    /// The first difference: of the effect, or that no further effect was due.
    pub fn effect(&mut self, live: &Effect) -> Result<(), Box<Difference>> {
        let recorded = self.frames.get(self.position);
        let difference = match recorded.map(|frame| &frame.record) {
            Some(Record::Effect(effect)) => difference::of_effects(effect, live),
            Some(Record::Input(_)) | None => Some(difference::surplus_effect(live)),
        };
        self.settle(difference)?;
        self.summary.effects += 1;
        if let Effect::Perform { request, service, .. } = live {
            self.performed.insert(*request, service.clone());
        }
        Ok(())
    }

    /// The live run is over: what was compared.
    ///
    /// # Errors
    /// The log goes on.
    pub fn finish(&self) -> Result<ReplaySummary, Box<Difference>> {
        match self.frames.get(self.position) {
            None => Ok(self.summary),
            Some(frame) => {
                let difference = match &frame.record {
                    Record::Input(input) => difference::missing_input(input),
                    Record::Effect(effect) => difference::missing_effect(effect),
                };
                Err(Box::new(difference.at(Some(frame), self.frames.len())))
            }
        }
    }

    fn settle(&mut self, difference: Option<Difference>) -> Result<(), Box<Difference>> {
        match difference {
            Some(difference) => {
                Err(Box::new(difference.at(self.frames.get(self.position), self.frames.len())))
            }
            None => {
                self.position += 1;
                Ok(())
            }
        }
    }

    fn is_recomputed(&self, request: RequestId) -> bool {
        self.model == ModelAnswers::Recomputed
            && self.performed.get(&request).is_some_and(|service| {
                service.split_once('.').is_some_and(|(name, _)| name == services::MODEL)
            })
    }
}
