//! Which lexemes a lexer could not tell from others as the grammar does.
//!
//! - [`conflicts`]: the answer, by the automaton of all lexemes and by what may come behind each.
//! - [`Alphabet`]: the classes of characters that the automaton goes by.

use std::collections::{BTreeMap, BTreeSet};

use super::{Node, Plan, Rules, Set};
use crate::constraint::gbnf::{Class, Expression, Grammar};

/// The most states of the automaton before it is made deterministic; a lexeme that has more is taken apart.
const MAXIMUM_STATES: usize = 20_000;

/// The most steps of the deterministic automaton that are looked at, each a class of characters from a state: a fraction
/// of a second.
const MAXIMUM_STEPS: usize = 1_000_000;

/// The most pairs of a lexeme or rule and a class of characters that are kept: some tens of megabytes.
const MAXIMUM_PAIRS: usize = 500_000;

/// Classes of characters that no set of a grammar tells apart, by number.
pub(super) struct Alphabet {
    /// Where each class begins.
    starts: Vec<u32>,
}

impl Alphabet {
    pub fn new(grammar: &Grammar) -> Self {
        fn add(expression: &Expression, starts: &mut BTreeSet<u32>) {
            match expression {
                Expression::Class(class) => {
                    starts.extend(class.0.iter().flat_map(|(first, last)| [*first, last + 1]));
                }
                Expression::Sequence(items) | Expression::Choice(items) => {
                    items.iter().for_each(|item| add(item, starts));
                }
                Expression::Repeat(item, ..) => add(item, starts),
                Expression::Rule(_) => {}
            }
        }
        let mut starts = BTreeSet::new();
        grammar.rules.iter().for_each(|rule| add(rule, &mut starts));
        Self { starts: starts.into_iter().collect() }
    }

    /// The classes that a set consists of.
    fn classes(&self, class: &Class) -> Vec<usize> {
        let index = |start: u32| self.starts.partition_point(|other| *other < start);
        class.0.iter().flat_map(|(first, last)| index(*first)..index(last + 1)).collect()
    }
}

/// A state of the automaton.
#[derive(Debug, Default)]
struct State {
    /// The states that it is at once.
    silent: Vec<usize>,
    /// The classes of characters that lead on, and where.
    moves: Vec<(Vec<usize>, usize)>,
    lexeme: usize,
    accepts: bool,
}

/// The automaton of all lexemes.
struct Lexer<'g> {
    rules: &'g Rules<'g>,
    alphabet: &'g Alphabet,
    states: Vec<State>,
    /// Where each lexeme begins.
    starts: Vec<usize>,
}

/// The lexemes that a lexer could not tell from others as the grammar does; none if that would take too long to say.
pub(super) fn conflicts(rules: &Rules<'_>, alphabet: &Alphabet, plan: &Plan) -> Option<Set> {
    if (plan.lexemes.len() + plan.rules.len()) * alphabet.starts.len() > MAXIMUM_PAIRS {
        return None;
    }
    let mut lexer = Lexer { rules, alphabet, states: Vec::new(), starts: Vec::new() };
    let mut large = Set::new();
    for (number, lexeme) in plan.lexemes.iter().enumerate() {
        let before = lexer.states.len();
        let start = lexer.add(number);
        lexer.starts.push(start);
        match lexer.build(lexeme, start, number) {
            Some(end) => lexer.states[end].accepts = true,
            None => {
                large.insert(number);
                lexer.states.truncate(before + 1);
                lexer.states[start] = State { lexeme: number, ..State::default() };
            }
        }
    }
    if !large.is_empty() {
        return Some(large);
    }
    let follow = Follow::new(&lexer, plan).of_lexemes(plan);
    lexer.conflicts(&follow)
}

