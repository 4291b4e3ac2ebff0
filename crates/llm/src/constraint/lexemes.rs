//! Writes a GBNF grammar as one that the grammar compiler takes: Lark, whose terminals are matched by a lexer.
//!
//! GBNF has no lexer: any way to cut a text into what the rules say will do. A lexer takes the longest match and never
//! goes back, so a terminal may stand only where that loses nothing: no match of a terminal, followed by a character that
//! may come after it, is the beginning of another match. What is not recursive becomes a terminal where that holds,
//! which the automaton of all terminals decides; where it does not, terminals are taken apart, down to single
//! characters, of which it always holds.
//!
//! - [`to_lark`]: the whole of it.
//! - `Plan`: which parts are terminals, called lexemes here, and what the rules are above them.
//! - `lexer`: the automaton of all lexemes, over classes of characters that no set of the grammar tells apart.

mod lexer;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::gbnf::{Class, Expression, Grammar};
use crate::host::GRAMMAR_LIMITS;
use lexer::{Alphabet, conflicts};

/// The most rounds of taking apart: each looks at the whole automaton again.
const MAXIMUM_ROUNDS: usize = 24;

/// A set of character classes, states or lexemes.
type Set = BTreeSet<usize>;

/// The Lark grammar of a GBNF grammar.
///
/// # Errors
/// What is wrong with it.
pub(super) fn to_lark(text: &str) -> Result<String, String> {
    let grammar = Grammar::parse(text)?;
    check_depth(&grammar)?;
    let alphabet = Alphabet::new(&grammar);
    let rules = Rules::new(&grammar);
    if !rules.can_end[0] {
        return Err("its rule `root` never ends: every way through it comes back to itself".to_string());
    }
    let mut broken = BTreeSet::new();
    for _ in 0..MAXIMUM_ROUNDS {
        let plan = Planner::plan(&rules, Some(&broken));
        match conflicts(&rules, &alphabet, &plan) {
            Some(lexemes) if lexemes.is_empty() => return Ok(plan.to_lark(&rules)),
            Some(lexemes) => broken.extend(lexemes.into_iter().map(|lexeme| plan.lexemes[lexeme].clone())),
            None => break,
        }
    }
    Ok(Planner::plan(&rules, None).to_lark(&rules))
}

/// Fails when the grammar would make its compiler recurse too deeply.
fn check_depth(grammar: &Grammar) -> Result<(), String> {
    let limit = GRAMMAR_LIMITS.nesting + GRAMMAR_LIMITS.rules;
    let mut seen = vec![false; grammar.rules.len()];
    let mut open: Vec<(&Expression, usize)> = vec![(&Expression::Rule(0), 0)];
    // The first way to a rule is the one that the compiler takes.
    while let Some((expression, depth)) = open.pop() {
        if depth > limit {
            return Err(format!("its rules nest more than {limit} deep"));
        }
        match expression {
            Expression::Class(_) => {}
            Expression::Sequence(items) | Expression::Choice(items) => {
                open.extend(items.iter().rev().map(|item| (item, depth + 1)));
            }
            Expression::Repeat(item, ..) => open.push((item, depth + 1)),
            Expression::Rule(rule) => {
                if !std::mem::replace(&mut seen[*rule], true) {
                    open.push((&grammar.rules[*rule], depth + 1));
                }
            }
        }
    }
    Ok(())
}

/// What is known of each rule.
struct Rules<'g> {
    grammar: &'g Grammar,
    /// Whether it is not recursive and names none that is.
    is_regular: Vec<bool>,
    /// Whether it is regular and matches nothing but the empty text.
    is_nothing: Vec<bool>,
    /// Whether it matches any text at all.
    can_end: Vec<bool>,
}

impl<'g> Rules<'g> {
    fn new(grammar: &'g Grammar) -> Self {
        let none = vec![false; grammar.rules.len()];
        let mut rules = Self { grammar, is_regular: none.clone(), is_nothing: none.clone(), can_end: none };
        loop {
            let before = (rules.is_regular.clone(), rules.is_nothing.clone(), rules.can_end.clone());
            for (rule, expression) in grammar.rules.iter().enumerate() {
                rules.is_regular[rule] |= rules.is_regular(expression);
                rules.is_nothing[rule] |= rules.is_nothing(expression);
                rules.can_end[rule] |= rules.can_end(expression);
            }
            if (&rules.is_regular, &rules.is_nothing, &rules.can_end) == (&before.0, &before.1, &before.2) {
                return rules;
            }
        }
    }

    fn is_regular(&self, expression: &Expression) -> bool {
        match expression {
            Expression::Class(_) => true,
            Expression::Sequence(items) | Expression::Choice(items) => {
                items.iter().all(|item| self.is_regular(item))
            }
            Expression::Repeat(item, ..) => self.is_regular(item),
            Expression::Rule(rule) => self.is_regular[*rule],
        }
    }

