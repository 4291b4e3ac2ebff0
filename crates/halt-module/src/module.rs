//! The state of an instance, and what each call does to it.

use alloc::{boxed::Box, vec::Vec};

use glasshouse_halt::{
    Cause, Config, ConfigError, Decision, Halt, Kernel, Rule, Setting, Token, TraceEntry, Verdict,
    ends_sentence,
};

use crate::{Slab, words};

/// What a call answers where it is no verdict and no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// There is nothing, or it was done.
    Done = 0,
    /// There is something: it is in the answer.
    Found = 1,
    /// The configuration or the token was not taken; the text says why.
    Refused = -1,
    /// A handle that names nothing, a text outside the buffer or none in UTF-8, a number that has no meaning there.
    Misuse = -2,
}

/// Which parts of a token are given.
pub mod given {
    /// The score.
    pub const SCORE: u32 = 1;
    /// The entropy.
    pub const ENTROPY_BITS: u32 = 2;
    /// The time.
    pub const ELAPSED_MS: u32 = 4;
    /// The text.
    pub const TEXT: u32 = 8;
    /// All of them.
    pub const ALL: u32 = SCORE | ENTROPY_BITS | ELAPSED_MS | TEXT;
}

/// Numbers of the answer.
pub const ANSWER_NUMBERS: usize = 7;
/// Bytes of an entry of the trace.
pub const TRACE_ENTRY_BYTES: usize = 72;
/// The rule where there is none.
const NO_RULE: u8 = u8::MAX;
/// The largest text that a host may give: no token and no name is as long, and what is held stays bounded.
const BUFFER_MAXIMUM: usize = 1 << 20;
/// Whole numbers of which each is a 64-bit floating-point number.
const INDEX_MAXIMUM: f64 = 9_007_199_254_740_991.0;

/// What an instance holds.
#[derive(Debug)]
pub struct Module {
    configs: Slab<Config>,
    kernels: Slab<Box<Kernel>>,
    answer: [f64; ANSWER_NUMBERS],
    /// What the answer is about, to be told in words.
    cause: Option<Cause>,
    /// What the host may write to.
    buffer: Vec<u8>,
    /// What the host may read: the last text, or the last trace.
    text: Vec<u8>,
}

/// Where a text lies, as the host says: an address and a length.
pub type Place = (usize, usize);

impl Module {
    /// One without kernels.
    pub const fn new() -> Self {
        Self {
            configs: Slab::new(),
            kernels: Slab::new(),
            answer: [0.0; ANSWER_NUMBERS],
            cause: None,
            buffer: Vec::new(),
            text: Vec::new(),
        }
    }

    /// A buffer of so many bytes at least.
    pub fn buffer(&mut self, length: usize) -> *mut u8 {
        if length > BUFFER_MAXIMUM {
            return core::ptr::null_mut();
        }
        if length > self.buffer.len() {
            self.buffer = alloc::vec![0; length.next_power_of_two()];
        }
        self.buffer.as_mut_ptr()
    }

    /// The numbers of the last answer.
    pub fn answer(&self) -> &[f64; ANSWER_NUMBERS] {
        &self.answer
    }

    /// The last text.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// A configuration with its defaults; zero where there are too many.
    pub fn new_config(&mut self) -> u32 {
        self.configs.insert(Config::default())
    }

    /// Forgets a configuration.
    pub fn free_config(&mut self, config: u32) -> Status {
        self.configs.remove(config).map_or(Status::Misuse, |_| Status::Done)
    }

    /// Sets a field to what is no text.
    pub fn set(&mut self, config: u32, name: Place, setting: Setting<'_>) -> Status {
        let (Some(config), Some(name)) = (self.configs.get(config), text_in(&self.buffer, name)) else {
            return Status::Misuse;
        };
        match config.set(name, setting) {
            Ok(()) => Status::Done,
            Err(error) => refused(&mut self.text, &error),
        }
    }

    /// Sets a field to a text.
    pub fn set_text(&mut self, config: u32, name: Place, value: Place) -> Status {
        let texts = (text_in(&self.buffer, name), text_in(&self.buffer, value));
        let (Some(config), (Some(name), Some(value))) = (self.configs.get(config), texts) else {
            return Status::Misuse;
        };
        match config.set(name, Setting::Text(value)) {
            Ok(()) => Status::Done,
            Err(error) => refused(&mut self.text, &error),
        }
    }

    /// A kernel with these limits; zero where they are refused, or where there are too many.
    pub fn new_kernel(&mut self, config: u32) -> u32 {
        let Some(config) = self.configs.get(config) else {
            self.text = b"no configuration has this handle".to_vec();
            return 0;
        };
        match Kernel::new(config) {
            Ok(kernel) => {
                let handle = self.kernels.insert(Box::new(kernel));
                if handle == 0 {
                    self.text = b"there are too many kernels".to_vec();
                }
                handle
            }
            Err(error) => {
                refused(&mut self.text, &error);
                0
            }
        }
    }

    /// Forgets a kernel.
    pub fn free_kernel(&mut self, kernel: u32) -> Status {
        self.kernels.remove(kernel).map_or(Status::Misuse, |_| Status::Done)
    }

    /// A kernel.
    pub fn kernel(&mut self, kernel: u32) -> Option<&Kernel> {
        self.kernels.get(kernel).map(|kernel| &**kernel)
    }

    /// Decides about a token of which only the score is known.
    pub fn process_token(&mut self, kernel: u32, index: f64, score: f64) -> i32 {
        let Some(kernel) = self.kernels.get(kernel) else { return Status::Misuse as i32 };
        let token = Token { index: index_of(index), score: Some(score), ..Token::default() };
        process(kernel, &token, &mut self.answer, &mut self.cause)
    }