impl Lexer<'_> {
    fn add(&mut self, lexeme: usize) -> usize {
        self.states.push(State { lexeme, ..State::default() });
        self.states.len() - 1
    }

    /// Adds what matches `expression` from the state `from` on; the state behind it, or none if there are too many.
    fn build(&mut self, expression: &Expression, from: usize, lexeme: usize) -> Option<usize> {
        if self.states.len() > MAXIMUM_STATES {
            return None;
        }
        match expression {
            // No state is added for it, so that nothing else would end a long row of these.
            _ if self.rules.is_nothing(expression) => Some(from),
            Expression::Class(class) => {
                let to = self.add(lexeme);
                let classes = self.alphabet.classes(class);
                self.states[from].moves.push((classes, to));
                Some(to)
            }
            Expression::Sequence(items) => {
                items.iter().try_fold(from, |from, item| self.build(item, from, lexeme))
            }
            Expression::Choice(items) => {
                let to = self.add(lexeme);
                for item in items {
                    let end = self.build(item, from, lexeme)?;
                    self.states[end].silent.push(to);
                }
                Some(to)
            }
            Expression::Repeat(item, least, most) => {
                let mut end = from;
                for _ in 0..*least {
                    end = self.build(item, end, lexeme)?;
                }
                let to = self.add(lexeme);
                self.states[end].silent.push(to);
                for _ in *least..most.unwrap_or(*least) {
                    end = self.build(item, end, lexeme)?;
                    self.states[end].silent.push(to);
                }
                if most.is_none() {
                    let end = self.build(item, to, lexeme)?;
                    self.states[end].silent.push(to);
                }
                Some(to)
            }
            Expression::Rule(rule) => {
                let rules = self.rules;
                self.build(&rules.grammar.rules[*rule], from, lexeme)
            }
        }
    }

    /// All states that these are at once.
    fn closure(&self, states: impl IntoIterator<Item = usize>) -> Set {
        let mut open: Vec<usize> = states.into_iter().collect();
        let mut all = Set::new();
        while let Some(state) = open.pop() {
            if all.insert(state) {
                open.extend(&self.states[state].silent);
            }
        }
        all
    }

    /// Where each class of characters leads from a set of states.
    fn moves(&self, states: &Set) -> BTreeMap<usize, Set> {
        let mut moves: BTreeMap<usize, Set> = BTreeMap::new();
        for state in states {
            for (classes, to) in &self.states[*state].moves {
                for class in classes {
                    moves.entry(*class).or_default().insert(*to);
                }
            }
        }
        moves
    }

    /// The lexemes that go on where another, or they themselves, could have ended; `follow` are the characters that may
    /// come behind each lexeme.
    fn conflicts(&self, follow: &[Set]) -> Option<Set> {
        let mut found = Set::new();
        let start = self.closure(self.starts.iter().copied());
        let mut seen = BTreeSet::from([start.clone()]);
        let mut open = vec![start.clone()];
        let mut steps = 0;
        while let Some(states) = open.pop() {
            let ended: Vec<usize> = states
                .iter()
                // Before the first character, nothing is lexed: the grammar leaves it out.
                .filter(|state| self.states[**state].accepts && states != start)
                .map(|state| self.states[*state].lexeme)
                .collect();
            for (class, targets) in self.moves(&states) {
                steps += states.len();
                if steps > MAXIMUM_STEPS {
                    return None;
                }
                let next = self.closure(targets);
                if ended.iter().any(|lexeme| follow[*lexeme].contains(&class)) {
                    found.extend(next.iter().map(|state| self.states[*state].lexeme));
                }
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        Some(found)
    }
}

/// Which characters may begin, and come behind, the parts of a plan.
struct Follow {
    /// Of each lexeme: the classes that it may begin with, and whether it may be nothing.
    lexemes: Vec<(Set, bool)>,
    /// Of each rule, likewise.
    rules: BTreeMap<usize, (Set, bool)>,
}

impl Follow {
    fn new(lexer: &Lexer<'_>, plan: &Plan) -> Self {
        let first = |start: &usize| {
            let states = lexer.closure([*start]);
            let is_nothing = states.iter().any(|state| lexer.states[*state].accepts);
            (lexer.moves(&states).into_keys().collect(), is_nothing)
        };
        let lexemes = lexer.starts.iter().map(first).collect();
        let rules = plan.rules.keys().map(|rule| (*rule, (Set::new(), false))).collect();
        let mut follow = Self { lexemes, rules };
        loop {
            let before = follow.rules.clone();
            for (rule, node) in &plan.rules {
                let first = follow.first(node);
                follow.rules.insert(*rule, first);
            }
            if follow.rules == before {
                return follow;
            }
        }
    }

    fn first(&self, node: &Node) -> (Set, bool) {
        match node {
            Node::Lexeme(number) => self.lexemes[*number].clone(),
            Node::Rule(rule) => self.rules[rule].clone(),
            Node::Sequence(items) => {
                let mut all = Set::new();
                for item in items {
                    let (first, is_nothing) = self.first(item);
                    all.extend(first);
                    if !is_nothing {
                        return (all, false);
                    }
                }
                (all, true)
            }
            Node::Choice(items) => items.iter().map(|item| self.first(item)).fold(
                (Set::new(), false),
                |(mut all, any), (first, is_nothing)| {
                    all.extend(first);
                    (all, any || is_nothing)
                },
            ),
            Node::Repeat(_, _, Some(0)) => (Set::new(), true),
            Node::Repeat(item, least, _) => {
                let (first, is_nothing) = self.first(item);
                (first, is_nothing || *least == 0)
            }
        }
    }

    /// The characters that may come behind each lexeme.
    fn of_lexemes(&self, plan: &Plan) -> Vec<Set> {
        let mut behind = Behind {
            lexemes: vec![Set::new(); plan.lexemes.len()],
            rules: plan.rules.keys().map(|rule| (*rule, Set::new())).collect(),
        };
        loop {
            let before = behind.rules.clone();
            for (rule, node) in &plan.rules {
                let next = behind.rules[rule].clone();
                self.pass(node, next, &mut behind);
            }
            if behind.rules == before {
                return behind.lexemes;
            }
        }
    }

    /// Notes what may come behind the parts of `node`, if `next` may come behind it; answers what may come where it
    /// begins.
    fn pass(&self, node: &Node, next: Set, behind: &mut Behind) -> Set {
        match node {
            Node::Lexeme(number) => behind.lexemes[*number].extend(&next),
            Node::Rule(rule) => behind.rules.entry(*rule).or_default().extend(&next),
            Node::Sequence(items) => {
                return items.iter().rev().fold(next, |next, item| self.pass(item, next, behind));
            }
            Node::Choice(items) => {
                for item in items {
                    self.pass(item, next.clone(), behind);
                }
            }
            Node::Repeat(item, _, most) => {
                let again = if *most == Some(1) { Set::new() } else { self.first(item).0 };
                self.pass(item, &next | &again, behind);
            }
        }
        let (first, is_nothing) = self.first(node);
        if is_nothing { &first | &next } else { first }
    }
}

/// What may come behind the lexemes and the rules of a plan.
struct Behind {
    lexemes: Vec<Set>,
    rules: BTreeMap<usize, Set>,
}
