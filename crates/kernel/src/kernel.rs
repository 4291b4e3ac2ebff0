//! The state, and the life of a process in it: from a spawn over steps and answers to its end.
//!
//! Every input is first admitted (`admit` looks and changes nothing) and then applied, which cannot fail.

use std::collections::{BTreeMap, BTreeSet};

use glasshouse_devices::{Setup, StepCall, StepReport};
use glasshouse_protocol::{ErrorData, GuardHalt};
use serde::{Deserialize, Serialize};

use crate::{
    Bytes, Effect, Event, EventKind, Exit, ExitReason, Fuel, Input, KernelError, Life, Limits, ProcessId,
    ProcessSummary, RequestId, Ticks, ToolTarget,
    message::{Verdict, answer_envelope, input_envelope, judge, out_of_fuel},
    process::{Awaited, Caller, Ended, Identity, Living, Process, Running, Stepping},
    seed,
};

/// How many ended processes stay in [`Kernel::processes`]; the oldest go first. The log has all of them.
const MAX_ENDED: usize = 1024;

/// How many steps and requests of killed processes are remembered, so that a late report of one is told from an
/// impossible one. A host need not report them, so they could pile up; a report of a forgotten one is refused.
const MAX_LATE: usize = 1 << 16;

/// The service that generates text.
const MODEL_GENERATE: &str = "model.generate";

/// The first byte of a snapshot.
const SNAPSHOT_VERSION: u8 = 2;

/// What a kernel starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelConfig {
    /// Everything random comes from it.
    pub seed: u64,
    /// How many processes may live at a time. Each costs the host an instance.
    pub processes: u32,
}

impl KernelConfig {
    /// The default limits with this seed.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }
}

impl Default for KernelConfig {
    /// Seed 0, and as many processes as a host has memory for in sleep.
    fn default() -> Self {
        Self { seed: 0, processes: 10_000 }
    }
}

/// The state machine. See the crate's page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kernel {
    pub(crate) config: KernelConfig,
    clock: Ticks,
    next_process: u64,
    next_request: u64,
    next_event: u64,
    pub(crate) tools: BTreeMap<String, ToolTarget>,
    pub(crate) living: BTreeMap<ProcessId, Living>,
    ended: BTreeMap<ProcessId, Ended>,
    /// Requests that the host performs, and who waits for each.
    pub(crate) performing: BTreeMap<RequestId, ProcessId>,
    /// Requests that were being performed when their process ended.
    pub(crate) late_requests: BTreeSet<RequestId>,
    /// Processes that were running a step when they ended.
    pub(crate) late_steps: BTreeSet<ProcessId>,
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new(KernelConfig::default())
    }
}

impl Kernel {
    /// A kernel with no tools and no processes, at virtual time zero.
    #[must_use]
    pub fn new(config: KernelConfig) -> Self {
        Self {
            config,
            clock: Ticks(0),
            next_process: 1,
            next_request: 1,
            next_event: 0,
            tools: BTreeMap::new(),
            living: BTreeMap::new(),
            ended: BTreeMap::new(),
            performing: BTreeMap::new(),
            late_requests: BTreeSet::new(),
            late_steps: BTreeSet::new(),
        }
    }

    /// Takes an input and says what to do, in the order in which to do it.
    ///
    /// # Errors
    /// The input is impossible in this state; the state is as it was.
    pub fn apply(&mut self, input: Input) -> Result<Vec<Effect>, KernelError> {
        self.admit(&input)?;
        let mut effects = Vec::new();
        self.clock = self.clock.plus(Ticks::PER_INPUT);
        match input {
            Input::RegisterTool { name, target } => {
                self.tools.insert(name, target);
            }
            Input::Spawn { name, module, entry, payload, grants, limits, setup, life } => {
                let id = self.new_process();
                if setup != Setup::default() || life == Life::Resident {
                    effects.push(Effect::Prepare {
                        process: id,
                        module,
                        memory_bytes: limits.memory.0,
                        random_seed: seed::process_seed(self.config.seed, id),
                        setup,
                    });
                }
                let identity = Identity { name, module, caller: None, grants, limits, life };
                self.start(id, identity, entry, &payload, &mut effects);
            }
            Input::Call { process, entry, payload } => self.call(process, entry, &payload, &mut effects),
            Input::Device { process, input } => {
                let name = input.name().to_owned();
                self.publish(EventKind::DeviceInput { process, name }, &mut effects);
                effects.push(Effect::Device { process, input });
            }
            Input::Refuel { process, fuel } => {
                if let Some(process) = self.living.get_mut(&process) {
                    process.account_mut().fuel_left = process.account().fuel_left.plus(fuel);
                    let limits = process.limits_mut();
                    limits.fuel = limits.fuel.plus(fuel);
                }
            }
            Input::StepFinished { process, report } => self.step_finished(process, report, &mut effects),
            Input::Completion { request, result } => self.completed(request, &result, &mut effects),
            Input::Kill { process, reason } => self.kill(process, reason, &mut effects),
        }
        Ok(effects)
    }

