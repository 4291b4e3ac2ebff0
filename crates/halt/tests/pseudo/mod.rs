//! Pseudo-random streams, the same in every language, and a hash of everything that was decided about them.
//!
//! All is integer arithmetic modulo 2^32, but for divisions by 100 and 10, which are exact to the last bit everywhere:
//!
//! - The generator is `state = state * 1664525 + 1013904223`, from 1 on. `below(n)` steps it and is `(state >> 16) % n`.
//! - A stream draws its configuration, its level and its length, then each token's kind and score, and then what its kind
//!   needs; see [`run`].
//! - The hash has two lanes, from 0 on: `a = (a ^ word) * 16777619; a ^= a >> 13` and
//!   `b = (b ^ word) * 2246822507 + 2654435769; b ^= b >> 16`. A floating-point number is two words, the lower one first;
//!   any that is none is that of the bits 0x7ff8000000000000.
//!
//! `golden.json` holds the hash.

/// A value of a field, as every host gives it.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    Number(f64),
    Text(&'static str),
}

/// A token.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    pub index: u32,
    pub score: Option<f64>,
    pub entropy_bits: Option<f64>,
    pub elapsed_ms: Option<f64>,
    pub text: Option<&'static str>,
}

/// What was decided: a verdict of -1 is a token that was not taken, a rule of 255 is none, with a value and limit of 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    pub index: f64,
    pub verdict: i32,
    pub rule: u32,
    pub value: f64,
    pub limit: f64,
    pub released: f64,
    /// Only of a halt.
    pub trigger: f64,
}

/// What runs the streams.
pub trait Subject {
    /// Begins a stream.
    fn start(&mut self, fields: &[(&'static str, Value)]);
    /// Decides about a token of which only the score is known.
    fn process_token(&mut self, index: u32, score: f64) -> Outcome;
    /// Decides about a token.
    fn process(&mut self, token: &Token) -> Outcome;
    /// Ends the stream and answers its halt.
    fn finish(&mut self) -> Option<Outcome>;
}

/// What came of all streams.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    pub streams: u32,
    pub decisions: u32,
    pub halts: u32,
    pub hash: String,
}

struct Generator(u32);

impl Generator {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) % bound
    }

    /// A number of hundredths.
    fn hundredths(&mut self, least: u32, bound: u32) -> f64 {
        f64::from(least + self.below(bound)) / 100.0
    }

    fn one_of(&mut self, texts: [&'static str; 2]) -> Value {
        Value::Text(texts[self.below(2) as usize])
    }
}

#[derive(Default)]
struct Hash(u32, u32);

impl Hash {
    fn word(&mut self, word: u32) {
        self.0 = (self.0 ^ word).wrapping_mul(16_777_619);
        self.0 ^= self.0 >> 13;
        self.1 = (self.1 ^ word).wrapping_mul(2_246_822_507).wrapping_add(2_654_435_769);
        self.1 ^= self.1 >> 16;
    }

    fn number(&mut self, number: f64) {
        let bits = if number.is_nan() { 0x7ff8_0000_0000_0000 } else { number.to_bits() };
        self.word(bits as u32);
        self.word((bits >> 32) as u32);
    }

    fn outcome(&mut self, outcome: &Outcome) {
        let Outcome { index, verdict, rule, value, limit, released, trigger: _ } = *outcome;
        self.number(index);
        self.word(verdict as u32);
        self.word(rule);
        self.number(value);
        self.number(limit);
        self.number(released);
    }
}

/// Runs all streams.
pub fn run(subject: &mut impl Subject, streams: u32) -> Summary {
    let (mut generator, mut hash) = (Generator(1), Hash::default());
    let (mut decisions, mut halts) = (0, 0);
    for _ in 0..streams {
        let mut fields = vec![
            ("hard_limit", Value::Number(generator.hundredths(30, 31))),
            ("window_size", Value::Number((1 + generator.below(12)).into())),
            ("window_threshold", Value::Number(generator.hundredths(40, 41))),
            ("trend_window", Value::Number((2 + generator.below(8)).into())),
            ("trend_threshold", Value::Number(generator.hundredths(10, 51))),
            ("soft_halt_tokens", Value::Number(generator.below(21).into())),
            ("hold_back", Value::Number(generator.below(13).into())),
            ("trend", generator.one_of(["endpoint", "least_squares"])),
            ("halt_mode", generator.one_of(["hard", "soft"])),
            ("invalid_input", generator.one_of(["halt", "error"])),
        ];
        let soft_limit = generator.hundredths(50, 50);
        if generator.below(2) == 1 {
            fields.push(("soft_limit", Value::Number(soft_limit)));
        }
        subject.start(&fields);
        let (level, length) = (60 + generator.below(41), 1 + generator.below(100));
        let mut index = 0;
        let mut has_halted = false;
        for _ in 0..length {
            let kind = generator.below(100);
            let score = f64::from(level - generator.below(25)) / 100.0;
            let mut token =
                Token { index, score: Some(score), entropy_bits: None, elapsed_ms: None, text: None };
            match kind {
                0 => token.score = None,
                1 => token.score = Some(f64::NAN),
                2 => token.score = Some(1.5),
                3 => token.index = index + 1,
                4 => token.text = Some("end. "),
                5 => token.text = Some("終わり。"),
                6 => token.text = Some("word"),
                7 => token.entropy_bits = Some(f64::from(generator.below(14)) / 10.0),
                8 => token.elapsed_ms = Some(generator.below(60).into()),
                _ => {}
            }
            let outcome =
                if kind < 9 { subject.process(&token) } else { subject.process_token(index, score) };
            hash.outcome(&outcome);
            decisions += 1;
            if outcome.verdict >= 0 {
                index += 1;
            }
            // One more token after the halt.
            if has_halted {
                break;
            }
            has_halted = outcome.verdict == 2;
        }
        let halt = subject.finish();
        hash.word(halt.is_some().into());
        if let Some(halt) = halt {
            hash.outcome(&halt);
            hash.number(halt.trigger);
            halts += 1;
        }
    }
    Summary { streams, decisions, halts, hash: format!("{:08x}{:08x}", hash.0, hash.1) }
}