    fn can_end(&self, expression: &Expression) -> bool {
        match expression {
            Expression::Class(_) => true,
            Expression::Sequence(items) => items.iter().all(|item| self.can_end(item)),
            Expression::Choice(items) => items.iter().any(|item| self.can_end(item)),
            Expression::Repeat(item, least, _) => *least == 0 || self.can_end(item),
            Expression::Rule(rule) => self.can_end[*rule],
        }
    }

    fn is_nothing(&self, expression: &Expression) -> bool {
        match expression {
            Expression::Class(_) => false,
            Expression::Sequence(items) | Expression::Choice(items) => {
                items.iter().all(|item| self.is_nothing(item))
            }
            Expression::Repeat(item, _, most) => {
                self.is_nothing(item) || *most == Some(0) && self.is_regular(item)
            }
            Expression::Rule(rule) => self.is_nothing[*rule],
        }
    }
}

/// What a rule stands for, over lexemes.
#[derive(Debug, Clone)]
enum Node {
    Lexeme(usize),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat(Box<Node>, u32, Option<u32>),
    Rule(usize),
}

/// Which parts of a grammar are lexemes, and its rules over them.
#[derive(Debug, Default)]
struct Plan {
    rules: BTreeMap<usize, Node>,
    lexemes: Vec<Expression>,
    numbers: BTreeMap<Expression, usize>,
}

struct Planner<'g> {
    rules: &'g Rules<'g>,
    /// Expressions that are no lexemes; without any, only single characters are.
    broken: Option<&'g BTreeSet<Expression>>,
    plan: Plan,
}

impl<'g> Planner<'g> {
    fn plan(rules: &'g Rules<'g>, broken: Option<&'g BTreeSet<Expression>>) -> Plan {
        let mut planner = Self { rules, broken, plan: Plan::default() };
        let mut open = vec![0];
        while let Some(rule) = open.pop() {
            if !planner.plan.rules.contains_key(&rule) {
                let node = planner.node(&rules.grammar.rules[rule], &mut open);
                planner.plan.rules.insert(rule, node);
            }
        }
        planner.plan
    }

    /// The node of an expression; the rules that it names are added to `open`.
    fn node(&mut self, expression: &Expression, open: &mut Vec<usize>) -> Node {
        let regular = self.rules.is_regular(expression);
        if self.rules.is_nothing(expression) {
            return Node::Sequence(Vec::new());
        }
        if regular && self.broken.is_some_and(|broken| !broken.contains(expression)) {
            return self.lexeme(expression);
        }
        match expression {
            Expression::Class(_) => self.lexeme(expression),
            Expression::Sequence(items) if regular => {
                Node::Sequence(items.iter().map(|item| self.node(item, open)).collect())
            }
            Expression::Sequence(items) => {
                // What stands side by side and is regular is regular together.
                let side_by_side =
                    |a: &Expression, b: &Expression| self.rules.is_regular(a) && self.rules.is_regular(b);
                let groups: Vec<&[Expression]> = items.chunk_by(side_by_side).collect();
                let group = |group: &[Expression]| match group {
                    [item] => self.node(item, open),
                    items => self.node(&Expression::Sequence(items.to_vec()), open),
                };
                Node::Sequence(groups.into_iter().map(group).collect())
            }
            Expression::Choice(items) => {
                Node::Choice(items.iter().map(|item| self.node(item, open)).collect())
            }
            Expression::Repeat(item, least, most) => {
                Node::Repeat(Box::new(self.node(item, open)), *least, *most)
            }
            Expression::Rule(rule) => {
                open.push(*rule);
                Node::Rule(*rule)
            }
        }
    }

    fn lexeme(&mut self, expression: &Expression) -> Node {
        let next = self.plan.lexemes.len();
        let number = *self.plan.numbers.entry(expression.clone()).or_insert(next);
        if number == next {
            self.plan.lexemes.push(expression.clone());
        }
        Node::Lexeme(number)
    }
}

impl Plan {
    fn to_lark(&self, rules: &Rules<'_>) -> String {
        let mut lark = "start: r0\n".to_string();
        for (rule, node) in &self.rules {
            let _ = writeln!(lark, "r{rule}: {}", node_text(node));
        }
        let mut named = Set::new();
        for (number, lexeme) in self.lexemes.iter().enumerate() {
            let _ = writeln!(lark, "L{number}: {}", terminal_text(lexeme, rules, &mut named));
        }
        let mut written = Set::new();
        while let Some(rule) = named.difference(&written).next().copied() {
            written.insert(rule);
            let _ =
                writeln!(lark, "T{rule}: {}", terminal_text(&rules.grammar.rules[rule], rules, &mut named));
        }
        lark
    }
}

