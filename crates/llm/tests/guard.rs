//! Generations under a guard, with a small model of random weights.

mod support;

use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_halt::{Config, HaltMode};
use glasshouse_llm::{GuardConfig, LlmError, LoadedModel, Scorer, Session};
use glasshouse_protocol::{FinishReason, GenerateRequest, GenerateResponse, Role};
use support::{load, request};

/// Limits that nothing breaks.
fn open() -> Config {
    Config {
        hard_limit: 0.0,
        window_threshold: 0.0,
        trend_threshold: 2.0,
        logit_entropy_limit: 100.0,
        ..Config::default()
    }
}

fn letters(tokens: u32) -> GenerateRequest {
    request(&[(Role::User, "hi")], "start: /[a-z ]{1000}/", tokens)
}

/// A guarded generation, and what was shown after each token. At this token, the time is over.
fn guarded(
    session: &mut Session,
    request: &GenerateRequest,
    guard: &GuardConfig,
    late: Option<u64>,
) -> (GenerateResponse, Vec<String>) {
    let mut generation = session.start_guarded(request, 1, Some(guard)).unwrap();
    let mut shown = vec![String::new()];
    generation.set_timer(move |index| (late == Some(index)).then_some(1e6));
    loop {
        let mut on_token = |event: &glasshouse_llm::TokenEvent<'_>| {
            shown.push(format!("{}{}", shown[shown.len() - 1], event.text));
            ControlFlow::Continue(())
        };
        if let Some(response) = generation.advance_by(session, 3, &mut on_token).unwrap() {
            return (response, shown);
        }
    }
}

/// The scores of the first tokens.
fn scores(model: &Arc<LoadedModel>, guard: &GuardConfig, tokens: u32) -> Vec<f64> {
    let guard = GuardConfig { has_deadline: true, ..guard.clone() };
    let last = Some(u64::from(tokens) - 1);
    let (response, _) = guarded(&mut Session::new(Arc::clone(model)), &letters(100), &guard, last);
    let halt = response.halt.unwrap();
    assert_eq!(halt.rule, "deadline_ms");
    assert_eq!(
        halt.trace.iter().map(|token| token.index).collect::<Vec<_>>(),
        (0..u64::from(tokens)).collect::<Vec<_>>()
    );
    halt.trace.iter().map(|token| token.score).collect()
}

