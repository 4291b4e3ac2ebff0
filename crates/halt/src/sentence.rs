//! Where a sentence ends.

/// Whether a text ends a sentence: its last character that is neither white space nor a closing quotation mark or bracket
/// ends one (Unicode's property `Sentence_Terminal`, as far as scripts in wide use go). An abbreviation's full stop counts
/// too, which stops a stream earlier, never later.
pub fn ends_sentence(text: &str) -> bool {
    let text = text.trim_end_matches(|character: char| character.is_whitespace() || is_closing(character));
    text.chars().next_back().is_some_and(is_terminal)
}

fn is_closing(character: char) -> bool {
    matches!(
        character,
        '"' | '\''
            | ')'
            | ']'
            | '}'
            | '»'
            | '›'
            | '’'
            | '”'
            | '」'
            | '』'
            | '）'
            | '］'
            | '】'
            | '》'
            | '〉'
    )
}

fn is_terminal(character: char) -> bool {
    matches!(
        character,
        '.' | '!' | '?' | '…' | '‼' | '‽' | '⁇' | '⁈' | '⁉'
            // Armenian; Arabic, Urdu; Devanagari; Ethiopic; Khmer; Mongolian; Myanmar; Tibetan.
            | '։' | '؟' | '۔' | '।' | '॥' | '።' | '፧' | '፨' | '។' | '៕' | '᠃' | '᠉' | '၊' | '။' | '།'
            // Chinese, Japanese: ideographic, half and full width.
            | '。' | '｡' | '．' | '！' | '？'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_in_every_script_and_behind_quotation_marks() {
        for text in [
            "end.",
            "end. ",
            "So!\n",
            "“Really?”",
            "(yes.)",
            "終わり。",
            "「はい。」",
            "क्या।",
            "هل؟",
            "wait…",
        ] {
            assert!(ends_sentence(text), "{text}");
        }
        for text in ["", " ", "word", "word,", "a;", "3.1", "\"", "終わり、"] {
            assert!(!ends_sentence(text), "{text}");
        }
    }
}
