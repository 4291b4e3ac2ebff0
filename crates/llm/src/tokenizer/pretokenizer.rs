//! Splits text into the words that byte-level BPE merges within, by a [`Scheme`].

use regex::Regex;

use super::characters::pinned;
use super::scheme::{Scheme, Spaces, Step};
use super::vocabulary::invalid;
use crate::LlmError;

/// The lengths that [`Spaces::PowersOfTwo`] cuts white space into (Jais 2).
const SPACE_LENGTHS: [usize; 10] = [512, 256, 128, 64, 32, 16, 8, 4, 2, 1];

/// Cuts text into words.
#[derive(Debug, Clone)]
pub(super) struct Splitter {
    cutters: Vec<Cutter>,
}

#[derive(Debug, Clone)]
enum Cutter {
    Pattern(Regex, Spaces),
    /// What [`Step::DigitGroups`] says; finds runs of digits.
    DigitGroups(Regex),
    Thousands,
}

impl Splitter {
    pub(super) fn new(scheme: &Scheme) -> Result<Self, LlmError> {
        let cutters = scheme.steps.iter().map(Cutter::new).collect::<Result<_, _>>()?;
        Ok(Self { cutters })
    }

    /// The words of `text`, in order; together they are `text`.
    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut pieces = vec![text];
        for cutter in &self.cutters {
            let mut finer = Vec::with_capacity(pieces.len());
            for piece in pieces {
                cutter.cut(piece, &mut finer);
            }
            pieces = finer;
        }
        pieces
    }
}

impl Cutter {
    fn new(step: &Step) -> Result<Self, LlmError> {
        let regex = |pattern| Regex::new(&pinned(pattern)).map_err(|error| invalid(error.to_string()));
        Ok(match step {
            Step::Pattern(pattern, spaces) => Self::Pattern(regex(pattern)?, *spaces),
            Step::DigitGroups => Self::DigitGroups(regex(r"\p{N}+")?),
            Step::Thousands => Self::Thousands,
        })
    }

    /// Appends the parts of `piece` to `pieces`.
    fn cut<'t>(&self, piece: &'t str, pieces: &mut Vec<&'t str>) {
        let mut rest = 0;
        let mut cut_at = |end: usize| {
            if end > rest {
                pieces.push(&piece[rest..end]);
                rest = end;
            }
        };
        match self {
            Self::Pattern(regex, spaces) => {
                let mut from = 0;
                while let Some(found) = regex.find_at(piece, from) {
                    cut_at(found.start());
                    from = spaces.cut(piece, found.start(), found.end(), &mut cut_at);
                }
            }
            Self::DigitGroups(digits) => {
                for run in digits.find_iter(piece) {
                    let count = run.as_str().chars().count();
                    for (index, (offset, digit)) in run.as_str().char_indices().enumerate() {
                        if (count - index - 1).is_multiple_of(3) {
                            cut_at(run.start() + offset + digit.len_utf8());
                        }
                    }
                }
            }
            Self::Thousands => {
                let bytes = piece.as_bytes();
                let mut start = 0;
                while start < bytes.len() {
                    let run = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    for left in (3..=run).rev().filter(|left| left.is_multiple_of(3)) {
                        cut_at(start + run - left);
                    }
                    start += run + 1;
                }
            }
        }
        cut_at(piece.len());
    }
}

impl Spaces {
    /// Cuts after the match `start..end` in `piece`, or within it if it is a run of white space that something
    /// follows. Returns where matching goes on.
    fn cut(self, piece: &str, start: usize, end: usize, cut_at: &mut impl FnMut(usize)) -> usize {
        let matched = &piece[start..end];
        let last = matched.chars().next_back().filter(|_| matched.chars().all(char::is_whitespace));
        let Some(last) = last.filter(|&last| match self {
            Self::Whole => false,
            Self::LeaveLast => true,
            Self::LeaveLastInLine | Self::PowersOfTwo => !matches!(last, '\r' | '\n'),
        }) else {
            cut_at(end);
            return end;
        };
        let kept = if end == piece.len() { end } else { end - last.len_utf8() };
        let kept = if kept > start { kept } else { end };
        if self == Self::PowersOfTwo {
            let mut from = start;
            let mut left = piece[start..kept].chars().count();
            while let Some(length) = SPACE_LENGTHS.into_iter().find(|&length| length <= left) {
                from += piece[from..].chars().take(length).map(char::len_utf8).sum::<usize>();
                cut_at(from);
                left -= length;
            }
        }
        cut_at(kept);
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    fn split<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        Splitter::new(&Scheme::named(Some(name)).unwrap()).unwrap().split(text)
    }

    #[test]
    fn words_are_split_as_published() {
        assert_eq!(
            split("gpt-2", "I'll  take 1234\n\nthings!  "),
            ["I", "'ll", " ", " take", " 1234", "\n", "\n", "things", "!", "  "]
        );
        assert_eq!(
            split("llama-bpe", "I'LL  take 1234\n\n  things!\n x"),
            ["I", "'LL", " ", " take", " ", "123", "4", "\n\n", " ", " things", "!\n", " x"]
        );
        assert_eq!(split("qwen2", "a 12  b \n"), ["a", " ", "1", "2", " ", " b", " \n"]);
        assert_eq!(split("smollm", "a 12"), ["a", " ", "1", "2"]);
        assert_eq!(split("default", "x=1234+y"), ["x", "=", "123", "4", "+", "y"]);
        assert_eq!(
            split("gpt-4o", "HTTPServer isn'T 1234/\n"),
            ["HTTPServer", " isn'T", " ", "123", "4", "/\n"]
        );
        assert_eq!(split("superbpe", "a b 1234567"), ["a b ", "1", "234", "567"]);
        assert_eq!(split("kimi-k2", "用Rust写"), ["用", "Rust", "写"]);
    }

    #[test]
    fn digits_are_grouped_from_the_right() {
        let cut = |text| {
            let mut pieces = Vec::new();
            Cutter::new(&Step::DigitGroups).unwrap().cut(text, &mut pieces);
            pieces
        };
        assert_eq!(cut("ab1234567c"), ["ab1", "234", "567", "c"]);
        assert_eq!(cut("123456"), ["123", "456"]);
        assert_eq!(cut("x"), ["x"]);
    }

    #[test]
    fn white_space_is_cut_into_powers_of_two() {
        let lengths = |text: &str| split("jais-2", text).iter().map(|word| word.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&" ".repeat(15)), [8, 4, 2, 1]);
        assert_eq!(lengths(&format!("{}x", " ".repeat(15))), [8, 4, 2, 2]);
        assert_eq!(lengths(&format!("{}\nx", " ".repeat(15))), [16, 1]);
    }

    #[test]
    fn unknown_names_are_none() {
        assert!(Scheme::named(Some("nonsense")).is_none());
        assert!(Scheme::named(None).is_some() && Scheme::named(Some("")).is_some());
    }

    static SPLITTERS: LazyLock<Vec<Splitter>> = LazyLock::new(|| {
        let names =
            ["default", "gpt-4o", "qwen2", "superbpe", "tiny_aya", "jais-2", "deepseek-llm", "kimi-k2"];
        names.map(|name| Splitter::new(&Scheme::named(Some(name)).unwrap()).unwrap()).into()
    });

    proptest! {
        #[test]
        fn words_make_up_the_text(text in "\\PC*|[ \\n\\ra'1é]{0,30}") {
            for splitter in &*SPLITTERS {
                let words = splitter.split(&text);
                prop_assert!(words.iter().all(|word| !word.is_empty()) || text.is_empty());
                prop_assert_eq!(words.concat(), &*text);
            }
        }
    }
}
