//! Tests and measurements in a real browser, headless.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    check,
    shell::{cargo, root, run, target_directory},
    tools,
    web::{self, Effort, Variant},
};

/// What runs in a browser's worker, linted for that target.
const PACKAGES: [&str; 3] = ["glasshouse-web", "engine-conformance", "kernel-verification"];

/// Lints what a browser runs, and runs the suites of `web/tests/browser` on the page that this effort builds.
pub fn test(effort: Effort) -> Result<()> {
    let (node, chromium) = (tools::node()?, tools::chromium()?);
    web::lint(&PACKAGES)?;
    web::build(effort)?;
    compile_suites(effort)?;
    let mut tests = prepared(&node, &chromium)?;
    // One file after the other: they share the processor with a browser each.
    tests.args(["--test", "--test-concurrency=1", "--test-reporter=spec"]);
    for file in test_files()? {
        tests.arg(file);
    }
    run(&mut tests)
}

/// Builds what the browser tests run of other crates.
fn compile_suites(effort: Effort) -> Result<()> {
    let suites = web::output("suites");
    let conformance = suites.join("conformance");
    web::compile("engine-conformance", Variant::Simd128, effort, &conformance, "suite")?;
    for variant in Variant::ALL {
        let folder = suites.join(format!("kernels-{}", variant.name()));
        web::compile("kernel-verification", variant, effort, &folder, "suite")?;
    }
    Ok(())
}

/// `cargo xtask bench-web`: prints sizes, times and speeds, beside those of a peer in the same browser.
pub fn bench() -> Result<()> {
    let (node, chromium) = (tools::node()?, tools::chromium()?);
    web::build(Effort::Full)?;
    compile_suites(Effort::Full)?;
    let mut bench = prepared(&node, &chromium)?;
    let model = check::generated_model("llama-1b-q4_0")?;
    bench.arg(compiled().join("bench.js")).env("GLASSHOUSE_LARGE_MODEL", model);
    run(&mut bench)
}

/// Node with what the harness needs to know; the command line and the harness are built first.
fn prepared(node: &Path, chromium: &Path) -> Result<Command> {
    run(&mut cargo(&["build", "--release", "--locked"]))?;
    web::tsc("tests/browser/tsconfig.json", &compiled())?;
    let screenshots = root().join("target").join("web-screenshots");
    fs::create_dir_all(&screenshots)?;
    let mut command = Command::new(node);
    command
        .current_dir(web::directory())
        .env("GLASSHOUSE_CHROMIUM", chromium)
        .env("GLASSHOUSE_PROGRAM", target_directory().join("release").join("glasshouse"))
        .env("GLASSHOUSE_PAGE", web::directory().join("dist"))
        .env("GLASSHOUSE_SUITES", web::output("suites"))
        .env("GLASSHOUSE_SCREENSHOTS", screenshots);
    Ok(command)
}

/// Beside `node_modules`, where Node looks for packages from.
fn compiled() -> PathBuf {
    web::directory().join("node_modules").join(".glasshouse-tests")
}

fn test_files() -> Result<Vec<PathBuf>> {
    let mut files: Vec<_> = fs::read_dir(compiled())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".test.js"))
        .collect();
    files.sort();
    Ok(files)
}
