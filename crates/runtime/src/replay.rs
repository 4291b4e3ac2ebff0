//! Running a recorded event log again and comparing every byte.

use glasshouse_engine::{HostConfig, HostMachine};
use glasshouse_halt::Rule;
use glasshouse_kernel::{
    Effect, Input, RequestId,
    replay::{ModelAnswers, Next, Replay},
    trace::TraceReader,
};
use glasshouse_protocol::{ErrorData, GenerateResponse};

use crate::{
    ModelSource, Modules, Observer, RuntimeError,
    driver::{Driver, Recorder, Task},
    services::{ModelService, Recorded},
    trace,
};

/// What a replay needs besides the log.
#[derive(Debug, Clone, Default)]
pub struct ReplayOptions {
    /// The model that the run used.
    pub model: ModelSource,
    /// Threads for inference; `None` takes what the machine has.
    pub threads: Option<usize>,
    /// Take the model's output from the log; no model is loaded then.
    pub trust_model: bool,
    /// Modules of the run that are not built in: a name for people, and the bytes.
    pub modules: Vec<(String, Vec<u8>)>,
    /// How the engine is set up.
    pub engine: HostConfig,
}

/// What was compared and found identical.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Inputs and effects.
    pub records: u64,
    /// Steps that were run again.
    pub steps: u64,
    /// Fuel that they used.
    pub fuel: u64,
    /// Tokens that the model generated, computed again or trusted.
    pub tokens: u64,
}

/// Compares instead of writing.
struct Comparison<'a>(&'a mut Replay);

impl Recorder for Comparison<'_> {
    fn input(&mut self, input: &Input) -> Result<(), RuntimeError> {
        self.0.input(input).map_err(RuntimeError::Difference)
    }

    fn effect(&mut self, effect: &Effect) -> Result<(), RuntimeError> {
        self.0.effect(effect).map_err(RuntimeError::Difference)
    }
}

/// Executes the run that `log` holds: agent, tools and model. Only what the host contributed is taken from the log.
///
/// # Errors
/// [`RuntimeError::Trace`] when the log is damaged, before anything runs; [`RuntimeError::Difference`] at the first
/// record that is not the same; [`RuntimeError::OtherModel`] and [`RuntimeError::UnknownModule`] when what the run
/// used is not at hand.
pub fn replay(
    log: &[u8],
    options: ReplayOptions,
    observer: &mut dyn Observer,
) -> Result<ReplayReport, RuntimeError> {
    let (header, frames) = TraceReader::open(log)?;
    let frames = frames.collect::<Result<Vec<_>, _>>()?;

    let ReplayOptions { model: source, threads, trust_model, modules: given, engine } = options;
    let machine = HostMachine::with_config(engine).map_err(RuntimeError::Engine)?;
    let mut modules = Modules::new(machine);
    modules.add_builtin();
    for (name, bytes) in &given {
        modules.add(name, bytes);
    }
    let mut model = None;
    if let (Some(recorded), false) = (header.model, trust_model) {
        if source.hash()? != Some(recorded) {
            return Err(RuntimeError::OtherModel { recorded: recorded.to_string() });
        }
        let guard = trace::guard_of(&header)?;
        model = source.load(threads)?.map(|model| ModelService::new(model, guard));
    }

    let answers = if trust_model { ModelAnswers::Trusted } else { ModelAnswers::Recomputed };
    let mut replay = Replay::new(frames, answers);
    let mut driver = Driver::new(header.kernel);
    let mut tokens = 0;
    loop {
        let input = match replay.next_input() {
            Next::End => break,
            Next::Fact(input) => {
                tokens += generated_tokens(input);
                let input = input.clone();
                // The answer is in the log: nobody else is to be asked for it.
                if let Input::Completion { request, .. } = &input {
                    take_request(&mut driver, *request);
                }
                Some(input)
            }
            Next::Step { process, recorded } => {
                match driver.take_task(|task| matches!(task, Task::Step(step) if step.process == process)) {
                    Some(Task::Step(step)) => Some(driver.run_step_again(step, &modules, recorded)?),
                    _ => None,
                }
            }
            Next::Model { request, recorded } => {
                let recorded = host_s_part(recorded);
                match (take_request(&mut driver, request), &mut model) {
                    (Some(Task::Request(task)), Some(model)) => {
                        let call = task.call();
                        let result = call.request().and_then(|request| {
                            let answer = model.answer_again(&call, &request, &recorded, observer);
                            answer.unwrap_or_else(|| {
                                Err(ErrorData::new("bad_request", "not a request of the model"))
                            })
                        });
                        let input = Input::Completion { request, result };
                        tokens += generated_tokens(&input);
                        Some(input)
                    }
                    _ => None,
                }
            }
        };
        // The log goes on with something that this run never asked for: told as the first difference.
        let Some(input) = input else { break };
        driver.apply(input, &mut Comparison(&mut replay), observer)?;
        for process in driver.take_released() {
            if let Some(model) = &mut model {
                model.release(process);
            }
        }
    }
    let summary = replay.finish().map_err(RuntimeError::Difference)?;
    Ok(ReplayReport {
        records: summary.inputs + summary.effects,
        steps: summary.steps,
        fuel: summary.fuel,
        tokens,
    })
}

fn take_request(driver: &mut Driver, request: RequestId) -> Option<Task> {
    driver.take_task(|task| matches!(task, Task::Request(task) if task.request == request))
}

fn response(result: &Result<Vec<u8>, ErrorData>) -> Option<GenerateResponse> {
    result.as_ref().ok().and_then(|answer| serde_json::from_slice(answer).ok())
}

/// When a person stopped the generation, or a token took too long: facts about the host, so the replay stops there as
/// well.
fn host_s_part(recorded: &Result<Vec<u8>, ErrorData>) -> Recorded {
    let Some(response) = response(recorded) else { return Recorded::default() };
    let is_cancelled = response.is_cancelled();
    let late = response.halt.filter(|halt| halt.rule == Rule::Deadline.name());
    Recorded {
        cancelled_after: is_cancelled.then_some(response.usage.generated_tokens),
        late: late.and_then(|halt| Some((halt.trigger, halt.value?))),
    }
}

fn generated_tokens(input: &Input) -> u64 {
    let Input::Completion { result, .. } = input else { return 0 };
    response(result).map_or(0, |response| u64::from(response.usage.generated_tokens))
}