    /// The processes by id: all that live, and the latest that ended.
    pub fn processes(&self) -> impl Iterator<Item = ProcessSummary> {
        let living = self.living.iter().map(|(id, process)| ProcessSummary::of_living(*id, process));
        let ended = self.ended.iter().map(|(id, process)| ProcessSummary::of_ended(*id, process));
        let mut all: Vec<ProcessSummary> = living.chain(ended).collect();
        all.sort_by_key(|process| process.id);
        all.into_iter()
    }

    /// What a living process may use.
    #[must_use]
    pub fn limits(&self, process: ProcessId) -> Option<Limits> {
        self.living.get(&process).map(|process| process.identity().limits)
    }

    /// What it was started with.
    #[must_use]
    pub fn config(&self) -> KernelConfig {
        self.config
    }

    /// The virtual time.
    #[must_use]
    pub fn clock(&self) -> Ticks {
        self.clock
    }

    /// The whole state as bytes. The same state has the same bytes.
    ///
    /// # Errors
    /// [`KernelError::BadSnapshot`] if the encoder fails.
    pub fn snapshot(&self) -> Result<Vec<u8>, KernelError> {
        postcard::to_allocvec(&(SNAPSHOT_VERSION, self))
            .map_err(|error| KernelError::BadSnapshot(error.to_string()))
    }

    /// The state that a snapshot holds; with the inputs that came after it, it goes on as the original did. What a
    /// snapshot says is believed: whoever stores one guards it.
    ///
    /// # Errors
    /// [`KernelError::BadSnapshot`].
    pub fn restore(snapshot: &[u8]) -> Result<Self, KernelError> {
        if snapshot.first() != Some(&SNAPSHOT_VERSION) {
            return Err(KernelError::BadSnapshot(format!("it is not of version {SNAPSHOT_VERSION}")));
        }
        match postcard::take_from_bytes::<(u8, Self)>(snapshot) {
            Ok(((_, kernel), [])) => Ok(kernel),
            Ok((_, rest)) => Err(KernelError::BadSnapshot(format!("{} bytes are left over", rest.len()))),
            Err(error) => Err(KernelError::BadSnapshot(error.to_string())),
        }
    }

    pub(crate) fn existed(&self, process: ProcessId) -> bool {
        (1..self.next_process).contains(&process.0)
    }

    /// Whether as many processes live as may: those in the table, and `outside`, which are taken out of it while
    /// something is done with them.
    pub(crate) fn is_full(&self, outside: usize) -> bool {
        (self.living.len() + outside) as u64 >= u64::from(self.config.processes)
    }

    pub(crate) fn new_process(&mut self) -> ProcessId {
        let id = ProcessId(self.next_process);
        self.next_process = self.next_process.saturating_add(1);
        id
    }

