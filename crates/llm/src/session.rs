//! One conversation with a model.
//!
//! - [`Session`]: its tokens and what the model computed for them.
//! - [`Generation`]: the next message of it, in the making; it can be advanced in small pieces and cancelled.
//! - [`Draft`]: guesses of what comes next, which save evaluations.
//! - [`TokenEvent`]: one generated token, as it happens.
//!
//! A request carries the whole conversation. What the session already holds of it is not evaluated again: if the
//! rendered conversation continues the session's (the last prompt, what was generated and the end of the turn),
//! exactly the tokens that were generated stay, though tokenizing their text might give others. If it continues
//! an earlier state of the session, the tokens up to there stay; if none, the longest common beginning does.
//!
//! **Invariant:** `cache` holds the first `cache.len()` of `tokens`, `segments` say what `tokens` stand for, and
//! every mark is a place in both where a request or its answer ended.

mod answer;
mod draft;
mod evaluation;
mod generation;
mod saved;

use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_protocol::{GenerateRequest, GenerateResponse, TokenLogprob};

use crate::cache::SharedPrefixes;
use crate::guard::GuardConfig;
use crate::loaded::LoadedModel;
use crate::stream::Utf8Decoder;
use crate::template::Conversation;
use crate::tokenizer::{Before, Segment};
use crate::{KvCache, LlmError};
use answer::{Outcome, Recipe};
pub use draft::{Draft, DraftStatistics};
pub(crate) use evaluation::Evaluation;
pub use generation::{Generation, Progress};

/// The most stop texts of a request: each is searched for at every token.
const MAXIMUM_STOPS: usize = 64;

/// The longest stop text: as much output may be held back.
const MAXIMUM_STOP_BYTES: usize = 1024;

/// The most answers to one request, as in OpenAI's interface.
const MAXIMUM_ANSWERS: u32 = 128;

/// The most alternatives at each place, as in OpenAI's interface.
const MAXIMUM_ALTERNATIVES: u32 = 20;

/// A token that was generated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenEvent<'t> {
    /// Its id.
    pub token: u32,
    /// The text that is certain now and was not before; often empty.
    pub text: &'t str,
    /// The same of the reasoning, where the output is parsed.
    pub reasoning: &'t str,
    /// How probable it was, if that was asked for and no guard may hold the token back.
    pub logprob: Option<&'t TokenLogprob>,
    /// How many tokens this generation had before it, those of earlier answers included.
    pub index: u32,
    /// Of several answers, the one that it belongs to.
    pub answer: u32,
}

/// One conversation. A clone is a fork: both go on from here, each on its own.
#[derive(Debug, Clone)]
pub struct Session {
    model: Arc<LoadedModel>,
    /// Beginnings that sessions share.
    prefixes: SharedPrefixes,
    cache: KvCache,
    tokens: Vec<u32>,
    segments: Vec<Segment>,
    marks: Vec<Mark>,
    /// Counts the conversation's changes of course, so that a generation notices that it was overtaken.
    course: u64,
}

/// A place in a conversation.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Tokens before it.
    tokens: usize,
    /// Segments before it; of the last one, if it is text, the first `text` bytes.
    segments: usize,
    text: usize,
}

/// A rendered conversation as tokens.
struct Prompt {
    segments: Vec<Segment>,
    tokens: Vec<u32>,
    /// How many of `tokens` the session's cache has evaluated already.
    cached: usize,
    /// How many of the session's marks are places in it.
    marks: usize,
}

impl Session {
    /// An empty session, which shares beginnings of conversations with the model's others.
    pub fn new(model: Arc<LoadedModel>) -> Self {
        let prefixes = model.prefixes().clone();
        Self::sharing(model, prefixes)
    }

    /// An empty session that shares beginnings with its [`sibling`](Self::sibling)s alone. How much they need to evaluate
    /// then does not depend on anything else that the model does, while what they say never does.
    pub fn apart(model: Arc<LoadedModel>) -> Self {
        let prefixes = SharedPrefixes::new(model.prefix_statistics().budget);
        Self::sharing(model, prefixes)
    }

    /// An empty session that shares beginnings with this one.
    pub fn sibling(&self) -> Self {
        Self::sharing(Arc::clone(&self.model), self.prefixes.clone())
    }

    fn sharing(model: Arc<LoadedModel>, prefixes: SharedPrefixes) -> Self {
        let (cache, tokens, segments, marks) = (model.new_cache(), Vec::new(), Vec::new(), Vec::new());
        Self { model, prefixes, cache, tokens, segments, marks, course: 0 }
    }

    /// The model.
    pub fn model(&self) -> &Arc<LoadedModel> {
        &self.model
    }

