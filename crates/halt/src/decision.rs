//! What the kernel decides, and why.

use core::fmt;

use thiserror::Error;

/// What is to become of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Verdict {
    /// It goes on.
    Continue,
    /// It goes on, and somebody should know: the score is in the warning band, or a soft halt is waiting.
    Warn,
    /// It stops, for good.
    Halt,
}

impl Verdict {
    /// A stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Warn => "warn",
            Self::Halt => "halt",
        }
    }
}

/// What a token broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Rule {
    /// The score is below `hard_limit`.
    HardLimit,
    /// The mean of the window is below `window_threshold`.
    #[cfg_attr(feature = "serde", serde(rename = "window_avg"))]
    WindowMean,
    /// The drop over the trend window is above `trend_threshold`.
    DownwardTrend,
    /// The entropy is above `logit_entropy_limit`.
    #[cfg_attr(feature = "serde", serde(rename = "logit_entropy_limit"))]
    EntropyLimit,
    /// The time is above `deadline_ms`.
    #[cfg_attr(feature = "serde", serde(rename = "deadline_ms"))]
    Deadline,
    /// The score is below `soft_limit`; only warned of.
    SoftLimit,
    /// There is no score.
    MissingScore,
    /// The score, the entropy or the time is no number of its range.
    InvalidScore,
    /// Another token was due.
    OutOfOrder,
    /// The stream has ended.
    AfterEnd,
}

impl Rule {
    /// All of them, in the order of their numbers in the module's interface.
    pub const ALL: [Self; 10] = [
        Self::HardLimit,
        Self::WindowMean,
        Self::DownwardTrend,
        Self::EntropyLimit,
        Self::Deadline,
        Self::SoftLimit,
        Self::MissingScore,
        Self::InvalidScore,
        Self::OutOfOrder,
        Self::AfterEnd,
    ];

    /// A stable name; those of the first three are the reference's.
    pub fn name(self) -> &'static str {
        match self {
            Self::HardLimit => "hard_limit",
            Self::WindowMean => "window_avg",
            Self::DownwardTrend => "downward_trend",
            Self::EntropyLimit => "logit_entropy_limit",
            Self::Deadline => "deadline_ms",
            Self::SoftLimit => "soft_limit",
            Self::MissingScore => "missing_score",
            Self::InvalidScore => "invalid_score",
            Self::OutOfOrder => "out_of_order",
            Self::AfterEnd => "after_end",
        }
    }
}

/// A rule that was broken, and by what.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cause {
    /// The rule.
    pub rule: Rule,
    /// What broke it: a score, a mean, a drop, bits, milliseconds; of the last two rules, the token's index.
    pub value: f64,
    /// What it should have kept to; of the last two rules, the index that was due.
    pub limit: f64,
}

/// As the reference words it: `window_avg (0.5469 < 0.5625)`.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, value, limit } = self;
        let name = rule.name();
        match rule {
            Rule::HardLimit | Rule::WindowMean | Rule::SoftLimit => {
                write!(f, "{name} ({value:.4} < {limit})")
            }
            Rule::DownwardTrend | Rule::EntropyLimit | Rule::Deadline => {
                write!(f, "{name} ({value:.4} > {limit})")
            }
            Rule::MissingScore => f.write_str(name),
            Rule::InvalidScore => write!(f, "{name} ({value})"),
            Rule::OutOfOrder | Rule::AfterEnd => write!(f, "{name} (token {value}, where {limit} was due)"),
        }
    }
}

/// The answer to one token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// The token's index.
    pub index: u64,
    /// What is to become of the stream.
    pub verdict: Verdict,
    /// Why, unless it simply goes on.
    pub cause: Option<Cause>,
    /// Tokens of the stream that may be shown by now: those with a lower index.
    pub released: u64,
}

/// The end of a stream by a halt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Halt {
    /// The token at which it stopped.
    pub index: u64,
    /// Why.
    pub cause: Cause,
    /// The token that broke the rule: an earlier one when a soft halt waited for the end of a sentence.
    pub trigger: u64,
    /// Tokens that may be shown: those with a lower index.
    pub released: u64,
}

/// Why a token was not taken, where the configuration asks for errors. The kernel is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("token {index} is not taken: {cause}")]
pub struct InputError {
    /// The index that it was given with.
    pub index: u64,
    /// One of the rules for inputs.
    pub cause: Cause,
}