    pub(crate) fn new_request(&mut self) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request = self.next_request.saturating_add(1);
        id
    }

    pub(crate) fn publish(&mut self, kind: EventKind, effects: &mut Vec<Effect>) {
        let event = Event { sequence: self.next_event, clock_nanoseconds: self.clock.0, kind };
        self.next_event = self.next_event.saturating_add(1);
        effects.push(Effect::Publish(event));
    }

    pub(crate) fn start(
        &mut self,
        id: ProcessId,
        mut identity: Identity,
        entry: String,
        payload: &[u8],
        effects: &mut Vec<Effect>,
    ) {
        identity.limits.depth = identity.limits.depth.min(Limits::MAX_DEPTH);
        let started = EventKind::ProcessStarted {
            process: id,
            name: identity.name.clone(),
            module: identity.module,
            parent: identity.caller.map(|caller| caller.process),
        };
        let process = Process::new(id, identity);
        if process.identity.life == Life::Resident && entry.is_empty() {
            self.living.insert(id, Living::Idle(process.idle()));
            self.publish(started, effects);
            return;
        }
        self.living.insert(id, Living::Starting(process));
        self.publish(started, effects);
        self.run_step(id, StepCall::Start { entry, input: input_envelope(payload) }, effects);
    }

    /// Begins a call of an idle process.
    fn call(&mut self, id: ProcessId, entry: String, payload: &[u8], effects: &mut Vec<Effect>) {
        match self.living.remove(&id) {
            Some(Living::Idle(process)) => {
                self.living.insert(id, Living::Stepping(process.call()));
                self.run_step(id, StepCall::Start { entry, input: input_envelope(payload) }, effects);
            }
            // `admit` lets no other pass.
            Some(other) => {
                self.living.insert(id, other);
            }
            None => {}
        }
    }

    /// Takes the end of a call: of the process, or only of this call of a resident one.
    fn returned(
        &mut self,
        process: Process<Running<Stepping>>,
        result: Result<Vec<u8>, (ExitReason, ErrorData)>,
        effects: &mut Vec<Effect>,
    ) {
        let id = process.id;
        if process.identity.life == Life::Once {
            self.finish(id, Living::Stepping(process), result, effects);
            return;
        }
        self.living.insert(id, Living::Idle(process.rest()));
        let result = result.map_err(|(_, error)| error);
        self.publish(EventKind::CallFinished { process: id, succeeded: result.is_ok() }, effects);
        effects.push(Effect::Returned { process: id, result });
    }

    /// Asks for a step of a process that is not running one, or ends it when it has no fuel for one.
    fn run_step(&mut self, id: ProcessId, call: StepCall, effects: &mut Vec<Effect>) {
        let Some(process) = self.living.get(&id) else { return };
        let (identity, fuel) = (process.identity(), process.account().fuel_left);
        if fuel.is_empty() {
            let error = out_of_fuel(identity.limits.fuel);
            if let Some(process) = self.living.remove(&id) {
                self.finish(id, process, Err((ExitReason::OutOfFuel, error)), effects);
            }
            return;
        }
        effects.push(Effect::RunStep {
            process: id,
            module: identity.module,
            call,
            fuel: fuel.0,
            memory_bytes: identity.limits.memory.0,
            clock_nanoseconds: self.clock.0,
            random_seed: seed::process_seed(self.config.seed, id),
        });
    }

    fn step_finished(&mut self, id: ProcessId, report: StepReport, effects: &mut Vec<Effect>) {
        self.clock = self.clock.plus(Ticks(report.fuel_used));
        let mut process = match self.living.remove(&id) {
            Some(Living::Starting(process)) => process.running(),
            Some(Living::Stepping(process)) => process,
            // `admit` lets nothing else pass than the step of a process that was killed.
            Some(other @ (Living::Waiting(_) | Living::Idle(_))) => {
                self.living.insert(id, other);
                return;
            }
            None => {
                self.late_steps.remove(&id);
                self.publish(EventKind::StepIgnored { process: id }, effects);
                return;
            }
        };
        process.account.fuel_left = process.account.fuel_left.minus(Fuel(report.fuel_used));
        process.account.memory = Bytes(report.memory_bytes);
        if let Err(failure) = self.take_output(&mut process, &report, effects) {
            self.finish(id, Living::Stepping(process), Err(failure), effects);
            return;
        }
        let limits = process.identity.limits;
        match judge(report.outcome, limits.fuel, limits.output.minus(process.account.output)) {
            Verdict::Finished(result) => self.returned(process, Ok(result), effects),
            Verdict::Refused(error) => self.returned(process, Err((ExitReason::Failed, error)), effects),
            Verdict::Exited => self.finish(id, Living::Stepping(process), Ok(b"null".to_vec()), effects),
            Verdict::Failed(reason, error) => {
                self.finish(id, Living::Stepping(process), Err((reason, error)), effects);
            }
            // It could not run the step that takes the answer.
            Verdict::Asks(_) if process.account.fuel_left.is_empty() => {
                let error = out_of_fuel(process.identity.limits.fuel);
                self.finish(id, Living::Stepping(process), Err((ExitReason::OutOfFuel, error)), effects);
            }
            Verdict::Asks(payload) => self.route(process, payload, effects),
        }
    }

    /// Counts what a step put out and passes it on, unless it is more than the process may.
    fn take_output(
        &mut self,
        process: &mut Process<Running<Stepping>>,
        report: &StepReport,
        effects: &mut Vec<Effect>,
    ) -> Result<(), (ExitReason, ErrorData)> {
        use glasshouse_devices::StepOutcome;

        let limits = process.identity.limits;
        let failed = |code: &str, message: String| Err((ExitReason::Failed, ErrorData::new(code, message)));
        if report.memory_bytes > limits.memory.0 {
            let message = format!(
                "the process has {} bytes of memory, {} are allowed",
                report.memory_bytes, limits.memory
            );
            return Err((ExitReason::OutOfMemory, ErrorData::new("out_of_memory", message)));
        }
        if report.events.len() as u64 > u64::from(limits.events_per_step) {
            let message =
                format!("the process emitted more than {} events in one step", limits.events_per_step);
            return failed("event_limit", message);
        }
        let returned = match &report.outcome {
            StepOutcome::Returned(bytes) => bytes.len(),
            StepOutcome::Failed { error } => error.len(),
            StepOutcome::Trapped { .. } | StepOutcome::Exited { .. } => 0,
        };
        let logged = report.logs.iter().map(|line| line.text.len());
        let emitted = report.events.iter().map(Vec::len);
        let output =
            logged.chain(emitted).fold(Bytes::of(returned), |sum, length| sum.plus(Bytes::of(length)));
        process.account.output = process.account.output.plus(output);
        if process.account.output > limits.output {
            return failed("output_limit", format!("the process put out more than {} bytes", limits.output));
        }
        let id = process.id;
        for line in &report.logs {
            self.publish(
                EventKind::Logged { process: id, level: line.level, text: line.text.clone() },
                effects,
            );
        }
        for payload in &report.events {
            self.publish(EventKind::Emitted { process: id, payload: payload.clone() }, effects);
        }
        for event in &report.devices.events {
            self.publish(EventKind::Device { process: id, event: event.clone() }, effects);
        }
        for access in &report.devices.files.accesses {
            self.publish(EventKind::FileUsed { process: id, access: access.clone() }, effects);
        }
        Ok(())
    }

    fn completed(
        &mut self,
        request: RequestId,
        result: &Result<Vec<u8>, ErrorData>,
        effects: &mut Vec<Effect>,
    ) {
        match self.performing.remove(&request) {
            Some(process) => self.answer(process, result, effects),
            None => {
                self.late_requests.remove(&request);
                self.publish(EventKind::CompletionIgnored { request }, effects);
            }
        }
    }

    /// Gives a waiting process its answer.
    fn answer(&mut self, id: ProcessId, result: &Result<Vec<u8>, ErrorData>, effects: &mut Vec<Effect>) {
        let (process, waiting) = match self.living.remove(&id) {
            Some(Living::Waiting(process)) => process.resume(),
            Some(other) => {
                self.living.insert(id, other);
                return;
            }
            None => return,
        };
        self.living.insert(id, Living::Stepping(process));
        match waiting.on {
            Awaited::Service(service) => {
                if let Some(halt) = halt_of(&service, result) {
                    let request = waiting.request;
                    self.publish(EventKind::GenerationHalted { process: id, request, halt }, effects);
                }
            }
            Awaited::ServiceTool { name } | Awaited::GuestTool { name, .. } => {
                let (request, result) = (waiting.request, result.clone());
                self.publish(EventKind::ToolFinished { process: id, request, name, result }, effects);
            }
        }
        self.run_step(id, StepCall::Resume { input: answer_envelope(result) }, effects);
    }

    /// Gives a process that asked for what it cannot have its answer, at once.
    pub(crate) fn refuse(
        &mut self,
        process: Process<Running<Stepping>>,
        error: ErrorData,
        effects: &mut Vec<Effect>,
    ) {
        let id = process.id;
        self.living.insert(id, Living::Stepping(process));
        self.run_step(id, StepCall::Resume { input: answer_envelope(&Err(error)) }, effects);
    }

    /// Ends a process that runs no step and has no children, and tells whoever waits for it.
    pub(crate) fn finish(
        &mut self,
        id: ProcessId,
        process: Living,
        result: Result<Vec<u8>, (ExitReason, ErrorData)>,
        effects: &mut Vec<Effect>,
    ) {
        let (caller, exit) = self.end(id, process, result, effects);
        match caller {
            Some(caller) => self.answer(caller.process, &exit.result, effects),
            None => effects.push(Effect::Exited { process: id, exit }),
        }
    }

    fn kill(&mut self, id: ProcessId, reason: ExitReason, effects: &mut Vec<Effect>) {
        // No chain is longer than this, unless a snapshot was tampered with.
        let longest = Limits::MAX_DEPTH as usize + 1;
        let mut chain = Vec::new();
        let mut next = Some(id);
        while let Some((process, living)) =
            next.and_then(|id| self.living.get(&id).map(|living| (id, living)))
        {
            chain.push(process);
            if chain.len() == longest {
                break;
            }
            next = living.child();
        }
        for process in chain.into_iter().rev() {
            let Some(living) = self.living.remove(&process) else { continue };
            self.abandon(process, &living);
            if process == id {
                let error = ErrorData::new(reason.name(), killed_message(reason));
                self.finish(process, living, Err((reason, error)), effects);
            } else {
                let error = ErrorData::new("killed", "the process that called this tool was ended");
                self.end(process, living, Err((ExitReason::Killed, error)), effects);
            }
        }
    }

    /// Remembers what the host may still report of a process that is about to be killed.
    fn abandon(&mut self, id: ProcessId, process: &Living) {
        match process {
            Living::Starting(_) | Living::Stepping(_) => {
                self.late_steps.insert(id);
                if self.late_steps.len() > MAX_LATE {
                    self.late_steps.pop_first();
                }
            }
            Living::Idle(_) => {}
            Living::Waiting(process) => {
                let request = process.awaited().request;
                if self.performing.remove(&request).is_some() {
                    self.late_requests.insert(request);
                    if self.late_requests.len() > MAX_LATE {
                        self.late_requests.pop_first();
                    }
                }
            }
        }
    }

    fn end(
        &mut self,
        id: ProcessId,
        process: Living,
        result: Result<Vec<u8>, (ExitReason, ErrorData)>,
        effects: &mut Vec<Effect>,
    ) -> (Option<Caller>, Exit) {
        let fuel_used = process.fuel_used();
        let exit = match result {
            Ok(result) => Exit::finished(result, fuel_used),
            Err((reason, error)) => {
                if reason.is_error() {
                    let error = error.clone();
                    self.publish(EventKind::ProcessCrashed { process: id, reason, error }, effects);
                }
                Exit::failed(reason, error, fuel_used)
            }
        };
        let Exit { reason, code, fuel_used: fuel, .. } = exit;
        self.publish(EventKind::ProcessStopped { process: id, reason, code, fuel_used: fuel }, effects);
        effects.push(Effect::Release { process: id });
        let caller = process.identity().caller;
        if let Some(account) =
            caller.and_then(|caller| self.living.get_mut(&caller.process)).map(Living::account_mut)
        {
            account.fuel_left = account.fuel_left.minus(fuel_used);
        }
        self.ended.insert(id, process.end(exit.clone()));
        if self.ended.len() > MAX_ENDED {
            self.ended.pop_first();
        }
        (caller, exit)
    }
}

/// How the host's guard stopped a generation, as JSON, if it did.
fn halt_of(service: &str, answer: &Result<Vec<u8>, ErrorData>) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Generated {
        halt: Option<GuardHalt>,
    }
    let answer = answer.as_ref().ok().filter(|_| service == MODEL_GENERATE)?;
    let generated: Generated = serde_json::from_slice(answer).ok()?;
    serde_json::to_vec(&generated.halt?).ok()
}

fn killed_message(reason: ExitReason) -> &'static str {
    match reason {
        ExitReason::Deadline => "the process did not end before its deadline",
        ExitReason::Halted => "the guard halted the process",
        _ => "the process was killed",
    }
}
