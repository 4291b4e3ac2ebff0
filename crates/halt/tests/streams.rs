//! What holds of every stream, and what becomes of inputs that are none.

use glasshouse_halt::{
    Cause, Config, Decision, HaltMode, InputError, InvalidInput, Kernel, Rule, Token, TraceEntry, Trend,
    Verdict,
};
use proptest::prelude::*;

/// Scores that meet thresholds often: whole hundredths.
fn scores() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((30..=100_u32).prop_map(|hundredths| f64::from(hundredths) / 100.0), 0..60)
}

fn configs() -> impl Strategy<Value = Config> {
    let numbers = (30..=60_u32, 1..=12_u32, 40..=90_u32, 2..=9_u32, 1..=60_u32, 0..=20_u32, 0..=12_u32);
    (numbers, any::<bool>(), any::<bool>(), prop::option::of(0.0..=1.0)).prop_map(
        |(
            (hard, window_size, window, trend_window, drop, tokens, hold_back),
            is_soft,
            is_line,
            soft_limit,
        )| Config {
            hard_limit: f64::from(hard) / 100.0,
            soft_limit,
            window_size,
            window_threshold: f64::from(window) / 100.0,
            trend_window,
            trend_threshold: f64::from(drop) / 100.0,
            trend: if is_line { Trend::LeastSquares } else { Trend::Endpoint },
            halt_mode: if is_soft { HaltMode::Soft } else { HaltMode::Hard },
            soft_halt_tokens: tokens,
            hold_back,
            ..Config::default()
        },
    )
}

/// The rule that a window broke at its last score, written down once more as simply as can be: in exact hundredths.
fn broken(config: &Config, scores: &[f64]) -> Option<Rule> {
    let hundredths = |number: f64| (number * 100.0).round() as i64;
    let last = hundredths(*scores.last()?);
    if last < hundredths(config.hard_limit) {
        return Some(Rule::HardLimit);
    }
    let window = |size: u32| scores.len().checked_sub(size as usize).map(|start| &scores[start..]);
    if let Some(window) = window(config.window_size) {
        let sum: i64 = window.iter().map(|score| hundredths(*score)).sum();
        if sum < hundredths(config.window_threshold) * i64::from(config.window_size) {
            return Some(Rule::WindowMean);
        }
    }
    if let Some(window) = window(config.trend_window) {
        let n = i64::from(config.trend_window);
        let values = || window.iter().map(|score| hundredths(*score));
        let limit = hundredths(config.trend_threshold);
        let falls = match config.trend {
            Trend::Endpoint => hundredths(window[0]) - last > limit,
            Trend::LeastSquares => {
                let (x, y): (i64, i64) = ((0..n).sum(), values().sum());
                let xy: i64 = values().enumerate().map(|(place, value)| place as i64 * value).sum();
                let xx: i64 = (0..n).map(|place| place * place).sum();
                -(n * xy - x * y) * (n - 1) > limit * (n * xx - x * x)
            }
        };
        if falls {
            return Some(Rule::DownwardTrend);
        }
    }
    None
}

/// The decisions about a stream, and its halt after its end.
fn run(config: &Config, scores: &[f64]) -> (Vec<Decision>, Option<glasshouse_halt::Halt>) {
    let mut kernel = Kernel::new(config).unwrap();
    let decisions = scores.iter().enumerate();
    let decisions =
        decisions.map(|(index, score)| kernel.process_token(index as u64, *score).unwrap()).collect();
    (decisions, kernel.finish())
}

fn halts_at(config: &Config, scores: &[f64]) -> Option<u64> {
    run(config, scores).1.map(|halt| halt.index)
}

