//! Sessions that begin alike share what was evaluated, and nobody can tell from what they say.

mod support;

use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_llm::scheduler::Scheduler;
use glasshouse_llm::{CacheOptions, LoadedModel, Progress, Session};
use glasshouse_protocol::{GenerateResponse, Role};
use proptest::prelude::*;
use support::*;

const QUESTIONS: [&str; 5] = [
    "What time is it, and why do you know?",
    "What time is it, and why do you ask?",
    "What time is it?",
    "What is this? Tell me all about it, and do not leave anything out.",
    "Who?",
];

fn answer(model: &Arc<LoadedModel>, question: &str) -> GenerateResponse {
    let mut session = Session::new(Arc::clone(model));
    let response = generate(&mut session, &request(&[(Role::User, question)], "", 5)).unwrap();
    // A second turn goes on from pages that are shared.
    let messages = [(Role::User, question), (Role::Assistant, &response.text), (Role::User, "And now?")];
    let next = generate(&mut session, &request(&messages, "", 5)).unwrap();
    assert_eq!(next.usage.cached_tokens, response.usage.prompt_tokens + response.usage.generated_tokens - 1);
    next
}

#[test]
fn what_another_session_evaluated_is_not_evaluated_again() {
    let model = load_with(CacheOptions::default());
    answer(&model, QUESTIONS[0]);
    let before = model.prefix_statistics();
    assert!(before.pages > 0 && before.bytes > 0);
    let mut session = Session::new(Arc::clone(&model));
    let mut generation = session.start(&request(&[(Role::User, QUESTIONS[1])], "", 5), 1).unwrap();
    let Progress::Prompt { evaluated: 0, of } = generation.progress(&session) else { panic!("no prompt") };
    assert!(of < 10, "{of} tokens are left");
    assert!(model.prefix_statistics().reused_tokens > before.reused_tokens + 30);
    // A response before the first token is the same with and without.
    let cancelled = generation.cancel(&mut session).unwrap();
    assert_eq!((cancelled.usage.cached_tokens, cancelled.usage.evaluated_tokens), (0, 0));
}

#[test]
fn sessions_apart_share_with_their_siblings_alone() {
    let model = load_with(CacheOptions::default());
    let left = |mut session: Session| {
        let generation = session.start(&request(&[(Role::User, QUESTIONS[0])], "", 5), 1).unwrap();
        let Progress::Prompt { evaluated: 0, of } = generation.progress(&session) else {
            panic!("no prompt")
        };
        of
    };
    answer(&model, QUESTIONS[0]);
    let apart = Session::apart(Arc::clone(&model));
    let whole = left(apart.sibling());
    assert!(left(Session::new(Arc::clone(&model))) < whole);

    generate(&mut apart.sibling(), &request(&[(Role::User, QUESTIONS[0])], "", 5)).unwrap();
    assert!(left(apart.sibling()) < whole);
    assert_eq!(left(Session::apart(model)), whole);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn responses_are_those_of_sessions_that_share_nothing(
        order in proptest::collection::vec(0..QUESTIONS.len(), 1..8),
        kilobytes in 0usize..200,
    ) {
        let options = CacheOptions { prefix_bytes: kilobytes << 10, ..CacheOptions::default() };
        let (sharing, alone) = (load_with(options), load());
        for question in order {
            prop_assert_eq!(answer(&sharing, QUESTIONS[question]), answer(&alone, QUESTIONS[question]));
            prop_assert!(sharing.prefix_statistics().bytes <= kilobytes << 10);
        }
        prop_assert_eq!(alone.prefix_statistics().pages, 0);
    }
}

#[test]
fn forks_and_sessions_of_a_scheduler_share_too() {
    let model = load_with(CacheOptions::default());
    let expected = answer(&load(), QUESTIONS[0]);
    let mut scheduler = Scheduler::new(Arc::clone(&model));
    for _ in 0..3 {
        assert_eq!(answer(&model, QUESTIONS[0]), expected);
        let mut session = Session::new(Arc::clone(&model));
        let generation = session.start(&request(&[(Role::User, QUESTIONS[1])], "", 5), 1).unwrap();
        scheduler.submit(session, generation);
    }
    let mut responses = Vec::new();
    while !scheduler.is_empty() {
        responses.extend(scheduler.step(&mut |_, _| ControlFlow::Continue(())));
    }
    let alone = generate(&mut session(), &request(&[(Role::User, QUESTIONS[1])], "", 5)).unwrap();
    assert!(responses.iter().all(|finished| *finished.outcome.as_ref().unwrap() == alone));
    assert_eq!(responses.len(), 3);
}
