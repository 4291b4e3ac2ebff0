//! What a request can ask for beyond a text, with a small model of random weights.

mod support;

use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_halt::Config;
use glasshouse_llm::sampler::answer_seed;
use glasshouse_llm::{Draft, GuardConfig, LlmError, LoadedModel, Session, TokenEvent};
use glasshouse_protocol::{
    Constraint, Dry, FinishReason, GenerateRequest, GenerateResponse, Role, Sampling, TokenBias, Usage,
};
use support::*;

fn hi(constraint: &str, maximum_tokens: u32) -> GenerateRequest {
    request(&[(Role::User, "hi")], constraint, maximum_tokens)
}

fn go_on(_: &TokenEvent<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn fresh(model: &Arc<LoadedModel>, request: &GenerateRequest, seed: u64) -> GenerateResponse {
    Session::new(Arc::clone(model)).generate(request, seed, &mut go_on).unwrap()
}

/// A grammar of just this text.
fn just(text: &str) -> String {
    format!("start: {}", serde_json::to_string(text).unwrap())
}

/// A parsed generation, and what was shown of text and reasoning.
fn parsed(session: &mut Session, text: &str, maximum_tokens: u32) -> (GenerateResponse, String, String) {
    let request = GenerateRequest { parse_output: true, ..hi(&just(text), maximum_tokens) };
    let (mut shown, mut reasoning) = (String::new(), String::new());
    let mut on_token = |event: &TokenEvent<'_>| {
        shown.push_str(event.text);
        reasoning.push_str(event.reasoning);
        ControlFlow::Continue(())
    };
    let response = session.generate(&request, 1, &mut on_token).unwrap();
    (response, shown, reasoning)
}