proptest! {
    #[test]
    fn the_first_failure_wins_and_is_for_good(config in configs(), scores in scores()) {
        let config = Config { halt_mode: HaltMode::Hard, ..config };
        let (decisions, halt) = run(&config, &scores);
        let first = (1..=scores.len()).find_map(|end| Some((end - 1, broken(&config, &scores[..end])?)));
        prop_assert_eq!(halt.map(|halt| (halt.index as usize, halt.cause.rule)), first);
        for decision in decisions {
            let is_over = first.is_some_and(|(index, _)| decision.index >= index as u64);
            prop_assert_eq!(decision.verdict == Verdict::Halt, is_over);
        }
    }

    #[test]
    fn a_stream_that_scores_lower_nowhere_halts_later(config in configs(), scores in scores(), lower in scores()) {
        // Not by the trend: who was higher before has fallen further.
        let config = Config { trend_threshold: 2.0, halt_mode: HaltMode::Hard, ..config };
        let lower: Vec<f64> = scores.iter().zip(&lower).map(|(score, other)| score.min(*other)).collect();
        let scores = &scores[..lower.len()];
        let at = |scores| halts_at(&config, scores).unwrap_or(u64::MAX);
        prop_assert!(at(&lower) <= at(scores));
    }

    #[test]
    fn by_no_rule_does_a_lower_last_score_save_a_stream(config in configs(), scores in scores(), lower in 0.0..=1.0) {
        let config = Config { halt_mode: HaltMode::Hard, ..config };
        let Some(halt) = halts_at(&config, &scores) else { return Ok(()) };
        let mut scores = scores[..=halt as usize].to_vec();
        let last = scores.last_mut().unwrap();
        *last *= lower;
        prop_assert_eq!(halts_at(&config, &scores), Some(halt));
    }

    #[test]
    fn what_was_decided_does_not_depend_on_what_comes(config in configs(), scores in scores(), end in 0_usize..60) {
        let (decisions, _) = run(&config, &scores);
        let end = end.min(scores.len());
        let (prefix, _) = run(&config, &scores[..end]);
        prop_assert_eq!(prefix.as_slice(), &decisions[..end]);
    }

    #[test]
    fn two_kernels_in_turns_are_as_two_alone(config in configs(), scores in scores(), others in scores()) {
        let (mut one, mut two) = (Kernel::new(&config).unwrap(), Kernel::new(&config).unwrap());
        let mut found = (Vec::new(), Vec::new());
        for index in 0..scores.len().max(others.len()) {
            if let Some(score) = scores.get(index) {
                found.0.push(one.process_token(index as u64, *score).unwrap());
            }
            if let Some(score) = others.get(index) {
                found.1.push(two.process_token(index as u64, *score).unwrap());
            }
        }
        prop_assert_eq!((found.0, one.finish()), run(&config, &scores));
        prop_assert_eq!((found.1, two.finish()), run(&config, &others));
    }

    #[test]
    fn nothing_that_is_halted_over_was_shown(config in configs(), scores in scores()) {
        let config = Config { halt_mode: HaltMode::Hard, ..config };
        let (decisions, halt) = run(&config, &scores);
        let shown = decisions.iter().map(|decision| decision.released).max().unwrap_or(0);
        match halt {
            Some(halt) => {
                prop_assert_eq!(shown, halt.released);
                prop_assert_eq!(halt.released, halt.index.saturating_sub(u64::from(config.hold_back)));
            }
            None => prop_assert_eq!(shown, (scores.len() as u64).saturating_sub(config.hold_back.into())),
        }
        prop_assert!(decisions.is_sorted_by_key(|decision| decision.released));
    }

    #[test]
    fn a_soft_halt_comes_no_earlier_than_a_hard_one_and_within_its_tokens(config in configs(), scores in scores()) {
        let hard = Config { halt_mode: HaltMode::Hard, ..config.clone() };
        let soft = Config { halt_mode: HaltMode::Soft, ..config };
        let (hard, soft_halt) = (run(&hard, &scores).1, run(&soft, &scores).1);
        prop_assert_eq!(hard.is_some(), soft_halt.is_some());
        if let (Some(hard), Some(soft_halt)) = (hard, soft_halt) {
            prop_assert!(soft_halt.index >= hard.index);
            prop_assert!(soft_halt.index <= hard.index + u64::from(soft.soft_halt_tokens));
            let waited = soft_halt.trigger < soft_halt.index;
            prop_assert!(!waited || soft_halt.trigger == hard.index);
        }
    }

    #[test]
    fn any_input_is_answered_and_none_that_is_wrong_goes_on(
        config in configs(),
        tokens in prop::collection::vec((0..4_u64, any::<f64>(), prop::option::of(any::<f64>())), 0..20),
        is_error in any::<bool>(),
    ) {
        let invalid_input = if is_error { InvalidInput::Error } else { InvalidInput::Halt };
        let config = Config { invalid_input, ..config };
        let mut kernel = Kernel::new(&config).unwrap();
        for (index, score, entropy_bits) in tokens {
            let due = kernel.tokens();
            let was_active = kernel.is_active();
            let score = (!score.is_subnormal()).then_some(score);
            let token = Token { index, score, entropy_bits, ..Token::default() };
            let is_right = was_active
                && index == due
                && score.is_some_and(|score| (0.0..=1.0).contains(&score))
                && entropy_bits.is_none_or(|bits| bits >= 0.0 && bits.is_finite());
            match kernel.process(&token) {
                Ok(decision) if is_right => prop_assert_eq!(kernel.tokens(), due + 1, "{:?}", decision),
                Ok(decision) => prop_assert!(decision.verdict == Verdict::Halt && !is_error),
                Err(_) => prop_assert!(is_error && !is_right && kernel.is_active() == was_active),
            }
        }
    }
}

