//! The programs that the browser build and its tests need, beside Rust: found, installed where that is allowed, or
//! named with the one line to type.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::shell::run;

/// A program that is not installed by rustup or npm.
struct Tool {
    /// What it is for, to end a sentence.
    purpose: &'static str,
    /// Its names, the preferred one first.
    names: &'static [&'static str],
    /// An environment variable that names it.
    variable: Option<&'static str>,
    /// What it is started with to see whether it works.
    probe: &'static [&'static str],
    /// The package that Debian and its kin have it in.
    package: &'static str,
}

/// Every program knows this one.
const VERSION: &[&str] = &["--version"];

const CLANG: Tool = Tool {
    purpose: "compile SQLite's C source for WebAssembly",
    names: &["clang-19", "clang", "clang-22", "clang-21", "clang-20", "clang-18", "clang-17", "clang-16"],
    variable: Some("CC_wasm32_unknown_unknown"),
    probe: VERSION,
    package: "clang-19",
};
const WASM_LINKER: Tool = Tool {
    purpose: "link guests that are written in C",
    names: &[
        "wasm-ld-19",
        "wasm-ld",
        "wasm-ld-22",
        "wasm-ld-21",
        "wasm-ld-20",
        "wasm-ld-18",
        "wasm-ld-17",
        "wasm-ld-16",
    ],
    variable: None,
    probe: VERSION,
    package: "lld-19",
};
/// A compiler finds the linker of its own version only, so the probe links an empty module.
const LINKING_CLANG: Tool = Tool {
    purpose: "compile guests that are written in C",
    names: CLANG.names,
    variable: CLANG.variable,
    probe: &["--target=wasm32", "-nostdlib", "-Wl,--no-entry", "-x", "c", "/dev/null", "-o", "/dev/null"],
    package: CLANG.package,
};
const NODE: Tool = Tool {
    purpose: "compile the page's TypeScript",
    names: &["node"],
    variable: None,
    probe: VERSION,
    package: "nodejs",
};
const NPM: Tool = Tool {
    purpose: "install the TypeScript compiler and the other build tools of web/package-lock.json",
    names: &["npm"],
    variable: None,
    probe: VERSION,
    package: "npm",
};
const CHROMIUM: Tool = Tool {
    purpose: "test the page in a real browser",
    names: &["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"],
    variable: Some("GLASSHOUSE_CHROMIUM"),
    probe: VERSION,
    package: "chromium",
};
/// Its package is that of virtual environments, which needs the language.
const PYTHON: Tool = Tool {
    purpose: "test the halt kernel's module in Python",
    names: &["python3"],
    variable: None,
    probe: &["-c", "import ensurepip, venv"],
    package: "python3-venv",
};

/// The C compiler for `wasm32-unknown-unknown`.
pub fn clang() -> Result<PathBuf> {
    need(&CLANG)
}

/// A C compiler that finds its linker for WebAssembly.
pub fn clang_with_linker() -> Result<PathBuf> {
    if let Some(found) = find(&LINKING_CLANG) {
        return Ok(found);
    }
    need(&WASM_LINKER)?;
    need(&LINKING_CLANG)
}

/// Node.
pub fn node() -> Result<PathBuf> {
    need(&NODE)
}

/// Node's package manager.
pub fn npm() -> Result<PathBuf> {
    need(&NPM)
}

/// A Chromium that runs headless.
pub fn chromium() -> Result<PathBuf> {
    need(&CHROMIUM)
}

/// A Python that can make virtual environments.
pub fn python() -> Result<PathBuf> {
    need(&PYTHON)
}

/// Finds the program; installs it where nobody is there to be asked; or says what to type.
fn need(tool: &Tool) -> Result<PathBuf> {
    if let Some(found) = find(tool) {
        return Ok(found);
    }
    let command = ["apt-get", "install", "--yes", "--no-install-recommends", tool.package];
    if may_install() {
        // A new machine has no package lists. Where they cannot be had, the ones that are there may do.
        let _ = run(Command::new(command[0]).arg("update"));
        run(Command::new(command[0]).args(&command[1..]).env("DEBIAN_FRONTEND", "noninteractive"))?;
        if let Some(found) = find(tool) {
            return Ok(found);
        }
    }
    let override_hint =
        tool.variable.map(|variable| format!(", or set {variable} to the one to use")).unwrap_or_default();
    bail!(
        "{} is not installed, and it is needed to {}\n  hint: on Debian or Ubuntu, sudo apt-get install {}{override_hint}",
        tool.names[0],
        tool.purpose,
        tool.package
    );
}

fn find(tool: &Tool) -> Option<PathBuf> {
    let named =
        tool.variable.and_then(env::var_os).map(|named| on_path(&named).unwrap_or_else(|| named.into()));
    named.into_iter().chain(tool.names.iter().filter_map(on_path)).find(|program| works(program, tool.probe))
}

/// The whole path of a program: not everything that starts one looks for it by its name.
fn on_path(name: impl AsRef<Path>) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(&name)).find(|program| program.is_file())
}

fn works(program: &Path, probe: &[&str]) -> bool {
    Command::new(program)
        .args(probe)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether this is a machine of continuous integration that is this program's to change: root on Debian, with `CI` set.
fn may_install() -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    env::var_os("CI").is_some() && root && Path::new("/etc/debian_version").is_file()
}
