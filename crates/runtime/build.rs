//! Builds the guest modules from source and hands their paths to the crate that embeds them.
//!
//! The guests are compiled for `wasm32-unknown-unknown` by the same toolchain, with paths of this machine remapped so
//! that the modules' bytes, and so their hashes, do not depend on where the source lies.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const TARGET: &str = "wasm32-unknown-unknown";
/// The profile of the workspace that makes small modules.
const PROFILE: &str = "guest";
const PACKAGES: [&str; 10] = [
    "--package",
    "react",
    "--package",
    "calculate",
    "--package",
    "clock",
    "--package",
    "files",
    "--package",
    "memory",
];

/// Module name in `builtin.rs`, and the file that cargo makes of it.
const MODULES: [(&str, &str); 5] = [
    ("REACT", "react.wasm"),
    ("CALCULATE", "calculate.wasm"),
    ("CLOCK", "clock.wasm"),
    ("FILES", "files.wasm"),
    ("MEMORY", "memory.wasm"),
];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let manifest_directory = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = manifest_directory.join("../..").canonicalize().map_err(|error| error.to_string())?;
    let output = PathBuf::from(variable("OUT_DIR")?);
    // By relative names: checkouts that share a target directory share this script's output too, and one must not be
    // asked whether the other has changed.
    for watched in ["guests", "crates/guest", "crates/agent", "crates/protocol", "crates/envelope"] {
        println!("cargo:rerun-if-changed=../../{watched}");
    }
    println!("cargo:rerun-if-changed=build.rs");

    ensure_target()?;
    let target_directory = output.join("guests");
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .args(["build", "--profile", PROFILE, "--locked", "--target", TARGET, "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .args(PACKAGES)
        .arg("--target-dir")
        .arg(&target_directory)
        .env("CARGO_ENCODED_RUSTFLAGS", remapping(&root));
    // What applies to the host build (clippy's driver, flags, another target directory) must not leak into this one.
    for name in
        ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET"]
    {
        cargo.env_remove(name);
    }
    let status =
        cargo.status().map_err(|error| format!("cargo could not be started for the guests: {error}"))?;
    if !status.success() {
        return Err(format!("the guest modules did not build ({status}); the compiler's message is above"));
    }
    for (name, file) in MODULES {
        let path = target_directory.join(TARGET).join(PROFILE).join(file);
        if !path.is_file() {
            return Err(format!("the guest build made no {file}"));
        }
        println!("cargo:rustc-env=GLASSHOUSE_GUEST_{name}={}", path.display());
    }
    Ok(())
}

/// Installs the target's standard library when it is missing and `rustup` is there to do it.
fn ensure_target() -> Result<(), String> {
    let rustc = variable("RUSTC")?;
    let printed = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("{rustc} could not be started: {error}"))?;
    let library = PathBuf::from(String::from_utf8_lossy(&printed.stdout).trim());
    if library.is_dir() {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    if added.is_ok_and(|status| status.success()) && library.is_dir() {
        return Ok(());
    }
    Err(format!(
        "the Rust target {TARGET} is not installed, and it is needed to build the sandboxed guests.\n  \
         hint: rustup target add {TARGET}"
    ))
}

/// Compiler flags that replace this machine's paths; the separator is cargo's for encoded flags.
fn remapping(root: &Path) -> String {
    let mut flags = vec![format!("--remap-path-prefix={}=glasshouse", root.display())];
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    if let Some(home) = home {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    flags.join("\u{1f}")
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set; this script is run by cargo"))
}
