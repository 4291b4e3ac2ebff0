//! The packages of the halt kernel: the module without imports, and the npm package around it, in `web/halt/dist`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use glasshouse_halt::Config;

use crate::{
    shell::{cargo, root, run, target_directory},
    tools,
    web::{self, TARGET},
};

/// The crate of the module.
pub const MODULE: &str = "glasshouse-halt-module";
/// The version of PyPI's `wasmtime` that the module is tested with.
const PYTHON_WASMTIME: &str = "wasmtime==50.0.1";

/// `cargo xtask halt`: builds and packs; the tarball.
pub fn build() -> Result<PathBuf> {
    web::install_packages()?;
    let dist = directory().join("dist");
    web::recreate(&dist)?;
    run(&mut cargo(&["build", "--locked", "--target", TARGET, "--profile", "guest", "--package", MODULE]))?;
    let module = target_directory().join(TARGET).join("guest").join(MODULE.replace('-', "_") + ".wasm");
    run(Command::new(tools::node()?)
        .arg(directory().join("tools/finish.mjs"))
        .arg(module)
        .arg(dist.join("halt.wasm")))?;
    fs::write(dist.join("halt.schema.json"), Config::json_schema() + "\n")?;
    fs::copy(root().join("crates/halt-module/halt.h"), dist.join("halt.h"))?;
    web::tsc("halt/tsconfig.json", &dist)?;
    pack(&dist)
}

/// Makes the tarball: what the folder of the package has, and the licences.
fn pack(dist: &Path) -> Result<PathBuf> {
    let package = output("package");
    web::recreate(&package)?;
    web::copy(dist, &package.join("dist"))?;
    for file in ["package.json", "README.md"] {
        fs::copy(directory().join(file), package.join(file))?;
    }
    for file in ["LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(root().join(file), package.join(file))?;
    }
    let tarballs = output("tarball");
    web::recreate(&tarballs)?;
    run(Command::new(tools::npm()?)
        .args(["pack", "--pack-destination"])
        .arg(&tarballs)
        .current_dir(&package))?;
    let tarball = fs::read_dir(&tarballs)?.next().context("npm made no tarball")??.path();
    println!("packed {}", tarball.display());
    Ok(tarball)
}

/// `cargo xtask test-halt`: installs the tarball as others would, and runs it in Node, in a worker without anything, in
/// Chromium and in Python.
pub fn test() -> Result<()> {
    let (python, chromium) = (tools::python()?, tools::chromium()?);
    let installed = install(&build()?)?;
    check_types(&installed)?;
    let tests = compile_tests()?;
    let mut node = node(&chromium)?;
    node.args(["--test", "--test-concurrency=1", "--test-reporter=spec"]);
    for file in ["node.test.js", "bare.test.js", "browser.test.js"] {
        node.arg(tests.join(file));
    }
    run(&mut node)?;
    run(Command::new(python_with_wasmtime(&python)?)
        .arg(directory().join("tests/wasmtime_test.py"))
        .arg(directory().join("dist/halt.wasm"))
        .arg(fixtures()))
}

/// `cargo xtask bench-halt`: nanoseconds per token, natively, in Node and in Chromium.
pub fn bench() -> Result<()> {
    let chromium = tools::chromium()?;
    install(&build()?)?;
    let tests = compile_tests()?;
    run(&mut cargo(&["bench", "--locked", "--package", "glasshouse-halt", "--bench", "kernel"]))?;
    run(node(&chromium)?.arg(tests.join("bench.js")))
}

/// Installs the tarball into a project of its own. It has no dependencies: no registry is asked.
fn install(tarball: &Path) -> Result<PathBuf> {
    // Beside the other packages, where Node looks for what the tests need.
    let project = web::directory().join("node_modules").join(".glasshouse-halt");
    web::recreate(&project)?;
    fs::write(project.join("package.json"), "{ \"private\": true, \"type\": \"module\" }\n")?;
    run(Command::new(tools::npm()?)
        .args(["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund"])
        .arg(fs::canonicalize(tarball)?)
        .current_dir(&project))?;
    Ok(project)
}

/// Compiles a project that uses the package, as its users would: for Node, and for bundlers.
fn check_types(project: &Path) -> Result<()> {
    fs::copy(directory().join("tests/consumer.ts"), project.join("consumer.ts"))?;
    let projects: [(&str, &[&str]); 3] = [
        ("NodeNext", &["--moduleResolution", "NodeNext", "--lib", "ES2022", "--types", "node"]),
        (
            "ESNext",
            &["--moduleResolution", "bundler", "--lib", "ES2022,DOM,DOM.AsyncIterable", "--types", ""],
        ),
        ("ESNext", &["--moduleResolution", "bundler", "--lib", "ES2022,WebWorker", "--types", ""]),
    ];
    let compiler = web::directory().join("node_modules/typescript/bin/tsc");
    for (module, options) in projects {
        run(Command::new(tools::node()?)
            .arg(&compiler)
            .args([
                "--ignoreConfig",
                "--noEmit",
                "--strict",
                "--exactOptionalPropertyTypes",
                "--target",
                "ES2022",
                "--module",
                module,
            ])
            .args(options)
            .args(["--typeRoots", "../@types", "consumer.ts"])
            .current_dir(project))?;
    }
    Ok(())
}

fn compile_tests() -> Result<PathBuf> {
    let tests = web::directory().join("node_modules/.glasshouse-halt/tests");
    web::tsc("halt/tests/tsconfig.json", &tests)?;
    Ok(tests)
}

/// Node with what the tests need to know.
fn node(chromium: &Path) -> Result<Command> {
    let mut command = Command::new(tools::node()?);
    command
        .current_dir(web::directory())
        .env("GLASSHOUSE_HALT_FIXTURES", fixtures())
        .env("GLASSHOUSE_HALT_CHROMIUM", chromium);
    Ok(command)
}

/// The Python of an environment that has `wasmtime`.
fn python_with_wasmtime(python: &Path) -> Result<PathBuf> {
    let environment = output("python");
    let installed = environment.join("installed");
    let program = environment.join("bin/python");
    if fs::read_to_string(&installed).is_ok_and(|version| version == PYTHON_WASMTIME) {
        return Ok(program);
    }
    run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&environment))?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PYTHON_WASMTIME];
    if run(Command::new(&program).args(install)).is_err() {
        bail!("the tests need {PYTHON_WASMTIME} from PyPI, and it could not be installed");
    }
    fs::write(installed, PYTHON_WASMTIME)?;
    Ok(program)
}

/// The folder of the npm package.
fn directory() -> PathBuf {
    web::directory().join("halt")
}

/// What the tests of all runtimes share.
fn fixtures() -> PathBuf {
    root().join("crates/halt/tests")
}

/// A folder for what is made on the way.
fn output(name: &str) -> PathBuf {
    target_directory().join("halt").join(name)
}
