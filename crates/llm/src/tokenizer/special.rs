//! Finds the tokens that are matched in text before anything else: user-defined and control tokens.

use std::cmp::Reverse;

use memchr::memmem::Finder;

use super::data::TokenizerData;
use super::vocabulary::{TokenKind, Vocabulary};

/// A piece of text that was cut at tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fragment<'t> {
    Text(&'t str),
    Token(u32),
}

/// Tokens to look for in text, the longest first, of equally long ones the lower id first.
#[derive(Debug, Clone)]
pub(super) struct TokenFinder {
    tokens: Vec<Special>,
}

#[derive(Debug, Clone)]
struct Special {
    id: u32,
    finder: Finder<'static>,
    strips: Strips,
}

/// White space that a token takes from the text beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Strips {
    before: bool,
    after: bool,
}

impl Strips {
    /// What the token with this text takes in the model that `data` describes. No file says so; these are the models
    /// of which llama.cpp knows it.
    fn of(text: &str, data: &TokenizerData<'_>) -> Self {
        let holds = |place: Option<&str>, names: &[&str]| {
            let place = place.unwrap_or_default().to_ascii_lowercase();
            names.iter().any(|name| place.contains(name))
        };
        if holds(data.pre, &["jina-v2-de", "jina-v2-es", "jina-v2-code"])
            || holds(data.architecture, &["nomic-bert-moe", "jina-bert-v3"])
        {
            Self { before: text == "<mask>", after: false }
        } else if holds(data.name, &["phi-3", "phi3"]) {
            Self { before: false, after: !matches!(text, "<unk>" | "<s>" | "<|endoftext|>") }
        } else {
            Self { before: text == "[MASK]" && holds(data.name, &["modern-bert"]), after: false }
        }
    }
}

/// The pairs of neighbouring bytes in a text, which tell at once that it holds none of most tokens: vocabularies have
/// thousands of special ones, and a text few.
pub(super) struct Bigrams(Box<[u64; 1 << 10]>);

impl Bigrams {
    pub(super) fn of(text: &[u8]) -> Self {
        let mut set = Box::new([0; 1 << 10]);
        for pair in text.windows(2) {
            let pair = usize::from(pair[0]) << 8 | usize::from(pair[1]);
            set[pair / 64] |= 1 << (pair % 64);
        }
        Self(set)
    }

    /// Whether the text could hold `part`.
    pub(super) fn may_hold(&self, part: &[u8]) -> bool {
        part.windows(2).all(|pair| {
            let pair = usize::from(pair[0]) << 8 | usize::from(pair[1]);
            self.0[pair / 64] & 1 << (pair % 64) != 0
        })
    }
}

impl TokenFinder {
    /// A finder of all tokens of the given kinds. Control tokens of one character are left out: nothing could
    /// tell a person's character from the token.
    pub(super) fn new(data: &TokenizerData<'_>, vocabulary: &Vocabulary, kinds: &[TokenKind]) -> Self {
        let wanted = |id: u32| {
            let text = vocabulary.text(id)?;
            let kind = vocabulary.kind(id)?;
            let long_enough = match kind {
                TokenKind::UserDefined => !text.is_empty(),
                _ => text.chars().nth(1).is_some(),
            };
            (kinds.contains(&kind) && long_enough).then_some((id, text))
        };
        let mut tokens: Vec<(u32, &str)> = (0..vocabulary.len() as u32).filter_map(wanted).collect();
        tokens.sort_by_key(|&(id, text)| (Reverse(text.len()), id));
        let special = |(id, text): (u32, &str)| Special {
            id,
            finder: Finder::new(text).into_owned(),
            strips: Strips::of(text, data),
        };
        Self { tokens: tokens.into_iter().map(special).collect() }
    }

    /// Cuts `text` at the tokens in it. The longest token takes its occurrences first, from the left; shorter
    /// ones share what remains.
    pub(super) fn cut<'t>(&self, text: &'t str) -> Vec<Fragment<'t>> {
        let mut fragments = Vec::new();
        if !text.is_empty() {
            fragments.push(Fragment::Text(text));
        }
        let pairs = Bigrams::of(text.as_bytes());
        for special in &self.tokens {
            let possible = pairs.may_hold(special.finder.needle());
            if !possible || special.finder.find(text.as_bytes()).is_none() {
                continue;
            }
            let mut finer = Vec::with_capacity(fragments.len() + 2);
            for fragment in fragments {
                match fragment {
                    Fragment::Text(text) => special.cut(text, &mut finer),
                    Fragment::Token(_) => finer.push(fragment),
                }
            }
            fragments = finer;
        }
        fragments
    }

    /// The texts of the tokens.
    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.tokens.iter().map(|special| special.finder.needle())
    }
}

impl Special {
    /// Appends the token's occurrences in `text` and what lies between them to `fragments`.
    fn cut<'t>(&self, text: &'t str, fragments: &mut Vec<Fragment<'t>>) {
        // As C's `isspace`.
        let space = |character: char| matches!(character, ' ' | '\t'..='\r');
        let push_text = |fragments: &mut Vec<Fragment<'t>>, text: &'t str| {
            if !text.is_empty() {
                fragments.push(Fragment::Text(text));
            }
        };
        let mut rest = text;
        while let Some(start) = self.finder.find(rest.as_bytes()) {
            let before = &rest[..start];
            push_text(fragments, if self.strips.before { before.trim_end_matches(space) } else { before });
            fragments.push(Fragment::Token(self.id));
            rest = &rest[start + self.finder.needle().len()..];
            if self.strips.after {
                rest = rest.trim_start_matches(space);
            }
        }
        push_text(fragments, rest);
    }
}
