//! The promises of a replay: an equal run has no difference, and any other run shows its first one in words.

mod support;

use glasshouse_devices::{LogLine, StepReport, TrapKind};
use glasshouse_kernel::{
    Effect, ExitReason, Input, Kernel, KernelConfig, ProcessId, RequestId,
    replay::{Difference, ModelAnswers, Next, Replay, ReplaySummary},
    trace::{Frame, TraceHeader, TraceReader, TraceWriter},
};
use glasshouse_protocol::{ErrorData, FinishReason, GenerateResponse};
use support::*;

const MODEL: &str = r#"{"service":"model.generate","messages":[]}"#;
const CLOCK: &str = r#"{"service":"clock.now"}"#;

fn generation(text: &str, tokens: &[u32], logits_hash: &str) -> Vec<u8> {
    let response = GenerateResponse {
        logits_hash: logits_hash.into(),
        ..GenerateResponse::new(text, FinishReason::Stop, tokens.into())
    };
    serde_json::to_vec(&response).unwrap()
}

fn model_answers(answer: Vec<u8>) -> Input {
    Input::Completion { request: RequestId(1), result: Ok(answer) }
}

/// A run with everything in it: a generation, a tool, a wall clock, a kill.
fn run() -> Vec<Input> {
    let report = StepReport {
        logs: vec![LogLine { level: 2, text: "the tool answered".into() }],
        ..returned(glasshouse_envelope::Flags::EXPECTS_RESPONSE, CLOCK.as_bytes(), 77)
    };
    vec![
        guest_tool("calculate", vec![]),
        spawn(vec![service("model"), service("clock"), tool("calculate")], limits()),
        asks(1, MODEL),
        model_answers(generation("Call: calculate", &[5, 6, 7], "aa")),
        asks(1, &call("calculate")),
        finishes(2, "391"),
        step(1, report),
        completes(3, r#"{"unix_milliseconds":1}"#),
        Input::Kill { process: ProcessId(1), reason: ExitReason::Deadline },
    ]
}

fn recorded(inputs: Vec<Input>) -> Vec<Frame> {
    let config = KernelConfig::with_seed(3);
    let mut kernel = Kernel::new(config);
    let mut writer =
        TraceWriter::new(Vec::new(), &TraceHeader { kernel: config, ..TraceHeader::default() }).unwrap();
    for input in inputs {
        writer.input(&input).unwrap();
        for effect in kernel.apply(input).unwrap() {
            writer.effect(&effect).unwrap();
        }
    }
    let bytes = writer.finish().unwrap();
    TraceReader::open(&bytes).unwrap().1.collect::<Result<_, _>>().unwrap()
}

/// Replays `frames` in a live run whose inputs are those recorded, but for what `change` makes of them.
fn replayed(
    frames: Vec<Frame>,
    config: KernelConfig,
    mut change: impl FnMut(usize, Input) -> Input,
) -> Result<ReplaySummary, Box<Difference>> {
    let mut replay = Replay::new(frames, ModelAnswers::Recomputed);
    let mut kernel = Kernel::new(config);
    for index in 0.. {
        let input = match replay.next_input() {
            Next::Fact(input) => input.clone(),
            Next::Step { process, recorded } => Input::StepFinished { process, report: recorded.clone() },
            Next::Model { request, recorded } => Input::Completion { request, result: recorded.clone() },
            Next::End => break,
        };
        let input = change(index, input);
        replay.input(&input)?;
        for effect in kernel.apply(input).unwrap() {
            replay.effect(&effect)?;
        }
    }
    replay.finish()
}

/// What a change of the input with this number is called.
fn difference(number: usize, change: impl Fn(&mut Input)) -> Difference {
    let change = |index, mut input| {
        if index == number {
            change(&mut input);
        }
        input
    };
    *replayed(recorded(run()), KernelConfig::with_seed(3), change).unwrap_err()
}

fn report_of(input: &mut Input) -> &mut StepReport {
    match input {
        Input::StepFinished { report, .. } => report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_equal_run_has_no_difference_and_is_counted() {
    let summary = replayed(recorded(run()), KernelConfig::with_seed(3), |_, input| input).unwrap();
    assert_eq!(summary.inputs, 9);
    assert_eq!(summary.steps, 4);
    assert_eq!(summary.model_answers, 1);
    assert_eq!(summary.fuel, 107);
    assert_eq!(summary.effects + summary.inputs, recorded(run()).len() as u64);
}

#[test]
fn host_facts_are_told_from_what_is_computed_again() {
    let origins = |answers| {
        let mut replay = Replay::new(recorded(run()), answers);
        let mut kernel = Kernel::new(KernelConfig::with_seed(3));
        let mut origins = String::new();
        for input in run() {
            origins.push(match replay.next_input() {
                Next::Fact(found) => {
                    assert_eq!(*found, input);
                    'f'
                }
                Next::Step { .. } => 's',
                Next::Model { request, .. } => {
                    assert_eq!(request, RequestId(1));
                    'm'
                }
                Next::End => 'e',
            });
            replay.input(&input).unwrap();
            for effect in kernel.apply(input).unwrap() {
                replay.effect(&effect).unwrap();
            }
        }
        assert_eq!(replay.next_input(), Next::End);
        origins
    };
    assert_eq!(origins(ModelAnswers::Recomputed), "ffsmsssff");
    assert_eq!(origins(ModelAnswers::Trusted), "ffsfsssff");
}

#[test]
fn a_difference_in_fuel_is_named() {
    let found = difference(2, |input| report_of(input).fuel_used += 1);
    assert_eq!(
        (found.field.as_str(), found.recorded.as_str(), found.replayed.as_str()),
        ("fuel used", "10", "11")
    );
    assert_eq!((found.record.as_str(), found.process), ("input StepFinished", Some(ProcessId(1))));
    let offset = found.offset.unwrap();
    assert_eq!(
        found.to_string(),
        format!(
            "the replay differs from the log at record {} (byte {offset}), input StepFinished of process 1: \
             fuel used was 10 in the log and is 11 now",
            found.sequence
        )
    );
}

#[test]
fn differences_of_a_step_are_named() {
    let found = difference(2, |input| {
        report_of(input).outcome =
            returned(glasshouse_envelope::Flags::NONE, b"{\"service\":\"model.x\"}", 1).outcome;
    });
    assert_eq!(found.field, "the output");
    assert!(found.recorded.contains("model.generate"), "{found}");
    assert!(found.replayed.contains("model.x"), "{found}");

    let found = difference(2, |input| *report_of(input) = trapped(TrapKind::Unreachable, 10));
    assert_eq!((found.field.as_str(), found.replayed.as_str()), ("the outcome", "\"unreachable\""));
    let found = difference(6, |input| report_of(input).memory_bytes += 1);
    assert_eq!(found.field, "memory in bytes");
    let found = difference(6, |input| report_of(input).logs[0].text = "the tool failed".into());
    assert_eq!((found.field.as_str(), found.replayed.as_str()), ("a log line", "\"the tool failed\""));
    let found = difference(6, |input| report_of(input).logs.clear());
    assert_eq!(found.field, "the number of log lines");
    let found = difference(6, |input| report_of(input).events.push(vec![]));
    assert_eq!(found.field, "the number of events");
}

#[test]
fn a_difference_of_a_generation_is_named_by_its_token() {
    let answer = |text: &str, tokens: &[u32], hash: &str| {
        let answer = generation(text, tokens, hash);
        difference(3, move |input| *input = model_answers(answer.clone()))
    };
    let found = answer("Call: clock", &[5, 8, 7], "aa");
    assert_eq!(found.field, "generated token 1");
    assert!(found.recorded.starts_with("6 ") && found.replayed.starts_with("8 "), "{found}");
    let found = answer("Call: calculate", &[5, 6], "aa");
    assert_eq!(found.field, "generated token 2");
    assert!(found.replayed.starts_with("missing"));
    let found = answer("Call: calculate", &[5, 6, 7], "ab");
    assert_eq!((found.field.as_str(), found.replayed.as_str()), ("the hash of the last logits", "ab"));
    let found = answer("Call: clock", &[5, 6, 7], "aa");
    assert_eq!(found.field, "the generated text");
    let found = difference(3, |input| {
        *input = Input::Completion {
            request: RequestId(1),
            result: Err(ErrorData::new("no_model", "no model is loaded")),
        };
    });
    assert_eq!(found.field, "the answer");
    assert!(found.replayed.contains("no_model"), "{found}");
}

#[test]
fn another_input_than_the_one_due_is_named() {
    let found =
        difference(7, |input| *input = Input::Kill { process: ProcessId(1), reason: ExitReason::Killed });
    assert_eq!((found.recorded.as_str(), found.replayed.as_str()), ("input Completion", "input Kill"));
}

#[test]
fn a_kernel_with_another_seed_differs_in_its_first_effect() {
    let found = *replayed(recorded(run()), KernelConfig::with_seed(4), |_, input| input).unwrap_err();
    assert_eq!((found.record.as_str(), found.field.as_str()), ("effect RunStep", "the random seed"));
}

#[test]
fn missing_and_surplus_records_are_named() {
    let frames = recorded(run());
    let is_input = |frame: &Frame| matches!(frame.record, glasshouse_kernel::trace::Record::Input(_));

    // The log lacks the last effect of the kill.
    let shorter = frames[..frames.len() - 1].to_vec();
    let found = *replayed(shorter, KernelConfig::with_seed(3), |_, input| input).unwrap_err();
    assert_eq!((found.record.as_str(), found.recorded.as_str()), ("effect Exited", "missing"));
    assert_eq!((found.offset, found.sequence), (None, frames.len() as u64 - 1));

    // The log has an effect that the live kernel does not ask for.
    let mut longer = frames.clone();
    let second_input = frames.iter().enumerate().filter(|(_, frame)| is_input(frame)).nth(1).unwrap().0;
    let surplus = Frame {
        record: glasshouse_kernel::trace::Record::Effect(Effect::Release { process: ProcessId(9) }),
        ..frames[second_input].clone()
    };
    longer.insert(second_input, surplus);
    let found = *replayed(longer, KernelConfig::with_seed(3), |_, input| input).unwrap_err();
    assert_eq!((found.record.as_str(), found.replayed.as_str()), ("effect Release", "missing"));
    assert_eq!(found.process, Some(ProcessId(9)));

    // The live run stops before the log does.
    let replay = Replay::new(frames.clone(), ModelAnswers::Recomputed);
    let found = *replay.finish().unwrap_err();
    assert_eq!((found.record.as_str(), found.sequence), ("input RegisterTool", 0));

    // The live run goes on after the log has ended.
    let mut replay = Replay::new(Vec::new(), ModelAnswers::Recomputed);
    assert_eq!(replay.next_input(), Next::End);
    let found = *replay.input(&completes(1, "1")).unwrap_err();
    assert_eq!((found.record.as_str(), found.replayed.as_str()), ("input Completion", "there"));
}

#[test]
fn long_contents_are_shown_around_the_first_difference() {
    let found = difference(7, |input| {
        let long = format!("{{\"unix_milliseconds\":1,\"rest\":\"{}\"}}", "x".repeat(500));
        *input = completes(3, &long);
    });
    assert_eq!(found.field, "the answer");
    assert!(found.replayed.len() < 200, "{}", found.replayed);
    assert!(found.replayed.contains("from byte"), "{found}");
}
