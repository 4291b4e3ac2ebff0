//! One answer to a prompt, token by token: what chooses it, what it says so far, and what stops it.
//!
//! - [`Recipe`]: what all answers to one request have in common.
//! - [`Answer`]: one of them.

use std::collections::VecDeque;
use std::fmt;

use glasshouse_halt::Verdict;
use glasshouse_protocol::{
    FinishReason, GenerateRequest, GenerateResponse, GuardHalt, TokenLogprob, ToolCall, Usage,
};

use crate::LlmError;
use crate::constraint::Constraint;
use crate::guard::{Chosen, Guard, GuardConfig};
use crate::loaded::LoadedModel;
use crate::output::OutputParser;
use crate::sampler::{Logprob, Sampler, TokenMask, answer_seed, logprobs};
use crate::stream::TextStream;
use crate::tokenizer::{Segment, TokenKind, Tokenizer};

/// How much of the prompt's end is looked at for an opened reasoning: no such mark is longer.
const PROMPT_END_BYTES: usize = 64;

/// Letters and digits of a call's id: as many as Mistral's templates want.
const CALL_ID_LENGTH: usize = 9;

/// What all answers to one request have in common.
#[derive(Debug)]
pub(super) struct Recipe {
    sampler: Sampler,
    seed: u64,
    constraint: Option<Constraint>,
    guard: Option<GuardConfig>,
    stops: Vec<String>,
    parser: Option<OutputParser>,
    /// How many of the most probable tokens are told of at each place.
    logprobs: Option<usize>,
}

impl Recipe {
    /// What `request` asks for, after the rendered prompt; `seed` counts if it has none.
    pub(super) fn new(
        model: &LoadedModel,
        request: &GenerateRequest,
        seed: u64,
        guard: Option<&GuardConfig>,
        rendered: &[Segment],
    ) -> Result<Self, LlmError> {
        let tokenizer = &model.tokenizer;
        let sampling = &request.sampling;
        let mut sampler = Sampler::new(sampling, seed)?;
        if let Some(bias) = sampling.logit_bias.iter().find(|bias| tokenizer.kind(bias.token).is_none()) {
            return Err(LlmError::InvalidRequest {
                message: format!(
                    "the logit bias of token {} is outside the vocabulary of {} tokens",
                    bias.token,
                    tokenizer.vocabulary_size()
                ),
            });
        }
        if let Some(dry) = &sampling.dry {
            sampler = sampler.with_breakers(tokens_with(tokenizer, &dry.sequence_breakers));
        }
        if request.ignore_eos {
            sampler = sampler.excluding(tokenizer.end_tokens().to_vec());
        }
        let parser = request.parse_output.then(|| {
            let tools = request.tools.iter().map(|tool| tool.name.clone()).collect();
            OutputParser::new(model.template.output_form().clone(), tools, &end_of(tokenizer, rendered))
        });
        Ok(Self {
            sampler,
            seed: sampling.seed.unwrap_or(seed),
            constraint: model.constraints.constraint(tokenizer, &request.constraint)?,
            guard: guard.cloned(),
            stops: request.stop.clone(),
            parser,
            logprobs: request.logprobs.map(|count| count as usize),
        })
    }

    /// The answer with this index.
    pub(super) fn answer(&self, index: u32) -> Result<Answer, LlmError> {
        let parsing = self.parser.clone().map(|parser| Parsing {
            parser,
            marks: VecDeque::new(),
            fed: 0,
            content_shown: 0,
            reasoning_shown: 0,
        });
        Ok(Answer {
            sampler: self.sampler.reseeded(answer_seed(self.seed, index)),
            constraint: self.constraint.clone(),
            guard: self.guard.as_ref().map(Guard::new).transpose()?,
            halt: None,
            stream: TextStream::new(&self.stops),
            stops: self.stops.clone(),
            parsing,
            shown: 0,
            generated: Vec::new(),
            logprobs: self.logprobs.map(|count| (count, Vec::new())),
            cut: false,
        })
    }
}

/// The tokens whose text holds one of `texts`.
fn tokens_with(tokenizer: &Tokenizer, texts: &[String]) -> TokenMask {
    let finders: Vec<_> = texts.iter().map(memchr::memmem::Finder::new).collect();
    TokenMask::from_tokens((0..tokenizer.vocabulary_size() as u32).filter(|token| {
        let bytes = tokenizer.token_bytes(*token);
        finders.iter().any(|finder| finder.find(bytes).is_some())
    }))
}

/// The text that a prompt ends with, control tokens as their text.
fn end_of(tokenizer: &Tokenizer, rendered: &[Segment]) -> String {
    let mut end = String::new();
    for segment in rendered.iter().rev() {
        match segment {
            Segment::Text(text) => end.insert_str(0, text),
            Segment::Control(id) => end.insert_str(0, tokenizer.token_text(*id).unwrap_or_default()),
        }
        if end.trim_end().len() >= PROMPT_END_BYTES {
            break;
        }
    }
    end
}

