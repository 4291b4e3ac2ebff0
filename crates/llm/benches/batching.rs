//! What company is worth: tokens per second of the processor's time of one sequence alone, and of several whose tokens pass
//! through the layers together; what prompts cost, and what restoring a saved session costs instead.
//!
//! `cargo bench -p glasshouse-llm --bench batching -- [--threads=N] FILE.gguf|PRESET ...`; a preset is written to a temporary
//! file. Time is the first thread's, which works as much as the others.

use std::{env, fs, ops::ControlFlow, path::Path, sync::Arc, time::Duration};

use glasshouse_llm::generate_random::{self, Preset};
use glasshouse_llm::{
    CacheOptions, Draft, KvCache, KvType, LoadedModel, Logits, Model, Sequence, Session, TokenEvent,
    gguf::Gguf,
};
use glasshouse_protocol::{GenerateRequest, Message, Role, ToolDescription};

/// Sequences that decode together.
const SEQUENCES: [usize; 5] = [1, 2, 4, 8, 16];
/// Tokens of each before it decodes.
const BEFORE: usize = 32;
/// A measurement goes on for so long, in turns.
const ENOUGH: Duration = Duration::from_millis(1500);
/// Turns; the medians count.
const TURNS: usize = 3;
/// Lengths of prompts.
const PROMPTS: [usize; 2] = [512, 2048];

fn main() {
    let (options, mut names): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|argument| argument.starts_with('-'));
    let threads = options.iter().find_map(|option| option.strip_prefix("--threads="));
    let threads = threads.map_or(1, |threads| threads.parse().expect("a number of threads"));
    if names.is_empty() {
        names.push("tiny-llama-q4_0".to_owned());
    }
    for name in names {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = match name.parse::<Preset>() {
            Ok(preset) => {
                let path = directory.path().join("model.gguf");
                generate_random::write(&path, preset).expect("room for the model");
                path
            }
            Err(_) => Path::new(&name).to_owned(),
        };
        let gguf = Arc::new(Gguf::open(&path).expect("a model file"));
        let model = Model::load(gguf, threads).expect("a model");
        println!("{name}, threads: {threads}");
        for kind in [KvType::F16, KvType::Q8_0] {
            measure(&model, kind);
        }
        drop(model);
        restore(&path, threads);
    }
}

fn measure(model: &Model, kind: KvType) {
    let mut rates = SEQUENCES.map(|_| Vec::new());
    for _ in 0..TURNS {
        for (sequences, rates) in SEQUENCES.into_iter().zip(&mut rates) {
            rates.push(decode(model, kind, sequences));
        }
    }
    let rates = rates.map(median);
    for (sequences, rate) in SEQUENCES.iter().zip(rates) {
        println!(
            "  {kind:?} {sequences:>2} sequences: {rate:8.1} tokens/s, {:.2} times one's",
            rate / rates[0]
        );
    }
    for tokens in PROMPTS {
        if tokens <= model.config().context_length {
            let prompt: Vec<u32> = (0..tokens).map(|number| token(model, number)).collect();
            let begin = processor_time();
            let mut cache = model.new_cache_of(kind, tokens).expect("whole blocks");
            model.forward(&mut cache, &prompt, &mut Vec::new()).expect("it evaluates");
            println!("  {kind:?} prompt of {tokens}: {:.2?}", processor_time() - begin);
        }
    }
}

/// What evaluating a long conversation costs, and what saving and restoring it costs.
fn restore(path: &Path, threads: usize) {
    let gguf = Arc::new(Gguf::open(path).expect("a model file"));
    let options = CacheOptions { prefix_bytes: 0, ..CacheOptions::default() };
    let model = Arc::new(LoadedModel::load_with(gguf, threads, options).expect("a model"));
    let length = PROMPTS[1].min(model.model().config().context_length) - 100;
    let word = (0..).map(|number| format!("{number} ").repeat(10));
    let mut text = String::new();
    for word in word {
        text.push_str(&word);
        if text.len() > length {
            text.truncate(length);
            break;
        }
    }
    let request = GenerateRequest::new(vec![Message::new(Role::User, &text)], 1);
    let begin = processor_time();
    let mut session = Session::new(Arc::clone(&model));
    let evaluated = session.generate(&request, 1, &mut |_| ControlFlow::Continue(())).expect("it generates");
    let evaluating = processor_time() - begin;
    let begin = processor_time();
    let bytes = session.save();
    let saving = processor_time() - begin;
    let begin = processor_time();
    Session::restore(Arc::clone(&model), &bytes).expect("it was saved");
    let restoring = processor_time() - begin;
    println!(
        "  {} tokens: evaluated in {evaluating:.2?}, saved ({} bytes) in {saving:.2?}, restored in {restoring:.2?}: {:.0} \
         times as fast",
        evaluated.usage.prompt_tokens,
        bytes.len(),
        evaluating.as_secs_f64() / restoring.as_secs_f64()
    );
    guesses(&model);
}

