//! `glasshouse generate`: a model goes on with a text.

use std::{
    io::{self, IsTerminal, Write},
    ops::ControlFlow,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use glasshouse_llm::{Draft, Generation, LlmError, LoadedModel, Session, TokenEvent};
use glasshouse_protocol::{Constraint, GenerateRequest, GenerateResponse};
use glasshouse_runtime::ModelSource;
use serde_json::json;

use crate::{
    arguments::{ConstraintArguments, GenerateArguments, ModelArguments},
    commands::{is_typed, model_source, read, sampling, stored_or_file, threads, typed_or_input},
    progress,
    screen::visible,
};

/// Stands for guesses from the text so far, where a model's name could stand.
const LOOKUP: &str = "lookup";

/// Runs the command.
pub fn run(arguments: GenerateArguments) -> Result<ExitCode> {
    let Some(prompt) = typed_or_input(arguments.prompt.as_deref(), "prompt")? else {
        bail!(
            "there is no prompt; give a text to go on with, as in: glasshouse generate \"Once upon a time\""
        );
    };
    // A file's last line ends, a prompt does not.
    let is_file = !is_typed(arguments.prompt.as_deref());
    let prompt = prompt.strip_suffix('\n').filter(|_| is_file).unwrap_or(&prompt);
    let request = GenerateRequest {
        constraint: constraint(&arguments.constraint)?,
        sampling: arguments.further.apply(sampling(&arguments.sampling)),
        stop: arguments.stop,
        logprobs: arguments.logprobs,
        ignore_eos: arguments.ignore_eos,
        ..GenerateRequest::new(Vec::new(), arguments.max_tokens)
    };
    let mut session = Session::new(load(model_source(&arguments.model)?, arguments.model.threads)?);
    let draft = arguments.draft.as_deref().map(|name| draft(name, &arguments.model, &session)).transpose()?;
    let stop = Arc::new(AtomicBool::new(false));
    let handler = Arc::clone(&stop);
    ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed)).context("Ctrl-C cannot be handled")?;

    let escape = io::stdout().is_terminal();
    let mut out = anstream::stdout();
    let response = speak(
        &mut session,
        |session| {
            let mut generation = session.start_text(prompt, &request, arguments.sampling.seed)?;
            draft.into_iter().for_each(|draft| generation.set_draft(draft));
            Ok(generation)
        },
        &stop,
        // A reader that goes away ends the printing; nobody is left to go on for.
        &mut |text| {
            arguments.json
                || out.write_all(visible(text, escape).as_bytes()).and_then(|()| out.flush()).is_ok()
        },
    )?;
    if arguments.json {
        anstream::println!("{}", described(&response, &session));
    } else if !response.text.ends_with('\n') {
        anstream::println!();
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets a session speak until it is done, or stopped, or `on_text` wants no more.
pub(super) fn speak(
    session: &mut Session,
    start: impl FnOnce(&mut Session) -> Result<Generation, LlmError>,
    stop: &AtomicBool,
    on_text: &mut dyn FnMut(&str) -> bool,
) -> Result<GenerateResponse, LlmError> {
    let mut generation = start(session)?;
    loop {
        // In a long prompt nothing is said yet that could be ended.
        if stop.load(Ordering::Relaxed) && generation.generated_tokens() == 0 {
            return generation.cancel(session);
        }
        let mut on_token = |token: &TokenEvent<'_>| {
            if on_text(token.text) && !stop.load(Ordering::Relaxed) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        if let Some(response) = generation.advance(session, &mut on_token)? {
            return Ok(response);
        }
    }
}

/// The response as one object.
fn described(response: &GenerateResponse, session: &Session) -> serde_json::Value {
    let mut object = json!({
        "model": session.model().description().name,
        "text": response.text,
        "finish": response.finish,
        "tokens": response.tokens,
        "usage": response.usage,
        "logits_hash": response.logits_hash,
    });
    if !response.logprobs.is_empty() {
        object["logprobs"] = json!(response.logprobs);
    }
    object
}

/// Loads a model.
pub(super) fn load(source: ModelSource, thread_count: Option<u16>) -> Result<Arc<LoadedModel>> {
    let spinner = progress::spinner("loading the model");
    let gguf = source.open()?.context("there is no model")?;
    let model = LoadedModel::load(gguf, threads(thread_count).unwrap_or(0))?;
    spinner.finish_and_clear();
    Ok(Arc::new(model))
}

/// What guesses tokens for the session.
fn draft(name: &Path, arguments: &ModelArguments, session: &Session) -> Result<Draft> {
    if name == Path::new(LOOKUP) {
        return Ok(Draft::lookup());
    }
    let model = load(stored_or_file(Some(name), &arguments.store)?, arguments.threads)?;
    Ok(Draft::model(model, session.model())?)
}

/// What the output must match, from the file or the expression that was named.
fn constraint(arguments: &ConstraintArguments) -> Result<Constraint> {
    if let Some(path) = &arguments.schema {
        let schema = serde_json::from_str(&text(path, "schema")?);
        return Ok(Constraint::JsonSchema(
            schema.with_context(|| format!("the schema {} is not JSON", path.display()))?,
        ));
    }
    if let Some(path) = &arguments.grammar {
        let grammar = text(path, "grammar")?;
        let gbnf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gbnf"));
        return Ok(if gbnf { Constraint::Gbnf(grammar) } else { Constraint::Lark(grammar) });
    }
    Ok(arguments.regex.clone().map_or(Constraint::None, Constraint::Regex))
}

/// A text file that was named on the command line.
fn text(path: &Path, what: &str) -> Result<String> {
    String::from_utf8(read(path, what)?)
        .with_context(|| format!("the {what} {} is not UTF-8 text", path.display()))
}
