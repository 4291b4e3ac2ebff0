//! How a run is shown: steps for people, one object a line for programs, or the answer alone.

use std::io::{self, IsTerminal, Write};

use glasshouse_agent::{AgentEvent, AgentOutcome, Delta, StreamParser};
use glasshouse_kernel::{Event, EventKind, ProcessId};
use glasshouse_llm::TokenEvent;
use glasshouse_runtime::Observer;
use indicatif::ProgressBar;
use serde_json::json;

use crate::progress;

/// What is printed of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Every step, with a label, as it happens; the answer as it is generated.
    Steps,
    /// Every step as a JSON object on a line of its own.
    Json,
    /// Only the answer, as it is generated.
    Answer,
}

/// Labels are padded to this, so that what follows stands in one column.
const LABEL_WIDTH: usize = 13;
const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// Prints a run. It never fails: a reader that goes away ends the printing, not the run.
pub struct Screen {
    format: Format,
    out: Box<dyn Write>,
    /// Whether control characters are shown instead of sent: a file must not steer a terminal.
    escape: bool,
    parser: StreamParser,
    /// Of the answer, what is on the screen already.
    streamed: String,
    /// Whether the answer's line is ended.
    answered: bool,
    spinner: ProgressBar,
}

impl Screen {
    /// A screen on standard output.
    pub fn new(format: Format) -> Self {
        let escape = format == Format::Steps || io::stdout().is_terminal();
        Self {
            format,
            out: Box::new(anstream::stdout()),
            escape,
            parser: StreamParser::default(),
            streamed: String::new(),
            answered: false,
            spinner: progress::spinner("thinking"),
        }
    }

    /// Prints what is left to say once the run ended.
    pub fn finish(&mut self, outcome: &AgentOutcome) {
        self.spinner.finish_and_clear();
        if self.format == Format::Json {
            self.line(&json!({ "event": "end", "outcome": outcome }).to_string());
        } else if let Some(answer) = outcome.answer() {
            // Only an agent that reports no events gets here with anything unsaid.
            self.complete_answer(answer);
        }
    }

    /// Prints a failure as an object, for programs.
    pub fn failure(&mut self, code: &str, message: &str) {
        self.spinner.finish_and_clear();
        if self.format == Format::Json {
            self.line(&json!({ "event": "error", "code": code, "message": message }).to_string());
        } else if !self.streamed.is_empty() && !self.answered {
            self.write("\n");
        }
    }

    fn agent_event(&mut self, event: &AgentEvent) {
        match event {
            AgentEvent::Thought { text, .. } => self.step("thought", text),
            AgentEvent::Call { tool, arguments, .. } => self.step("call", &format!("{tool} {arguments}")),
            AgentEvent::Observation { text, .. } => self.step("observation", text),
            AgentEvent::Answer { text, .. } => self.complete_answer(text),
            // Told as an error once the run has ended.
            AgentEvent::Exhausted { .. } => {}
        }
    }

    fn step(&mut self, label: &str, text: &str) {
        if self.format == Format::Steps {
            self.begin(label);
            self.text(text.trim_end_matches('\n'));
            self.write("\n");
        }
    }

    fn answer_delta(&mut self, text: &str) {
        self.spinner.finish_and_clear();
        if self.streamed.is_empty() && self.format == Format::Steps {
            self.begin("answer");
        }
        self.streamed.push_str(text);
        self.text(text);
    }

    /// Prints what of the answer has not been streamed, and ends its line.
    fn complete_answer(&mut self, answer: &str) {
        if self.answered {
            return;
        }
        let rest = answer.strip_prefix(self.streamed.as_str()).unwrap_or_default().to_owned();
        self.answer_delta(&rest);
        self.write("\n");
        self.answered = true;
    }

    fn begin(&mut self, label: &str) {
        self.write(&format!("{DIM}{label:<LABEL_WIDTH$}{RESET}"));
    }

    fn text(&mut self, text: &str) {
        let mut shown = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '\n' if self.format == Format::Steps => {
                    shown.push('\n');
                    shown.extend(std::iter::repeat_n(' ', LABEL_WIDTH));
                }
                '\n' | '\t' => shown.push(character),
                control if control.is_control() && self.escape => shown.extend(control.escape_default()),
                other => shown.push(other),
            }
        }
        self.write(&shown);
    }

    fn line(&mut self, text: &str) {
        self.write(text);
        self.write("\n");
    }

    fn write(&mut self, text: &str) {
        // A closed pipe is the reader's choice; the run goes on, for its trace and its effects.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

impl Observer for Screen {
    fn event(&mut self, event: &Event) {
        let EventKind::Emitted { payload, .. } = &event.kind else { return };
        if self.format == Format::Json {
            if let Ok(text) = std::str::from_utf8(payload) {
                self.line(text);
            }
        } else if let Ok(event) = serde_json::from_slice::<AgentEvent>(payload) {
            let spinner = self.spinner.clone();
            spinner.suspend(|| self.agent_event(&event));
        }
    }

    fn token(&mut self, _process: ProcessId, token: &TokenEvent<'_>) {
        if self.format == Format::Json {
            return;
        }
        if token.index == 0 {
            self.parser = StreamParser::default();
        }
        for delta in self.parser.push(token.text) {
            if let Delta::Answer(text) = delta {
                self.answer_delta(&text);
            }
        }
    }
}