fn node_text(node: &Node) -> String {
    match node {
        Node::Lexeme(number) => format!("L{number}"),
        Node::Rule(rule) => format!("r{rule}"),
        Node::Sequence(items) => in_a_row(items.iter().map(node_text).collect()),
        Node::Choice(items) => {
            format!("({})", items.iter().map(node_text).collect::<Vec<_>>().join(" | "))
        }
        Node::Repeat(item, least, most) => repeated(&node_text(item), *least, *most),
    }
}

/// The text of a terminal; the rules that it names, as terminals, are added to `named`.
fn terminal_text(expression: &Expression, rules: &Rules<'_>, named: &mut Set) -> String {
    match expression {
        _ if rules.is_nothing(expression) => "\"\"".to_string(),
        Expression::Class(class) => format!("/{}/", class_text(class)),
        Expression::Rule(rule) => {
            named.insert(*rule);
            format!("T{rule}")
        }
        Expression::Sequence(items) => {
            let mut parts = Vec::new();
            for group in items.chunk_by(|a, b| matches!((a, b), (Expression::Class(_), Expression::Class(_))))
            {
                let classes: Vec<String> = group
                    .iter()
                    .filter_map(|item| match item {
                        Expression::Class(class) => Some(class_text(class)),
                        _ => None,
                    })
                    .collect();
                match classes[..] {
                    [] => parts.extend(group.iter().map(|item| terminal_text(item, rules, named))),
                    _ => parts.push(format!("/{}/", classes.concat())),
                }
            }
            in_a_row(parts)
        }
        Expression::Choice(items) => {
            let items: Vec<String> = items.iter().map(|item| terminal_text(item, rules, named)).collect();
            format!("({})", items.join(" | "))
        }
        Expression::Repeat(item, least, most) => repeated(&terminal_text(item, rules, named), *least, *most),
    }
}

fn in_a_row(parts: Vec<String>) -> String {
    match parts.len() {
        0 => "\"\"".to_string(),
        _ => format!("({})", parts.join(" ")),
    }
}

fn repeated(item: &str, least: u32, most: Option<u32>) -> String {
    match (least, most) {
        (_, Some(0)) => "\"\"".to_string(),
        (0, None) => format!("({item})*"),
        (1, None) => format!("({item})+"),
        (0, Some(1)) => format!("({item})?"),
        (least, None) => format!("({item}){{{least},}}"),
        (least, Some(most)) => format!("({item}){{{least},{most}}}"),
    }
}

/// A set as part of a regular expression.
fn class_text(class: &Class) -> String {
    // Surrogates are no characters of a text.
    const SURROGATES: (u32, u32) = (0xd800, 0xdfff);
    let mut text = "[".to_string();
    for &(first, last) in &class.0 {
        for (first, last) in [(first, last.min(SURROGATES.0 - 1)), (first.max(SURROGATES.1 + 1), last)] {
            if first <= last {
                let _ = write!(text, "\\x{{{first:x}}}-\\x{{{last:x}}}");
            }
        }
    }
    text + "]"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexemes(text: &str) -> usize {
        to_lark(text).unwrap().lines().filter(|line| line.starts_with('L')).count()
    }

    #[test]
    fn what_is_not_recursive_is_one_terminal() {
        assert_eq!(lexemes("root ::= a | \"b\" c*\na ::= \"x\" c{2,3}\nc ::= [0-9] | \"\""), 1);
        let lark = to_lark("root ::= [a-b]\"é\\n\" x\nx ::= .").unwrap();
        assert_eq!(
            lark,
            "start: r0\nr0: L0\nL0: (/[\\x{61}-\\x{62}]/ (/[\\x{e9}-\\x{e9}][\\x{a}-\\x{a}]/) T1)\n\
            T1: /[\\x{0}-\\x{d7ff}\\x{e000}-\\x{10ffff}]/\n"
        );
    }

    #[test]
    fn terminals_are_taken_apart_where_a_lexer_would_read_too_far() {
        // In brackets, letters; behind them more letters of the same kind: all stay whole, for a bracket is between.
        assert_eq!(lexemes("root ::= \"(\" root \")\" | [a-z]+"), 3);
        // Letters behind letters.
        let lark = to_lark("root ::= [a-z]+ root [a-z] | \"-\"").unwrap();
        assert!(lark.contains("(L") && lark.contains(")+") && !lark.contains("]/)+"), "{lark}");
        // A word that may be the beginning of another before what could come behind it.
        let lark = to_lark("root ::= \"a\" root | \"abc\" root | \"b\"").unwrap();
        assert!(!lark.contains("61}][\\x{62}"), "{lark}");
    }

    #[test]
    fn automata_that_would_be_too_large_are_taken_apart() {
        let lark = to_lark("root ::= x{2000} root? \nx ::= y{2000}\ny ::= [a-b]").unwrap();
        assert!(lark.contains("{2000,2000}"), "{lark}");
    }
}
