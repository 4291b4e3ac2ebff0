//! Format, lints, tests and benchmarks.

use std::process::Command;

use anyhow::{Result, bail};

use crate::shell::{cargo, run, target_directory};

/// What runs inside processes, and is therefore linted for their target as well.
const GUESTS: [&str; 6] = ["probe", "react", "calculate", "clock", "files", "memory"];
const TARGET: &str = "wasm32-unknown-unknown";
const COMPONENTS: [&str; 2] = ["clippy", "rustfmt"];

/// Everything a change has to pass.
pub fn test() -> Result<()> {
    check()?;
    run(&mut cargo(&["test", "--release", "--locked", "--workspace"]))
}

/// Format and lints, of the host and of the guests.
pub fn check() -> Result<()> {
    install_tools()?;
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&[
        "clippy",
        "--release",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    let mut lint = cargo(&["clippy", "--release", "--locked", "--target", TARGET]);
    for guest in GUESTS {
        lint.args(["--package", guest]);
    }
    run(lint.args(["--", "-D", "warnings"]))
}

/// Generates random-weight models in real shapes, once, and measures them beside the pocket model.
pub fn bench_models() -> Result<()> {
    run(&mut cargo(&["build", "--release", "--locked"]))?;
    let glasshouse = target_directory().join("release").join("glasshouse");
    let models = target_directory().join("models");
    std::fs::create_dir_all(&models)?;
    println!("pocket");
    run(Command::new(&glasshouse).args(["model", "bench"]))?;
    for preset in ["llama-1b-q4_0", "bitnet-2b-tq2_0"] {
        let file = models.join(format!("{preset}.gguf"));
        if !file.is_file() {
            run(Command::new(&glasshouse).args(["model", "generate", preset]).arg(&file))?;
        }
        run(Command::new(&glasshouse).args(["model", "bench"]).arg(&file))?;
    }
    Ok(())
}

/// Installs what the tests need and `rustup` can bring, or says what to type.
fn install_tools() -> Result<()> {
    let missing: Vec<&str> = COMPONENTS.into_iter().filter(|component| !has_component(component)).collect();
    if !missing.is_empty() {
        rustup(&[&["component", "add"], missing.as_slice()].concat())?;
    }
    let libraries = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output()?;
    if !std::path::Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).is_dir() {
        rustup(&["target", "add", TARGET])?;
    }
    Ok(())
}

fn has_component(component: &str) -> bool {
    let (subcommand, argument) =
        if component == "rustfmt" { ("fmt", "--version") } else { (component, "--version") };
    cargo(&[subcommand, argument]).output().is_ok_and(|output| output.status.success())
}

fn rustup(arguments: &[&str]) -> Result<()> {
    if run(Command::new("rustup").args(arguments)).is_err() {
        bail!(
            "the tests need a Rust component that is not installed\n  hint: rustup {}",
            arguments.join(" ")
        );
    }
    Ok(())
}
