//! What can be typed: the commands and their options.

mod generation;
mod model;

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use glasshouse_runtime::defaults;

pub use self::{generation::*, model::*};

/// Runs AI agents in sealed, transparent boxes.
///
/// Every agent and tool is a WebAssembly process with its own memory, a fuel budget and only the capabilities that
/// were granted. Every step can be recorded, replayed and verified byte for byte. Works offline.
#[derive(Debug, Parser)]
#[command(name = "glasshouse", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Ask(AskArguments),
    Chat(ChatArguments),
    Generate(GenerateArguments),
    Run(RunArguments),
    Inspect(InspectArguments),
    Replay(ReplayArguments),
    /// Get, keep, look at, measure or generate model files
    #[command(subcommand)]
    Model(ModelCommand),
    /// Look at or change a file of long-term memory
    #[command(subcommand)]
    Memory(MemoryCommand),
    /// Try the guard, which halts a stream of tokens that loses coherence
    #[command(subcommand)]
    Guard(GuardCommand),
    Web(WebArguments),
}

/// Ask the agent a question
///
/// Prints the agent's steps as they happen and streams the answer. The exit code is 0 only when there is an answer.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  glasshouse ask \"What is 17 * 23?\"
  glasshouse ask --mount notes \"What does todo.txt say?\"
  glasshouse ask --memory facts.db \"Remember that the gate code is 4417\"
  echo \"What is the square root of 2?\" | glasshouse ask --quiet")]
pub struct AskArguments {
    /// The question; read from standard input when it is left out or `-`
    pub question: Option<String>,
    /// Ask this as well, of an agent of its own, at the same time; may be repeated
    #[arg(long, value_name = "QUESTION")]
    pub also: Vec<String>,

    /// Print one JSON object for each step
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
    /// Print only the answer
    #[arg(long, short)]
    pub quiet: bool,

    /// Let the agent use this directory: read-only, or read-write with `:rw`; may be repeated
    #[arg(long, value_name = "DIR[:rw]")]
    pub mount: Vec<String>,
    /// Keep long-term memory in this file; without it, memory ends with the run
    #[arg(long, value_name = "FILE")]
    pub memory: Option<PathBuf>,
    /// Write the event log of the run to this file
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// Halt the model where it breaks these limits (TOML or JSON; an empty file has the default ones)
    #[arg(long, value_name = "FILE", help_heading = "Guard")]
    pub guard: Option<PathBuf>,
    /// Compare what the model says with the facts in this text; guards with the default limits if `--guard` is left out
    #[arg(long, value_name = "FILE", help_heading = "Guard")]
    pub facts: Option<PathBuf>,

    /// Offer this tool module as well; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "Modules")]
    pub tool: Vec<PathBuf>,
    /// Run this module instead of the default agent
    #[arg(long, value_name = "FILE", help_heading = "Modules")]
    pub agent: Option<PathBuf>,

    #[command(flatten)]
    pub model: ModelArguments,
    #[command(flatten)]
    pub sampling: SamplingArguments,
    #[command(flatten)]
    pub limits: LimitArguments,
}

/// What a run may use.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArguments {
    /// The most steps the agent may take
    #[arg(long, value_name = "N", default_value_t = defaults::STEPS, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_steps: u32,
    /// The most tokens the model may generate in the run
    #[arg(long, value_name = "N", default_value_t = defaults::TOKENS, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: u32,
    /// Fuel of each process: about one unit for each WebAssembly instruction
    #[arg(long, value_name = "N", default_value_t = defaults::FUEL)]
    pub fuel: u64,
    /// Memory of each process, in MiB
    #[arg(long, value_name = "MIB", default_value_t = defaults::MEMORY_MEBIBYTES, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub memory_limit: u32,
    /// Take this as the wall-clock time, in seconds since 1970 (UTC)
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub now: Option<i64>,
}

/// Run a WebAssembly module in the sandbox: a program, or one of its functions
///
/// A program (WASI preview 1, with an export `_start`) runs as a native one would: arguments, environment, standard
/// streams, exit code. It sees the directories that are mounted and nothing else of this machine. Of any other module,
/// --call names the function to call; its result is printed as JSON.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  glasshouse run program.wasm one two
  glasshouse run --mount notes:/notes:rw editor.wasm -- --append /notes/todo.txt
  glasshouse run --call greet --input '{\"name\":\"Ada\"}' greet.wasm
  glasshouse run --events keys.jsonl --screenshot last.png game.wasm")]
pub struct RunArguments {
    /// The module, binary or text (WAT)
    pub module: PathBuf,
    /// Arguments of the program; those that begin with `-` go behind `--`
    pub arguments: Vec<String>,

    /// Call this exported function instead of running the program [default for other modules: run]
    #[arg(long, value_name = "FUNCTION", alias = "entry")]
    pub call: Option<String>,
    /// The function's input: a file with JSON, `-` for standard input, or the JSON itself if it begins with `{`, `[` or `\"`
    #[arg(long, value_name = "FILE")]
    pub input: Option<String>,
    /// Print one JSON object about the run instead of what the program prints
    #[arg(long)]
    pub json: bool,
    /// Write the event log of the run to this file
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Run the module only if it is signed with this public key
    #[arg(long, value_name = "KEY")]
    pub require_signed: Option<PathBuf>,
    /// How the module is compiled: to fast code, fast, or not at all
    #[arg(long, value_enum, default_value_t = ProfileArgument::Prod)]
    pub profile: ProfileArgument,

