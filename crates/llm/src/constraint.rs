//! Constrained decoding: which tokens a grammar allows next (by `llguidance`).
//!
//! - [`ConstraintFactory`]: what a vocabulary needs for it, built when the first constraint is made.
//! - [`Constraint`]: one output in progress.
//!
//! JSON schemas, Lark and regular expressions are the compiler's own; GBNF is read and written as Lark first.
//!
//! Masks depend on the grammar, the vocabulary and the tokens so far, never on time.

mod gbnf;
mod lexemes;

use std::sync::{Arc, OnceLock};

use glasshouse_protocol::Constraint as Description;
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::{Matcher, ParserFactory};
use toktrie::{ApproximateTokEnv, InferenceCapabilities, TokRxInfo, TokTrie};

use crate::LlmError;
use crate::host::{self, GRAMMAR_LIMITS};
use crate::sampler::TokenMask;
use crate::tokenizer::{TokenKind, Tokenizer};

/// The largest grammar or schema: hundreds of tools with full schemas fit.
const MAXIMUM_GRAMMAR_BYTES: usize = 1 << 20;

/// Lexer states take one to two kilobytes each; a grammar of a hundred tools takes some thousand.
const MAXIMUM_LEXER_STATES: usize = 50_000;

/// The longest token that constrained output may use: the trie of the vocabulary is at most this deep.
const MAXIMUM_TOKEN_BYTES: usize = 1000;

/// The most nodes that the trie of the vocabulary can have.
const MAXIMUM_TRIE_NODES: usize = (1 << 22) - 1;

/// Vocabularies from this size on are worth the time that precomputed slices of the mask take.
const MINIMUM_SLICED_VOCABULARY: usize = 4096;

/// Sets of tokens, by what their texts match, whose part of a mask is known before: where a grammar goes on with anything that
/// one of them matches, all of its tokens are allowed and none is looked at. Each takes some megabytes. White space; texts as
/// in JSON's strings; letters, digits and what is not ASCII; small letters; lines; anything. Their lengths are limited because
/// those of a grammar's texts often are.
const SLICES: [&str; 7] = [
    r"[\x20\x0A\x0D\x09]+",
    r#"[^"\\\x00-\x1F\x7F]{1,10}"#,
    r#"[^"\\\x00-\x1F\x7F]{1,30}"#,
    r"[^\x00-\x1F!-/:-@\[-`{-\x7F]{1,10}",
    "[a-z]{1,10}",
    r"[^\n]{1,30}",
    "(?s:.){1,30}",
];

/// Makes constraints for one vocabulary.
#[derive(Default)]
pub struct ConstraintFactory {
    parsers: OnceLock<Result<ParserFactory, String>>,
}

impl std::fmt::Debug for ConstraintFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConstraintFactory").field("built", &self.parsers.get().is_some()).finish()
    }
}

impl ConstraintFactory {
    /// A constraint on the next output, or `None` if anything is allowed. `tokenizer` must always be the same.
    ///
    /// # Errors
    /// [`LlmError::Grammar`] with what the grammar compiler said.
    pub fn constraint(
        &self,
        tokenizer: &Tokenizer,
        description: &Description,
    ) -> Result<Option<Constraint>, LlmError> {
        let grammar = match description {
            Description::None => return Ok(None),
            Description::JsonSchema(schema) => {
                let text = schema.to_string();
                check_size(text.len())?;
                check_nesting(&text)?;
                check_references(&text)?;
                TopLevelGrammar::from_json_schema(compact(schema))
            }
            Description::Lark(grammar) => {
                check_size(grammar.len())?;
                check_nesting(grammar)?;
                check_rules(grammar)?;
                check_references(grammar)?;
                TopLevelGrammar::from_lark(grammar.clone())
            }
            Description::Gbnf(grammar) => {
                check_size(grammar.len())?;
                let lark = host::with_deep_stack(|| lexemes::to_lark(grammar)).map_err(cannot_run)?;
                TopLevelGrammar::from_lark(lark.map_err(|message| LlmError::Grammar { message })?)
            }
            Description::Regex(regex) => {
                check_size(regex.len())?;
                check_nesting(regex)?;
                // The compiler takes some that are not whole for others.
                regex_syntax::parse(regex).map_err(|error| failure(&error))?;
                TopLevelGrammar::from_regex(regex)
            }
        };
        let is_large = tokenizer.vocabulary_size() >= MINIMUM_SLICED_VOCABULARY;
        let parsers =
            self.parsers.get_or_init(|| parser_factory(tokenizer, if is_large { &SLICES } else { &[] }));
        let parsers = parsers.as_ref().map_err(|message| LlmError::Grammar { message: message.clone() })?;
        let parser = host::with_deep_stack(|| parsers.create_parser(grammar))
            .map_err(cannot_run)?
            .map_err(|error| failure(&error))?;
        let mut matcher = Matcher::new(Ok(parser));
        // An output that no token can begin is found now rather than after the prompt was evaluated.
        let first = matcher.compute_mask_or_eos().map_err(|error| failure(&error))?;
        if first.is_zero() {
            return Err(LlmError::NothingAllowed);
        }
        Ok(Some(Constraint { matcher }))
    }
}