/// Says how long a token took.
pub(super) struct Timer(pub(super) Box<dyn FnMut(u64) -> Option<f64> + Send>);

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer(..)")
    }
}

/// An output that is taken apart.
#[derive(Debug)]
struct Parsing {
    parser: OutputParser,
    /// Control tokens, and how much text was there before each.
    marks: VecDeque<(usize, u32)>,
    /// Bytes of the text that the parser has.
    fed: usize,
    /// Bytes of its content and reasoning that were given to whoever listens.
    content_shown: usize,
    reasoning_shown: usize,
}

impl Parsing {
    /// Gives the parser the text up to `visible`, and the control tokens before it.
    fn feed(&mut self, tokenizer: &Tokenizer, text: &str, visible: usize) {
        while let Some(&(position, token)) = self.marks.front()
            && position <= visible
        {
            self.parser.push(&text[self.fed..position]);
            self.fed = position;
            self.parser.push_control(tokenizer.token_text(token).unwrap_or_default());
            self.marks.pop_front();
        }
        self.parser.push(&text[self.fed..visible]);
        self.fed = visible;
    }
}

/// What is newly certain.
pub(super) struct Shown<'a> {
    pub(super) text: &'a str,
    pub(super) reasoning: &'a str,
    pub(super) logprob: Option<&'a TokenLogprob>,
}

/// One answer, in the making.
#[derive(Debug)]
pub(super) struct Answer {
    sampler: Sampler,
    constraint: Option<Constraint>,
    guard: Option<Guard>,
    /// How the guard stopped it.
    halt: Option<GuardHalt>,
    stream: TextStream,
    stops: Vec<String>,
    parsing: Option<Parsing>,
    /// Bytes of the text that were given to whoever listens.
    shown: usize,
    pub(super) generated: Vec<u32>,
    /// How many alternatives are told of, and what was told.
    logprobs: Option<(usize, Vec<TokenLogprob>)>,
    /// Whether the text ends before the tokens do: before a stop text, or where the guard stopped it.
    cut: bool,
}

/// What a generation came to.
pub(super) struct Outcome {
    pub generated: Vec<u32>,
    pub text: String,
    /// Whether the text ends before the tokens do.
    pub cut: bool,
}

impl Answer {
    /// Chooses the token after `tokens` from `logits`.
    pub(super) fn choose(
        &mut self,
        model: &LoadedModel,
        logits: &[f32],
        tokens: &[u32],
        elapsed_ms: impl FnOnce() -> Option<f64>,
    ) -> Result<(u32, Option<FinishReason>), LlmError> {
        let tokenizer = &model.tokenizer;
        let mask = self.constraint.as_mut().map(Constraint::mask).transpose()?;
        // Some models have logits for ids that the tokenizer does not know.
        let known = &logits[..logits.len().min(tokenizer.vocabulary_size())];
        let token = self.sampler.choose(known, tokens, mask.as_ref())?;
        self.generated.push(token);
        if let Some((count, entries)) = &mut self.logprobs {
            let (chosen, top) = logprobs(known, token, *count);
            let described = |entry: &Logprob| TokenLogprob {
                token: entry.token,
                text: text_of(tokenizer, entry.token),
                logprob: entry.logprob,
                top: Vec::new(),
            };
            entries.push(TokenLogprob { top: top.iter().map(described).collect(), ..described(&chosen) });
        }

        let ends = tokenizer.ends_generation(token);
        let bytes = if ends { &[] } else { tokenizer.token_bytes(token) };
        let mut halts = false;
        if let Some(guard) = &mut self.guard {
            let elapsed_ms = elapsed_ms();
            let mask = mask.as_ref();
            // The end of the turn ends a word, too.
            let bytes = if ends { b"\n" } else { bytes };
            let chosen = Chosen { token, logits: known, mask, bytes, elapsed_ms };
            halts = guard.judge(model.model.kernels(), &chosen)?.verdict == Verdict::Halt;
        }
        if let Some(constraint) = self.constraint.as_mut().filter(|_| !ends && !halts) {
            constraint.accept(token)?;
        }
        if let Some(parsing) = &mut self.parsing
            && !ends
            && tokenizer.kind(token) == Some(TokenKind::Control)
        {
            parsing.marks.push_back((self.stream.decoded_length(), token));
        }
        self.stream.push(bytes);
        let finish = if halts {
            Some(FinishReason::Halted)
        } else if ends || self.stream.is_stopped() {
            Some(FinishReason::Stop)
        } else {
            None
        };
        self.cut = self.stream.is_stopped();
        Ok((token, finish))
    }

