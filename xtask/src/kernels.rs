//! Tests of kernels for instruction sets that this machine need not have: run by an emulator or an interpreter.
//!
//! Where that is not installed, the command says so, and what to type, and does no more.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::shell::{cargo, run};

const PACKAGE: &str = "glasshouse-llm";
/// 64-bit ARM, where NEON is.
const ARM: &str = "aarch64-unknown-linux-gnu";
/// The linker for it.
const ARM_LINKER: &str = "aarch64-linux-gnu-gcc";
/// Runs programs for it, with the dot product instructions as well.
const ARM_RUNNER: [&str; 3] = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"];
/// What the kernels that the interpreter runs are compiled for.
const VNNI: &str = "+avx2,+f16c,+avx512f,+avx512bw,+avx512vl,+avx512vnni,+avxvnni";

/// The kernels' tests, and those that hold whole models against pinned bits, on an emulated ARM processor.
pub fn test_neon() -> Result<()> {
    if !works(Command::new(ARM_LINKER).arg("--version")) {
        return skip(ARM_LINKER, "apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross");
    }
    if !works(Command::new(ARM_RUNNER[0]).arg("--version")) {
        return skip(ARM_RUNNER[0], "apt-get install qemu-user");
    }
    let libraries = Command::new("rustc").args(["--print", "target-libdir", "--target", ARM]).output()?;
    if !std::path::Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).is_dir() {
        return skip(&format!("Rust's standard library for {ARM}"), &format!("rustup target add {ARM}"));
    }
    let test = |arguments: &[&str]| {
        let common = ["test", "--release", "--locked", "--package", PACKAGE, "--target", ARM];
        run(cargo(&common)
            .args(arguments)
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", ARM_LINKER)
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", ARM_RUNNER.join(" ")))
    };
    test(&["--lib", "--", "kernels::", "verify::"])?;
    test(&["--test", "golden", "--test", "identical_bits"])
}

/// The kernels' tests for VNNI, with AVX-512 and AMX and without, in Miri.
pub fn test_avx512() -> Result<()> {
    let miri = || {
        let mut command = Command::new("rustup");
        command.args(["run", "nightly", "cargo", "miri"]);
        command
    };
    if !works(miri().arg("--version")) {
        return skip("Miri", "rustup toolchain install nightly --component miri,rust-src");
    }
    // An interpreter's build has nothing in common with others.
    let directory = crate::shell::target_directory().join("miri-kernels");
    run(miri()
        .args(["test", "--release", "--locked", "--package", PACKAGE, "--lib", "--target-dir"])
        .arg(directory)
        .args(["--", "--nocapture", "every_kernel_of_this_machine"])
        .current_dir(crate::shell::root())
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .env("RUSTFLAGS", format!("-C target-feature={VNNI}"))
        // The property tests look for a file of earlier failures.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation"))
}

fn works(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn skip(missing: &str, command: &str) -> Result<()> {
    println!("skipped: {missing} is not installed\n  hint: {command}");
    Ok(())
}
