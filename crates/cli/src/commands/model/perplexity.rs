//! `glasshouse model perplexity`: how well a model predicts a text.

use std::{io::Write, ops::ControlFlow, process::ExitCode};

use anyhow::{Context, Result};
use glasshouse_llm::{
    Model,
    perplexity::{Perplexity, perplexity},
    tokenizer::Tokenizer,
};
use serde_json::json;

use crate::{
    arguments::ModelPerplexityArguments,
    commands::{read, threads},
    progress,
};

/// Runs the command.
pub fn run(arguments: ModelPerplexityArguments) -> Result<ExitCode> {
    let kernels = super::kernels(arguments.machine.kernel.as_deref())?;
    let text = read(&arguments.text, "text")?;
    // As other programs take it: what is no UTF-8 is scored as the characters that stand for it.
    let text = String::from_utf8_lossy(&text);
    let gguf = super::open(arguments.file.as_deref(), &arguments.store)?;
    let tokenizer = Tokenizer::from_gguf(&gguf)?;
    let spinner = progress::spinner("loading the model");
    let model = Model::load_with(gguf, threads(arguments.machine.threads).unwrap_or(0), kernels)?;
    spinner.finish_and_clear();
    let last = arguments.windows.map_or(usize::MAX, |windows| windows as usize);
    let mut out = anstream::stdout();
    let mut on_window = |estimate: &Perplexity| {
        if !arguments.json {
            // A reader that goes away ends the printing, not the measurement.
            let _ =
                write!(out, "[{}]{:.4},", estimate.windows, estimate.perplexity).and_then(|()| out.flush());
        }
        if estimate.windows >= last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let found = perplexity(&model, &tokenizer, &text, arguments.context as usize, &mut on_window)
        .with_context(|| format!("{} cannot be scored", arguments.text.display()))?;
    if arguments.json {
        let report = json!({
            "perplexity": found.perplexity,
            "error": found.error,
            "scored_tokens": found.scored,
            "windows": found.windows,
            "context": arguments.context,
            "kernel": model.kernels().name(),
            "threads": model.threads(),
        });
        anstream::println!("{report}");
        return Ok(ExitCode::SUCCESS);
    }
    let error = found.error.map(|error| format!(" ± {error:.5}")).unwrap_or_default();
    anstream::println!(
        "\nperplexity {:.4}{error} ({} tokens in {} windows of {})",
        found.perplexity,
        found.scored,
        found.windows,
        arguments.context
    );
    Ok(ExitCode::SUCCESS)
}