/// The verdicts and rules of tokens with text.
fn told(config: &Config, tokens: &[(&str, f64)]) -> (Vec<(Verdict, Option<Rule>)>, Kernel) {
    let mut kernel = Kernel::new(config).unwrap();
    let decisions = tokens.iter().enumerate().map(|(index, (text, score))| {
        let token = Token { index: index as u64, score: Some(*score), text: Some(text), ..Token::default() };
        let decision = kernel.process(&token).unwrap();
        (decision.verdict, decision.cause.map(|cause| cause.rule))
    });
    (decisions.collect(), kernel)
}

fn soft() -> Config {
    Config {
        hard_limit: 0.3,
        window_size: 3,
        window_threshold: 0.6,
        halt_mode: HaltMode::Soft,
        ..Config::default()
    }
}

#[test]
fn a_soft_halt_finishes_the_sentence_as_the_reference_does() {
    let tokens = [("Start ", 0.7), ("of ", 0.55), ("sentence ", 0.5), ("end. ", 0.45), ("more ", 0.45)];
    let (told, mut kernel) = told(&soft(), &tokens);
    let window = Some(Rule::WindowMean);
    assert_eq!(
        told[..4],
        [
            (Verdict::Continue, None),
            (Verdict::Continue, None),
            (Verdict::Warn, window),
            (Verdict::Halt, window)
        ]
    );
    assert_eq!(told[4], (Verdict::Halt, Some(Rule::AfterEnd)));
    let halt = kernel.finish().unwrap();
    assert_eq!((halt.trigger, halt.index, halt.released), (2, 3, 4));
}

#[test]
fn a_soft_halt_waits_for_so_many_tokens_and_no_more() {
    let tokens: Vec<_> = (0..70).map(|_| ("word ", 0.5)).collect();
    let (told, kernel) = told(&soft(), &tokens);
    assert_eq!(told.iter().position(|(verdict, _)| *verdict == Verdict::Halt), Some(52));
    assert_eq!(kernel.halt().unwrap().released, 53);
}

#[test]
fn a_token_that_ends_the_sentence_itself_is_the_last() {
    let (_, kernel) = told(&soft(), &[("a", 0.5), ("b", 0.5), ("c. ", 0.5), ("d", 0.5)]);
    let halt = kernel.halt().unwrap();
    assert_eq!((halt.trigger, halt.index, halt.released), (2, 2, 3));
}

#[test]
fn the_hard_limit_halts_at_once_while_a_soft_halt_waits() {
    let (told, kernel) = told(&soft(), &[("a", 0.5), ("b", 0.5), ("c", 0.5), ("d", 0.1), ("e.", 0.9)]);
    assert_eq!(told[2].0, Verdict::Warn);
    let halt = kernel.halt().unwrap();
    assert_eq!((halt.index, halt.trigger, halt.cause.rule, halt.released), (3, 3, Rule::HardLimit, 3));
}

#[test]
fn the_end_of_the_stream_confirms_a_soft_halt() {
    let (_, mut kernel) = told(&soft(), &[("a", 0.5), ("b", 0.5), ("c", 0.5), ("d", 0.5)]);
    assert!(kernel.is_finishing() && kernel.halt().is_none());
    let halt = kernel.finish().unwrap();
    assert_eq!((halt.trigger, halt.index, halt.released), (2, 3, 4));
    assert_eq!(kernel.finish(), Some(halt));
    assert!(!kernel.is_active());
}

#[test]
fn what_was_held_back_is_released_at_the_end_and_not_by_a_halt() {
    let config = Config { hold_back: 3, ..Config::default() };
    let released = |scores: &[f64]| {
        let mut kernel = Kernel::new(&config).unwrap();
        let mut released = Vec::new();
        for (index, score) in scores.iter().enumerate() {
            released.push(kernel.process_token(index as u64, *score).unwrap().released);
        }
        kernel.finish();
        released.push(kernel.released());
        released
    };
    assert_eq!(released(&[0.9; 5]), [0, 0, 0, 1, 2, 5]);
    assert_eq!(released(&[0.9, 0.9, 0.9, 0.9, 0.9, 0.1]), [0, 0, 0, 1, 2, 2, 2]);
}

