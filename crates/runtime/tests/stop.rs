//! A run that is stopped, wherever that is: it ends, its log replays, and the runtime can be used again.

use std::{cell::RefCell, io, rc::Rc, sync::atomic::Ordering};

use glasshouse_protocol::Sampling;
use glasshouse_runtime::{
    AskOptions, Clock, ReplayOptions, RunOptions, Runtime, RuntimeOptions, Unobserved, agent_limits,
    agent_outcome, defaults, replay,
};

#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn question() -> AskOptions {
    AskOptions {
        // Long enough for several pieces of prompt.
        question: format!("What is the sum of {} and 23?", "1".repeat(150)),
        history: Vec::new(),
        system: None,
        sampling: Sampling::default(),
        limits: agent_limits(defaults::STEPS, defaults::TOKENS),
        run: RunOptions { clock: Clock::Fixed(0), ..RunOptions::default() },
    }
}

/// Runs the question, stopping after so many pieces: the log, whether it was stopped, and the pieces that it took.
fn run(runtime: &mut Runtime, pieces: usize) -> (Vec<u8>, bool, usize) {
    let log = Log::default();
    let stop = runtime.stop_flag();
    stop.store(false, Ordering::Relaxed);
    let mut run = runtime.start_ask(question(), Some(log.clone()), &mut Unobserved).unwrap();
    let mut taken = 0;
    let exit = loop {
        if taken == pieces {
            stop.store(true, Ordering::Relaxed);
        }
        taken += 1;
        assert!(taken < 10_000, "the run does not end");
        if let Some(exit) = runtime.advance(&mut run, &mut Unobserved).unwrap() {
            break exit;
        }
    };
    let stopped = match agent_outcome(exit) {
        Ok(outcome) => outcome.answer().is_none(),
        Err(_) => true,
    };
    (log.0.take(), stopped, taken)
}

#[test]
fn a_run_stopped_after_any_piece_of_work_ends_and_replays() {
    let mut runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    // Later runs take the beginning of the prompt from the first.
    run(&mut runtime, usize::MAX);
    let (whole, _, pieces) = run(&mut runtime, usize::MAX);
    assert!(pieces > 20, "{pieces} pieces");
    for after in (0..pieces - 2).step_by(pieces / 12) {
        let (log, stopped, taken) = run(&mut runtime, after);
        assert!(stopped && taken <= after + 10, "stopped after {after}: {taken} of {pieces} pieces");
        replay(&log, ReplayOptions::default(), &mut Unobserved)
            .unwrap_or_else(|error| panic!("stopped after {after} pieces: {error}"));
    }
    let (again, _, _) = run(&mut runtime, usize::MAX);
    assert_eq!(again, whole, "a stopped run changed what comes after it");
}

#[test]
fn a_run_that_is_dropped_leaves_nothing_to_the_next_one() {
    let mut runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    // Later runs take the beginning of the prompt from the first.
    run(&mut runtime, usize::MAX);
    let (whole, _, pieces) = run(&mut runtime, usize::MAX);
    let mut dropped = runtime.start_ask(question(), None::<Log>, &mut Unobserved).unwrap();
    for _ in 0..pieces / 2 {
        assert!(runtime.advance(&mut dropped, &mut Unobserved).unwrap().is_none());
    }
    drop(dropped);
    let (again, _, _) = run(&mut runtime, usize::MAX);
    assert_eq!(again, whole);
}
