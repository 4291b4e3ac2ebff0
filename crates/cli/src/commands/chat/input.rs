//! What a person types: lines with editing on a terminal, plain lines otherwise, and messages of several lines.

use std::io::{self, BufRead, IsTerminal};

use anyhow::{Context, Result};
use rustyline::{DefaultEditor, error::ReadlineError};

/// A longer message than this fits no model's context.
const MAXIMUM_MESSAGE_BYTES: usize = 4 << 20;

/// Stands before a message, and before its further lines.
const PROMPT: &str = "> ";
const FURTHER: &str = ". ";

/// Opens and closes a message of several lines.
const FENCE: &str = "\"\"\"";

/// What came.
pub enum Input {
    /// A whole message, not empty.
    Message(String),
    /// Ctrl-C: whatever was being typed is dropped.
    Dropped,
    /// Nothing more comes.
    End,
}

/// Where lines come from.
pub enum Lines {
    /// A terminal.
    Edited(Box<DefaultEditor>),
    /// A pipe or a file.
    Plain,
}

impl Lines {
    /// Lines of standard input; edited if a person sits there.
    pub fn of_input() -> Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(Self::Plain);
        }
        let editor = DefaultEditor::new().context("the terminal cannot be used for typing")?;
        Ok(Self::Edited(Box::new(editor)))
    }

    /// Whether a person sits there.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Edited(_))
    }

    /// The next message.
    pub fn message(&mut self) -> Result<Input> {
        let mut message = String::new();
        let mut fenced = false;
        loop {
            let prompt = if message.is_empty() && !fenced { PROMPT } else { FURTHER };
            let line = match self.line(prompt)? {
                Line::Text(line) => line,
                Line::Interrupted => return Ok(Input::Dropped),
                // What was typed until then is a message, too.
                Line::End if !message.trim().is_empty() => break,
                Line::End => return Ok(Input::End),
            };
            if message.len() + line.len() > MAXIMUM_MESSAGE_BYTES {
                anyhow::bail!("a message is longer than {MAXIMUM_MESSAGE_BYTES} bytes; say less at once");
            }
            if line.trim() == FENCE {
                if fenced {
                    break;
                }
                fenced = true;
            } else if fenced {
                message.push_str(&line);
                message.push('\n');
            } else if let Some(line) = line.strip_suffix('\\') {
                message.push_str(line);
                message.push('\n');
            } else {
                message.push_str(&line);
                if !message.trim().is_empty() {
                    break;
                }
            }
        }
        let message = message.trim().to_owned();
        if message.is_empty() {
            return Ok(Input::Dropped);
        }
        if let Self::Edited(editor) = self {
            // A history that takes no more is no reason to stop.
            let _ = editor.add_history_entry(&message);
        }
        Ok(Input::Message(message))
    }

    fn line(&mut self, prompt: &str) -> Result<Line> {
        match self {
            Self::Edited(editor) => match editor.readline(prompt) {
                Ok(line) => Ok(Line::Text(line)),
                Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(error) => Err(error).context("the terminal cannot be read"),
            },
            Self::Plain => {
                let mut line = Vec::new();
                let mut input = io::Read::take(io::stdin().lock(), MAXIMUM_MESSAGE_BYTES as u64 + 1);
                let bytes = input.read_until(b'\n', &mut line).context("standard input cannot be read")?;
                if bytes == 0 {
                    return Ok(Line::End);
                }
                let line = String::from_utf8_lossy(&line);
                Ok(Line::Text(line.trim_end_matches(['\n', '\r']).to_owned()))
            }
        }
    }
}

enum Line {
    Text(String),
    Interrupted,
    End,
}