#[test]
fn an_input_that_is_none_halts_with_a_reason_of_its_own_or_is_an_error() {
    let right = Token { score: Some(0.9), ..Token::default() };
    for (token, rule) in [
        (Token { score: Some(f64::NAN), ..right }, Rule::InvalidScore),
        (Token { score: Some(f64::INFINITY), ..right }, Rule::InvalidScore),
        (Token { score: Some(-0.1), ..right }, Rule::InvalidScore),
        (Token { score: Some(1.5), ..right }, Rule::InvalidScore),
        (Token { entropy_bits: Some(f64::NAN), ..right }, Rule::InvalidScore),
        (Token { elapsed_ms: Some(-1.0), ..right }, Rule::InvalidScore),
        (Token { score: None, ..right }, Rule::MissingScore),
        (Token { index: 1, ..right }, Rule::OutOfOrder),
    ] {
        let mut kernel = Kernel::new(&Config::default()).unwrap();
        let decision = kernel.process(&token).unwrap();
        assert_eq!((decision.verdict, decision.cause.unwrap().rule), (Verdict::Halt, rule));
        assert_eq!(kernel.halt().unwrap().cause.rule, rule);
        assert!(!kernel.is_active());

        let config = Config { invalid_input: InvalidInput::Error, ..Config::default() };
        let mut kernel = Kernel::new(&config).unwrap();
        let InputError { index, cause: Cause { rule: found, .. } } = kernel.process(&token).unwrap_err();
        assert_eq!((index, found), (token.index, rule));
        assert_eq!(kernel.process(&right).unwrap().verdict, Verdict::Continue);
    }
    let mut kernel = Kernel::new(&Config::default()).unwrap();
    kernel.process(&right).unwrap();
    assert_eq!(kernel.process(&right).unwrap().cause.unwrap().rule, Rule::OutOfOrder);
}

#[test]
fn a_token_after_the_end_is_never_ignored() {
    let mut kernel = Kernel::new(&Config::default()).unwrap();
    kernel.process_token(0, 0.9).unwrap();
    assert_eq!(kernel.finish(), None);
    let decision = kernel.process_token(1, 0.9).unwrap();
    assert_eq!((decision.verdict, decision.cause.unwrap().rule), (Verdict::Halt, Rule::AfterEnd));
    assert_eq!(kernel.halt().unwrap().cause.rule, Rule::AfterEnd);

    let mut kernel = Kernel::new(&Config::default()).unwrap();
    kernel.process_token(0, 0.1).unwrap();
    let halt = kernel.halt();
    assert_eq!(kernel.process_token(1, 0.9).unwrap().cause.unwrap().rule, Rule::AfterEnd);
    assert_eq!((kernel.halt(), kernel.finish()), (halt, halt));
}

#[test]
fn entropy_and_time_are_enforced_where_they_are_given() {
    for (token, rule) in [
        (Token { entropy_bits: Some(1.3), ..Token::default() }, Some(Rule::EntropyLimit)),
        (Token { entropy_bits: Some(1.2), ..Token::default() }, None),
        (Token { elapsed_ms: Some(50.5), ..Token::default() }, Some(Rule::Deadline)),
        (Token { elapsed_ms: Some(50.0), ..Token::default() }, None),
    ] {
        let mut kernel = Kernel::new(&Config::default()).unwrap();
        let decision = kernel.process(&Token { score: Some(0.9), ..token }).unwrap();
        assert_eq!(decision.cause.map(|cause| cause.rule), rule);
    }
}

#[test]
fn scores_in_the_warning_band_are_warned_of() {
    let config = Config { soft_limit: Some(0.7), ..Config::default() };
    let (told, _) = told(&config, &[("a", 0.71), ("b", 0.7), ("c", 0.69), ("d", 0.4)]);
    let expected = [
        (Verdict::Continue, None),
        (Verdict::Continue, None),
        (Verdict::Warn, Some(Rule::SoftLimit)),
        (Verdict::Halt, Some(Rule::HardLimit)),
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_trace_is_bounded_and_has_texts_only_where_they_are_asked_for() {
    let config = Config { trace_tokens: 3, ..Config::default() };
    let long = "ä".repeat(40);
    let tokens: Vec<_> = ["one", "two", "three", long.as_str()].map(|text| (text, 0.9)).to_vec();
    let entries = |config: &Config| {
        let (_, kernel) = told(config, &tokens);
        let entries = kernel.trace().map(|entry| (entry.index, entry.text().to_owned()));
        entries.collect::<Vec<_>>()
    };
    assert_eq!(entries(&config), [(1, String::new()), (2, String::new()), (3, String::new())]);
    let texts = entries(&Config { keep_text: true, ..config.clone() });
    assert_eq!(texts[..2], [(1, "two".to_owned()), (2, "three".to_owned())]);
    assert_eq!(texts[2].1, "ä".repeat(TraceEntry::TEXT_BYTES / 2));
    assert_eq!(entries(&Config { trace_tokens: 0, ..config }), []);
}
