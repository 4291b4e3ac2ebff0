//! What can be typed for `glasshouse model`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use glasshouse_llm::perplexity::WINDOW;

#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    List(ModelListArguments),
    Pull(ModelPullArguments),
    Rm(ModelRemoveArguments),
    Info(ModelInfoArguments),
    Bench(ModelBenchArguments),
    Verify(ModelVerifyArguments),
    Tokenize(ModelTokenizeArguments),
    Perplexity(ModelPerplexityArguments),
    Embed(ModelEmbedArguments),
    Prepare(ModelPrepareArguments),
    Generate(ModelGenerateArguments),
}

/// Where models are kept.
#[derive(Debug, Args)]
pub struct StoreArguments {
    /// The folder of stored models, instead of the one in GLASSHOUSE_HOME or in the system's folder for data
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

/// List the stored models, or those that can be had by name
#[derive(Debug, Args)]
pub struct ModelListArguments {
    /// List registered models instead, and which of them suits the free memory of this machine
    #[arg(long)]
    pub available: bool,
    /// Recommend for so many GB of free memory
    #[arg(long, value_name = "GB", requires = "available", value_parser = gigabytes)]
    pub memory: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub store: StoreArguments,
}

/// Get a model and keep it in the store
///
/// A download that broke off goes on where it was. A file is kept only if it is whole and has the checksum that is known of
/// it. The environment names another hub (HF_ENDPOINT), an account there (HF_TOKEN) and proxies (HTTPS_PROXY, NO_PROXY).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  glasshouse model pull falcon3-3b
  glasshouse model pull hf:OWNER/REPO:Q4_K_M
  glasshouse model pull --sha256 DIGITS https://example.org/model.gguf")]
pub struct ModelPullArguments {
    /// hf:OWNER/REPO[:QUANT], an http or https address, or a name that `list --available` shows
    pub source: Option<String>,
    /// What the model is called in the store [default: by its source]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The file's SHA-256, in hexadecimal [default: what the hub says]
    #[arg(long, value_name = "DIGITS")]
    pub sha256: Option<String>,
    /// Ranges that are read at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub connections: u8,
    /// Refuse the network: only say what is here
    #[arg(long)]
    pub offline: bool,
    /// Print one JSON object for each event
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub store: StoreArguments,
}

/// Remove a stored model, or what is there of one
#[derive(Debug, Args)]
pub struct ModelRemoveArguments {
    /// The model's name, as `list` prints it
    pub name: String,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub store: StoreArguments,
}

/// Measure how well a model predicts a text
///
/// Windows of the text that do not overlap are evaluated each on its own, and the tokens behind the middle of each are
/// scored: e to their mean surprise, as llama.cpp computes it. Less is better; a model that knows nothing has the size of
/// its vocabulary.
#[derive(Debug, Args)]
pub struct ModelPerplexityArguments {
    /// A GGUF file, or the name of a stored model; without it, the built-in pocket model
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArguments,
    /// The text
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// Tokens of a window
    #[arg(long, alias = "ctx-size", value_name = "N", default_value_t = WINDOW as u32, value_parser = clap::value_parser!(u32).range(4..))]
    pub context: u32,
    /// Stop after so many windows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub windows: Option<u32>,
    #[command(flatten)]
    pub machine: MachineArguments,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Bytes of so many gigabytes.
fn gigabytes(text: &str) -> Result<u64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..1e9).contains(&number) => Ok((number * 1e9) as u64),
        _ => Err("it is not a number of gigabytes".to_owned()),
    }
}

/// Say what a model file holds
#[derive(Debug, Args)]
pub struct ModelInfoArguments {
    /// A GGUF file, or the name of a stored model; without it, the built-in pocket model
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArguments,
    /// List every tensor as well
    #[arg(long)]
    pub tensors: bool,
}

/// Measure prefill and decode speed, load time, peak memory, and the share of the memory bandwidth that decoding uses
#[derive(Debug, Args)]
pub struct ModelBenchArguments {
    /// A GGUF file, or the name of a stored model; without it, the built-in pocket model
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArguments,
    /// Tokens of the prompt
    #[arg(long, alias = "prompt", value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    pub prefill: u32,
    /// Tokens to decode
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub decode: u32,
    /// Repetitions; the best is printed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    #[command(flatten)]
    pub machine: MachineArguments,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What computes.
#[derive(Debug, Args)]
pub struct MachineArguments {
    /// Threads for inference; the result is the same for any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// The kernels to compute with: `scalar` defines every bit; without it, this machine's fastest
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<String>,
}

/// Print one hash of what a model computes over fixed prompts
///
/// The same model has the same hash with any kernel and any number of threads, on any machine.
#[derive(Debug, Args)]
pub struct ModelVerifyArguments {
    /// A GGUF file, or the name of a stored model; without it, the built-in pocket model
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArguments,
    #[command(flatten)]
    pub machine: MachineArguments,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Print a text's tokens: the number and the text of each
///
/// The text is taken as a person's: what spells a control token is text like any other.
#[derive(Debug, Args)]
pub struct ModelTokenizeArguments {
    /// The text; read from standard input when it is left out
    pub text: Option<String>,
    /// A GGUF file, or the name of a stored model; without it, the built-in pocket model
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArguments,
    /// Take what spells a control token as that token
    #[arg(long)]
    pub control: bool,
    /// Print the numbers alone, as one JSON array
    #[arg(long)]
    pub json: bool,
}

/// Print the vectors of texts, a JSON array a line
///
/// Vectors have the length 1, so that the sum of the products of two of them is the cosine between them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  glasshouse model embed minilm.gguf \"a red car\" \"a crimson automobile\"
  glasshouse model embed minilm.gguf < lines.txt")]
pub struct ModelEmbedArguments {
    /// A GGUF file, or the name of a stored model: an encoder or any other
    pub model: PathBuf,
    /// The texts; without one, each line of standard input
    pub texts: Vec<String>,
    /// How the vectors of a text's tokens become one [default: as the file says, or their mean]
    #[arg(long, value_name = "HOW", value_enum)]
    pub pooling: Option<PoolingArgument>,
    /// Threads for inference; the result is the same for any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    #[command(flatten)]
    pub store: StoreArguments,
}

/// The names of the ways to pool.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum PoolingArgument {
    /// The mean of all
    Mean,
    /// The first one
    First,
    /// The last one
    Last,
}

/// Write a model as it is kept in memory, so that it is ready at once
///
/// The file is as long as the model's, says the same to the last bit, and is used where it is mapped: programs that use it at
/// the same time share its memory. Only Glasshouse can read it, and to an event log it is another model than the one that it
/// was made of.
#[derive(Debug, Args)]
pub struct ModelPrepareArguments {
    /// A GGUF file, or the name of a stored model
    pub model: PathBuf,
    /// The file to write
    pub out: PathBuf,
    #[command(flatten)]
    pub store: StoreArguments,
}

/// Write a random-weight model of a real model's shape, for measuring
#[derive(Debug, Args)]
pub struct ModelGenerateArguments {
    /// The shape; a wrong name lists them all
    pub preset: String,
    /// The file to write
    pub file: PathBuf,
}
