//! The browser build: the engine as WebAssembly, the package as JavaScript, and the page with both, in `web/dist`.
//!
//! `web/dist` is static: every address in it is relative, so any host can serve it from any folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    shell::{cargo, root, run, target_directory},
    tools,
};

/// The target of everything that runs in a browser or in a process.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// Room for the deepest recursion of the engine's own code: grammars, JSON and SQL are parsed recursively.
const STACK_BYTES: u32 = 4 << 20;
/// Where `npm ci` leaves a copy of the lock file that it installed.
const INSTALLED_LOCK: &str = "node_modules/.installed-package-lock.json";

/// Which instructions a build may use. All give the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// What every browser of today has.
    Simd128,
    /// Faster integer dot products, used only where their result is exact.
    Relaxed,
}

impl Variant {
    pub const ALL: [Self; 2] = [Self::Simd128, Self::Relaxed];

    /// The folder's name, which `web/src/protocol.ts` knows as well.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simd128 => "simd128",
            Self::Relaxed => "relaxed",
        }
    }

    fn features(self) -> &'static str {
        match self {
            Self::Simd128 => "+simd128",
            Self::Relaxed => "+simd128,+relaxed-simd",
        }
    }

    /// Compiler flags; the separator is cargo's for encoded flags.
    fn flags(self) -> String {
        ["-C", &format!("target-feature={}", self.features())].join("\u{1f}")
    }
}

/// How much is made of the WebAssembly file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// As it is published.
    Full,
    /// Without link-time optimization, `wasm-opt` and compressed copies.
    Fast,
}

impl Effort {
    /// The workspace's profile.
    fn profile(self) -> &'static str {
        match self {
            Self::Full => "web",
            Self::Fast => "release",
        }
    }
}

/// `cargo xtask web [--fast]`
pub fn command(options: &[&str]) -> Result<()> {
    build(effort(options)?)?;
    println!("built web/dist; `cargo run --release -- web` serves it");
    Ok(())
}

/// What the options of a command ask for.
pub fn effort(options: &[&str]) -> Result<Effort> {
    match options {
        [] => Ok(Effort::Full),
        ["--fast"] => Ok(Effort::Fast),
        other => bail!("unknown option {}; there is --fast", other.join(" ")),
    }
}

/// Builds `web/dist`.
pub fn build(effort: Effort) -> Result<()> {
    install_packages()?;
    let bound = output("bound");
    for variant in Variant::ALL {
        compile("glasshouse-web", variant, effort, &bound.join(variant.name()), "glasshouse")?;
    }
    let scripts = output("scripts");
    recreate(&scripts)?;
    for project in ["tsconfig.json", "tsconfig.worker.json"] {
        tsc(project, &scripts)?;
    }

    // Everything that can fail has been done: what is served stays whole as long as possible.
    let dist = directory().join("dist");
    recreate(&dist)?;
    copy(&scripts, &dist)?;
    for variant in Variant::ALL {
        copy(&bound.join(variant.name()), &dist.join("wasm").join(variant.name()))?;
    }
    for file in ["style.css", "icon.svg"] {
        fs::copy(directory().join("src").join(file), dist.join(file)).with_context(|| file.to_owned())?;
    }
    fs::copy(root().join("models/pocket/pocket.gguf"), dist.join("pocket.gguf"))?;
    let mut finish = script("finish.mjs")?;
    finish.arg(&dist).arg(output("cache"));
    if effort == Effort::Fast {
        finish.arg("--fast");
    }
    run(&mut finish)?;
    // The page's first file comes last: it is what tells a whole folder.
    fs::copy(directory().join("src/index.html"), dist.join("index.html"))?;
    Ok(())
}

/// Compiles a package for the browser and writes its JavaScript side, called `name`, into a folder.
pub fn compile(package: &str, variant: Variant, effort: Effort, into: &Path, name: &str) -> Result<()> {
    run(cargo(&[
        "rustc",
        "--locked",
        "--target",
        TARGET,
        "--profile",
        effort.profile(),
        "--package",
        package,
    ])
    .args(["--", "-C", &format!("link-arg=-zstack-size={STACK_BYTES}")])
    .env("CC_wasm32_unknown_unknown", tools::clang()?)
    .env("CARGO_ENCODED_RUSTFLAGS", variant.flags()))?;
    let file = package.replace('-', "_") + ".wasm";
    let module = target_directory().join(TARGET).join(effort.profile()).join(file);
    recreate(into)?;
    run(cargo(&["run", "--quiet", "--release", "--locked", "--package", "bindgen", "--"])
        .arg(&module)
        .arg(into)
        .args(["--name", name]))
}

/// Lints what only the browser runs, in the variant that has all of it.
pub fn lint(packages: &[&str]) -> Result<()> {
    let mut lint = cargo(&["clippy", "--release", "--locked", "--target", TARGET]);
    for package in packages {
        lint.args(["--package", package]);
    }
    run(lint
        .args(["--", "-D", "warnings"])
        .env("CC_wasm32_unknown_unknown", tools::clang()?)
        .env("CARGO_ENCODED_RUSTFLAGS", Variant::Relaxed.flags()))
}

/// Installs the packages of the lock file, unless they are.
pub fn install_packages() -> Result<()> {
    let lock = fs::read(directory().join("package-lock.json"))?;
    let installed = directory().join(INSTALLED_LOCK);
    if fs::read(&installed).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    // The only programs that run are those called here: no package's install script.
    run(Command::new(tools::npm()?).args(["ci", "--ignore-scripts"]).current_dir(directory()))?;
    fs::write(installed, lock)?;
    Ok(())
}

/// Compiles a TypeScript project into a folder.
pub fn tsc(project: &str, into: &Path) -> Result<()> {
    let compiler = directory().join("node_modules/typescript/bin/tsc");
    run(Command::new(tools::node()?)
        .arg(compiler)
        .args(["--project", project, "--outDir"])
        .arg(into)
        .current_dir(directory()))
}

/// `node web/tools/FILE`, in `web`.
fn script(file: &str) -> Result<Command> {
    let mut command = Command::new(tools::node()?);
    command.arg(directory().join("tools").join(file)).current_dir(directory());
    Ok(command)
}

/// The folder of the npm package.
pub fn directory() -> PathBuf {
    root().join("web")
}

/// A folder for what is made on the way.
pub fn output(name: &str) -> PathBuf {
    target_directory().join("web").join(name)
}

/// Makes an empty folder.
pub fn recreate(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("{} cannot be removed", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("{} cannot be created", directory.display()))
}

/// Copies a folder's content.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let destination = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &destination)?;
        } else {
            fs::copy(entry.path(), destination)?;
        }
    }
    Ok(())
}
