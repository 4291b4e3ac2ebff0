//! A run's events as the page sees them: JSON objects, those of `glasshouse ask --json` and the streamed text.

use glasshouse_agent::{AgentOutcome, Delta, StreamParser};
use glasshouse_kernel::{Event, EventKind, ProcessId};
use glasshouse_llm::TokenEvent;
use glasshouse_runtime::Observer;
use serde_json::{Value, json};

/// Collects what happens until it is taken.
#[derive(Default)]
pub(crate) struct Events {
    waiting: Vec<Value>,
    parser: StreamParser,
    generated_tokens: u32,
}

impl Events {
    /// The JSON array of what happened since the last call.
    pub(crate) fn take(&mut self) -> String {
        Value::Array(std::mem::take(&mut self.waiting)).to_string()
    }

    /// The run ended with an outcome.
    pub(crate) fn end(&mut self, outcome: &AgentOutcome) {
        self.usage();
        let mut end = json!({ "event": "end", "outcome": outcome });
        if let Some(explanation) = outcome.end.explanation() {
            end["explanation"] = explanation.into();
        }
        self.waiting.push(end);
    }

    /// The run failed.
    pub(crate) fn error(&mut self, code: &str, message: &str) {
        self.usage();
        self.waiting.push(json!({ "event": "error", "code": code, "message": message }));
    }

    fn usage(&mut self) {
        if self.generated_tokens > 0 {
            self.waiting.push(json!({ "event": "usage", "generated_tokens": self.generated_tokens }));
        }
    }

    fn delta(&mut self, delta: Delta) {
        let (kind, text) = match delta {
            Delta::Thought(text) => ("thought", text),
            Delta::CallStarted { tool } => ("call", tool),
            Delta::Arguments(text) => ("arguments", text),
            Delta::Answer(text) => ("answer", text),
        };
        self.waiting.push(json!({ "event": "delta", "kind": kind, "text": text }));
    }
}

impl Observer for Events {
    fn event(&mut self, event: &Event) {
        if let EventKind::Emitted { payload, .. } = &event.kind
            // An agent of someone else's may emit what is no event of the protocol: nobody here can show it.
            && let Ok(emitted) = serde_json::from_slice::<glasshouse_agent::AgentEvent>(payload)
        {
            self.waiting.push(json!(emitted));
        }
    }

    fn token(&mut self, _process: ProcessId, token: &TokenEvent<'_>) {
        if token.index == 0 {
            self.parser = StreamParser::default();
        }
        self.generated_tokens += 1;
        for delta in self.parser.push(token.text) {
            self.delta(delta);
        }
    }
}
