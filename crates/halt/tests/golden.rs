//! What is decided about pseudo-random streams: natively here, and the same by the tests of every other runtime.

mod pseudo;

use glasshouse_halt::{Config, Decision, Halt, InputError, Kernel, Rule, Setting};
use pseudo::{Outcome, Subject, Summary, Token, Value};

struct Native(Option<Kernel>);

impl Native {
    fn kernel(&mut self) -> &mut Kernel {
        self.0.as_mut().expect("a stream has begun")
    }

    fn outcome(&mut self, decided: Result<Decision, InputError>) -> Outcome {
        let (index, verdict, cause, released) = match decided {
            Ok(decision) => (decision.index, decision.verdict as i32, decision.cause, decision.released),
            Err(error) => (error.index, -1, Some(error.cause), self.kernel().released()),
        };
        let outcome = Outcome {
            index: index as f64,
            verdict,
            rule: 255,
            released: released as f64,
            ..Outcome::default()
        };
        cause.map_or(outcome, |cause| Outcome {
            rule: number(cause.rule),
            value: cause.value,
            limit: cause.limit,
            ..outcome
        })
    }
}

fn number(rule: Rule) -> u32 {
    Rule::ALL.iter().position(|other| *other == rule).expect("all rules are there") as u32
}

impl Subject for Native {
    fn start(&mut self, fields: &[(&'static str, Value)]) {
        let mut config = Config::default();
        for (field, value) in fields {
            let setting = match value {
                Value::Number(number) => Setting::Number(*number),
                Value::Text(text) => Setting::Text(text),
            };
            config.set(field, setting).unwrap();
        }
        self.0 = Some(Kernel::new(&config).unwrap());
    }

    fn process_token(&mut self, index: u32, score: f64) -> Outcome {
        let decided = self.kernel().process_token(index.into(), score);
        self.outcome(decided)
    }

    fn process(&mut self, token: &Token) -> Outcome {
        let Token { index, score, entropy_bits, elapsed_ms, text } = *token;
        let index = index.into();
        let token = glasshouse_halt::Token { index, score, entropy_bits, elapsed_ms, text };
        let decided = self.kernel().process(&token);
        self.outcome(decided)
    }

    fn finish(&mut self) -> Option<Outcome> {
        let Halt { index, cause, trigger, released } = self.kernel().finish()?;
        Some(Outcome {
            index: index as f64,
            verdict: 2,
            rule: number(cause.rule),
            value: cause.value,
            limit: cause.limit,
            released: released as f64,
            trigger: trigger as f64,
        })
    }
}

#[test]
fn pseudo_random_streams_have_the_golden_hash() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden.json")).unwrap();
    let number = |name: &str| golden[name].as_u64().unwrap() as u32;
    let expected = Summary {
        streams: number("streams"),
        decisions: number("decisions"),
        halts: number("halts"),
        hash: golden["hash"].as_str().unwrap().to_owned(),
    };
    assert_eq!(pseudo::run(&mut Native(None), number("streams")), expected);
}
