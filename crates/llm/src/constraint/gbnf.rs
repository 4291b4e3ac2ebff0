//! Reads grammars in llama.cpp's GBNF syntax (its `grammars/README.md`).
//!
//! - [`Grammar`]: rules by number; the first is `root`.
//! - [`Expression`]: what a rule stands for, over single characters.

use std::collections::HashMap;

use crate::host::GRAMMAR_LIMITS;

/// The most repetitions that can be asked for exactly, as in llama.cpp.
const MAXIMUM_REPETITIONS: u32 = 2000;

/// The last character there is.
const LAST: u32 = char::MAX as u32;

/// A set of characters: ranges in ascending order that do not touch. It may hold surrogates, which no text has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class(pub(super) Vec<(u32, u32)>);

impl Class {
    fn new(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    fn complement(&self) -> Self {
        let mut rest = Vec::new();
        let mut next = 0;
        for &(first, last) in &self.0 {
            if first > next {
                rest.push((next, first - 1));
            }
            next = last + 1;
        }
        if next <= LAST {
            rest.push((next, LAST));
        }
        Self(rest)
    }
}

/// What may stand somewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Expression {
    /// One character of a set.
    Class(Class),
    /// One after the other.
    Sequence(Vec<Expression>),
    /// Any of them.
    Choice(Vec<Expression>),
    /// So many times; without a maximum, any more.
    Repeat(Box<Expression>, u32, Option<u32>),
    /// What the rule of this number stands for.
    Rule(usize),
}

/// A grammar whose rules are all there.
#[derive(Debug)]
pub(super) struct Grammar {
    /// The first one is `root`.
    pub(super) rules: Vec<Expression>,
}

impl Grammar {
    /// Reads a grammar.
    ///
    /// # Errors
    /// What is wrong, and in which line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, rest: text, names: HashMap::new(), rules: Vec::new(), depth: 0 };
        reader.rule_number("root");
        reader.space(true);
        while !reader.rest.is_empty() {
            reader.rule()?;
        }
        let names: HashMap<usize, &str> =
            reader.names.iter().map(|(name, number)| (*number, *name)).collect();
        let rules = reader.rules.into_iter().enumerate();
        let rules = rules.map(|(number, rule)| {
            rule.ok_or_else(|| {
                format!("it has no rule `{}`", names.get(&number).copied().unwrap_or_default())
            })
        });
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
    names: HashMap<&'t str, usize>,
    rules: Vec<Option<Expression>>,
    /// Open parentheses.
    depth: usize,
}

impl<'t> Reader<'t> {
    fn problem<T>(&self, what: &str) -> Result<T, String> {
        let line = 1 + self.text[..self.text.len() - self.rest.len()].matches('\n').count();
        Err(format!("{what} (line {line})"))
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Passes white space and comments; the ends of lines too where an expression may go on in the next.
    fn space(&mut self, over_lines: bool) {
        loop {
            self.rest = self.rest.trim_start_matches(|character| {
                matches!(character, ' ' | '\t') || over_lines && matches!(character, '\r' | '\n')
            });
            if !self.rest.starts_with('#') {
                return;
            }
            self.rest = self.rest.trim_start_matches(|character| !matches!(character, '\r' | '\n'));
        }
    }

    fn name(&mut self) -> Option<&'t str> {
        let end = self.rest.find(|character: char| !(character.is_ascii_alphanumeric() || character == '-'));
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        (!name.is_empty()).then_some(name)
    }

    fn rule_number(&mut self, name: &'t str) -> usize {
        let next = self.rules.len();
        let number = *self.names.entry(name).or_insert(next);
        if number == next {
            self.rules.push(None);
        }
        number
    }

    fn rule(&mut self) -> Result<(), String> {
        let Some(name) = self.name() else { return self.problem("a rule's name is expected") };
        let number = self.rule_number(name);
        self.space(false);
        if !self.take("::=") {
            return self.problem("`::=` is expected");
        }
        if self.rules[number].is_some() {
            return self.problem(&format!("the rule `{name}` is there twice"));
        }
        self.space(true);
        let choice = self.choice()?;
        self.rules[number] = Some(choice);
        if self.rules.len() > GRAMMAR_LIMITS.rules {
            return self.problem(&format!("it has more than {} rules", GRAMMAR_LIMITS.rules));
        }
        if !(self.rest.is_empty() || self.rest.starts_with(['\r', '\n'])) {
            return self.problem("the end of the rule is expected");
        }
        self.space(true);
        Ok(())
    }

