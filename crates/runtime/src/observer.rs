//! Watching a run. An observer cannot fail or change what it observes.

use glasshouse_kernel::{Event, ProcessId};
use glasshouse_llm::TokenEvent;

/// Is told what happens while it happens.
pub trait Observer {
    /// The kernel published an event.
    fn event(&mut self, event: &Event) {
        let _ = event;
    }

    /// The model generated a token for a process.
    fn token(&mut self, process: ProcessId, token: &TokenEvent<'_>) {
        let _ = (process, token);
    }
}

/// Looks away.
#[derive(Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
