//! `glasshouse inspect`: what a module is and needs, without running any of it.

use std::process::ExitCode;

use anyhow::Result;
use glasshouse_engine::{Inspection, ModuleKind, inspect};

use crate::{
    arguments::InspectArguments,
    commands::{printable, public_key, read_module},
};

/// Runs the command.
pub fn run(arguments: InspectArguments) -> Result<ExitCode> {
    let (name, module) = read_module(&arguments.module)?;
    let key = arguments.require_signed.as_deref().map(public_key).transpose()?;
    let inspection = inspect(&module)?;
    let signature = key.map(|key| glasshouse_engine::signature::verify(&module, &key));
    if arguments.json {
        let mut json = serde_json::to_value(&inspection)?;
        json["name"] = name.into();
        json["blake3"] = blake3::hash(&module).to_hex().as_str().into();
        if let Some(signature) = &signature {
            json["signed_by_key"] = signature.is_ok().into();
        }
        anstream::println!("{json}");
    } else {
        print(&name, &module, &inspection);
        if let Some(signature) = &signature {
            let verdict = signature.as_ref().err().map_or("by the given key".to_owned(), ToString::to_string);
            line("signature", &verdict);
        }
    }
    let fine = inspection.refused.is_none() && signature.is_none_or(|signature| signature.is_ok());
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(name: &str, module: &[u8], inspection: &Inspection) {
    line("module", name);
    line("blake3", blake3::hash(module).to_hex().as_str());
    line("size", &format!("{} bytes, {} functions", inspection.bytes, inspection.functions));
    line(
        "kind",
        match inspection.kind {
            ModuleKind::Command => "a program: `_start` is run",
            ModuleKind::Entries => "functions to call",
            ModuleKind::Unknown => "neither a program nor a module with entries",
        },
    );
    line("ABI", &inspection.abi.map_or("not said: 1".to_owned(), |version| version.to_string()));
    line(
        "memory",
        &inspection.memory.map_or("none".to_owned(), |memory| {
            let maximum =
                memory.maximum_bytes.map_or("no bound".to_owned(), |bytes| format!("{bytes} bytes"));
            format!("{} bytes at the start, {maximum} at most", memory.initial_bytes)
        }),
    );
    line("signed", if inspection.signed { "yes" } else { "no" });
    for import in &inspection.imports {
        let given = if import.given { "" } else { "  (not given to every process)" };
        line("import", &format!("{}.{} {}{given}", import.module, import.name, import.kind));
    }
    for export in &inspection.exports {
        let entry = if export.entry { "  (an entry)" } else { "" };
        line("export", &format!("{} {}{entry}", export.name, export.kind));
    }
    for tool in &inspection.tools {
        line("tool", tool);
    }
    for grant in &inspection.grants {
        line("would need", grant);
    }
    match &inspection.refused {
        Some(reason) => line("refused", reason),
        None => line("runs", "yes"),
    }
}

/// One line; names in a module are whatever its author wrote.
fn line(label: &str, text: &str) {
    anstream::println!("{label:<12} {}", printable(text));
}