    fn choice(&mut self) -> Result<Expression, String> {
        let mut alternatives = vec![self.sequence()?];
        while self.take("|") {
            self.space(true);
            alternatives.push(self.sequence()?);
        }
        Ok(if alternatives.len() == 1 { alternatives.remove(0) } else { Expression::Choice(alternatives) })
    }

    fn sequence(&mut self) -> Result<Expression, String> {
        let mut items: Vec<Expression> = Vec::new();
        while let Some(character) = self.peek() {
            match character {
                '"' => items.push(self.literal()?),
                '[' => items.push(Expression::Class(self.class()?)),
                '.' => {
                    self.take(".");
                    items.push(Expression::Class(Class(vec![(0, LAST)])));
                }
                '(' => items.push(self.group()?),
                '*' | '+' | '?' | '{' => {
                    let (least, most) = self.repetitions()?;
                    let Some(item) = items.pop() else {
                        return self.problem(&format!("`{character}` has nothing before it to repeat"));
                    };
                    items.push(Expression::Repeat(Box::new(item), least, most));
                }
                '<' | '!' => {
                    return self.problem(
                        "tokens in a grammar are not supported; write the text that it should match",
                    );
                }
                _ => {
                    let Some(name) = self.name() else { break };
                    let number = self.rule_number(name);
                    items.push(Expression::Rule(number));
                }
            }
            self.space(self.depth > 0);
        }
        Ok(if items.len() == 1 { items.remove(0) } else { Expression::Sequence(items) })
    }

    fn group(&mut self) -> Result<Expression, String> {
        self.take("(");
        self.depth += 1;
        if self.depth > GRAMMAR_LIMITS.nesting {
            return self.problem(&format!("its brackets nest more than {} deep", GRAMMAR_LIMITS.nesting));
        }
        self.space(true);
        let choice = self.choice()?;
        if !self.take(")") {
            return self.problem("`)` is expected");
        }
        self.depth -= 1;
        Ok(choice)
    }

    fn literal(&mut self) -> Result<Expression, String> {
        self.take("\"");
        let mut items = Vec::new();
        while !self.take("\"") {
            let character = self.character()?;
            items.push(Expression::Class(Class(vec![(character, character)])));
        }
        Ok(Expression::Sequence(items))
    }

    fn class(&mut self) -> Result<Class, String> {
        self.take("[");
        let negated = self.take("^");
        let mut ranges = Vec::new();
        while !self.take("]") {
            let first = self.character()?;
            let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            let last = if is_range {
                self.take("-");
                self.character()?
            } else {
                first
            };
            if last < first {
                return self.problem("a range of characters ends before it begins");
            }
            ranges.push((first, last));
        }
        let class = Class::new(ranges);
        let class = if negated { class.complement() } else { class };
        if class.0.is_empty() {
            return self.problem("a set of characters is empty");
        }
        Ok(class)
    }

    /// A character of a literal or a set.
    fn character(&mut self) -> Result<u32, String> {
        let Some(character) = self.peek() else { return self.problem("it ends within a text or a set") };
        self.rest = &self.rest[character.len_utf8()..];
        if character != '\\' {
            return Ok(character.into());
        }
        let Some(kind) = self.peek() else { return self.problem("it ends within a text or a set") };
        self.rest = &self.rest[kind.len_utf8()..];
        let digits = match kind {
            't' => return Ok('\t'.into()),
            'r' => return Ok('\r'.into()),
            'n' => return Ok('\n'.into()),
            '\\' | '"' | '[' | ']' | '-' => return Ok(kind.into()),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return self.problem(&format!("the escape `\\{kind}` is unknown")),
        };
        let code = self.rest.get(..digits).filter(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok());
        match code.and_then(char::from_u32) {
            Some(character) => {
                self.rest = &self.rest[digits..];
                Ok(character.into())
            }
            None => self.problem(&format!("`\\{kind}` wants {digits} hexadecimal digits of a character")),
        }
    }

