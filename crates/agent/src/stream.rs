//! A model's output as it arrives, split into typed pieces.

use crate::{ANSWER, CALL, ParseError, Step, THOUGHT, is_tool_name, parse};

/// A piece of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// More of the thought.
    Thought(String),
    /// A call has begun; its tool is known.
    CallStarted {
        /// The tool's name.
        tool: String,
    },
    /// More of the call's arguments.
    Arguments(String),
    /// More of the answer.
    Answer(String),
}

/// Splits streamed text into [`Delta`]s. What cannot be told yet (`Ans` may become `Answer: `) is held back; what
/// follows the first malformation is not reported.
#[derive(Debug, Clone, Default)]
pub struct StreamParser {
    /// Everything that arrived.
    text: String,
    /// How far it was reported.
    position: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing decided: a thought or an action may come.
    #[default]
    Start,
    Thought,
    /// After the thought: only an action may come.
    Action,
    ToolName,
    Arguments,
    Answer,
    Malformed,
}

impl StreamParser {
    /// Takes the next piece of text and returns what it decided.
    pub fn push(&mut self, text: &str) -> Vec<Delta> {
        self.text.push_str(text);
        let mut deltas = Vec::new();
        while self.advance(&mut deltas) {}
        deltas
    }

    /// Everything that arrived.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reads the whole text as a step.
    ///
    /// # Errors
    ///
    /// Those of [`parse`].
    pub fn finish(&self) -> Result<Step, ParseError> {
        parse(&self.text)
    }

    /// Reports one piece or decides one state; `false` when more text is needed.
    fn advance(&mut self, deltas: &mut Vec<Delta>) -> bool {
        let rest = &self.text[self.position..];
        if rest.is_empty() {
            return false;
        }
        let (taken, state) = match self.state {
            State::Start | State::Action => {
                let openings = [(THOUGHT, State::Thought), (CALL, State::ToolName), (ANSWER, State::Answer)];
                let openings = &openings[usize::from(self.state == State::Action)..];
                match openings.iter().find(|(opening, _)| rest.starts_with(opening)) {
                    Some((opening, state)) => (opening.len(), *state),
                    None if openings.iter().any(|(opening, _)| opening.starts_with(rest)) => return false,
                    None => (0, State::Malformed),
                }
            }
            State::Thought => {
                let line = rest.split('\n').next().unwrap_or_default();
                if !line.is_empty() {
                    deltas.push(Delta::Thought(line.to_owned()));
                }
                if line.len() < rest.len() {
                    (line.len() + 1, State::Action)
                } else {
                    (line.len(), State::Thought)
                }
            }
            State::ToolName => {
                let Some((tool, _)) = rest.split_once(' ') else { return false };
                if is_tool_name(tool) {
                    deltas.push(Delta::CallStarted { tool: tool.to_owned() });
                    (tool.len() + 1, State::Arguments)
                } else {
                    (0, State::Malformed)
                }
            }
            State::Arguments => {
                deltas.push(Delta::Arguments(rest.to_owned()));
                (rest.len(), State::Arguments)
            }
            State::Answer => {
                deltas.push(Delta::Answer(rest.to_owned()));
                (rest.len(), State::Answer)
            }
            State::Malformed => return false,
        };
        self.position += taken;
        self.state = state;
        state != State::Malformed
    }
}
