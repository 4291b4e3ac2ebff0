//! How the next token is chosen.

use alloc::{string::String, vec, vec::Vec};

use serde::{Deserialize, Serialize};

/// How the next token is chosen. The default is greedy.
///
/// A choice goes through: the output's constraint; if that leaves one token, it is taken, and nothing below counts.
/// Then logit bias; repeat, frequency and presence penalties; DRY. At temperature 0 the best is taken then. Else come
/// top-k, typical, top-p, min-p, XTC and temperature in this order, or in that of [`order`](Self::order), or mirostat in
/// place of all but the temperature; and the draw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// 0 is greedy: always the most probable token.
    pub temperature: f32,
    /// Keep only the `top_k` most probable tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the smallest set of tokens whose probabilities reach this sum; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less probable than `min_p` times the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Divides (or multiplies, when negative) the logits of recent tokens; 1 changes nothing.
    pub repeat_penalty: f32,
    /// Subtracted from a recent token's logit once for each time it occurred.
    pub frequency_penalty: f32,
    /// Subtracted from a recent token's logit if it occurred at all.
    pub presence_penalty: f32,
    /// How many recent tokens the penalties look at.
    pub repeat_last_n: u32,
    /// Seed of the draw; `None` takes the one that the kernel derives for the request.
    pub seed: Option<u64>,
    /// Keep the tokens whose surprise is nearest to the expected one, until their probabilities reach this sum; 1 keeps
    /// all.
    #[serde(skip_serializing_if = "is_one")]
    pub typical_p: f32,
    /// Now and then drop the most probable tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xtc: Option<Xtc>,
    /// Keep the surprise of the text at a target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirostat: Option<Mirostat>,
    /// Lower tokens that would continue a repetition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry: Option<Dry>,
    /// Added to the logits of single tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logit_bias: Vec<TokenBias>,
    /// The steps between the penalties and the draw, each at most once; one that is not named does nothing. Empty is the
    /// usual order with all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<SamplingStep>,
}

/// A step between the penalties and the draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplingStep {
    /// [`Sampling::top_k`].
    TopK,
    /// [`Sampling::typical_p`].
    Typical,
    /// [`Sampling::top_p`].
    TopP,
    /// [`Sampling::min_p`].
    MinP,
    /// [`Sampling::xtc`].
    Xtc,
    /// [`Sampling::temperature`]: the steps behind it see probabilities at it, those before it at 1.
    Temperature,
}

impl SamplingStep {
    /// The usual order.
    pub const USUAL: [Self; 6] =
        [Self::TopK, Self::Typical, Self::TopP, Self::MinP, Self::Xtc, Self::Temperature];
}

/// Exclude top choices: with some probability, all tokens that reach the threshold are dropped but the least probable of
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Xtc {
    /// How often.
    pub probability: f32,
    /// From which probability on a token is a top choice; above 0.5 there is never more than one.
    pub threshold: f32,
}

/// Mirostat, version 2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mirostat {
    /// The target surprise, in bits.
    pub tau: f32,
    /// How fast the limit follows what was observed.
    pub eta: f32,
}

/// "Don't repeat yourself": a token that would continue a sequence that occurred before loses
/// `multiplier * base ^ (length of the sequence - allowed_length)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dry {
    /// The penalty at the allowed length; 0 turns it off.
    pub multiplier: f32,
    /// What each further token of the sequence multiplies it by.
    pub base: f32,
    /// The longest sequence that may be repeated for nothing has one token less.
    pub allowed_length: u32,
    /// How many recent tokens are looked at.
    pub last_n: u32,
    /// No sequence goes over a token whose text holds one of these.
    pub sequence_breakers: Vec<String>,
}

impl Default for Dry {
    fn default() -> Self {
        Self {
            multiplier: 0.8,
            base: 1.75,
            allowed_length: 2,
            last_n: 1024,
            sequence_breakers: vec!["\n".into(), ":".into(), "\"".into(), "*".into()],
        }
    }
}

/// What is added to the logit of a token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TokenBias {
    /// The token's id.
    pub token: u32,
    /// What is added.
    pub bias: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            repeat_last_n: 64,
            seed: None,
            typical_p: 1.0,
            xtc: None,
            mirostat: None,
            dry: None,
            logit_bias: Vec::new(),
            order: Vec::new(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_one(number: &f32) -> bool {
    *number == 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_not_written() {
        // Event logs hold requests in these bytes.
        assert_eq!(
            serde_json::to_string(&Sampling::default()).unwrap(),
            r#"{"temperature":0.0,"top_k":0,"top_p":1.0,"min_p":0.0,"repeat_penalty":1.0,"frequency_penalty":0.0,"presence_penalty":0.0,"repeat_last_n":64,"seed":null}"#
        );
        let all = Sampling {
            typical_p: 0.5,
            xtc: Some(Xtc { probability: 0.5, threshold: 0.1 }),
            mirostat: Some(Mirostat { tau: 5.0, eta: 0.1 }),
            dry: Some(Dry::default()),
            logit_bias: vec![TokenBias { token: 3, bias: -1.5 }],
            order: vec![SamplingStep::Temperature, SamplingStep::MinP],
            ..Sampling::default()
        };
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Sampling>(&text).unwrap(), all);
    }
}