    fn repetitions(&mut self) -> Result<(u32, Option<u32>), String> {
        for (sign, range) in [("*", (0, None)), ("+", (1, None)), ("?", (0, Some(1)))] {
            if self.take(sign) {
                return Ok(range);
            }
        }
        self.take("{");
        self.space(self.depth > 0);
        let least = self.number()?;
        self.space(self.depth > 0);
        let mut most = Some(least);
        if self.take(",") {
            self.space(self.depth > 0);
            most = if self.rest.starts_with('}') { None } else { Some(self.number()?) };
            self.space(self.depth > 0);
        }
        if !self.take("}") {
            return self.problem("`}` is expected");
        }
        if most.is_some_and(|most| most < least) {
            return self.problem("the most repetitions are fewer than the fewest");
        }
        if least.max(most.unwrap_or(0)) > MAXIMUM_REPETITIONS {
            return self.problem(&format!("more than {MAXIMUM_REPETITIONS} repetitions cannot be counted"));
        }
        Ok((least, most))
    }

    fn number(&mut self) -> Result<u32, String> {
        let end = self.rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(self.rest.len());
        let Ok(number) = self.rest[..end].parse() else { return self.problem("a number is expected") };
        self.rest = &self.rest[end..];
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grammars_that_are_not_whole_or_not_valid_say_where() {
        for (text, problem) in [
            ("", "no rule `root`"),
            ("a ::= \"x\"", "no rule `root`"),
            ("root ::= missing", "no rule `missing`"),
            ("root", "`::=` is expected (line 1)"),
            ("root ::= \"a", "ends within a text"),
            ("root ::= \"a\\", "ends within a text"),
            ("root ::= [a", "ends within a text or a set"),
            ("root ::= []", "set of characters is empty"),
            ("root ::= [z-a]", "ends before it begins"),
            ("root ::= \"\\q\"", "escape `\\q`"),
            ("root ::= \"\\x4\"", "2 hexadecimal digits"),
            ("root ::= \"\\ud800\"", "4 hexadecimal digits"),
            ("root ::= (\"a\"\n\n", "`)` is expected (line 3)"),
            ("root ::= \"a\")", "end of the rule is expected"),
            ("root ::= *", "nothing before it"),
            ("root ::= \"a\"{2", "`}` is expected"),
            ("root ::= \"a\"{}", "a number is expected"),
            ("root ::= \"a\"{3,2}", "fewer than the fewest"),
            ("root ::= \"a\"{9999}", "cannot be counted"),
            ("root ::= <think>", "tokens in a grammar"),
            ("root ::= \"a\"\nroot ::= \"b\"", "twice (line 2)"),
            ("root ::= \"a\"\n\"b\"", "rule's name is expected (line 2)"),
        ] {
            let found = Grammar::parse(text).unwrap_err();
            assert!(found.contains(problem), "{text:?}: {found}");
        }
        let deep = format!("root ::= {}\"a\"{}", "(".repeat(1000), ")".repeat(1000));
        assert!(Grammar::parse(&deep).unwrap_err().contains("nest"));
        let long: String = (0..1000).map(|rule| format!("r{rule} ::= \"a\"\n")).collect();
        assert!(Grammar::parse(&long).unwrap_err().contains("rules"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(root ::= )?[a-c\"\\\\\\[\\](){},|*+?^.:=0-9xuU#<! \nü-]{0,60}") {
            let _ = Grammar::parse(&text);
        }

        #[test]
        fn a_set_and_its_complement_are_everything(ranges in proptest::collection::vec((0u32..300, 0u32..300), 1..6)) {
            let ranges: Vec<(u32, u32)> = ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            let class = Class::new(ranges.clone());
            let rest = class.complement();
            let holds = |class: &Class, code: u32| class.0.iter().any(|(first, last)| (first..=last).contains(&&code));
            for code in 0..400 {
                prop_assert_eq!(holds(&class, code), ranges.iter().any(|(first, last)| (first..=last).contains(&&code)));
                prop_assert_ne!(holds(&class, code), holds(&rest, code));
            }
            prop_assert_eq!(rest.complement(), class);
        }
    }
}
