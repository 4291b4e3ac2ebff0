//! What can be typed for the commands in which a model speaks.

use std::path::PathBuf;

use clap::Args;
use glasshouse_protocol::{Dry, Mirostat, Sampling, SamplingStep, TokenBias, Xtc};

use super::StoreArguments;

/// Which model answers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArguments {
    /// A GGUF file, or the name of a stored model; without it, the built-in pocket model
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArguments,
    /// Threads for inference; the result is the same for any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// How tokens are chosen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArguments {
    /// Seed of everything random in the run
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// 0 always takes the most probable token
    #[arg(long, value_name = "T", default_value_t = 0.0, allow_negative_numbers = true)]
    pub temperature: f32,
    /// Keep the K most probable tokens; 0 keeps all
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub top_k: u32,
    /// Keep the most probable tokens up to this total probability
    #[arg(long, value_name = "P", default_value_t = 1.0, allow_negative_numbers = true)]
    pub top_p: f32,
    /// Drop tokens less probable than P times the most probable one
    #[arg(long, value_name = "P", default_value_t = 0.0, allow_negative_numbers = true)]
    pub min_p: f32,
    /// Penalty on repeated tokens; 1 is none
    #[arg(long, value_name = "R", default_value_t = 1.0, allow_negative_numbers = true)]
    pub repeat_penalty: f32,
}

/// What else bears on the choice of a token.
#[derive(Debug, Args)]
#[command(next_help_heading = "Further sampling")]
pub struct FurtherSamplingArguments {
    /// How many recent tokens the penalties look at
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub repeat_last_n: u32,
    /// Penalty on a recent token for each time that it occurred
    #[arg(long, value_name = "P", default_value_t = 0.0, allow_negative_numbers = true)]
    pub frequency_penalty: f32,
    /// Penalty on a recent token if it occurred at all
    #[arg(long, value_name = "P", default_value_t = 0.0, allow_negative_numbers = true)]
    pub presence_penalty: f32,
    /// Keep the tokens of the most typical surprise up to this total probability; 1 keeps all
    #[arg(long, value_name = "P", default_value_t = 1.0, allow_negative_numbers = true)]
    pub typical_p: f32,
    /// Exclude top choices with this probability
    #[arg(long, value_name = "P", default_value_t = 0.0, allow_negative_numbers = true)]
    pub xtc_probability: f32,
    /// From which probability on a token is a top choice
    #[arg(long, value_name = "P", default_value_t = 0.1, allow_negative_numbers = true)]
    pub xtc_threshold: f32,
    /// Keep the surprise of the text at so many bits (mirostat 2)
    #[arg(long, value_name = "BITS", allow_negative_numbers = true)]
    pub mirostat_tau: Option<f32>,
    /// How fast mirostat follows what was observed
    #[arg(long, value_name = "RATE", default_value_t = 0.1, allow_negative_numbers = true)]
    pub mirostat_eta: f32,
    /// Penalty on a token that continues a repeated sequence (DRY); 0 is none
    #[arg(long, value_name = "P", default_value_t = 0.0, allow_negative_numbers = true)]
    pub dry_multiplier: f32,
    /// What each further token of the sequence multiplies it by
    #[arg(long, value_name = "B", default_value_t = Dry::default().base, allow_negative_numbers = true)]
    pub dry_base: f32,
    /// How long a sequence may be repeated for nothing
    #[arg(long, value_name = "N", default_value_t = Dry::default().allowed_length)]
    pub dry_allowed_length: u32,
    /// Add this to a token's logit; may be repeated
    #[arg(long, value_name = "TOKEN=BIAS", value_parser = bias, allow_hyphen_values = true)]
    pub logit_bias: Vec<TokenBias>,
    /// The steps and their order: top_k, typical, top_p, min_p, xtc, temperature [default: all, in this order]
    #[arg(long, value_name = "STEP", value_delimiter = ',', value_parser = step)]
    pub order: Vec<SamplingStep>,
}

impl FurtherSamplingArguments {
    /// `sampling` with what was typed here.
    pub fn apply(&self, sampling: Sampling) -> Sampling {
        let (probability, threshold) = (self.xtc_probability, self.xtc_threshold);
        Sampling {
            repeat_last_n: self.repeat_last_n,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            typical_p: self.typical_p,
            // What is off is left out; what cannot be is refused by who samples.
            xtc: (probability != 0.0).then_some(Xtc { probability, threshold }),
            mirostat: self.mirostat_tau.map(|tau| Mirostat { tau, eta: self.mirostat_eta }),
            dry: (self.dry_multiplier != 0.0).then(|| Dry {
                multiplier: self.dry_multiplier,
                base: self.dry_base,
                allowed_length: self.dry_allowed_length,
                ..Dry::default()
            }),
            logit_bias: self.logit_bias.clone(),
            order: self.order.clone(),
            ..sampling
        }
    }
}

