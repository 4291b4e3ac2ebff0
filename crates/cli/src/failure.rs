//! How a failed command is told: what happened, why, and a way out, on standard error.

use std::process::ExitCode;

use anyhow::Error;

/// The exit code of a command that failed. `2` is the argument parser's.
const FAILURE: u8 = 1;

/// Prints the error and its causes; a cause that only repeats what was said is left out.
pub fn report(error: &Error) -> ExitCode {
    let mut said = error.to_string();
    anstream::eprintln!("error: {said}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            anstream::eprintln!("  caused by: {cause}");
            said = cause;
        }
    }
    ExitCode::from(FAILURE)
}