fn plain(model: &Arc<LoadedModel>, request: &GenerateRequest) -> GenerateResponse {
    Session::new(Arc::clone(model)).generate(request, 1, &mut |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn a_guard_that_nothing_breaks_changes_nothing() {
    let model = load();
    let guard = GuardConfig { limits: open(), ..GuardConfig::default() };
    let (response, shown) = guarded(&mut Session::new(Arc::clone(&model)), &letters(20), &guard, None);
    assert_eq!(response, plain(&model, &letters(20)));
    assert_eq!(shown.last(), Some(&response.text));
}

#[test]
fn a_halt_is_at_the_token_that_breaks_the_limit_and_nothing_from_there_on_is_shown() {
    let model = load();
    let guard = GuardConfig { limits: open(), ..GuardConfig::default() };
    let scores = scores(&model, &guard, 30);
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    let whole = plain(&model, &letters(100));
    for place in [0_usize, 7, 29] {
        // The least of the first scores, and a little more: the first token below that halts.
        let limit = scores[..=place].iter().copied().fold(1.0, f64::min) + 1e-9;
        let index = scores.iter().position(|score| *score < limit).unwrap();
        for hold_back in [0, 5] {
            let guard =
                GuardConfig { limits: Config { hard_limit: limit, hold_back, ..open() }, ..guard.clone() };
            let mut session = Session::new(Arc::clone(&model));
            let (response, shown) = guarded(&mut session, &letters(100), &guard, None);
            let halt = response.halt.as_ref().unwrap();
            assert_eq!((response.finish, halt.rule.as_str()), (FinishReason::Halted, "hard_limit"));
            assert_eq!(
                (halt.index as usize, halt.value, halt.limit),
                (index, Some(scores[index]), Some(limit))
            );
            let released = index.saturating_sub(hold_back as usize);
            assert_eq!(response.tokens, whole.tokens[..released]);
            assert_eq!(response.usage.generated_tokens as usize, index + 1);
            assert!(whole.text.starts_with(&response.text));
            assert_eq!(shown.last(), Some(&response.text));

            // The conversation has what was shown, and goes on as one that was never guarded.
            let next = request(
                &[(Role::User, "hi"), (Role::Assistant, &response.text), (Role::User, "go on")],
                "",
                5,
            );
            let continued = session.generate(&next, 1, &mut |_| ControlFlow::Continue(())).unwrap();
            let fresh = plain(&model, &next);
            assert_eq!((continued.tokens, continued.logits_hash), (fresh.tokens, fresh.logits_hash));
        }
    }
}

#[test]
fn what_is_held_back_comes_later_and_at_the_end_all_of_it() {
    let model = load();
    let limits = Config { hold_back: 4, ..open() };
    let guard = GuardConfig { limits, ..GuardConfig::default() };
    let (response, shown) = guarded(&mut Session::new(Arc::clone(&model)), &letters(20), &guard, None);
    // Each token of this model is one letter.
    let lengths: Vec<usize> = shown[1..].iter().map(String::len).collect();
    assert_eq!(lengths[..19], (0..19_usize).map(|token| (token + 1).saturating_sub(4)).collect::<Vec<_>>());
    assert_eq!((response.finish, lengths[19]), (FinishReason::Length, 20));
}

#[test]
fn a_soft_halt_shows_the_sentence_to_its_end_and_the_end_of_the_text_confirms_it() {
    let model = load();
    let limits = Config {
        window_size: 1,
        window_threshold: 1.0,
        halt_mode: HaltMode::Soft,
        soft_halt_tokens: 6,
        ..open()
    };
    let guard = GuardConfig { limits, ..GuardConfig::default() };
    for (tokens, last) in [(100, 7), (4, 4)] {
        let (response, shown) =
            guarded(&mut Session::new(Arc::clone(&model)), &letters(tokens), &guard, None);
        let halt = response.halt.as_ref().unwrap();
        assert_eq!((response.finish, halt.trigger), (FinishReason::Halted, 0));
        assert_eq!((response.tokens.len(), shown.last()), (last, Some(&response.text)));
        assert_eq!(response.text.len(), last);
    }
}

#[test]
fn facts_are_compared_with_what_is_said() {
    let model = load();
    let said = plain(&model, &letters(60)).text;
    let facts = |facts: &str| GuardConfig {
        limits: open(),
        scorer: Scorer::Grounding,
        facts: Some(facts.to_owned()),
        ..GuardConfig::default()
    };
    assert!(scores(&model, &facts(&said), 30).iter().all(|score| *score == 1.0));
    let other = scores(&model, &facts("nothing of this"), 60);
    assert!(other.iter().any(|score| *score < 1.0), "{said}: {other:?}");
    // What comes before a text does not count.
    let marker = said[5..8].to_owned();
    let late = GuardConfig { facts_behind: Some(marker.clone()), ..facts("nothing of this") };
    let late = scores(&model, &late, 60);
    let start = said.find(&marker).unwrap() + marker.len();
    assert!(late[..start].iter().all(|score| *score == 1.0), "{late:?}");
    assert!(late[start..].iter().any(|score| *score < 1.0), "{said}: {late:?}");
    // Both together, by their weights.
    let confident = scores(&model, &GuardConfig { limits: open(), ..GuardConfig::default() }, 60);
    let combined = scores(&model, &GuardConfig { scorer: Scorer::Combined, ..facts("nothing of this") }, 60);
    for index in 0..60 {
        assert_eq!(combined[index], 0.6 * confident[index] + 0.4 * other[index]);
    }
}

#[test]
fn tokens_that_a_grammar_forces_are_certain() {
    let model = load();
    let guard = GuardConfig { limits: Config { hard_limit: 1.0, ..open() }, ..GuardConfig::default() };
    let forced = request(&[(Role::User, "hi")], "start: \"abcdefgh\"", 100);
    let (response, _) = guarded(&mut Session::new(model), &forced, &guard, None);
    assert_eq!(
        (response.text.as_str(), response.finish, response.halt),
        ("abcdefgh", FinishReason::Stop, None)
    );
}

#[test]
fn a_guard_that_cannot_be_is_refused_before_anything_is_generated() {
    let model = load();
    for guard in [
        GuardConfig { limits: Config { window_size: 0, ..Config::default() }, ..GuardConfig::default() },
        GuardConfig { scorer: Scorer::Grounding, ..GuardConfig::default() },
        GuardConfig { facts: Some("x".repeat(1 << 20)), ..GuardConfig::default() },
    ] {
        let error = Session::new(Arc::clone(&model)).start_guarded(&letters(1), 1, Some(&guard)).unwrap_err();
        assert!(matches!(error, LlmError::InvalidGuard { .. }) && error.code() == "invalid_guard");
    }
}