/// What guesses by look-up are worth where an answer repeats its prompt.
fn guesses(model: &Arc<LoadedModel>) {
    let tool = ToolDescription {
        name: "calculate".to_owned(),
        description: "Evaluates an arithmetic expression.".to_owned(),
        parameters: serde_json::json!({
            "type": "object",
            "properties": {"expression": {"type": "string"}},
            "required": ["expression"],
        }),
        entry: String::new(),
        services: vec![],
    };
    let question = "What is 8231 * 4417 + 90210 - 8231 * 4417 + 90210?";
    let request = GenerateRequest {
        tools: vec![tool],
        ..GenerateRequest::new(vec![Message::new(Role::User, question)], 64)
    };
    let run = |draft: Option<Draft>| {
        let mut session = Session::new(Arc::clone(model));
        let mut generation = session.start(&request, 1).expect("a good request");
        if let Some(draft) = draft {
            generation.set_draft(draft);
        }
        let begin = processor_time();
        loop {
            let go_on = &mut |_: &TokenEvent<'_>| ControlFlow::Continue(());
            if let Some(response) = generation.advance(&mut session, go_on).expect("it generates") {
                let statistics = generation.draft().map(Draft::statistics).unwrap_or_default();
                return (processor_time() - begin, statistics, response);
            }
        }
    };
    let (plain, _, response) = run(None);
    let (guessed, statistics, same) = run(Some(Draft::lookup()));
    assert_eq!(response, same);
    println!(
        "  {} tokens in {plain:.2?}, with guesses by look-up in {guessed:.2?}: {} of {} guesses right, {} evaluations less",
        response.usage.generated_tokens, statistics.accepted, statistics.guessed, statistics.accepted
    );
}

/// Tokens per second of so many sequences that decode together.
fn decode(model: &Model, kind: KvType, sequences: usize) -> f64 {
    let context = model.config().context_length.min(BEFORE + 512);
    let new = |number: usize| {
        let mut cache = model.new_cache_of(kind, context).expect("whole blocks");
        let tokens: Vec<u32> = (0..BEFORE).map(|place| token(model, place + number)).collect();
        model.extend(&mut cache, &tokens).expect("it evaluates");
        cache
    };
    let mut caches: Vec<KvCache> = (0..sequences).map(new).collect();
    let mut logits = Vec::new();
    let (begin, mut steps) = (processor_time(), 0);
    loop {
        let tokens: Vec<[u32; 1]> = (0..sequences).map(|number| [token(model, steps + number)]).collect();
        let mut batch: Vec<Sequence<'_>> = caches
            .iter_mut()
            .zip(&tokens)
            .map(|(cache, tokens)| Sequence { cache, tokens, logits: Logits::Last })
            .collect();
        model.forward_batch(&mut batch, &mut logits).expect("it evaluates");
        steps += 1;
        if caches[0].len() == context {
            caches.iter_mut().for_each(|cache| cache.truncate(BEFORE));
        }
        let elapsed = processor_time() - begin;
        if elapsed > ENOUGH {
            return (steps * sequences) as f64 / elapsed.as_secs_f64();
        }
    }
}

fn token(model: &Model, number: usize) -> u32 {
    (number * 7919 % model.config().vocabulary_size) as u32
}

/// Processor time of this process so far; the wall clock where the system does not tell.
fn processor_time() -> Duration {
    // The first number is the nanoseconds that the main thread ran.
    let spent = fs::read_to_string("/proc/self/schedstat").ok();
    let spent = spent.and_then(|text| text.split_whitespace().next()?.parse().ok());
    let wall = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    spent.map_or_else(wall, Duration::from_nanos)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