    /// The tokens of the conversation; the last may not have been evaluated.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Forgets the conversation.
    pub fn clear(&mut self) {
        self.course += 1;
        self.cache.truncate(0);
        self.tokens.clear();
        self.segments.clear();
        self.marks.clear();
    }

    /// Generates the next assistant message. `seed` counts if the request has none. `on_token` is called with
    /// every token as soon as it is chosen, and may stop the generation after it.
    ///
    /// # Errors
    /// [`LlmError`]; whether the request cannot be served or the model fails, the session is usable afterwards.
    pub fn generate(
        &mut self,
        request: &GenerateRequest,
        seed: u64,
        on_token: &mut dyn FnMut(&TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<GenerateResponse, LlmError> {
        let mut generation = self.start(request, seed)?;
        loop {
            if let Some(response) = generation.advance_by(self, usize::MAX, on_token)? {
                return Ok(response);
            }
        }
    }

    /// Begins to generate the next assistant message: checks the request and makes it tokens, but evaluates none
    /// of them. From here on the session's conversation is the request's; whatever generation it had is over.
    /// `seed` counts if the request has none.
    ///
    /// # Errors
    /// [`LlmError`] when the request cannot be served; the session is then as it was.
    pub fn start(&mut self, request: &GenerateRequest, seed: u64) -> Result<Generation, LlmError> {
        self.start_guarded(request, seed, None)
    }

    /// The same under a guard, which judges each token and may end the generation at one. What it does not let through
    /// is no part of the response, and of the conversation.
    ///
    /// # Errors
    /// As for [`start`](Self::start), and [`LlmError::InvalidGuard`].
    pub fn start_guarded(
        &mut self,
        request: &GenerateRequest,
        seed: u64,
        guard: Option<&GuardConfig>,
    ) -> Result<Generation, LlmError> {
        check_messages(request)?;
        let rendered = self.model.template.render(&self.model.tokenizer, &Conversation::of(request))?;
        self.start_rendered(rendered, request, seed, guard)
    }

    /// Begins to continue `text` as it is: neither the chat template nor the request's messages and tools count. What spells
    /// a control token is text like any other.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn start_text(
        &mut self,
        text: &str,
        request: &GenerateRequest,
        seed: u64,
    ) -> Result<Generation, LlmError> {
        let begin = self.model.tokenizer.added_begin().map(Segment::Control);
        let text = (!text.is_empty()).then(|| Segment::Text(text.to_owned()));
        let segments: Vec<Segment> = begin.into_iter().chain(text).collect();
        if segments.is_empty() {
            let message = "the prompt is empty; give a text to go on with".to_owned();
            return Err(LlmError::InvalidRequest { message });
        }
        self.start_rendered(segments, request, seed, None)
    }

    fn start_rendered(
        &mut self,
        rendered: Vec<Segment>,
        request: &GenerateRequest,
        seed: u64,
        guard: Option<&GuardConfig>,
    ) -> Result<Generation, LlmError> {
        check(request)?;
        if request.n > 1 && guard.is_some_and(|guard| guard.has_deadline) {
            return Err(LlmError::InvalidGuard {
                message: "a deadline judges one answer, and there are several; ask for one".to_string(),
            });
        }
        let model = Arc::clone(&self.model);
        let recipe = Recipe::new(&model, request, seed, guard, &rendered)?;
        let prompt = self.prompt(rendered);
        let context_length = model.model.config().context_length;
        if prompt.tokens.len() > context_length {
            return Err(LlmError::ContextOverflow { prompt_tokens: prompt.tokens.len(), context_length });
        }
        let mut generation = Generation::new(self, &prompt, request, recipe)?;
        self.cache.truncate(prompt.cached);
        self.segments = prompt.segments;
        self.tokens = prompt.tokens;
        self.marks.truncate(prompt.marks);
        self.mark();
        // The last token is always evaluated: its logits choose the next.
        let known = self.tokens.len().saturating_sub(1);
        self.prefixes.lock().continue_cache(&self.tokens[..known], &mut self.cache);
        generation.known = self.cache.len();
        Ok(generation)
    }

    /// The tokens of a rendered conversation, and how many of them need no evaluation.
    fn prompt(&self, segments: Vec<Segment>) -> Prompt {
        let tokenizer = &self.model.tokenizer;
        let continued = (0..self.marks.len()).rev().find_map(|index| {
            let mark = self.marks[index];
            let (rest, before) = continuation(&self.segments[..mark.segments], mark.text, &segments)?;
            let mut tokens = self.tokens[..mark.tokens].to_vec();
            tokenizer.encode_segments(&rest, before, &mut tokens);
            Some((tokens, index + 1))
        });
        let (tokens, marks) = continued.unwrap_or_else(|| {
            let mut tokens = Vec::new();
            tokenizer.encode_segments(&segments, Before::Boundary, &mut tokens);
            (tokens, 0)
        });
        let common = self.tokens.iter().zip(&tokens).take_while(|(held, wanted)| held == wanted).count();
        // The last token is always evaluated: its logits choose the next.
        let cached = common.min(self.cache.len()).min(tokens.len().saturating_sub(1));
        Prompt { segments, tokens, cached, marks }
    }

    /// Marks where the conversation ends now.
    fn mark(&mut self) {
        let text = match self.segments.last() {
            Some(Segment::Text(text)) => text.len(),
            _ => 0,
        };
        self.marks.push(Mark { tokens: self.tokens.len(), segments: self.segments.len(), text });
    }

    /// Brings `tokens` and `segments` in line after a generation.
    fn settle(&mut self, outcome: &Outcome, prompt_tokens: usize) {
        let tokenizer = &self.model.tokenizer;
        let mut text = outcome.text.as_str();
        if outcome.cut {
            // The tokens of the stop text, and one that it begins within, are not part of the conversation.
            let mut decoder = Utf8Decoder::default();
            let mut decoded = String::new();
            let mut kept = (0, 0);
            for (index, &token) in outcome.generated.iter().enumerate() {
                decoder.push(tokenizer.token_bytes(token), &mut decoded);
                if decoded.len() > outcome.text.len() {
                    break;
                }
                if decoder.is_empty() {
                    kept = (index + 1, decoded.len());
                }
            }
            self.tokens.truncate(prompt_tokens + kept.0);
            self.cache.truncate(self.cache.len().min(self.tokens.len()));
            text = &outcome.text[..kept.1];
        }
        if !text.is_empty() {
            match self.segments.last_mut() {
                Some(Segment::Text(last)) => last.push_str(text),
                _ => self.segments.push(Segment::Text(text.to_string())),
            }
        }
        if let Some(&last) = outcome.generated.last()
            && tokenizer.ends_generation(last)
        {
            self.segments.push(Segment::Control(last));
        }
        self.mark();
        self.prefixes.lock().insert(&self.tokens, &self.cache);
    }
}

/// If `new` begins with `old`, of whose last segment the first `text` bytes count if it is text: what of `new` is
/// left, and what stands before that.
fn continuation(old: &[Segment], text: usize, new: &[Segment]) -> Option<(Vec<Segment>, Before)> {
    let (last, whole) = old.split_last()?;
    let rest = new.strip_prefix(whole)?;
    let (first, rest) = rest.split_first()?;
    match (last, first) {
        (Segment::Control(held), Segment::Control(wanted)) if held == wanted => {
            Some((rest.to_vec(), Before::Boundary))
        }
        (Segment::Text(held), Segment::Text(wanted)) => {
            let more = wanted.strip_prefix(held.get(..text)?)?;
            let more = (!more.is_empty()).then(|| Segment::Text(more.to_string()));
            Some((more.into_iter().chain(rest.iter().cloned()).collect(), Before::Text))
        }
        _ => None,
    }
}

fn check_messages(request: &GenerateRequest) -> Result<(), LlmError> {
    if request.messages.iter().any(|message| !message.content.trim().is_empty()) {
        return Ok(());
    }
    Err(LlmError::InvalidRequest { message: "the messages hold no text; say something".to_owned() })
}

fn check(request: &GenerateRequest) -> Result<(), LlmError> {
    let problem = if request.maximum_tokens == 0 {
        "maximum_tokens is 0; allow at least one".to_string()
    } else if !(1..=MAXIMUM_ANSWERS).contains(&request.n) {
        format!("n is {}, but must be between 1 and {MAXIMUM_ANSWERS}", request.n)
    } else if let Some(logprobs) = request.logprobs.filter(|count| *count > MAXIMUM_ALTERNATIVES) {
        format!("logprobs is {logprobs}, but must be at most {MAXIMUM_ALTERNATIVES}")
    } else if request.stop.len() > MAXIMUM_STOPS {
        format!("{} stop texts are more than the {MAXIMUM_STOPS} allowed", request.stop.len())
    } else if request.stop.iter().any(String::is_empty) {
        "a stop text is empty and would end every output at once; leave it out".to_string()
    } else if request.stop.iter().any(|stop| stop.len() > MAXIMUM_STOP_BYTES) {
        format!("a stop text has more than the {MAXIMUM_STOP_BYTES} bytes allowed")
    } else {
        return Ok(());
    };
    Err(LlmError::InvalidRequest { message: problem })
}

/// Counts are bounded by context lengths, which are 32-bit.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
