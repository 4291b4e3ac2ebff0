//! Finds the tokens that are matched in text before anything else: user-defined and control tokens.

use memchr::memmem::Finder;

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
    tokens: Vec<(u32, Finder<'static>)>,
}

impl TokenFinder {
    /// A finder of all tokens of the given kinds. Control tokens of one character are left out: nothing could
    /// tell a person's character from the token.
    pub(super) fn new(vocabulary: &Vocabulary, kinds: &[TokenKind]) -> Self {
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
        tokens.sort_by_key(|&(id, text)| (std::cmp::Reverse(text.len()), id));
        Self { tokens: tokens.into_iter().map(|(id, text)| (id, Finder::new(text).into_owned())).collect() }
    }

    /// Cuts `text` at the tokens in it. The longest token takes its occurrences first, from the left; shorter
    /// ones share what remains.
    pub(super) fn cut<'t>(&self, text: &'t str) -> Vec<Fragment<'t>> {
        let mut fragments = Vec::new();
        if !text.is_empty() {
            fragments.push(Fragment::Text(text));
        }
        for (id, finder) in &self.tokens {
            let needle = finder.needle();
            if finder.find(text.as_bytes()).is_none() {
                continue;
            }
            let mut finer = Vec::with_capacity(fragments.len() + 2);
            for fragment in fragments {
                let Fragment::Text(text) = fragment else {
                    finer.push(fragment);
                    continue;
                };
                let mut rest = 0;
                for start in finder.find_iter(text.as_bytes()) {
                    if start > rest {
                        finer.push(Fragment::Text(&text[rest..start]));
                    }
                    finer.push(Fragment::Token(*id));
                    rest = start + needle.len();
                }
                if rest < text.len() {
                    finer.push(Fragment::Text(&text[rest..]));
                }
            }
            fragments = finer;
        }
        fragments
    }

    /// The texts of the tokens.
    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.tokens.iter().map(|(_, finder)| finder.needle())
    }
}
