//! Generations in company come to what they come to alone.

mod support;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_llm::scheduler::{Scheduler, Ticket};
use glasshouse_llm::{LoadedModel, Progress, Session};
use glasshouse_protocol::{FinishReason, GenerateRequest, GenerateResponse, Role, Sampling};
use proptest::prelude::*;
use support::*;

const REQUESTS: usize = 6;

/// Prompts of different lengths, free and constrained outputs, all kinds of sampling.
fn request_number(number: usize) -> GenerateRequest {
    let question = "What time is it now? ".repeat(1 + number);
    let constraint =
        ["", "start: /[a-z]{100}/", "start: \"Call: get_time {}\"", "", "start: /[0-9 ]+/", ""][number];
    let mut request = request(&[(Role::User, &question)], constraint, [12, 7, 40, 1, 20, 30][number]);
    request.sampling = match number % 3 {
        0 => Sampling { temperature: 0.9, top_k: 20, ..Sampling::default() },
        1 => Sampling { temperature: 1.2, repeat_penalty: 1.3, presence_penalty: 0.2, ..Sampling::default() },
        _ => Sampling::default(),
    };
    request
}

type Heard = Vec<(u32, u32, String)>;

/// What it comes to alone, ended after `last` tokens if given, and what was heard of it.
fn alone(model: &Arc<LoadedModel>, number: usize, last: Option<u32>) -> (GenerateResponse, Heard, Vec<u32>) {
    let mut heard = Vec::new();
    let mut session = Session::new(Arc::clone(model));
    let mut on_token = |event: &glasshouse_llm::TokenEvent<'_>| {
        heard.push((event.index, event.token, event.text.to_owned()));
        match last == Some(event.index + 1) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let response = session.generate(&request_number(number), number as u64, &mut on_token).unwrap();
    (response, heard, session.tokens().to_vec())
}

fn submit(scheduler: &mut Scheduler, number: usize) -> Ticket {
    let mut session = Session::new(Arc::clone(scheduler.model()));
    let generation = session.start(&request_number(number), number as u64).unwrap();
    scheduler.submit(session, generation)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_generation_comes_to_what_it_comes_to_alone(
        arrivals in proptest::collection::vec(
            (0..REQUESTS, 0usize..4, proptest::option::of(1u32..10)), 1..12),
    ) {
        let model = load();
        let mut scheduler = Scheduler::new(Arc::clone(&model));
        let mut jobs = BTreeMap::new();
        let mut heard: BTreeMap<Ticket, Heard> = BTreeMap::new();
        let mut finished = BTreeMap::new();
        let mut arrivals = arrivals.into_iter();
        loop {
            let next = arrivals.next();
            let rounds = match next {
                Some((number, rounds, last)) => {
                    jobs.insert(submit(&mut scheduler, number), (number, last));
                    rounds
                }
                None if scheduler.is_empty() => break,
                None => 1,
            };
            for _ in 0..rounds {
                let over = scheduler.step(&mut |ticket, event| {
                    heard.entry(ticket).or_default().push((event.index, event.token, event.text.to_owned()));
                    match jobs[&ticket].1 == Some(event.index + 1) {
                        true => ControlFlow::Break(()),
                        false => ControlFlow::Continue(()),
                    }
                });
                finished.extend(over.into_iter().map(|over| (over.ticket, over)));
            }
        }
        prop_assert_eq!(finished.len(), jobs.len());
        for (ticket, (number, last)) in jobs {
            let (response, events, tokens) = alone(&model, number, last);
            let over = &finished[&ticket];
            prop_assert_eq!(over.outcome.as_ref().unwrap(), &response);
            prop_assert_eq!(&heard[&ticket], &events);
            prop_assert_eq!(over.session.tokens(), tokens);
        }
    }
}

#[test]
fn a_long_prompt_delays_the_others_by_no_round() {
    let mut scheduler = Scheduler::new(load());
    let talking = submit(&mut scheduler, 1);
    let mut tokens = 0;
    while tokens == 0 {
        scheduler.step(&mut |_, _| {
            tokens += 1;
            ControlFlow::Continue(())
        });
    }
    let long = submit(&mut scheduler, 5);
    let mut rounds = 0;
    loop {
        let (session, generation) = scheduler.get(long).unwrap();
        if !matches!(generation.progress(session), Progress::Prompt { .. }) {
            break;
        }
        let mut heard = Vec::new();
        scheduler.step(&mut |ticket, _| {
            heard.push(ticket);
            ControlFlow::Continue(())
        });
        assert_eq!(heard, [talking]);
        rounds += 1;
    }
    assert!(rounds > 1, "the prompt is longer than a piece");
}

#[test]
fn cancelling_gives_what_ending_after_the_last_token_gives_and_others_go_on() {
    let model = load();
    let mut scheduler = Scheduler::new(Arc::clone(&model));
    let (cancelled, other) = (submit(&mut scheduler, 1), submit(&mut scheduler, 0));
    let mut tokens = 0;
    while tokens < 3 {
        scheduler.step(&mut |ticket, _| {
            tokens += u32::from(ticket == cancelled);
            ControlFlow::Continue(())
        });
    }
    let over = scheduler.cancel(cancelled).unwrap();
    assert_eq!(over.outcome.unwrap(), alone(&model, 1, Some(3)).0);
    assert!(scheduler.cancel(cancelled).is_none());
    let mut finished = Vec::new();
    while !scheduler.is_empty() {
        finished.extend(scheduler.step(&mut |_, _| ControlFlow::Continue(())));
    }
    assert_eq!(finished[0].ticket, other);
    assert_eq!(*finished[0].outcome.as_ref().unwrap(), alone(&model, 0, None).0);
    assert_eq!(alone(&model, 1, Some(3)).0.finish, FinishReason::Cancelled);
}

#[test]
fn a_generation_that_its_session_did_not_start_fails_and_others_go_on() {
    let model = load();
    let mut scheduler = Scheduler::new(Arc::clone(&model));
    let generation = Session::new(Arc::clone(&model)).start(&request_number(0), 1).unwrap();
    let wrong = scheduler.submit(Session::new(Arc::clone(&model)), generation);
    let good = submit(&mut scheduler, 2);
    let mut finished = BTreeMap::new();
    while !scheduler.is_empty() {
        let over = scheduler.step(&mut |_, _| ControlFlow::Continue(()));
        finished.extend(over.into_iter().map(|over| (over.ticket, over.outcome)));
    }
    assert!(finished[&wrong].as_ref().unwrap_err().to_string().contains("went on without"));
    assert_eq!(*finished[&good].as_ref().unwrap(), alone(&model, 2, None).0);
}