fn bias(text: &str) -> Result<TokenBias, String> {
    let parsed = text.split_once('=').and_then(|(token, bias)| {
        Some(TokenBias { token: token.trim().parse().ok()?, bias: bias.trim().parse().ok()? })
    });
    parsed.ok_or_else(|| "it is no token's number, `=` and what is added".to_owned())
}

/// A step by the name that it has in requests.
fn step(text: &str) -> Result<SamplingStep, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "it is none of top_k, typical, top_p, min_p, xtc and temperature".to_owned())
}

/// Continue a text
///
/// The model goes on with the prompt as it is: no chat template, no agent. Prints what it says as it says it; Ctrl-C ends
/// it with what there is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  glasshouse generate --model falcon-e-1b \"The three laws of robotics are\"
  glasshouse generate --model m.gguf --schema person.json --json < prompt.txt
  glasshouse generate --model m.gguf --temperature 0.8 --seed 7 --stop \"\\n\" \"Once upon a time\"")]
pub struct GenerateArguments {
    /// The text to continue; read from standard input when it is left out or `-`
    pub prompt: Option<String>,
    /// The most tokens to generate
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: u32,
    /// End before this text, which may have escapes such as \\n; may be repeated
    #[arg(long, value_name = "TEXT", value_parser = unescaped, allow_hyphen_values = true)]
    pub stop: Vec<String>,
    /// Go on to the most tokens, whatever the model would end with
    #[arg(long)]
    pub ignore_eos: bool,
    /// Print one JSON object at the end instead of the text
    #[arg(long)]
    pub json: bool,
    /// Tell of each token how probable it was, and of so many others in its place
    #[arg(long, value_name = "N", requires = "json", value_parser = clap::value_parser!(u32).range(0..=20))]
    pub logprobs: Option<u32>,
    /// Have tokens guessed ahead, by this smaller model or, with `lookup`, from the text so far; the output is the same
    #[arg(long, value_name = "MODEL")]
    pub draft: Option<PathBuf>,

    #[command(flatten)]
    pub constraint: ConstraintArguments,
    #[command(flatten)]
    pub model: ModelArguments,
    #[command(flatten)]
    pub sampling: SamplingArguments,
    #[command(flatten)]
    pub further: FurtherSamplingArguments,
}

/// What the output must match.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
#[group(multiple = false)]
pub struct ConstraintArguments {
    /// Let the output be JSON of the schema in this file
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Let the output match the grammar in this file: GBNF if its name ends in .gbnf, else Lark
    #[arg(long, value_name = "FILE")]
    pub grammar: Option<PathBuf>,
    /// Let the whole output match this regular expression
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    pub regex: Option<String>,
}

/// Talk with a model, or with the agent
///
/// One line is one message; a line that ends in a backslash goes on in the next, and between two lines of """ everything
/// is one message. Ctrl-C stops an answer, Ctrl-D leaves, /help says what else can be typed. The agent answers if it is
/// granted something (a mount, memory, a tool), and for the built-in model, which knows nothing but to be an agent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  glasshouse chat --model falcon3-3b --system \"Answer in one sentence.\"
  glasshouse chat --mount notes --memory facts.db
  echo \"What is 17 * 23?\" | glasshouse chat")]
pub struct ChatArguments {
    /// Instructions to the model
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// The most tokens of one answer
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: u32,
    /// Say behind each answer how many tokens it took, and how fast they came
    #[arg(long)]
    pub stats: bool,

    /// Let the agent answer, with this directory: read-only, or read-write with `:rw`; may be repeated
    #[arg(long, value_name = "DIR[:rw]", help_heading = "Agent")]
    pub mount: Vec<String>,
    /// Let the agent answer, and keep long-term memory in this file
    #[arg(long, value_name = "FILE", help_heading = "Agent")]
    pub memory: Option<PathBuf>,
    /// Let the agent answer, with this tool module as well; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "Agent")]
    pub tool: Vec<PathBuf>,

    #[command(flatten)]
    pub model: ModelArguments,
    #[command(flatten)]
    pub sampling: SamplingArguments,
    #[command(flatten)]
    pub further: FurtherSamplingArguments,
}

/// A text with the escapes of JSON strings in it.
fn unescaped(text: &str) -> Result<String, String> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    serde_json::from_str(&format!("\"{}\"", text.replace('"', "\\\"")))
        .map_err(|_| "its escapes are not those of JSON; write a backslash as \\\\".to_owned())
}
