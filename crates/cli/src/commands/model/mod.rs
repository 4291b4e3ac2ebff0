//! `glasshouse model`: get and keep models, look at one, measure it, compare what it computes, prepare one to be ready at once,
//! or generate one of random weights.
//!
//! - [`store`]: `list`, `pull` and `rm`.
//! - [`embed`]: vectors of texts.
//! - [`mod@perplexity`]: how well a model predicts a text.

pub mod embed;
pub mod perplexity;
pub mod store;

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::Path,
    process::ExitCode,
    str::FromStr,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result};
use glasshouse_llm::{
    Config, Kernels, Model, Prepared,
    bench::{self, BenchOptions},
    fingerprint,
    generate_random::{self, Preset},
    gguf::{Gguf, I2sPacking},
    tokenizer::{Special, Tokenizer},
};
use serde_json::json;

use crate::{
    arguments::{
        ModelBenchArguments, ModelGenerateArguments, ModelInfoArguments, ModelPrepareArguments,
        ModelTokenizeArguments, ModelVerifyArguments, StoreArguments,
    },
    commands::stored_or_file,
    progress,
};

/// Opens a model's file.
fn open(model: Option<&Path>, store: &StoreArguments) -> Result<Arc<Gguf>> {
    stored_or_file(model, store)?.open()?.context("there is no model")
}

/// Says what a model file holds.
pub fn info(arguments: ModelInfoArguments) -> Result<ExitCode> {
    let gguf = open(arguments.file.as_deref(), &arguments.store)?;
    let config = Config::read(&gguf)?;
    let tokenizer = gguf.get_string("tokenizer.ggml.model")?.unwrap_or("none");
    let elements: u64 = gguf.tensors().iter().map(|tensor| tensor.columns() * tensor.rows()).sum();
    let lines = [
        ("name", if config.name.is_empty() { "unnamed".to_owned() } else { config.name.clone() }),
        ("architecture", config.architecture.name.to_owned()),
        ("file", format!("{} bytes{}", gguf.file_bytes(), files(gguf.shards().count()))),
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
    if let Some((packing, stated)) = gguf.i2s_packing() {
        let (name, key) = (packing.name(), I2sPacking::KEY);
        let why =
            if stated { "as the file says".to_owned() } else { format!("assumed: no key {key} says arm") };
        let label = "packing";
        anstream::println!("{label:<13}{name} ({why})");
    }
    if gguf.tensors().iter().any(|tensor| tensor.interleaved) {
        anstream::println!(
            "rows         interleaved: prepared for Glasshouse, and of no use to other programs"
        );
    }
    if arguments.tensors {
        for tensor in gguf.tensors() {
            let rows = if tensor.interleaved { ", interleaved" } else { "" };
            let tensor_type = tensor.tensor_type.name();
            anstream::println!("{:<32} {:?} {tensor_type}{rows}", tensor.name, tensor.shape);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn files(count: usize) -> String {
    if count > 1 { format!(" in {count} files") } else { String::new() }
}

/// Measures prefill and decode.
pub fn bench(arguments: ModelBenchArguments) -> Result<ExitCode> {
    let kernels = kernels(arguments.machine.kernel.as_deref())?;
    let spinner = progress::spinner("measuring");
    let start = Instant::now();
    let gguf = open(arguments.file.as_deref(), &arguments.store)?;
    let options = BenchOptions {
        threads: arguments.machine.threads.map_or(0, usize::from),
        prompt_tokens: arguments.prefill as usize,
        decode_tokens: arguments.decode as usize,
        repetitions: arguments.repeat as usize,
        kernels,
    };
    let report = bench::measure(gguf, start, &options)?;
    spinner.finish_and_clear();
    if arguments.json {
        let report = json!({
            "model": report.model,
            "kernel": report.kernels,
            "threads": report.threads,
            "load_s": report.load_time.as_secs_f64(),
            "prefill_tokens": report.prompt_tokens,
            "prefill_tps": report.prefill_tokens_per_second,
            "decode_tokens": report.decode_tokens,
            "decode_tps": report.decode_tokens_per_second,
            "peak_rss_bytes": report.peak_memory_bytes,
            "bandwidth_gbps": report.bandwidth_bytes_per_second / 1e9,
            "bandwidth_share": report.bandwidth_share(),
        });
        anstream::println!("{report}");
        return Ok(ExitCode::SUCCESS);
    }
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
    anstream::println!(
        "bandwidth    {:.1} GB/s, of which decoding uses {:.0} %",
        report.bandwidth_bytes_per_second / 1e9,
        report.bandwidth_share() * 100.0
    );
    match report.peak_memory_bytes {
        Some(bytes) => anstream::println!("peak memory  {} MiB", bytes >> 20),
        None => anstream::println!("peak memory  not told by this system"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The kernels of this name, or the fastest.
fn kernels(name: Option<&str>) -> Result<Kernels> {
    let Some(name) = name else { return Ok(Kernels::detect()) };
    Kernels::by_name(name).with_context(|| {
        format!("this machine has no kernel `{name}`; it has {}", Kernels::names().join(", "))
    })
}

/// Says what a model computes, as one hash.
pub fn verify(arguments: ModelVerifyArguments) -> Result<ExitCode> {
    let kernels = kernels(arguments.machine.kernel.as_deref())?;
    let spinner = progress::spinner("computing");
    let gguf = open(arguments.file.as_deref(), &arguments.store)?;
    let threads = arguments.machine.threads.map_or(0, usize::from);
    let model = Model::load_with(gguf, threads, kernels)?;
    let found = fingerprint(&model)?;
    spinner.finish_and_clear();
    if arguments.json {
        let found = json!({
            "hash": found.hash,
            "tokens": found.tokens,
            "logits": found.logits,
            "kernel": model.kernels().name(),
            "threads": model.threads(),
        });
        anstream::println!("{found}");
    } else {
        anstream::println!("{}", found.hash);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a text's tokens.
pub fn tokenize(arguments: ModelTokenizeArguments) -> Result<ExitCode> {
    let gguf = open(arguments.model.as_deref(), &arguments.store)?;
    let tokenizer = Tokenizer::from_gguf(&gguf)?;
    let text = match arguments.text {
        Some(text) => text,
        None => io::read_to_string(io::stdin()).context("the text cannot be read from standard input")?,
    };
    let special = if arguments.control { Special::Parse } else { Special::Text };
    let tokens = tokenizer.encode(&text, special);
    if arguments.json {
        anstream::println!("{}", json!(tokens));
        return Ok(ExitCode::SUCCESS);
    }
    for token in tokens {
        anstream::println!(
            "{token}\t{}",
            String::from_utf8_lossy(tokenizer.token_bytes(token)).escape_debug()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a model as it is kept in memory.
pub fn prepare(arguments: ModelPrepareArguments) -> Result<ExitCode> {
    let gguf = open(Some(&arguments.model), &arguments.store)?;
    let prepared = Prepared::of(&gguf)?;
    let out = arguments.out;
    // A file of this name is whole; and the model may be the file that is replaced.
    let mut part = out.clone().into_os_string();
    part.push(".part");
    let spinner = progress::spinner("preparing");
    let written = File::create(&part)
        .and_then(|file| prepared.write_to(BufWriter::with_capacity(1 << 20, file)))
        .and_then(|()| fs::rename(&part, &out));
    spinner.finish_and_clear();
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&part);
    }
    written.with_context(|| format!("the prepared model cannot be written to {}", out.display()))?;
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