/// An output in progress.
#[derive(Clone)]
pub struct Constraint {
    matcher: Matcher,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constraint").field("stopped", &self.matcher.is_stopped()).finish()
    }
}

impl Constraint {
    /// The tokens that may come next. Tokens that end generation are among them only where the output may end.
    ///
    /// # Errors
    /// [`LlmError::Grammar`] when the grammar turns out too complex for its limits.
    pub fn mask(&mut self) -> Result<TokenMask, LlmError> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|error| failure(&error))?;
        Ok(TokenMask::from_words(mask.as_slice().to_vec()))
    }

    /// Takes the chosen token.
    ///
    /// # Errors
    /// [`LlmError::Grammar`] when the token was not allowed.
    pub fn accept(&mut self, token: u32) -> Result<(), LlmError> {
        self.matcher.consume_token(token).map_err(|error| failure(&error))
    }

    /// Whether the output may end here.
    pub fn is_accepting(&mut self) -> bool {
        self.matcher.is_stopped() || self.matcher.is_accepting().unwrap_or(false)
    }
}

fn cannot_run(problem: String) -> LlmError {
    LlmError::Grammar { message: format!("cannot run its compiler: {problem}") }
}

fn check_size(bytes: usize) -> Result<(), LlmError> {
    if bytes > MAXIMUM_GRAMMAR_BYTES {
        return Err(LlmError::Grammar {
            message: format!("it has {bytes} bytes, more than the {MAXIMUM_GRAMMAR_BYTES} allowed"),
        });
    }
    Ok(())
}

fn check_nesting(text: &str) -> Result<(), LlmError> {
    let mut depth = 0usize;
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > GRAMMAR_LIMITS.nesting {
            return Err(LlmError::Grammar {
                message: format!("its brackets nest more than {} deep", GRAMMAR_LIMITS.nesting),
            });
        }
    }
    Ok(())
}

fn check_rules(grammar: &str) -> Result<(), LlmError> {
    check_count("rules", grammar.lines().filter(|line| line.contains(':')).count(), GRAMMAR_LIMITS.rules)
}

fn check_references(text: &str) -> Result<(), LlmError> {
    // An escaped character may be part of an escaped `$ref`.
    let references = text.matches("$ref").count() + text.matches("\\u").count();
    check_count("references", references, GRAMMAR_LIMITS.references)
}

fn check_count(what: &str, count: usize, most: usize) -> Result<(), LlmError> {
    if count > most {
        return Err(LlmError::Grammar {
            message: format!("it has {count} {what}, more than the {most} allowed on this host"),
        });
    }
    Ok(())
}

/// `schema` for JSON without white space between its parts.
fn compact(schema: &serde_json::Value) -> serde_json::Value {
    let mut schema = schema.clone();
    if let Some(object) = schema.as_object_mut() {
        let options = object.entry("x-guidance").or_insert_with(|| serde_json::json!({}));
        if let Some(options) = options.as_object_mut() {
            options.insert("whitespace_flexible".to_string(), false.into());
        }
    }
    schema
}

