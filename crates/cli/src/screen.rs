//! How a run is shown: steps for people, one object a line for programs, or the answer alone.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

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
    /// The label of the line that is being written.
    open: Option<&'static str>,
    /// Line ends that are printed only if something follows them.
    held: usize,
    /// Whether the current generation is shown as it arrives; its events then have nothing to add.
    streaming: bool,
    /// Of the answer, what is on the screen already.
    answer: String,
    spinner: ProgressBar,
}

impl Screen {
    /// A screen on standard output.
    pub fn new(format: Format) -> Self {
        Self::on(format, Box::new(anstream::stdout()))
    }

    /// A screen whose text goes to `out`, and from there to standard output.
    pub fn on(format: Format, out: Box<dyn Write>) -> Self {
        Self {
            format,
            out,
            escape: format == Format::Steps || io::stdout().is_terminal(),
            parser: StreamParser::default(),
            open: None,
            held: 0,
            streaming: false,
            answer: String::new(),
            spinner: ProgressBar::hidden(),
        }
    }

    /// Prints the question, where there are several.
    pub fn question(&mut self, question: &str) {
        match self.format {
            Format::Steps => self.piece("question", question),
            Format::Json => self.line(&json!({ "event": "question", "question": question }).to_string()),
            Format::Answer => {}
        }
    }

    /// Prints what is left to say once the run ended.
    pub fn finish(&mut self, outcome: &AgentOutcome) {
        if self.format == Format::Json {
            self.line(&json!({ "event": "end", "outcome": outcome }).to_string());
        } else if let Some(answer) = outcome.answer() {
            self.rest_of_answer(answer);
        }
        self.close();
    }

    /// Ends what is being printed; for programs, prints the failure as an object.
    pub fn failure(&mut self, code: &str, message: &str) {
        self.close();
        if self.format == Format::Json {
            self.line(&json!({ "event": "error", "code": code, "message": message }).to_string());
        }
    }

    fn delta(&mut self, delta: &Delta) {
        self.streaming = true;
        match delta {
            Delta::Thought(text) => self.piece("thought", text),
            Delta::CallStarted { tool } => self.piece("call", &format!("{tool} ")),
            Delta::Arguments(text) => self.piece("call", text),
            Delta::Answer(text) => {
                self.answer.push_str(text);
                self.piece("answer", text);
            }
        }
    }

    fn agent_event(&mut self, event: &AgentEvent) {
        match event {
            AgentEvent::Thought { text, .. } if !self.streaming => self.piece("thought", text),
            AgentEvent::Call { tool, arguments, .. } if !self.streaming => {
                self.piece("call", &format!("{tool} {arguments}"));
            }
            AgentEvent::Observation { text, .. } => self.piece("observation", text),
            AgentEvent::Answer { text, .. } => self.rest_of_answer(text),
            // The end without an answer is told as an error once the run is over.
            AgentEvent::Thought { .. } | AgentEvent::Call { .. } | AgentEvent::Exhausted { .. } => {}
        }
    }

    /// Prints what of the answer has not been streamed.
    fn rest_of_answer(&mut self, answer: &str) {
        let rest = answer.strip_prefix(self.answer.as_str()).unwrap_or_default().to_owned();
        if !rest.is_empty() {
            self.answer.push_str(&rest);
            self.piece("answer", &rest);
        }
    }

    /// Prints a piece of the line with this label, ending the line before if it has another.
    fn piece(&mut self, label: &'static str, text: &str) {
        if self.format == Format::Answer && label != "answer" {
            return;
        }
        if self.open != Some(label) {
            self.close();
            if self.format == Format::Steps {
                self.write(&format!("{DIM}{label:<LABEL_WIDTH$}{RESET}"));
            }
            self.open = Some(label);
        }
        let content = text.trim_end_matches('\n');
        if !content.is_empty() {
            let ends = "\n".repeat(std::mem::take(&mut self.held));
            self.write(&self.shown(&(ends + content)));
        }
        self.held += text.len() - content.len();
    }

    fn close(&mut self) {
        self.spinner.finish_and_clear();
        self.held = 0;
        if self.open.take().is_some() {
            self.write("\n");
        }
    }

    /// Text as the screen takes it: continued in its column, and without control characters.
    fn shown(&self, text: &str) -> String {
        let shown = visible(text, self.escape);
        match self.format {
            Format::Steps => shown.replace('\n', &format!("\n{:LABEL_WIDTH$}", "")),
            Format::Json | Format::Answer => shown.into_owned(),
        }
    }

    fn line(&mut self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    fn write(&mut self, text: &str) {
        self.spinner.finish_and_clear();
        // A closed pipe is the reader's choice; the run goes on, for its trace and its effects.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

/// Text with its control characters shown instead of sent, if so; lines and tabs stay.
pub fn visible(text: &str, escape: bool) -> Cow<'_, str> {
    let is_control = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    if !escape || !text.contains(is_control) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_control(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown.into()
}

impl Observer for Screen {
    fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::ServiceCalled { service, .. } if service.starts_with("model.") => {
                self.streaming = false;
                self.close();
                self.spinner = progress::spinner("thinking");
            }
            EventKind::Emitted { payload, .. } if self.format == Format::Json => {
                if let Ok(text) = std::str::from_utf8(payload) {
                    self.line(text);
                }
            }
            EventKind::GenerationHalted { halt, .. } if self.format == Format::Json => {
                if let Ok(halt) = serde_json::from_slice::<serde_json::Value>(halt) {
                    self.line(&json!({ "event": "generation_halted", "halt": halt }).to_string());
                }
            }
            EventKind::Emitted { payload, .. } => {
                if let Ok(event) = serde_json::from_slice(payload) {
                    self.agent_event(&event);
                }
            }
            _ => {}
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
            self.delta(&delta);
        }
    }
}
