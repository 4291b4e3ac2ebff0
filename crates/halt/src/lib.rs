//! The streaming halt kernel: given one coherence score per token, it decides at once and for good whether a stream of
//! tokens must stop.
//!
//! - [`Kernel`]: takes tokens in order, answers a [`Decision`] for each, in constant time and without allocating.
//! - [`Config`]: its limits, checked before anything runs, with a schema.
//! - [`Rule`], [`Cause`], [`Halt`]: why a stream stops, with the number and the limit.
//! - [`scorer`]: where scores can come from: a model's own confidence, agreement with given facts.
//!
//! ```
//! use glasshouse_halt::{Config, Kernel, Rule, Verdict};
//!
//! let mut kernel = Kernel::new(&Config::default())?;
//! let verdicts = [0.92, 0.9, 0.31].iter().enumerate().map(|(index, score)| {
//!     kernel.process_token(index as u64, *score).map(|decision| decision.verdict)
//! });
//! assert_eq!(verdicts.collect::<Result<Vec<_>, _>>()?, [Verdict::Continue, Verdict::Continue, Verdict::Halt]);
//! let halt = kernel.halt().expect("the last score was below the hard limit");
//! assert_eq!((halt.index, halt.cause.rule, halt.released), (2, Rule::HardLimit, 2));
//! assert_eq!(halt.cause.to_string(), "hard_limit (0.3100 < 0.5)");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Rules
//!
//! The first that matches wins, in this order:
//!
//! | rule | it halts when | at the earliest |
//! |---|---|---|
//! | an input that is none | see [`Config::invalid_input`] | at any token |
//! | [`Rule::HardLimit`] | score < `hard_limit` | at the first token |
//! | [`Rule::WindowMean`] | the mean of the last `window_size` scores < `window_threshold` | when there are so many |
//! | [`Rule::DownwardTrend`] | the drop over the last `trend_window` scores > `trend_threshold` | when there are so many |
//! | [`Rule::EntropyLimit`] | the entropy that came with the score > `logit_entropy_limit`, in bits | at the first token |
//! | [`Rule::Deadline`] | the time that came with the score > `deadline_ms` | at the first token |
//!
//! # Numbers
//!
//! Means and drops are computed in millionths, as integers: a score is rounded to the nearest one when it comes in, and
//! sums are exact. So a mean that equals its threshold does not halt, whatever the order of the scores, and every host
//! comes to the same decision. The hard limit, the entropy and the time are compared as they are given.
//!
//! **Invariant: a halt is for good.** There is no way from a halted kernel to one that goes on; it cannot be cloned or
//! reset. A new stream needs a new kernel.
//!
//! **Invariant: nothing depends on the length of the stream.** Memory is that of the windows and of the trace, taken when
//! the kernel is made; each token costs the same.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod decision;
mod kernel;
pub mod scorer;
mod sentence;
mod trace;
mod window;

pub use config::{Config, ConfigError, HaltMode, InvalidInput, Refused, Setting, Trend};
pub use decision::{Cause, Decision, Halt, InputError, Rule, Verdict};
pub use kernel::{Kernel, Token};
pub use sentence::ends_sentence;
pub use trace::TraceEntry;