    /// Set a variable of the program's environment; may be repeated
    #[arg(long, value_name = "NAME=VALUE", help_heading = "What the program sees")]
    pub env: Vec<String>,
    /// Let the program use this directory, as GUEST if given: read-only, or read-write with `:rw`; may be repeated
    #[arg(long, value_name = "HOST[:GUEST][:rw]", help_heading = "What the program sees")]
    pub mount: Vec<String>,
    /// Read the program's standard input from this file
    #[arg(long, value_name = "FILE", help_heading = "What the program sees")]
    pub stdin: Option<PathBuf>,
    /// Keys, pointer moves and the like for the program, one JSON object a line, each at its virtual time
    #[arg(long, value_name = "FILE", help_heading = "What the program sees")]
    pub events: Option<PathBuf>,
    /// Seed of everything random in the run
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "What the program sees")]
    pub seed: u64,
    /// Take this as the wall-clock time, in seconds since 1970 (UTC)
    #[arg(
        long,
        value_name = "SECONDS",
        allow_negative_numbers = true,
        help_heading = "What the program sees"
    )]
    pub now: Option<i64>,

    /// Write what the program plays to this WAV file
    #[arg(long, value_name = "FILE", help_heading = "What it shows")]
    pub audio: Option<PathBuf>,
    /// Write the last frame that the program showed to this PNG file
    #[arg(long, value_name = "FILE", help_heading = "What it shows")]
    pub screenshot: Option<PathBuf>,

    /// Fuel: about one unit for each WebAssembly instruction
    #[arg(long, value_name = "N", default_value_t = defaults::PROGRAM_FUEL, help_heading = "Limits")]
    pub fuel: u64,
    /// Memory, in MiB
    #[arg(long, value_name = "MIB", alias = "memory-limit", default_value_t = defaults::MEMORY_MEBIBYTES, value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Limits")]
    pub memory: u32,
    /// Stop the run after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Limits")]
    pub deadline: Option<Duration>,
}

/// How a module is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfileArgument {
    /// Compiles fast, to slow code
    Dev,
    /// Compiles to fast code
    Prod,
    /// Makes no native code
    Interpreter,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Say what a module is, what it imports and exports, and what it would need granted
///
/// Nothing of the module runs. The exit code is 0 only if it could run.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The module, binary or text (WAT)
    pub module: PathBuf,
    /// Say whether it is signed with this public key
    #[arg(long, value_name = "KEY")]
    pub require_signed: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Run a recorded event log again and compare every byte
///
/// The agent, the tools and the model are executed again; only what the host contributed (time, files, memory) is
/// taken from the log. The exit code is 0 only when everything is the same.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// The event log, written by `ask --trace` or `run --trace`
    pub trace: PathBuf,
    /// Take the model's output from the log instead of computing it again
    #[arg(long)]
    pub trust_model: bool,
    /// A module that the run used and that is not built in; may be repeated
    #[arg(long, value_name = "FILE", action = ArgAction::Append)]
    pub module: Vec<PathBuf>,
    /// Print only differences
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    pub model: ModelArguments,
}

#[derive(Debug, Subcommand)]
pub enum MemoryCommand {
    List(MemoryListArguments),
    Add(MemoryAddArguments),
    Search(MemorySearchArguments),
    Remove(MemoryRemoveArguments),
}

/// Print every memory: its number and its text
#[derive(Debug, Args)]
pub struct MemoryListArguments {
    /// The memory file
    pub file: PathBuf,
}

/// Keep a text
#[derive(Debug, Args)]
pub struct MemoryAddArguments {
    /// The memory file; created if there is none
    pub file: PathBuf,
    /// The text
    pub text: String,
}

/// Print the memories that match, best first
#[derive(Debug, Args)]
pub struct MemorySearchArguments {
    /// The memory file
    pub file: PathBuf,
    /// Words to look for
    pub query: String,
}

/// Forget a memory
#[derive(Debug, Args)]
pub struct MemoryRemoveArguments {
    /// The memory file
    pub file: PathBuf,
    /// The memory's number, as `list` prints it
    pub id: i64,
}

/// Serve the page in which the agent runs inside a browser's tab
///
/// The page is served on this machine alone, and nothing opens by itself: open the printed address in a browser. The
/// agent, its model, its tools and its memory then run in the tab. Ctrl-C stops the server.
#[derive(Debug, Args)]
pub struct WebArguments {
    /// The port on this machine; 0 takes one that is free
    #[arg(long, value_name = "N", default_value_t = 8472)]
    pub port: u16,
    /// Serve the page of this directory, as `cargo xtask web` builds it
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum GuardCommand {
    Check(GuardCheckArguments),
    /// Print the JSON Schema of the limits
    Schema,
}

/// Run a recorded stream of scores through the guard
///
/// Reads one JSON object a line from standard input: {"token": "…", "score": 0.93}, with a score from 0 to 1; NaN and null
/// are taken as scores that are none. "index", "entropy_bits" and "elapsed_ms" may be given, too. Prints one JSON object
/// for each: {"index": 0, "decision": "continue" | "warn" | "halt", …}.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  glasshouse guard check < scores.jsonl
  glasshouse guard check --config guard.toml --plot out.svg < scores.jsonl")]
pub struct GuardCheckArguments {
    /// The limits (TOML or JSON); without it, the default ones
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Draw scores, mean, trend and the halt
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}