#[test]
fn a_call_is_the_reason_why_generation_ended() {
    let mut session = session();
    let call = "{\"name\":\"get_time\",\"arguments\":{\"zone\":\"UTC\"}}";
    let (response, shown, _) = parsed(&mut session, call, 100);
    assert_eq!((response.finish, response.text.as_str(), shown.as_str()), (FinishReason::ToolCall, "", ""));
    let made = &response.tool_calls[0];
    assert_eq!((made.name.as_str(), &made.arguments), ("get_time", &serde_json::json!({"zone": "UTC"})));
    assert!(made.id.len() == 9 && made.id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", made.id);
    // The conversation has what was generated, though nothing of it was shown.
    let held = session.tokens().to_vec();
    assert!(session.model().tokenizer().decode(&held).ends_with(call.as_bytes()));
    let next = request(&[(Role::User, "hi"), (Role::Assistant, call), (Role::Tool, "noon")], "", 1);
    let next = session.generate(&next, 1, &mut go_on).unwrap();
    assert_eq!(next.usage.cached_tokens as usize, held.len() - 1);

    // In another place the same call has another id; in the same place it has the same.
    let (again, ..) = parsed(&mut self::session(), call, 100);
    assert_eq!(again, response);
    let (other, ..) = parsed(&mut self::session(), &call.replace("UTC", "CET"), 100);
    assert_ne!(other.tool_calls[0].id, made.id);
}

#[test]
fn a_call_that_was_cut_off_is_none() {
    let call = "{\"name\":\"get_time\",\"arguments\":{\"zone\":\"UTC\"}}";
    for tokens in 1..=call.len() as u32 {
        let (response, shown, _) = parsed(&mut session(), call, tokens);
        assert_eq!((response.finish, shown.as_str()), (FinishReason::Length, ""));
        assert!(response.tool_calls.is_empty() && response.rejected_calls[0].reason.contains("cut off"));
    }
    let (response, shown, _) = parsed(&mut session(), "{\"name\":\"remove\",\"arguments\":{}}", 100);
    assert_eq!((response.finish, shown.as_str()), (FinishReason::Stop, ""));
    assert!(response.rejected_calls[0].reason.contains("no tool named `remove`"));
}

#[test]
fn text_before_a_call_is_shown_and_without_parsing_all_of_it() {
    let text = "I look.\n```json\n{\"name\":\"get_time\",\"arguments\":{}}\n```";
    let (response, shown, _) = parsed(&mut session(), text, 100);
    assert_eq!((response.text.as_str(), shown.as_str()), ("I look.", "I look."));
    assert_eq!((response.finish, response.tool_calls.len()), (FinishReason::ToolCall, 1));
    let verbatim = fresh(&load(), &hi(&just(text), 100), 1);
    assert_eq!((verbatim.text.as_str(), verbatim.finish), (text, FinishReason::Stop));
    assert_eq!((verbatim.tokens, verbatim.logits_hash), (response.tokens, response.logits_hash));
}

#[test]
fn several_answers_are_those_of_single_requests_with_their_seeds() {
    let model = load();
    for seed in [None, Some(9)] {
        let mut one = hi("start: /[a-z]{3,12}/", 20);
        one.sampling.seed = seed;
        one.logprobs = Some(2);
        let mut session = Session::new(Arc::clone(&model));
        let mut events = vec![String::new(); 4];
        let mut total = 0;
        let response = session
            .generate(&GenerateRequest { n: 4, ..one.clone() }, 7, &mut |event| {
                assert_eq!(event.index, total);
                total += 1;
                events[event.answer as usize].push_str(event.text);
                ControlFlow::Continue(())
            })
            .unwrap();
        let answers: Vec<&GenerateResponse> = std::iter::once(&response).chain(&response.further).collect();
        assert_eq!(answers.len(), 4);
        let mut evaluated = response.usage.prompt_tokens;
        for (index, answer) in (0u32..).zip(&answers) {
            let mut single = one.clone();
            single.sampling.seed = Some(answer_seed(seed.unwrap_or(7), index));
            let single = fresh(&model, &single, 0);
            assert_eq!((&answer.text, &answer.tokens), (&single.text, &single.tokens));
            assert_eq!((answer.finish, &answer.logprobs), (single.finish, &single.logprobs));
            assert_eq!((&answer.logits_hash, &events[index as usize]), (&single.logits_hash, &single.text));
            evaluated += single.usage.generated_tokens - 1;
        }
        assert!(answers.iter().any(|answer| answer.text != answers[0].text));
        // The prompt is evaluated once.
        let generated: usize = answers.iter().map(|answer| answer.tokens.len()).sum();
        assert_eq!(
            response.usage,
            Usage {
                cached_tokens: 0,
                evaluated_tokens: evaluated,
                generated_tokens: generated as u32,
                ..response.usage
            }
        );
        // The conversation goes on after the last answer.
        let last = &answers[3].text;
        let next = request(&[(Role::User, "hi"), (Role::Assistant, last), (Role::Tool, "x")], "", 3);
        let continued = session.generate(&next, 1, &mut go_on).unwrap();
        assert!(continued.usage.cached_tokens >= response.usage.prompt_tokens + last.len() as u32 - 1);
    }
}

#[test]
fn guesses_change_none_of_several_answers() {
    let model = load();
    // What comes again and again is guessed.
    let request = GenerateRequest { n: 3, ..hi("start: /(ab){9}[a-c]{6}(ab){9}/", 60) };
    let expected = fresh(&model, &request, 2);
    let mut session = Session::new(Arc::clone(&model));
    let mut generation = session.start(&request, 2).unwrap();
    generation.set_draft(Draft::lookup());
    let response = loop {
        if let Some(response) = generation.advance(&mut session, &mut go_on).unwrap() {
            break response;
        }
    };
    assert!(generation.draft().unwrap().statistics().accepted > 0);
    assert_eq!(response, expected);
}

#[test]
fn cancelling_several_answers_keeps_those_that_are_complete() {
    let model = load();
    let request = GenerateRequest { n: 3, ..hi("start: /[a-z]{3,12}/", 8) };
    let whole = fresh(&model, &request, 5);
    for tokens in 1..whole.usage.generated_tokens {
        let mut session = Session::new(Arc::clone(&model));
        let stop_after = &mut |event: &TokenEvent<'_>| match event.index + 1 == tokens {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let cut = session.generate(&request, 5, stop_after).unwrap();
        assert!(cut.is_cancelled());
        assert_eq!(cut.usage.generated_tokens, tokens);
        let answers = |response: &GenerateResponse| {
            let all = std::iter::once(response).chain(&response.further);
            all.map(|answer| (answer.tokens.clone(), answer.finish)).collect::<Vec<_>>()
        };
        let (cut_answers, whole_answers) = (answers(&cut), answers(&whole));
        let (last, complete) = cut_answers.split_last().unwrap();
        assert_eq!(complete, &whole_answers[..complete.len()]);
        assert_eq!(last.1, FinishReason::Cancelled);
        assert!(whole_answers[complete.len()].0.starts_with(&last.0));

        // The same from outside, between two tokens.
        let mut session = Session::new(Arc::clone(&model));
        let mut generation = session.start(&request, 5).unwrap();
        while generation.generated_tokens() < tokens as usize {
            assert_eq!(generation.advance_by(&mut session, 2, &mut go_on).unwrap(), None);
        }
        assert_eq!(generation.cancel(&mut session).unwrap(), cut);
    }
    // Before the first token there is one answer, of nothing.
    let mut session = Session::new(model);
    let none = session.start(&request, 5).unwrap().cancel(&mut session).unwrap();
    assert_eq!((none.tokens.len(), none.further.len(), none.is_cancelled()), (0, 0, true));
}

#[test]
fn log_probabilities_are_the_model_s_own() {
    let model = load();
    let plain = hi("start: /[a-z]{9}/", 20);
    let request = GenerateRequest { logprobs: Some(3), ..plain.clone() };
    let response = fresh(&model, &request, 3);
    let expected = fresh(&model, &plain, 3);
    assert_eq!(GenerateResponse { logprobs: vec![], ..response.clone() }, expected);
    assert_eq!(response.logprobs.len(), response.tokens.len());
    let mut session = Session::new(Arc::clone(&model));
    session.generate(&plain, 3, &mut go_on).unwrap();
    let tokens = session.tokens();
    for (index, entry) in response.logprobs.iter().enumerate() {
        let before = tokens.len() - response.tokens.len() + index;
        let mut cache = model.model().new_cache(before);
        let mut logits = Vec::new();
        model.model().forward(&mut cache, &tokens[..before], &mut logits).unwrap();
        let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        let logprob = |token: u32| f64::from(logits[token as usize]) - sum.ln();
        assert_eq!(entry.token, response.tokens[index]);
        assert_eq!(entry.top.len(), 3);
        for entry in entry.top.iter().chain([entry]) {
            assert!((entry.logprob - logprob(entry.token)).abs() < 1e-9);
        }
        assert!((0..logits.len() as u32).all(|token| logprob(token) <= entry.top[0].logprob + 1e-9));
        assert!(entry.top.is_sorted_by(|a, b| a.logprob >= b.logprob));
    }
    // Of tokens that the mask leaves out, too: it counts later.
    let free = response.logprobs.iter().flat_map(|entry| &entry.top);
    assert!(free.clone().any(|entry| !(97..=122).contains(&entry.token)));
    let last = response.logprobs.last().unwrap();
    assert_eq!((last.token, last.text.as_str()), (END, "<|end|>"));
    let mut told = 0;
    Session::new(model)
        .generate(&request, 3, &mut |event| {
            assert_eq!(event.logprob, Some(&response.logprobs[event.index as usize]));
            told += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(told, response.tokens.len());
}

#[test]
fn an_end_that_is_ignored_comes_only_where_the_constraint_has_no_other() {
    let model = load();
    let ended = (0..40).filter(|seed| fresh(&model, &hi("", 60), *seed).finish == FinishReason::Stop);
    let seeds: Vec<u64> = ended.collect();
    assert!(!seeds.is_empty(), "no generation ends by itself");
    for seed in seeds {
        let response = fresh(&model, &GenerateRequest { ignore_eos: true, ..hi("", 60) }, seed);
        assert_eq!((response.finish, response.tokens.len()), (FinishReason::Length, 60));
        assert!(!response.tokens.contains(&END));
    }
    let forced = fresh(&model, &GenerateRequest { ignore_eos: true, ..hi("start: /[a-z]{2,5}/", 60) }, 1);
    assert_eq!((forced.finish, forced.text.len()), (FinishReason::Stop, 5));
}

#[test]
fn nothing_keeps_a_grammar_from_its_text() {
    let hard = Sampling {
        repeat_penalty: 100.0,
        frequency_penalty: 100.0,
        presence_penalty: 100.0,
        dry: Some(Dry { multiplier: 100.0, base: 10.0, allowed_length: 1, ..Dry::default() }),
        logit_bias: vec![TokenBias { token: b'a'.into(), bias: -100.0 }],
        ..Sampling::default()
    };
    for temperature in [0.0, 1.0] {
        let sampling = Sampling { temperature, ..hard.clone() };
        let response = fresh(&load(), &GenerateRequest { sampling, ..hi(&just("aaaaaaaaaaaaaaaa"), 60) }, 1);
        assert_eq!((response.text.as_str(), response.finish), ("aaaaaaaaaaaaaaaa", FinishReason::Stop));
    }
}

#[test]
fn biases_and_repetition_penalties_reach_the_choice() {
    let model = load();
    let biased = |token, bias| {
        let sampling = Sampling { logit_bias: vec![TokenBias { token, bias }], ..Sampling::default() };
        Session::new(Arc::clone(&model)).generate(&GenerateRequest { sampling, ..hi("", 12) }, 1, &mut go_on)
    };
    assert_eq!(biased(b'q'.into(), 100.0).unwrap().text, "q".repeat(12));
    assert!(
        matches!(biased(100_000, 1.0), Err(LlmError::InvalidRequest { message }) if message.contains("100000"))
    );
    // What is repeated for want of anything better is not repeated under DRY, but where a breaker stands.
    let mut repeating = hi("start: /[qr\\n]{40}/", 60);
    repeating.sampling =
        Sampling { logit_bias: vec![TokenBias { token: b'q'.into(), bias: 50.0 }], ..Sampling::default() };
    assert_eq!(fresh(&model, &repeating, 1).text, "q".repeat(40));
    let dry = Dry { multiplier: 50.0, base: 4.0, ..Dry::default() };
    repeating.sampling.dry = Some(dry.clone());
    assert!(!fresh(&model, &repeating, 1).text.contains("qqqqq"));
    repeating.sampling.dry = Some(Dry { sequence_breakers: vec!["q".into()], ..dry });
    assert_eq!(fresh(&model, &repeating, 1).text, "q".repeat(40));
}

#[test]
fn a_guard_judges_each_answer_by_itself() {
    let model = load();
    // What the grammar forces is certain; what it leaves open is not.
    let limits = Config {
        hard_limit: 0.99,
        window_threshold: 0.0,
        trend_threshold: 2.0,
        logit_entropy_limit: 100.0,
        ..Config::default()
    };
    let guard = GuardConfig { limits, ..GuardConfig::default() };
    let guarded = |request: &GenerateRequest, seed: u64| {
        let mut session = Session::new(Arc::clone(&model));
        let mut generation = session.start_guarded(request, seed, Some(&guard)).unwrap();
        loop {
            if let Some(response) = generation.advance(&mut session, &mut go_on).unwrap() {
                return response;
            }
        }
    };
    let one = GenerateRequest { logprobs: Some(0), ..hi("start: /aaa[a-z]{30}/", 20) };
    let response = guarded(&GenerateRequest { n: 3, ..one.clone() }, 4);
    for (index, answer) in (0u32..).zip(std::iter::once(&response).chain(&response.further)) {
        let single = guarded(&one, answer_seed(4, index));
        assert_eq!(
            (&answer.tokens, answer.finish, &answer.halt),
            (&single.tokens, single.finish, &single.halt)
        );
        assert_eq!(answer.logprobs.len(), answer.tokens.len());
        assert_eq!((answer.finish, answer.text.as_str()), (FinishReason::Halted, "aaa"));
    }
    let late = GuardConfig { has_deadline: true, ..guard.clone() };
    let error = Session::new(Arc::clone(&model))
        .start_guarded(&GenerateRequest { n: 2, ..one }, 1, Some(&late))
        .unwrap_err();
    assert!(matches!(error, LlmError::InvalidGuard { .. }));
}

#[test]
fn what_cannot_be_asked_for_is_an_error() {
    for (request, problem) in [
        (GenerateRequest { n: 0, ..hi("", 1) }, "n is 0"),
        (GenerateRequest { n: 1000, ..hi("", 1) }, "n is 1000"),
        (GenerateRequest { logprobs: Some(21), ..hi("", 1) }, "logprobs is 21"),
    ] {
        let error = session().start(&request, 1).unwrap_err();
        assert!(error.code() == "invalid_request" && error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn requests_of_old_logs_are_read_and_written_as_they_were() {
    let old = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[],\"constraint\":{\"lark\":\"start: \\\"a\\\"\"},\
        \"sampling\":{\"temperature\":0.0,\"top_k\":0,\"top_p\":1.0,\"min_p\":0.0,\"repeat_penalty\":1.0,\"frequency_penalty\":0.0,\
        \"presence_penalty\":0.0,\"repeat_last_n\":64,\"seed\":null},\"maximum_tokens\":5,\"stop\":[]}";
    let request: GenerateRequest = serde_json::from_str(old).unwrap();
    assert_eq!((request.n, request.constraint.clone()), (1, Constraint::Lark("start: \"a\"".into())));
    assert_eq!(serde_json::to_string(&request).unwrap(), old);
    let response = fresh(&load(), &request, 1);
    let text = serde_json::to_string(&response).unwrap();
    let hash = &response.logits_hash;
    assert_eq!(
        text,
        format!(
            "{{\"text\":\"a\",\"finish\":\"stop\",\"tokens\":[97,261],\"logits_hash\":\"{hash}\",\"usage\":{{\"prompt_tokens\":{},\
            \"cached_tokens\":0,\"evaluated_tokens\":{},\"generated_tokens\":2}}}}",
            response.usage.prompt_tokens, response.usage.evaluated_tokens
        )
    );
}
