//! Guesses save evaluations and change nothing else.

mod support;

use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_llm::generate_random::{Preset, write_to};
use glasshouse_llm::gguf::{Gguf, TensorType};
use glasshouse_llm::scheduler::Scheduler;
use glasshouse_llm::{Draft, DraftStatistics, LlmError, LoadedModel, Session};
use glasshouse_protocol::{FinishReason, GenerateRequest, GenerateResponse, Role, Sampling};
use proptest::prelude::*;
use support::*;

/// What is heard of a generation: index, token and text of each event.
type Heard = Vec<(u32, u32, String)>;

/// Two turns of a conversation, and what was heard of them; ended after so many tokens each, if given.
fn run(
    model: &Arc<LoadedModel>,
    request: &GenerateRequest,
    seed: u64,
    last: Option<u32>,
    draft: &dyn Fn() -> Option<Draft>,
) -> (Vec<GenerateResponse>, Heard, Vec<u32>, DraftStatistics) {
    let mut session = Session::new(Arc::clone(model));
    let (mut responses, mut heard, mut statistics) = (Vec::new(), Vec::new(), DraftStatistics::default());
    let mut request = request.clone();
    for turn in 0..2 {
        let mut generation = session.start(&request, seed + turn).unwrap();
        if let Some(draft) = draft() {
            generation.set_draft(draft);
        }
        let response = loop {
            let mut on_token = |event: &glasshouse_llm::TokenEvent<'_>| {
                heard.push((event.index, event.token, event.text.to_owned()));
                match last == Some(event.index + 1) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            if let Some(response) = generation.advance_by(&mut session, 7, &mut on_token).unwrap() {
                break response;
            }
        };
        if let Some(draft) = generation.draft() {
            statistics.guessed += draft.statistics().guessed;
            statistics.accepted += draft.statistics().accepted;
            statistics.rounds += draft.statistics().rounds;
        }
        request.messages.push(glasshouse_protocol::Message::new(Role::Assistant, &response.text));
        request.messages.push(glasshouse_protocol::Message::new(Role::User, "go on"));
        responses.push(response);
    }
    (responses, heard, session.tokens().to_vec(), statistics)
}

fn requests(number: usize) -> GenerateRequest {
    let constraint = [
        "",
        "start: /(ab ab ac |[0-9]){10}/",
        "start: \"one two three one two three one two three four one two three\"",
        "start: /[a-c]{60}/",
    ][number % 4];
    let mut request = request(&[(Role::User, "one two three one two")], constraint, 30);
    request.sampling = match number / 4 {
        0 => Sampling { temperature: 0.7, ..Sampling::default() },
        1 => Sampling {
            temperature: 1.1,
            repeat_penalty: 1.2,
            frequency_penalty: 0.1,
            top_k: 5,
            ..Sampling::default()
        },
        2 => Sampling { min_p: 0.1, top_p: 0.9, temperature: 1.0, ..Sampling::default() },
        _ => Sampling::default(),
    };
    if number == 5 {
        request.stop = vec!["three four".to_owned(), "ac 1".to_owned()];
    }
    if number == 9 {
        request.n = 3;
    }
    request
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn tokens_texts_and_logits_are_the_same_with_and_without_guesses(
        number in 0usize..16,
        seed in 0u64..1000,
        last in proptest::option::of(1u32..25),
    ) {
        let model = load();
        let request = requests(number);
        let (responses, heard, tokens, _) = run(&model, &request, seed, last, &|| None);
        let lookup = || Some(Draft::lookup());
        let same_model = || Some(Draft::model(load(), &model).unwrap());
        let drafts: [&dyn Fn() -> Option<Draft>; 2] = [&lookup, &same_model];
        for draft in drafts {
            let guessed = run(&model, &request, seed, last, draft);
            prop_assert_eq!(&guessed.0, &responses);
            prop_assert_eq!(&guessed.1, &heard);
            prop_assert_eq!(&guessed.2, &tokens);
        }
    }
}

#[test]
fn guesses_of_what_comes_are_accepted() {
    let model = load();
    // Most tokens are forced, and the text repeats itself.
    let (responses, _, _, statistics) = run(&model, &requests(14), 1, None, &|| Some(Draft::lookup()));
    assert!(statistics.accepted > 10, "{statistics:?}");
    assert!(responses[0].finish == FinishReason::Length || responses[0].finish == FinishReason::Stop);
    // The same model guesses what is most probable, which is what greedy sampling chooses.
    let greedy = requests(12);
    let same_model = || Some(Draft::model(load(), &model).unwrap());
    let (responses, _, _, statistics) = run(&model, &greedy, 1, None, &same_model);
    let generated: u32 = responses.iter().map(|response| response.usage.generated_tokens).sum();
    assert_eq!(statistics.accepted, statistics.guessed, "{statistics:?}");
    assert!(statistics.rounds * 3 < u64::from(generated), "{statistics:?} of {generated}");
}

#[test]
fn a_generation_with_guesses_runs_to_the_end_of_the_context() {
    let model = load();
    let mut request = requests(3);
    request.maximum_tokens = 1000;
    request.constraint = glasshouse_protocol::Constraint::Lark("start: /[a-b]{1000}/".to_owned());
    let alone =
        Session::new(Arc::clone(&model)).generate(&request, 3, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(alone.finish, FinishReason::Context);
    for draft in [Draft::lookup(), Draft::model(load(), &model).unwrap()] {
        let mut session = Session::new(Arc::clone(&model));
        let mut generation = session.start(&request, 3).unwrap();
        generation.set_draft(draft);
        let mut scheduler = Scheduler::new(Arc::clone(&model));
        scheduler.submit(session, generation);
        let mut finished = Vec::new();
        while finished.is_empty() {
            finished = scheduler.step(&mut |_, _| ControlFlow::Continue(()));
        }
        assert_eq!(*finished[0].outcome.as_ref().unwrap(), alone);
    }
}

#[test]
fn a_model_with_other_tokens_cannot_guess() {
    let mut bytes = Vec::new();
    write_to(&mut bytes, Preset::TinyLlama(TensorType::Q8_0)).unwrap();
    let other = LoadedModel::load(Arc::new(Gguf::from_vec(bytes).unwrap()), 1).unwrap();
    let error = Draft::model(Arc::new(other), &load()).unwrap_err();
    assert!(matches!(error, LlmError::InvalidRequest { .. }) && error.to_string().contains("other tokens"));
}
