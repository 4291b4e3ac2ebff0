//! How the runs of several agents are shown: that of one as it happens, those of several one after another at the end.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Write},
    rc::Rc,
};

use anyhow::{Result, bail};
use glasshouse_agent::AgentOutcome;
use glasshouse_kernel::{Event, EventKind, ProcessId};
use glasshouse_llm::TokenEvent;
use glasshouse_runtime::{Observer, RuntimeError};

use crate::screen::{Format, Screen};

/// What an agent's screen printed, until it is its turn.
#[derive(Clone, Default)]
struct Held(Rc<RefCell<Vec<u8>>>);

impl Held {
    fn print(&self) {
        // A closed pipe is the reader's choice.
        let _ = anstream::stdout().write_all(&self.0.take());
    }
}

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One agent's.
struct Place {
    screen: Screen,
    /// None: the screen prints at once.
    held: Option<Held>,
}

/// A screen for each agent of a run.
pub struct Screens {
    places: Vec<Place>,
    /// Whose screen shows what a process does. Agents are started in the order of their questions, and what an agent calls
    /// is shown with it.
    processes: BTreeMap<ProcessId, usize>,
    started: usize,
}

impl Screens {
    /// Screens for agents that are asked these questions.
    pub fn new(format: Format, questions: &[String]) -> Self {
        let place = |question: &String| {
            if questions.len() == 1 {
                return Place { screen: Screen::new(format), held: None };
            }
            let held = Held::default();
            let mut screen = Screen::on(format, Box::new(held.clone()));
            screen.question(question);
            Place { screen, held: Some(held) }
        };
        Self { places: questions.iter().map(place).collect(), processes: BTreeMap::new(), started: 0 }
    }

    /// Prints what is left to say once the run has ended, of the agent with this number.
    ///
    /// # Errors
    /// Why it has no answer.
    pub fn finish(&mut self, number: usize, outcome: Result<AgentOutcome, RuntimeError>) -> Result<()> {
        let Some(Place { screen, held }) = self.places.get_mut(number) else { return Ok(()) };
        let result = match outcome {
            Ok(outcome) => {
                screen.finish(&outcome);
                outcome.end.explanation().map_or(Ok(()), |explanation| {
                    screen.failure("no_answer", &explanation);
                    bail!("{explanation}")
                })
            }
            Err(error) => {
                screen.failure(error.code(), &error.to_string());
                Err(error.into())
            }
        };
        if let Some(held) = held {
            held.print();
        }
        result
    }

    /// Ends what is being printed of a run that could not go on; for programs, prints the failure as an object.
    pub fn failure(&mut self, code: &str, message: &str) {
        if let Some(Place { screen, .. }) = self.places.last_mut() {
            screen.failure(code, message);
        }
        self.places.iter().filter_map(|place| place.held.as_ref()).for_each(Held::print);
    }

    fn of(&mut self, process: ProcessId) -> Option<&mut Screen> {
        let number = *self.processes.get(&process)?;
        Some(&mut self.places.get_mut(number)?.screen)
    }
}

impl Observer for Screens {
    fn event(&mut self, event: &Event) {
        let process = match &event.kind {
            EventKind::ProcessStarted { process, parent, .. } => {
                let number = match parent {
                    Some(parent) => self.processes.get(parent).copied(),
                    None => {
                        self.started += 1;
                        Some(self.started - 1)
                    }
                };
                self.processes.extend(number.map(|number| (*process, number)));
                *process
            }
            EventKind::ServiceCalled { process, .. }
            | EventKind::Emitted { process, .. }
            | EventKind::GenerationHalted { process, .. } => *process,
            _ => return,
        };
        if let Some(screen) = self.of(process) {
            screen.event(event);
        }
    }

    fn token(&mut self, process: ProcessId, token: &TokenEvent<'_>) {
        if let Some(screen) = self.of(process) {
            screen.token(process, token);
        }
    }
}
