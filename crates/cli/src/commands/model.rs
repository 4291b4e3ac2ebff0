//! `glasshouse model`: look at a model file, measure it, or generate one of random weights.

use std::{process::ExitCode, str::FromStr, time::Instant};

use anyhow::{Context, Result};
use glasshouse_llm::{
    Config,
    bench::{self, BenchOptions},
    generate_random::{self, Preset},
};
use glasshouse_runtime::ModelSource;

use crate::{
    arguments::{ModelBenchArguments, ModelGenerateArguments, ModelInfoArguments},
    progress,
};

fn source(file: Option<std::path::PathBuf>) -> ModelSource {
    file.map_or(ModelSource::BuiltIn, ModelSource::File)
}

/// Says what a model file holds.
pub fn info(arguments: ModelInfoArguments) -> Result<ExitCode> {
    let gguf = source(arguments.file).open()?.context("there is no model")?;
    let config = Config::read(&gguf)?;
    let tokenizer = gguf.get_string("tokenizer.ggml.model")?.unwrap_or("none");
    let elements: u64 = gguf.tensors().iter().map(|tensor| tensor.columns() * tensor.rows()).sum();
    let lines = [
        ("name", if config.name.is_empty() { "unnamed".to_owned() } else { config.name.clone() }),
        ("architecture", config.architecture_name.clone()),
        ("file", format!("{} bytes", gguf.bytes().len())),
        ("weights", format!("{elements} in {} tensors", gguf.tensors().len())),
        ("context", format!("{} tokens", config.context_length)),
        ("layers", config.block_count.to_string()),
        ("width", config.embedding_length.to_string()),
        ("feed-forward", config.feed_forward_length.to_string()),
        ("heads", format!("{} ({} for keys and values)", config.head_count, config.head_count_kv)),
        ("vocabulary", format!("{} tokens ({tokenizer})", config.vocabulary_size)),
    ];
    for (label, value) in lines {
        anstream::println!("{label:<13}{}", value.escape_debug());
    }
    if arguments.tensors {
        for tensor in gguf.tensors() {
            anstream::println!("{:<32} {:?} {}", tensor.name, tensor.shape, tensor.tensor_type.name());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures prefill and decode.
pub fn bench(arguments: ModelBenchArguments) -> Result<ExitCode> {
    let spinner = progress::spinner("measuring");
    let start = Instant::now();
    let gguf = source(arguments.file).open()?.context("there is no model")?;
    let options = BenchOptions {
        threads: arguments.threads.map_or(0, usize::from),
        prompt_tokens: arguments.prompt as usize,
        decode_tokens: arguments.decode as usize,
        repetitions: arguments.repeat as usize,
    };
    let report = bench::measure(gguf, start, &options)?;
    spinner.finish_and_clear();
    anstream::println!("model        {}", report.model.escape_debug());
    anstream::println!("kernels      {}, {} threads", report.kernels, report.threads);
    anstream::println!("load         {:.3} s", report.load_time.as_secs_f64());
    anstream::println!(
        "prefill      {:.1} tokens/s ({} tokens)",
        report.prefill_tokens_per_second,
        report.prompt_tokens
    );
    anstream::println!(
        "decode       {:.1} tokens/s ({} tokens)",
        report.decode_tokens_per_second,
        report.decode_tokens
    );
    match report.peak_memory_bytes {
        Some(bytes) => anstream::println!("peak memory  {} MiB", bytes >> 20),
        None => anstream::println!("peak memory  not told by this system"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a random-weight model.
pub fn generate(arguments: ModelGenerateArguments) -> Result<ExitCode> {
    let preset = Preset::from_str(&arguments.preset).map_err(anyhow::Error::msg)?;
    let spinner = progress::spinner("generating");
    generate_random::write(&arguments.file, preset)?;
    spinner.finish_and_clear();
    Ok(ExitCode::SUCCESS)
}
