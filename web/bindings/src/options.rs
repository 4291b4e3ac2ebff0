//! What a run may be given: the same names, meanings and defaults as the options of `glasshouse ask`.

use glasshouse_protocol::Sampling;
use glasshouse_runtime::{AskOptions, Clock, RunOptions, agent_limits, defaults, process_limits};
use serde::{Deserialize, Deserializer, de::Error};

use crate::error::Thrown;

/// The options of one question. What is left out has its default; unknown names are refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ChatOptions {
    /// Seed of everything random; a number, or its decimal digits where a number of JavaScript is too small.
    #[serde(deserialize_with = "seed")]
    seed: u64,
    /// Seconds since 1970 (UTC) to take as the wall-clock time.
    now: Option<i64>,
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    repeat_penalty: f32,
    max_steps: u32,
    max_tokens: u32,
    /// About one unit for each WebAssembly instruction.
    fuel: u64,
    /// MiB of each process.
    memory_limit: u32,
    /// Whether to keep the event log.
    pub(crate) record: bool,
}

impl Default for ChatOptions {
    fn default() -> Self {
        let sampling = Sampling::default();
        Self {
            seed: 0,
            now: None,
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            repeat_penalty: sampling.repeat_penalty,
            max_steps: defaults::STEPS,
            max_tokens: defaults::TOKENS,
            fuel: defaults::FUEL,
            memory_limit: defaults::MEMORY_MEBIBYTES,
            record: false,
        }
    }
}

impl ChatOptions {
    pub(crate) fn parse(text: &str) -> Result<Self, Thrown> {
        let options: Self = serde_json::from_str(text)
            .map_err(|error| Thrown::new("bad_options", format!("the options cannot be used: {error}")))?;
        let problem = if options.max_steps == 0 {
            "max_steps is 0; allow at least one"
        } else if options.max_tokens == 0 {
            "max_tokens is 0; allow at least one"
        } else if !(1..=4096).contains(&options.memory_limit) {
            "memory_limit is not between 1 and 4096 MiB"
        } else {
            return Ok(options);
        };
        Err(Thrown::new("bad_options", problem))
    }

    pub(crate) fn ask(&self, question: String) -> AskOptions {
        AskOptions {
            question,
            history: Vec::new(),
            system: None,
            sampling: Sampling {
                temperature: self.temperature,
                top_k: self.top_k,
                top_p: self.top_p,
                min_p: self.min_p,
                repeat_penalty: self.repeat_penalty,
                ..Sampling::default()
            },
            limits: agent_limits(self.max_steps, self.max_tokens),
        }
    }

    pub(crate) fn run(&self) -> RunOptions {
        RunOptions {
            seed: self.seed,
            clock: self.now.map_or(Clock::Host, |seconds| Clock::Fixed(seconds.saturating_mul(1000))),
            limits: process_limits(self.fuel, self.memory_limit),
        }
    }
}

fn seed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Seed {
        Number(u64),
        Digits(String),
    }
    match Seed::deserialize(deserializer)? {
        Seed::Number(seed) => Ok(seed),
        Seed::Digits(digits) => {
            digits.parse().map_err(|_| D::Error::custom("the seed is not a whole number below 2^64"))
        }
    }
}
