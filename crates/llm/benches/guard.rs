//! What a guard with the confidence scorer costs a generation: the same tokens with and without it, in turns.
//!
//! `cargo bench -p glasshouse-llm --bench guard -- FILE.gguf`

use std::{
    env,
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use glasshouse_halt::Config;
use glasshouse_llm::{GuardConfig, LoadedModel, Session, gguf::Gguf};
use glasshouse_protocol::{Constraint, FinishReason, GenerateRequest, Message, Role, Sampling};

/// Turns; the medians count.
const TURNS: usize = 15;
/// Tokens of a turn.
const TOKENS: u32 = 32;

fn main() {
    let Some(file) = env::args().skip(1).find(|argument| !argument.starts_with('-')) else {
        println!("give a model: cargo bench -p glasshouse-llm --bench guard -- FILE.gguf");
        return;
    };
    let gguf = Arc::new(Gguf::open(Path::new(&file)).expect("a model file"));
    let model = Arc::new(LoadedModel::load(gguf, 0).expect("a model"));
    // Nothing is halted, and everything is judged.
    let limits = Config {
        hard_limit: 0.0,
        window_threshold: 0.0,
        trend_threshold: 2.0,
        logit_entropy_limit: 100.0,
        ..Config::default()
    };
    let guard = GuardConfig { limits, ..GuardConfig::default() };
    let request = GenerateRequest {
        // Nearly everything may come but the end: random weights would end at once.
        constraint: Constraint::Lark("start: /(.|\\n){4000}/".to_owned()),
        sampling: Sampling { temperature: 1.0, ..Sampling::default() },
        ..GenerateRequest::new(vec![Message::new(Role::User, "Count to a hundred.")], TOKENS)
    };
    let (mut plain, mut guarded) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        plain.push(each(&model, &request, None));
        guarded.push(each(&model, &request, Some(&guard)));
    }
    let ratios =
        plain.iter().zip(&guarded).map(|(plain, guarded)| guarded.as_secs_f64() / plain.as_secs_f64());
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "a token: {:.1?} without a guard, {:.1?} with it; median ratio {:.4}",
        median(plain),
        median(guarded),
        ratios[ratios.len() / 2]
    );
}

/// The time of a token, without the prompt's.
fn each(model: &Arc<LoadedModel>, request: &GenerateRequest, guard: Option<&GuardConfig>) -> Duration {
    let mut session = Session::new(Arc::clone(model));
    let mut generation = session.start_guarded(request, 1, guard).expect("a good request");
    let (mut start, mut tokens) = (None, 0);
    loop {
        let mut on_token = |_: &glasshouse_llm::TokenEvent<'_>| {
            start.get_or_insert_with(Instant::now);
            tokens += 1;
            ControlFlow::Continue(())
        };
        if let Some(response) = generation.advance(&mut session, &mut on_token).expect("it generates") {
            assert_eq!((response.finish, tokens), (FinishReason::Length, TOKENS));
            return start.map_or(Duration::ZERO, |start| start.elapsed()) / (TOKENS - 1);
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
