//! A spinner while something takes time; it shows on a terminal and never in a pipe.

use std::{io::IsTerminal, time::Duration};

use indicatif::ProgressBar;

/// Starts a spinner saying `message`, if both standard error and standard output are terminals.
pub fn spinner(message: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() || !std::io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(message);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