    /// Decides about a token, of which those parts are known that [`given`] names.
    pub fn process(&mut self, kernel: u32, index: f64, measured: [f64; 3], text: Place, parts: u32) -> i32 {
        let Some(kernel) = self.kernels.get(kernel).filter(|_| parts & !given::ALL == 0) else {
            return Status::Misuse as i32;
        };
        let text = if parts & given::TEXT == 0 {
            None
        } else {
            let Some(text) = text_in(&self.buffer, text) else { return Status::Misuse as i32 };
            Some(text)
        };
        let [score, entropy_bits, elapsed_ms] = measured;
        let known = |part, number| (parts & part != 0).then_some(number);
        let token = Token {
            index: index_of(index),
            score: known(given::SCORE, score),
            entropy_bits: known(given::ENTROPY_BITS, entropy_bits),
            elapsed_ms: known(given::ELAPSED_MS, elapsed_ms),
            text,
        };
        process(kernel, &token, &mut self.answer, &mut self.cause)
    }

    /// Ends a stream; its halt is the answer, if there is one.
    pub fn finish(&mut self, kernel: u32) -> Status {
        let Some(kernel) = self.kernels.get(kernel) else { return Status::Misuse };
        let halt = kernel.finish();
        self.found(halt)
    }

    /// The halt of a stream is the answer, if there is one.
    pub fn halted(&mut self, kernel: u32) -> Status {
        let Some(kernel) = self.kernels.get(kernel) else { return Status::Misuse };
        let halt = kernel.halt();
        self.found(halt)
    }

    fn found(&mut self, halt: Option<Halt>) -> Status {
        let Some(Halt { index, cause, trigger, released }) = halt else { return Status::Done };
        put(&mut self.answer, index, Verdict::Halt as i32, Some(cause), released);
        self.answer[6] = trigger as f64;
        self.cause = Some(cause);
        Status::Found
    }

    /// Leaves what the answer is about, in words, as the text.
    pub fn cause(&mut self) {
        self.text = self.cause.as_ref().map(words::cause).unwrap_or_default();
    }

    /// Leaves a rule's name as the text.
    pub fn rule(&mut self, rule: u32) -> Status {
        let Some(rule) = Rule::ALL.get(rule as usize) else { return Status::Misuse };
        self.text = rule.name().as_bytes().to_vec();
        Status::Done
    }

    /// Leaves a kernel's trace in place of the text, and answers its number of entries.
    pub fn trace(&mut self, kernel: u32) -> i32 {
        let Some(kernel) = self.kernels.get(kernel) else { return Status::Misuse as i32 };
        self.text = Vec::new();
        for entry in kernel.trace() {
            let mut bytes = [0; TRACE_ENTRY_BYTES];
            bytes[..8].copy_from_slice(&(entry.index as f64).to_le_bytes());
            bytes[8..16].copy_from_slice(&entry.score.to_le_bytes());
            bytes[16] = entry.verdict as u8;
            bytes[17] = entry.rule.map_or(NO_RULE, number_of);
            let text = entry.text().as_bytes();
            bytes[18] = text.len() as u8;
            bytes[19..19 + TraceEntry::TEXT_BYTES][..text.len()].copy_from_slice(text);
            self.text.extend_from_slice(&bytes);
        }
        (self.text.len() / TRACE_ENTRY_BYTES) as i32
    }

    /// Whether a text ends a sentence.
    pub fn ends_sentence(&self, text: Place) -> Status {
        match text_in(&self.buffer, text) {
            Some(text) if ends_sentence(text) => Status::Found,
            Some(_) => Status::Done,
            None => Status::Misuse,
        }
    }
}

impl Default for Module {
    fn default() -> Self {
        Self::new()
    }
}

/// The text that a host says lies there: inside the buffer, in UTF-8.
fn text_in(buffer: &[u8], (address, length): Place) -> Option<&str> {
    let start = address.checked_sub(buffer.as_ptr().addr())?;
    let bytes = buffer.get(start..start.checked_add(length)?)?;
    core::str::from_utf8(bytes).ok()
}

/// A token's index, as hosts without 64-bit integers give it. What is no whole number, or not exactly one, is none that can
/// ever be due.
fn index_of(number: f64) -> u64 {
    let is_whole = (0.0..=INDEX_MAXIMUM).contains(&number) && number as u64 as f64 == number;
    if is_whole { number as u64 } else { u64::MAX }
}

fn number_of(rule: Rule) -> u8 {
    Rule::ALL.iter().position(|other| *other == rule).map_or(NO_RULE, |number| number as u8)
}

fn refused(text: &mut Vec<u8>, error: &ConfigError) -> Status {
    *text = words::refusal(error);
    Status::Refused
}

fn process(
    kernel: &mut Kernel,
    token: &Token<'_>,
    answer: &mut [f64; ANSWER_NUMBERS],
    told: &mut Option<Cause>,
) -> i32 {
    let (verdict, cause, released) = match kernel.process(token) {
        Ok(Decision { verdict, cause, released, .. }) => (verdict as i32, cause, released),
        Err(error) => (Status::Refused as i32, Some(error.cause), kernel.released()),
    };
    put(answer, token.index, verdict, cause, released);
    *told = cause;
    verdict
}

fn put(answer: &mut [f64; ANSWER_NUMBERS], index: u64, verdict: i32, cause: Option<Cause>, released: u64) {
    let (rule, value, limit) =
        cause.map_or((NO_RULE, 0.0, 0.0), |Cause { rule, value, limit }| (number_of(rule), value, limit));
    *answer = [index as f64, verdict.into(), rule.into(), value, limit, released as f64, index as f64];
}
