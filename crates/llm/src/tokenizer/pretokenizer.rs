//! Splits text into the words that byte-level BPE merges within, by the `tokenizer.ggml.pre` of a model.
//!
//! Each scheme is one or more patterns, applied in turn: a pattern cuts every piece so far into its matches and
//! what lies between them. The published patterns end in `\s+(?!\S)`, "white space up to but excluding the last
//! one before a word". The `regex` crate has no look-ahead (that is why it is linear in the text), so the patterns
//! here end in `\s+` and [`Splitter::split`] gives the last white space character back.

use regex::Regex;

use crate::LlmError;

/// Contractions, letters, numbers, others, each with at most one space before it (GPT-2).
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";

/// Llama 3: any character may lead a word, numbers in groups of three, line ends stay with what precedes them.
const LLAMA3: &str = r"'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";

/// Qwen 2: Llama 3 with single digits.
const QWEN2: &str = r"'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";

/// Cuts text into words.
#[derive(Debug, Clone)]
pub(super) struct Splitter {
    patterns: Vec<Pattern>,
    /// Whether a whole word that is a token is taken without merging.
    pub(super) whole_words: bool,
}

#[derive(Debug, Clone)]
struct Pattern {
    regex: Regex,
    spaces: Spaces,
}

/// How a run of white space before a word is cut.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Spaces {
    /// As matched: the pattern has no `\s+`.
    Whole,
    /// The last one is left for what follows.
    LeaveLast,
    /// The same, but what ends in a line end was matched by `\s*[\r\n]+` and stays whole.
    LeaveLastInLine,
}

impl Splitter {
    /// The splitter that `tokenizer.ggml.pre` names; without a name, `default`.
    pub(super) fn named(name: Option<&str>) -> Result<Self, LlmError> {
        let (patterns, whole_words): (&[(&str, Spaces)], bool) = match name.unwrap_or("default") {
            "default" => (
                &[
                    (r"[\p{P}$+<=>^~|]+", Spaces::Whole),
                    (GPT2, Spaces::LeaveLast),
                    (r"\p{N}+", Spaces::Whole),
                    (r"[0-9]{3}", Spaces::Whole),
                ],
                false,
            ),
            "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" | "gigachat"
            | "a.x-4.0" | "mellum" | "exaone4" | "roberta-bpe" | "modern-bert" => {
                (&[(GPT2, Spaces::LeaveLast)], false)
            }
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b"
            | "mellum2" => (&[(r"\p{N}", Spaces::Whole), (GPT2, Spaces::LeaveLast)], false),
            "falcon" => (
                &[
                    (r"[\p{P}$+<=>^~|`]+", Spaces::Whole),
                    (GPT2, Spaces::LeaveLast),
                    (r"[0-9]{3}", Spaces::Whole),
                ],
                false,
            ),
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0"
            | "lfm2" => (&[(LLAMA3, Spaces::LeaveLastInLine)], true),
            "dbrx" | "smaug-bpe" | "glm4" | "chatglm-bpe" => (&[(LLAMA3, Spaces::LeaveLastInLine)], false),
            "qwen2" | "deepseek-r1-qwen" | "stablelm2" | "megrez" | "hunyuan" | "kormo" | "grok-2"
            | "solar-open" => (&[(QWEN2, Spaces::LeaveLastInLine)], false),
            other => {
                return Err(LlmError::Tokenizer {
                    message: format!(
                        "the pre-tokenizer `{other}` (tokenizer.ggml.pre) is not supported; supported are default, \
                         gpt-2, llama-bpe, qwen2, smollm and those that split as they do"
                    ),
                });
            }
        };
        let patterns = patterns
            .iter()
            .map(|&(pattern, spaces)| match Regex::new(pattern) {
                Ok(regex) => Ok(Pattern { regex, spaces }),
                Err(error) => Err(LlmError::Tokenizer { message: error.to_string() }),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { patterns, whole_words })
    }

    /// The words of `text`, in order; together they are `text`.
    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut pieces = vec![text];
        for pattern in &self.patterns {
            let mut finer = Vec::with_capacity(pieces.len());
            for piece in pieces {
                pattern.cut(piece, &mut finer);
            }
            pieces = finer;
        }
        pieces
    }
}

impl Pattern {
    /// Appends the matches in `piece` and what lies between them to `pieces`.
    fn cut<'t>(&self, piece: &'t str, pieces: &mut Vec<&'t str>) {
        let mut rest = 0;
        while let Some(found) = self.regex.find_at(piece, rest) {
            let mut end = found.end();
            if end < piece.len() {
                end = found.start() + self.keep(found.as_str());
            }
            if found.start() > rest {
                pieces.push(&piece[rest..found.start()]);
            }
            pieces.push(&piece[found.start()..end]);
            rest = end;
        }
        if rest < piece.len() {
            pieces.push(&piece[rest..]);
        }
    }

    /// How many bytes of a match that something follows belong to it. A run of white space is followed by a
    /// word, and gives its last character to it unless that is all it has.
    fn keep(&self, matched: &str) -> usize {
        let whole = matched.len();
        let Some(last) = matched.chars().next_back() else { return whole };
        let shorter = whole - last.len_utf8();
        let leave_last = match self.spaces {
            Spaces::Whole => false,
            Spaces::LeaveLast => true,
            Spaces::LeaveLastInLine => !matches!(last, '\r' | '\n'),
        };
        let spaces = matched.chars().all(char::is_whitespace);
        if leave_last && spaces && shorter > 0 { shorter } else { whole }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        Splitter::named(Some(name)).unwrap().split(text)
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
    }

    #[test]
    fn unknown_names_are_errors() {
        let error = Splitter::named(Some("nonsense")).unwrap_err();
        assert!(error.to_string().contains("nonsense"), "{error}");
        assert!(Splitter::named(None).is_ok());
    }

    proptest! {
        #[test]
        fn words_make_up_the_text(text in "\\PC*|[ \\n\\ra'1é]{0,30}") {
            for name in ["default", "gpt-2", "llama-bpe", "qwen2", "smollm", "falcon"] {
                let words = split(name, &text);
                prop_assert!(words.iter().all(|word| !word.is_empty()) || text.is_empty());
                prop_assert_eq!(words.concat(), &*text);
            }
        }
    }
}
