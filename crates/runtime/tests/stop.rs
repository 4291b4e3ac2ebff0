//! A run that is stopped, wherever that is: it ends, its log replays, and the runtime can be used again.

mod support;

use std::sync::atomic::Ordering;

use glasshouse_runtime::{
    AskOptions, ReplayOptions, Runtime, RuntimeOptions, Unobserved, agent_outcome, replay,
};
use support::{Log, ask, run_options};

/// A question that is long enough for several pieces of prompt.
fn long_question() -> AskOptions {
    ask(&format!("{}What is 12 * 34?", "Hello. ".repeat(24)))
}

/// Runs the questions, stopping after so many pieces: the log, whether each agent was stopped, and the pieces that it took.
fn run(runtime: &mut Runtime, asks: &[AskOptions], pieces: usize) -> (Vec<u8>, Vec<bool>, usize) {
    let log = Log::default();
    let stop = runtime.stop_flag();
    stop.store(false, Ordering::Relaxed);
    let mut run = runtime.start(asks.to_vec(), run_options(), Some(log.clone()), &mut Unobserved).unwrap();
    let mut taken = 0;
    let exits = loop {
        if taken == pieces {
            stop.store(true, Ordering::Relaxed);
        }
        taken += 1;
        assert!(taken < 10_000, "the run does not end");
        if let Some(exits) = runtime.advance(&mut run, &mut Unobserved).unwrap() {
            break exits;
        }
    };
    let is_stopped = |exit| agent_outcome(exit).ok().is_none_or(|outcome| outcome.answer().is_none());
    (log.0.take(), exits.into_iter().map(is_stopped).collect(), taken)
}

/// Stops a run of these questions in many places.
fn stop_anywhere(asks: &[AskOptions]) {
    let mut runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    // Later runs take the beginning of the prompt from the first.
    run(&mut runtime, asks, usize::MAX);
    let (whole, stopped, pieces) = run(&mut runtime, asks, usize::MAX);
    assert_eq!(stopped, vec![false; asks.len()]);
    assert!(pieces > 20, "{pieces} pieces");
    for after in (0..pieces - 2).step_by(pieces / 12) {
        let (log, stopped, taken) = run(&mut runtime, asks, after);
        assert_eq!(stopped.len(), asks.len());
        assert!(stopped.contains(&true), "stopped after {after} of {pieces} pieces");
        assert!(taken <= after + 10 * asks.len(), "stopped after {after}: {taken} of {pieces} pieces");
        replay(&log, ReplayOptions::default(), &mut Unobserved)
            .unwrap_or_else(|error| panic!("stopped after {after} pieces: {error}"));
    }
    let (again, _, _) = run(&mut runtime, asks, usize::MAX);
    assert!(again == whole, "a stopped run changed what comes after it");
}

#[test]
fn a_run_stopped_after_any_piece_of_work_ends_and_replays() {
    stop_anywhere(&[long_question()]);
}

#[test]
fn a_run_of_several_agents_stopped_after_any_piece_of_work_ends_and_replays() {
    stop_anywhere(&[
        ask("What is 12 * 34?"),
        long_question(),
        ask("How many letters are in the word house?"),
    ]);
}

#[test]
fn a_run_that_is_dropped_leaves_nothing_to_the_next_one() {
    let mut runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    let asks = [long_question(), ask("What is 12 * 34?")];
    // Later runs take the beginning of the prompt from the first.
    run(&mut runtime, &asks, usize::MAX);
    let (whole, _, pieces) = run(&mut runtime, &asks, usize::MAX);
    let mut dropped = runtime.start(asks.to_vec(), run_options(), None::<Log>, &mut Unobserved).unwrap();
    for _ in 0..pieces / 2 {
        assert!(runtime.advance(&mut dropped, &mut Unobserved).unwrap().is_none());
    }
    drop(dropped);
    let (again, _, _) = run(&mut runtime, &asks, usize::MAX);
    assert!(again == whole, "a run that was dropped changed the next one");
}
