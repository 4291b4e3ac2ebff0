//! `glasshouse chat`: turn after turn with a model or with the agent.
//!
//! - [`input`]: what a person types.
//! - [`partner`]: who answers.

mod input;
mod partner;

use std::{
    fs::{self, File},
    io::{self, IsTerminal, Read},
    path::Path,
    process::{self, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use glasshouse_protocol::{Message, Role};
use serde::{Deserialize, Serialize};

use self::{
    input::{Input, Lines},
    partner::{Answer, Partner},
};
use crate::{arguments::ChatArguments, commands::printable, failure};

/// A saved conversation is text that fits a context, many times over.
const MAXIMUM_SAVED_BYTES: u64 = 16 << 20;

/// The exit code of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

const HELP: &str = "\
/clear       forget the conversation
/load FILE   go on with a saved conversation
/memory      say what is remembered
/save FILE   write the conversation to a file
/stats       say behind each answer how fast it came, or no more
/tools       say what the agent may use
/exit        leave, as Ctrl-D does
A line that ends in a backslash goes on in the next; between two lines of \"\"\" everything is one message.
Ctrl-C stops an answer.";

/// A conversation as it is saved.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    messages: Vec<Message>,
}

/// Runs the command.
pub fn run(arguments: ChatArguments) -> Result<ExitCode> {
    let mut lines = Lines::of_input()?;
    let partner = Partner::new(&arguments)?;
    let is_answering = Arc::new(AtomicBool::new(false));
    let (stop, answering) = (partner.stop_flag(), Arc::clone(&is_answering));
    ctrlc::set_handler(move || {
        if answering.load(Ordering::SeqCst) {
            stop.store(true, Ordering::Relaxed);
        } else {
            // On a terminal the line editor takes the key; so nobody is there to be asked.
            process::exit(INTERRUPTED);
        }
    })
    .context("Ctrl-C cannot be handled")?;
    let system = arguments.system.as_ref().map(|system| Message::new(Role::System, system.as_str()));
    let mut chat = Chat {
        partner,
        messages: system.iter().cloned().collect(),
        system,
        stats: arguments.stats,
        turn: 0,
        is_answering,
    };
    if lines.is_terminal() {
        anstream::println!("/help says what can be typed, Ctrl-D leaves.");
    }
    let mut failed = false;
    loop {
        let message = match lines.message()? {
            Input::Message(message) => message,
            Input::Dropped => continue,
            Input::End => break,
        };
        let outcome = match message.strip_prefix('/') {
            Some(command) => match chat.command(command) {
                Ok(true) => Ok(()),
                Ok(false) => break,
                Err(error) => Err(error),
            },
            None => chat.turn(message),
        };
        if let Err(error) = outcome {
            failure::report(&error);
            failed = true;
        }
    }
    // A person has seen what failed and went on; a program wants to know.
    let is_failure = failed && !lines.is_terminal();
    Ok(if is_failure { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

struct Chat {
    partner: Partner,
    /// The conversation so far, the instructions first.
    messages: Vec<Message>,
    system: Option<Message>,
    stats: bool,
    /// Messages that were answered.
    turn: u64,
    /// What Ctrl-C looks at.
    is_answering: Arc<AtomicBool>,
}

impl Chat {
    /// A message and its answer.
    fn turn(&mut self, message: String) -> Result<()> {
        self.messages.push(Message::new(Role::User, message));
        self.is_answering.store(true, Ordering::SeqCst);
        let answer = self.partner.answer(&self.messages, self.turn);
        self.is_answering.store(false, Ordering::SeqCst);
        self.turn += 1;
        match answer {
            Ok(answer) if answer.text.is_empty() && answer.cut.is_some() => {
                // It was stopped before it said anything: as if nothing had been asked.
                self.told(&answer);
                self.messages.pop();
                Ok(())
            }
            Ok(answer) => {
                self.told(&answer);
                self.messages.push(Message::new(Role::Assistant, answer.text));
                Ok(())
            }
            Err(error) => {
                // A message without an answer would stand before the next one for ever.
                self.messages.pop();
                Err(error)
            }
        }
    }

    /// Says about an answer what its text does not.
    fn told(&self, answer: &Answer) {
        if let Some(cut) = answer.cut.filter(|_| io::stderr().is_terminal()) {
            anstream::eprintln!("({cut})");
        }
        if self.stats {
            let rate = answer.rate.map(|rate| format!(", {rate:.1} a second")).unwrap_or_default();
            anstream::eprintln!(
                "({} tokens{rate}; prompt of {} tokens, {} of them known)",
                answer.generated_tokens,
                answer.prompt_tokens,
                answer.cached_tokens,
            );
        }
    }

    /// Does what stands behind a slash; whether to go on.
    fn command(&mut self, command: &str) -> Result<bool> {
        let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let path = Path::new(argument.trim());
        let needs_file = matches!(name, "save" | "load");
        if needs_file && path.as_os_str().is_empty() {
            bail!("/{name} needs the name of a file behind it");
        }
        match name {
            "help" | "?" => anstream::println!("{HELP}"),
            "exit" | "quit" => return Ok(false),
            "clear" => self.restart(self.system.iter().cloned().collect()),
            "stats" => self.stats = !self.stats,
            "save" => self.save(path)?,
            "load" => self.load(path)?,
            "tools" => {
                let tools = self.partner.tools();
                if tools.is_empty() {
                    anstream::println!(
                        "none: the model answers alone; --mount, --memory or --tool let the agent answer"
                    );
                }
                for (name, description) in tools {
                    anstream::println!("{name}\t{}", printable(&description));
                }
            }
            "memory" => match self.partner.memories()? {
                None => {
                    anstream::println!("none: the model answers alone; --memory FILE lets the agent answer")
                }
                Some(records) if records.is_empty() => anstream::println!("nothing is remembered"),
                Some(records) => {
                    for record in records {
                        anstream::println!("{}\t{}", record.id, printable(&record.text));
                    }
                }
            },
            unknown => bail!("there is no /{unknown}; /help says what can be typed"),
        }
        Ok(true)
    }

    fn restart(&mut self, messages: Vec<Message>) {
        self.messages = messages;
        self.turn = 0;
        self.partner.clear();
    }

    fn save(&self, path: &Path) -> Result<()> {
        let saved = serde_json::to_string_pretty(&Saved { messages: self.messages.clone() })
            .context("the conversation cannot be written")?;
        fs::write(path, saved + "\n")
            .with_context(|| format!("the conversation {} cannot be written", path.display()))?;
        anstream::println!("saved {} messages", self.messages.len());
        Ok(())
    }

    fn load(&mut self, path: &Path) -> Result<()> {
        let failed = || format!("the conversation {} cannot be read", path.display());
        let mut text = String::new();
        let file = File::open(path).with_context(failed)?;
        let bytes = file.take(MAXIMUM_SAVED_BYTES + 1).read_to_string(&mut text).with_context(failed)?;
        if bytes as u64 > MAXIMUM_SAVED_BYTES {
            bail!("the conversation {} is longer than {MAXIMUM_SAVED_BYTES} bytes", path.display());
        }
        let saved: Saved = serde_json::from_str(&text)
            .with_context(|| format!("{} is no conversation that /save wrote", path.display()))?;
        anstream::println!("loaded {} messages", saved.messages.len());
        self.restart(saved.messages);
        Ok(())
    }
}
