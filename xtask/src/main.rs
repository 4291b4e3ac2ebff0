//! The one entrance for automation: `cargo xtask COMMAND`.

mod browser;
mod check;
mod evaluation;
mod halt;
mod inference;
mod kernels;
mod shell;
mod tools;
mod web;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
Usage: cargo xtask COMMAND

Commands:
  test             install what the tests need, check format and lints, run every test
  check            check format and lints only
  web              build the page and the npm package into web/dist; with --fast, larger and slower ones sooner
  test-web         the part of `test` that runs in Chromium, on the page as published; with --fast, as `test` does it
  halt             build the halt kernel's module and npm package into web/halt/dist, and pack the package
  test-halt        the part of `test` that runs them in Node, in workers, in Chromium and in Python
  test-neon        run the tests of the inference kernels on an emulated ARM processor
  test-avx512      run the tests of the inference kernels for AVX-512, AMX and AVX-VNNI in Miri: slow
  eval-pocket      ask the real binary every held-out question of the pocket model and print the table
  bench-models     generate random-weight models of real shapes and measure them, with the pocket model
  bench-inference  measure inference beside other engines' benchmark programs; --help says how to name them
  bench-web        measure the page in a browser: sizes, time to the first token, speed, memory
  bench-halt       measure the halt kernel natively, in Node and in Chromium: nanoseconds per token
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["test"] => check::test(),
        ["check"] => check::check(),
        ["web", options @ ..] => web::command(options),
        ["test-web", options @ ..] => browser::test(web::effort(options)?),
        ["bench-web"] => browser::bench(),
        ["test-neon"] => kernels::test_neon(),
        ["test-avx512"] => kernels::test_avx512(),
        ["eval-pocket", options @ ..] => evaluation::run(options),
        ["bench-inference", options @ ..] => inference::bench(options),
        ["bench-models"] => check::bench_models(),
        ["halt"] => halt::build().map(drop),
        ["test-halt"] => halt::test(),
        ["bench-halt"] => halt::bench(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        other => bail!("unknown command: {}\n\n{USAGE}", other.join(" ")),
    }
}
