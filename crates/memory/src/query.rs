//! Turns what a person or a model asks into full-text expressions that cannot be malformed.

/// The most words of a query that are looked for; the rest is ignored. A question has fewer, and the cost of an
/// expression grows with its terms.
const MAX_TERMS: usize = 64;

/// The longest word in bytes that is looked for; a longer one is cut. It bounds what the tokenizer is given.
const MAX_TERM_BYTES: usize = 128;

/// English words that say nothing of what is asked, in alphabetical order, with the pieces that an apostrophe
/// leaves behind.
const STOP_WORDS: [&str; 88] = [
    "a", "about", "am", "an", "and", "any", "anything", "are", "as", "at", "be", "been", "but", "by", "can",
    "could", "d", "did", "do", "does", "find", "for", "from", "had", "has", "have", "he", "her", "his",
    "how", "i", "if", "in", "into", "is", "it", "its", "know", "ll", "m", "me", "mine", "my", "of", "on",
    "or", "our", "please", "re", "recall", "remember", "s", "said", "say", "search", "she", "so", "t",
    "tell", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "told",
    "us", "ve", "was", "we", "were", "what", "when", "where", "which", "who", "whose", "why", "will", "with",
    "would", "you", "your",
];

/// A query as words.
pub(crate) struct Query<'a> {
    text: &'a str,
    terms: Vec<String>,
}

impl<'a> Query<'a> {
    /// Takes the words of `text`, each once, without stop words unless there is nothing else.
    pub(crate) fn parse(text: &'a str) -> Self {
        let text = text.trim();
        let words = || {
            text.split(separates)
                .filter(|word| !word.is_empty())
                .map(|word| cut(word, MAX_TERM_BYTES).to_ascii_lowercase())
        };
        let mut terms = distinct(words().filter(|word| STOP_WORDS.binary_search(&word.as_str()).is_err()));
        if terms.is_empty() {
            terms = distinct(words());
        }
        Self { text, terms }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The query as it was typed, without the white space around it.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Full-text expressions in the order in which they are tried: all terms, any term, any term as a prefix.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = String> {
        let joined = |suffix: &str, operator: &str| {
            // A term holds no quotation mark; as a quoted string it can never be an operator.
            let quoted: Vec<String> = self.terms.iter().map(|term| format!("\"{term}\"{suffix}")).collect();
            quoted.join(operator)
        };
        let expressions = match self.terms.len() {
            0 => Vec::new(),
            1 => vec![joined("", ""), joined("*", "")],
            _ => vec![joined("", " AND "), joined("", " OR "), joined("*", " OR ")],
        };
        expressions.into_iter()
    }
}

/// Whether a character stands between words, for this crate and for SQLite's tokenizer. About others they may not agree,
/// since they know different versions of Unicode; such a character stays in its word, where the tokenizer takes it as it
/// took it in the text that was stored.
fn separates(character: char) -> bool {
    let between = match character {
        '\0'..='\u{bf}' | '\u{2000}'..='\u{206f}' | '\u{3000}'..='\u{303f}' => true,
        other => other.is_whitespace(),
    };
    between && !character.is_alphanumeric()
}

fn distinct(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut terms: Vec<String> = Vec::new();
    for word in words {
        if !terms.contains(&word) {
            terms.push(word);
            if terms.len() == MAX_TERMS {
                break;
            }
        }
    }
    terms
}

/// The longest start of `word` that has at most `bytes` bytes.
fn cut(word: &str, bytes: usize) -> &str {
    let mut end = word.len().min(bytes);
    while !word.is_char_boundary(end) {
        end -= 1;
    }
    &word[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expressions(text: &str) -> Vec<String> {
        Query::parse(text).expressions().collect()
    }

    #[test]
    fn stop_words_are_sorted_for_the_binary_search() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn a_question_is_reduced_to_its_content() {
        assert_eq!(
            expressions("What is my sister's name?"),
            ["\"sister\" AND \"name\"", "\"sister\" OR \"name\"", "\"sister\"* OR \"name\"*"]
        );
    }

    #[test]
    fn a_query_of_stop_words_alone_keeps_them() {
        assert_eq!(expressions("who am I")[0], "\"who\" AND \"am\" AND \"i\"");
    }

    #[test]
    fn operators_and_quotes_are_words_or_separators() {
        assert_eq!(expressions("NEAR(\"x\" NOT y)")[0], "\"near\" AND \"x\" AND \"not\" AND \"y\"");
        assert!(expressions("\"*^(){}:-+").is_empty());
    }

    #[test]
    fn a_character_that_not_everyone_knows_stays_in_its_word() {
        assert_eq!(expressions("\u{1e8d0}e — „zwei“")[0], "\"\u{1e8d0}e\" AND \"zwei\"");
    }

    #[test]
    fn words_and_terms_are_bounded() {
        let many: String = (0..1000).map(|number| format!("w{number} ")).collect();
        assert_eq!(Query::parse(&many).terms.len(), MAX_TERMS);
        let long = "é".repeat(1000);
        assert_eq!(Query::parse(&long).terms[0].len(), MAX_TERM_BYTES);
    }
}
