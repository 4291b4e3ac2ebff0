//! `glasshouse replay`: run a recorded log again and compare every byte.

use std::process::ExitCode;

use anyhow::Result;
use glasshouse_runtime::{ModelSource, ReplayOptions, Unobserved, replay};

use crate::{
    arguments::ReplayArguments,
    commands::{engine_config, model_source, read, read_module, threads},
    progress,
};

/// Runs the command.
pub fn run(arguments: ReplayArguments) -> Result<ExitCode> {
    let log = read(&arguments.trace, "event log")?;
    let options = ReplayOptions {
        model: if arguments.trust_model { ModelSource::None } else { model_source(&arguments.model)? },
        threads: threads(arguments.model.threads),
        trust_model: arguments.trust_model,
        modules: arguments.module.iter().map(|path| read_module(path)).collect::<Result<_>>()?,
        engine: engine_config(),
    };
    let spinner = progress::spinner("replaying");
    let report = replay(&log, options, &mut Unobserved);
    spinner.finish_and_clear();
    let report = report?;
    if !arguments.quiet {
        anstream::println!(
            "identical: {} records, {} steps, {} fuel, {} generated tokens{}",
            report.records,
            report.steps,
            report.fuel,
            report.tokens,
            if arguments.trust_model { " (the model's output was taken from the log)" } else { "" },
        );
    }
    Ok(ExitCode::SUCCESS)
}
