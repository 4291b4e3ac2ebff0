//! Several agents in one run, on one model.

mod support;

use std::{collections::BTreeSet, io::Write};

use glasshouse_kernel::ProcessId;
use glasshouse_llm::TokenEvent;
use glasshouse_runtime::{
    Observer, ReplayOptions, Runtime, RuntimeError, RuntimeOptions, Unobserved, replay,
};
use support::{Log, ask, run_options};

/// Counts how often a token is of another process than the one before it, and of how many processes they are.
#[derive(Default)]
struct Turns {
    processes: BTreeSet<ProcessId>,
    last: Option<ProcessId>,
    turns: usize,
}

impl Observer for Turns {
    fn token(&mut self, process: ProcessId, _token: &TokenEvent<'_>) {
        self.processes.insert(process);
        self.turns += usize::from(self.last.replace(process) != Some(process));
    }
}

const QUESTIONS: [(&str, &str); 5] = [
    ("What is 17 * 23?", "391"),
    ("What is 12 * 34?", "408"),
    ("What is 99 + 1?", "100"),
    ("What is 81 - 18?", "63"),
    ("What is 7 * 8?", "56"),
];

#[test]
fn agents_that_run_together_answer_their_own_questions_and_the_log_replays() {
    let mut runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    let mut run = |observer: &mut dyn Observer| {
        let mut log = Log::default();
        let asks = QUESTIONS.map(|(question, _)| ask(question)).to_vec();
        let outcomes =
            runtime.ask_each(asks, run_options(), Some(&mut log as &mut dyn Write), observer).unwrap();
        let answers: Vec<String> = outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap().answer().expect("an answer").to_owned())
            .collect();
        (answers, log.0.take())
    };
    let mut turns = Turns::default();
    let (answers, log) = run(&mut turns);
    for (answer, (question, number)) in answers.iter().zip(QUESTIONS) {
        assert!(answer.contains(number), "{question} {answer}");
    }
    assert_eq!(turns.processes.len(), QUESTIONS.len());
    // One after another they would take a turn for each of their messages.
    assert!(turns.turns > 50, "{} turns", turns.turns);

    let (_, again) = run(&mut Unobserved);
    assert!(again == log, "an earlier run changed the log");
    replay(&log, ReplayOptions::default(), &mut Unobserved).unwrap();
}

#[test]
fn a_run_needs_a_question_for_each_agent() {
    let mut runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    for asks in [vec![], vec![ask("What is 1 + 1?"), ask(" \n")]] {
        let refused = runtime.ask_each(asks, run_options(), None, &mut Unobserved);
        assert!(matches!(refused, Err(RuntimeError::EmptyQuestion)), "{refused:?}");
    }
}