fn failure(error: &impl std::fmt::Display) -> LlmError {
    let text = error.to_string();
    // What follows these is for the authors of llguidance.
    let message = ["\n<non-verbose/>", "\n<state>", "\n<backtrace>"]
        .iter()
        .fold(text.as_str(), |text, mark| text.split(mark).next().unwrap_or(text));
    LlmError::Grammar { message: message.trim().to_string() }
}

fn parser_factory(tokenizer: &Tokenizer, slices: &[&str]) -> Result<ParserFactory, String> {
    let ends = tokenizer.end_tokens();
    let Some(&end) = ends.first() else {
        return Err("the model has no token that ends its output, so it could never stop".to_string());
    };
    let words = trie_words(tokenizer);
    if trie_nodes(&words) > MAXIMUM_TRIE_NODES {
        return Err(format!(
            "the vocabulary is too large: its trie has more than {MAXIMUM_TRIE_NODES} nodes"
        ));
    }
    let info = TokRxInfo::new(words.len() as u32, end);
    let trie = TokTrie::from(&info, &words).with_eos_tokens(ends);
    // Not canonical: `llguidance` then forces no tokens, so a model's own choice of tokens stays what it was.
    let environment: toktrie::TokEnv = Arc::new(ApproximateTokEnv::new(trie));
    let slices: Vec<String> = slices.iter().map(|&slice| slice.to_owned()).collect();
    let mut parsers = ParserFactory::new(&environment, InferenceCapabilities::default(), &slices)
        .map_err(|error| error.to_string())?;
    parsers.quiet();
    *parsers.limits_mut() = ParserLimits {
        max_lexer_states: MAXIMUM_LEXER_STATES,
        verbose_errors: false,
        ..ParserLimits::default()
    };
    Ok(parsers)
}

/// What each token is to the grammar: its bytes; for control tokens a mark and their text, so that no text
/// matches them; nothing for tokens that must not be generated.
fn trie_words(tokenizer: &Tokenizer) -> Vec<Vec<u8>> {
    let count = tokenizer.vocabulary_size() as u32;
    let mut words = Vec::with_capacity(count as usize);
    let mut by_preference = Vec::new();
    for id in 0..count {
        let kind = tokenizer.kind(id);
        let word = match kind {
            Some(TokenKind::Control) => {
                let text = tokenizer.token_text(id).unwrap_or_default();
                [&[TokTrie::SPECIAL_TOKEN_MARKER], text.as_bytes()].concat()
            }
            Some(TokenKind::Unknown | TokenKind::Unused) | None => Vec::new(),
            Some(TokenKind::Normal | TokenKind::UserDefined | TokenKind::Byte) => {
                tokenizer.token_bytes(id).to_vec()
            }
        };
        words.push(if word.len() > MAXIMUM_TOKEN_BYTES { Vec::new() } else { word });
        // Of tokens with the same bytes, the one that encoding would give.
        let preference = match kind {
            Some(TokenKind::UserDefined) => 0,
            Some(TokenKind::Normal) => 1,
            _ => 2,
        };
        by_preference.push((preference, id));
    }
    by_preference.sort_unstable();
    let mut seen = std::collections::HashSet::new();
    let duplicates: Vec<u32> =
        by_preference.into_iter().map(|(_, id)| id).filter(|&id| !seen.insert(&words[id as usize])).collect();
    for id in duplicates {
        words[id as usize] = Vec::new();
    }
    words
}

/// How many nodes a trie of `words` has.
fn trie_nodes(words: &[Vec<u8>]) -> usize {
    let mut sorted: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    sorted.sort_unstable();
    let shared = |pair: &[&[u8]]| pair[0].iter().zip(pair[1]).take_while(|(a, b)| a == b).count();
    let all: usize = sorted.iter().map(|word| word.len()).sum();
    1 + all - sorted.windows(2).map(shared).sum::<usize>()
}

#[cfg(test)]
mod tests;
