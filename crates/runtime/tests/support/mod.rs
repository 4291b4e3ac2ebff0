//! What tests of runs share.

use std::{cell::RefCell, io, rc::Rc};

use glasshouse_protocol::Sampling;
use glasshouse_runtime::{AskOptions, Clock, RunOptions, agent_limits, defaults};

/// An event log in memory.
#[derive(Clone, Default)]
pub struct Log(pub Rc<RefCell<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An agent to ask.
pub fn ask(question: &str) -> AskOptions {
    AskOptions {
        question: question.to_owned(),
        history: Vec::new(),
        system: None,
        sampling: Sampling::default(),
        limits: agent_limits(defaults::STEPS, defaults::TOKENS),
    }
}

/// The same at every time.
pub fn run_options() -> RunOptions {
    RunOptions { clock: Clock::Fixed(0), ..RunOptions::default() }
}