    /// What may be shown now that the last token was chosen, and, with `finish`, the answer has ended: the text that was
    /// held back then comes, or, after a halt, never does.
    pub(super) fn show(&mut self, tokenizer: &Tokenizer, finish: Option<FinishReason>) -> Shown<'_> {
        let visible = match &mut self.guard {
            Some(guard) if finish.is_none() => guard.shown(self.stream.text().len()),
            _ => self.stream.text().len(),
        };
        let (text, reasoning) = match &mut self.parsing {
            None => {
                let text = &self.stream.text()[self.shown..visible];
                self.shown = visible;
                (text, "")
            }
            Some(parsing) => {
                parsing.feed(tokenizer, self.stream.text(), visible);
                if let Some(finish) = finish {
                    parsing.parser.finish(finish == FinishReason::Stop);
                }
                let text = &parsing.parser.content()[parsing.content_shown..];
                let reasoning = &parsing.parser.reasoning().unwrap_or_default()[parsing.reasoning_shown..];
                parsing.content_shown += text.len();
                parsing.reasoning_shown += reasoning.len();
                (text, reasoning)
            }
        };
        // What a guard holds back is not to be told here.
        let logprob = self.logprobs.as_ref().filter(|_| self.guard.is_none());
        Shown { text, reasoning, logprob: logprob.and_then(|(_, entries)| entries.last()) }
    }

    /// Ends the text, and with it the guard's stream: what was held back is shown, or, after a halt, never is. A person's
    /// stop does neither. Answers why the generation ended.
    pub(super) fn conclude(&mut self, tokenizer: &Tokenizer, finish: FinishReason) -> FinishReason {
        let Some(guard) = &mut self.guard else {
            self.stream.finish();
            return finish;
        };
        let halt = if finish == FinishReason::Cancelled { None } else { guard.finish() };
        let released = guard.released();
        if released < self.generated.len() {
            self.generated.truncate(released);
            if let Some((_, entries)) = &mut self.logprobs {
                entries.truncate(released);
            }
            self.cut = true;
            self.stream = TextStream::new(&self.stops);
            for &token in &self.generated {
                self.stream.push(tokenizer.token_bytes(token));
            }
        }
        self.halt = halt.map(|halt| guard.report(&halt));
        self.stream.finish();
        if halt.is_some() { FinishReason::Halted } else { finish }
    }

    /// The response, but for what it cost, and what it means to the conversation. `logits` are those that the last token
    /// was chosen from, `prompt` the tokens before the answer.
    pub(super) fn respond(
        &mut self,
        tokenizer: &Tokenizer,
        finish: FinishReason,
        logits: &[f32],
        prompt: &[u32],
    ) -> (GenerateResponse, Outcome) {
        if finish == FinishReason::Cancelled {
            self.conclude(tokenizer, finish);
            self.show(tokenizer, Some(finish));
        }
        let mut hasher = blake3::Hasher::new();
        for logit in logits {
            hasher.update(&logit.to_le_bytes());
        }
        let text = self.stream.text().to_string();
        let mut response = GenerateResponse {
            logits_hash: hasher.finalize().to_hex().to_string(),
            usage: Usage::default(),
            halt: self.halt.take(),
            logprobs: self.logprobs.take().map(|(_, entries)| entries).unwrap_or_default(),
            ..GenerateResponse::new("", finish, self.generated.clone())
        };
        match &self.parsing {
            None => response.text.clone_from(&text),
            Some(Parsing { parser, .. }) => {
                response.text = parser.content().to_string();
                response.reasoning = parser.reasoning().map(str::to_string);
                response.rejected_calls = parser.rejected().to_vec();
                let calls = parser.calls().iter().cloned().enumerate();
                response.tool_calls = calls
                    .map(|(index, call)| ToolCall {
                        id: call.id.unwrap_or_else(|| call_id(prompt, &self.generated, index)),
                        name: call.name,
                        arguments: call.arguments,
                    })
                    .collect();
                if finish == FinishReason::Stop && !response.tool_calls.is_empty() {
                    response.finish = FinishReason::ToolCall;
                }
            }
        }
        (response, Outcome { generated: std::mem::take(&mut self.generated), text, cut: self.cut })
    }
}

/// A token's own text.
fn text_of(tokenizer: &Tokenizer, token: u32) -> String {
    match tokenizer.kind(token) {
        Some(TokenKind::Control | TokenKind::Unknown) => {
            tokenizer.token_text(token).unwrap_or_default().to_string()
        }
        _ => String::from_utf8_lossy(tokenizer.token_bytes(token)).into_owned(),
    }
}

/// An id for the call with this index, the same for the same conversation and in no other.
fn call_id(prompt: &[u32], generated: &[u32], index: usize) -> String {
    const CHARACTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut hasher = blake3::Hasher::new();
    for token in prompt.iter().chain(generated) {
        hasher.update(&token.to_le_bytes());
    }
    hasher.update(&(index as u64).to_le_bytes());
    let hash = hasher.finalize();
    let characters = hash.as_bytes().iter().map(|byte| char::from(CHARACTERS[usize::from(*byte) % 62]));
    characters.take(CALL_ID_LENGTH).collect()
}
