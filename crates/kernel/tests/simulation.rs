//! The whole kernel in a fake world: guests, services and a host that behave at random, all from one seed.
//!
//! The world performs effects late, out of order, sometimes never; it kills, repeats itself and reports nonsense.
//! After every input it checks what must always hold; at the end it replays what it did.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use glasshouse_devices::{DeviceInput, LogLine, StepOutcome, StepReport, TrapKind};
use glasshouse_envelope::Flags;
use glasshouse_kernel::{
    Bytes, Effect, EventKind, ExitReason, Fuel, Input, Kernel, KernelConfig, Life, Limits, ProcessId,
    ProcessState, RequestId, Ticks, ToolTarget,
    replay::{ModelAnswers, Next, Replay},
    trace::{Frame, TraceHeader, TraceReader, TraceWriter},
};
use glasshouse_protocol::ErrorData;
use proptest::prelude::*;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use support::*;

/// What the host was asked to do and has not done.
#[derive(Clone, Copy)]
enum Open {
    Step { process: ProcessId, fuel: u64 },
    Request(RequestId),
}

/// What the world knows of a process.
struct Seen {
    root: ProcessId,
    parent: Option<ProcessId>,
    released: bool,
}

struct World {
    random: ChaCha8Rng,
    kernel: Kernel,
    open: Vec<Open>,
    done: Vec<Open>,
    processes: BTreeMap<ProcessId, Seen>,
    living: BTreeSet<ProcessId>,
    /// Resident ones between two calls.
    idle: BTreeSet<ProcessId>,
    requests: BTreeSet<RequestId>,
    fuel_of_root: BTreeMap<ProcessId, u64>,
    exited: BTreeSet<ProcessId>,
    next_event: u64,
    last_time: u64,
    log: Vec<(Input, Vec<Effect>)>,
    snapshot: (usize, Vec<u8>),
    refused: usize,
}

/// Few, so that the limit is met often.
const PROCESSES: u32 = 12;

const ROOT_FUEL: u64 = 5_000;

impl World {
    fn new(seed: u64) -> Self {
        let kernel = Kernel::new(KernelConfig { seed, processes: PROCESSES });
        let snapshot = (0, kernel.snapshot().unwrap());
        let mut world = Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            kernel,
            open: Vec::new(),
            done: Vec::new(),
            processes: BTreeMap::new(),
            living: BTreeSet::new(),
            idle: BTreeSet::new(),
            requests: BTreeSet::new(),
            fuel_of_root: BTreeMap::new(),
            exited: BTreeSet::new(),
            next_event: 0,
            last_time: 0,
            log: Vec::new(),
            snapshot,
            refused: 0,
        };
        world.feed(guest_tool("leaf", vec![service("files")]));
        world.feed(guest_tool("nested", vec![tool("leaf"), tool("nested"), service("model")]));
        world.feed(Input::RegisterTool {
            name: "remote".into(),
            target: ToolTarget::Service("mcp.remote".into()),
        });
        world
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }

    /// Feeds an input that is legal.
    fn feed(&mut self, input: Input) {
        let effects = self.kernel.apply(input.clone()).unwrap_or_else(|error| panic!("{input:?}: {error}"));
        self.check(&input, &effects);
        self.log.push((input, effects));
    }

    /// Feeds an input that is not, and sees that nothing changes.
    fn feed_illegal(&mut self, input: Input) {
        let before = self.kernel.snapshot().unwrap();
        assert!(self.kernel.apply(input.clone()).is_err(), "{input:?}");
        assert_eq!(self.kernel.snapshot().unwrap(), before, "{input:?}");
        self.refused += 1;
    }

    fn check(&mut self, input: &Input, effects: &[Effect]) {
        if let Input::StepFinished { process, report } = input {
            let root = self.processes[process].root;
            if !self.processes[process].released {
                let used = self.fuel_of_root.entry(root).or_default();
                *used += report.fuel_used;
                assert!(*used <= ROOT_FUEL, "process {root} used {used} units of fuel");
            }
        }
        for effect in effects {
            self.check_effect(effect);
        }
        // Whoever ends takes along the tools it called.
        if effects.iter().any(|effect| matches!(effect, Effect::Release { .. })) {
            for process in &self.living {
                if let Some(parent) = self.processes[process].parent {
                    assert!(self.living.contains(&parent), "{process} outlives its caller");
                }
            }
        }
    }

    fn check_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::RunStep { process, fuel, memory_bytes, clock_nanoseconds, .. } => {
                let seen = &self.processes[process];
                assert!(!seen.released, "a step of process {process}, which has ended");
                let used = self.fuel_of_root.get(&seen.root).copied().unwrap_or_default();
                assert!(*fuel > 0 && *fuel <= ROOT_FUEL - used, "{fuel} of {used}");
                assert_eq!(*memory_bytes, limits().memory.0);
                assert!(*clock_nanoseconds >= self.last_time);
                self.assert_idle(*process);
                self.open.push(Open::Step { process: *process, fuel: *fuel });
            }
            Effect::Perform { request, process, .. } => {
                assert!(!self.processes[process].released, "a request of process {process}, which has ended");
                assert!(self.requests.insert(*request), "request {request} twice");
                self.assert_idle(*process);
                self.open.push(Open::Request(*request));
            }
            Effect::Release { process } => {
                let seen = self.processes.get_mut(process).unwrap();
                assert!(!std::mem::replace(&mut seen.released, true), "process {process} is released twice");
                self.living.remove(process);
                self.idle.remove(process);
            }
            Effect::Exited { process, exit } => {
                assert!(self.processes[process].released && self.processes[process].parent.is_none());
                assert!(self.exited.insert(*process), "process {process} exits twice");
                assert_eq!(exit.code, exit.reason.exit_code());
                assert!(exit.fuel_used <= ROOT_FUEL);
            }
            Effect::Prepare { process, .. } => {
                // It comes before all else of its process.
                assert!(!self.processes.contains_key(process), "process {process} is prepared late");
            }
            Effect::Device { process, .. } => {
                assert!(!self.processes[process].released, "an act on process {process}, which has ended");
                self.assert_idle(*process);
            }
            Effect::Returned { process, .. } => {
                self.assert_idle(*process);
                assert!(self.idle.insert(*process), "process {process} returns twice");
            }
            Effect::Publish(event) => {
                assert_eq!(event.sequence, self.next_event);
                assert!(event.clock_nanoseconds >= self.last_time);
                self.next_event += 1;
                self.last_time = event.clock_nanoseconds;
                if let EventKind::ProcessStarted { process, parent, .. } = &event.kind {
                    let root = parent.map_or(*process, |parent| self.processes[&parent].root);
                    self.living.insert(*process);
                    assert!(self.living.len() <= PROCESSES as usize);
                    let seen = Seen { root, parent: *parent, released: false };
                    assert!(self.processes.insert(*process, seen).is_none());
                }
            }
        }
    }

    /// A process does one thing at a time.
    fn assert_idle(&self, process: ProcessId) {
        let stepping = self
            .open
            .iter()
            .any(|open| matches!(open, Open::Step { process: other, .. } if *other == process));
        assert!(!stepping, "process {process} is running a step already");
    }

    fn act(&mut self) {
        if self.below(200) == 0 {
            self.snapshot = (self.log.len(), self.kernel.snapshot().unwrap());
        }
        match self.below(20) {
            0 | 1 => self.spawn(),
            2 => self.kill(),
            3 => self.misbehave(),
            4 | 5 => self.call(),
            _ if self.open.is_empty() => self.spawn(),
            _ => self.perform_one(),
        }
    }

    fn spawn(&mut self) {
        let grants =
            vec![service("model"), tool("leaf"), tool("nested"), tool("remote"), tool("unregistered")];
        let mut input =
            spawn(grants, Limits { fuel: Fuel(ROOT_FUEL), requests: 30, children: 10, ..limits() });
        let resident = self.one_in(3);
        if let (Input::Spawn { life, .. }, true) = (&mut input, resident) {
            *life = Life::Resident;
        }
        if self.living.len() == PROCESSES as usize {
            self.feed_illegal(input);
        } else {
            self.feed(input);
        }
    }

    /// Calls a resident process that is idle, and acts on its devices before; one that is not idle refuses.
    fn call(&mut self) {
        let Some(process) =
            self.living.iter().nth(self.random.next_u64() as usize % PROCESSES as usize).copied()
        else {
            return;
        };
        let call = Input::Call { process, entry: "run".into(), payload: b"{}".to_vec() };
        if self.idle.remove(&process) {
            self.feed(Input::Device { process, input: DeviceInput::Stdin(b"line\n".to_vec()) });
            self.feed(call);
        } else {
            self.feed_illegal(call);
        }
    }

    fn kill(&mut self) {
        let highest = self.processes.len() as u64;
        if highest == 0 {
            return;
        }
        let process = ProcessId(1 + self.below(highest));
        let reason = [ExitReason::Killed, ExitReason::Deadline, ExitReason::Halted][self.below(3) as usize];
        self.feed(Input::Kill { process, reason });
    }

    /// Inputs that can come of a faulty host.
    fn misbehave(&mut self) {
        let unknown = ProcessId(self.processes.len() as u64 + 1 + self.below(5));
        match self.below(4) {
            0 => self.feed_illegal(finishes(unknown.0, "1")),
            1 => self.feed_illegal(Input::Kill { process: unknown, reason: ExitReason::Killed }),
            2 => self.feed_illegal(completes(u64::MAX, "1")),
            _ => {
                // Says again what was said before.
                let Some(index) = (self.done.len() as u64).checked_sub(1).map(|last| self.below(last + 1))
                else {
                    return;
                };
                match self.done[index as usize] {
                    Open::Request(request) => self.feed_illegal(completes(request.0, "1")),
                    Open::Step { process, .. } => {
                        let running = self.open.iter().any(
                            |open| matches!(open, Open::Step { process: other, .. } if *other == process),
                        );
                        if !running {
                            self.feed_illegal(finishes(process.0, "1"));
                        }
                    }
                }
            }
        }
    }

    fn perform_one(&mut self) {
        let index = self.below(self.open.len() as u64) as usize;
        let open = self.open.swap_remove(index);
        match open {
            Open::Step { process, fuel } => {
                if self.one_in(50) {
                    let report = returned(Flags::NONE, b"1", fuel + 1);
                    if !self.processes[&process].released {
                        self.feed_illegal(Input::StepFinished { process, report });
                    }
                }
                let report = self.step(fuel);
                self.feed(Input::StepFinished { process, report });
            }
            Open::Request(request) => {
                let result = match self.below(4) {
                    0 => Err(ErrorData::new("io", "the disk is on fire")),
                    1 => Ok(vec![b'1'; self.below(100) as usize]),
                    _ => Ok(b"{\"text\":\"hello\"}".to_vec()),
                };
                self.feed(Input::Completion { request, result });
            }
        }
        self.done.push(open);
    }

    /// What a guest does with its step.
    fn step(&mut self, fuel: u64) -> StepReport {
        let used = if self.one_in(30) { fuel } else { self.below(300).min(fuel) };
        let mut report = match self.below(20) {
            0..=4 => returned(Flags::EXPECTS_RESPONSE, br#"{"service":"model.generate"}"#, used),
            5 => returned(Flags::EXPECTS_RESPONSE, br#"{"service":"files.read","path":"a"}"#, used),
            6..=11 => {
                let name = ["leaf", "nested", "remote", "unregistered", "forbidden"][self.below(5) as usize];
                returned(Flags::EXPECTS_RESPONSE, call(name).as_bytes(), used)
            }
            12 => returned(Flags::EXPECTS_RESPONSE, b"{\"service\":", used),
            13 => returned(Flags::ERROR, br#"{"code":"sad","message":"It did not work."}"#, used),
            14 => {
                let kinds =
                    [TrapKind::Unreachable, TrapKind::OutOfFuel, TrapKind::OutOfMemory, TrapKind::Engine];
                trapped(kinds[self.below(4) as usize], used)
            }
            15 => {
                let mut bytes = vec![0; self.below(40) as usize];
                self.random.fill_bytes(&mut bytes);
                report(StepOutcome::Returned(bytes), used)
            }
            _ => returned(Flags::NONE, b"{\"answer\":42}", used),
        };
        for _ in 0..self.below(3) {
            report.logs.push(LogLine { level: 2, text: "working".into() });
            report.events.push(b"{}".to_vec());
        }
        if self.one_in(40) {
            report.events = vec![b"{}".to_vec(); 4];
        }
        report.memory_bytes = if self.one_in(60) { 1 << 20 } else { self.below(65_537) };
        report
    }

    /// Ends everything, then hears all late reports.
    fn wind_down(&mut self) {
        for process in self.living.clone() {
            self.feed(Input::Kill { process, reason: ExitReason::Killed });
        }
        while let Some(open) = self.open.pop() {
            match open {
                Open::Step { process, .. } => self.feed(finishes(process.0, "1")),
                Open::Request(request) => self.feed(completes(request.0, "1")),
            }
        }
        assert!(self.living.is_empty());
        let roots = self.processes.values().filter(|seen| seen.parent.is_none()).count();
        assert_eq!(self.exited.len(), roots);
        assert!(
            self.kernel
                .processes()
                .all(|process| matches!(process.state, ProcessState::Stopped(_) | ProcessState::Error(_)))
        );
        assert!(self.kernel.clock() > Ticks(self.log.len() as u64));
    }

    /// The log gives the same effects and the same state, from the start and from a snapshot.
    fn replay(&self) {
        let last = self.kernel.snapshot().unwrap();
        let (position, snapshot) = &self.snapshot;
        let starts =
            [(0, Kernel::new(self.kernel.config())), (*position, Kernel::restore(snapshot).unwrap())];
        for (position, mut kernel) in starts {
            for (input, effects) in &self.log[position..] {
                assert_eq!(&kernel.apply(input.clone()).unwrap(), effects);
            }
            assert_eq!(kernel.snapshot().unwrap(), last);
        }
    }

    fn trace(&self) -> Vec<u8> {
        let mut writer = {
            let header = TraceHeader { kernel: self.kernel.config(), ..TraceHeader::default() };
            TraceWriter::new(Vec::new(), &header).unwrap()
        };
        for (input, effects) in &self.log {
            writer.input(input).unwrap();
            for effect in effects {
                writer.effect(effect).unwrap();
            }
        }
        writer.finish().unwrap()
    }
}

fn run(seed: u64, actions: usize) -> World {
    let mut world = World::new(seed);
    for _ in 0..actions {
        world.act();
    }
    world.wind_down();
    world
}

#[test]
fn a_long_life_keeps_every_promise() {
    let world = run(1, 20_000);
    world.replay();
    let kinds: BTreeSet<&str> =
        world.log.iter().flat_map(|(_, effects)| events(effects)).map(EventKind::name).collect();
    for name in [
        "ProcessStarted",
        "ProcessStopped",
        "ProcessCrashed",
        "ToolCalled",
        "ToolFinished",
        "ServiceCalled",
        "FileAccessed",
        "CapabilityDenied",
        "Emitted",
        "Logged",
        "CompletionIgnored",
        "StepIgnored",
    ] {
        assert!(kinds.contains(name), "{name} never happened");
    }
    let reasons: BTreeSet<String> = world
        .log
        .iter()
        .flat_map(|(_, effects)| events(effects))
        .filter_map(|event| match event {
            EventKind::ProcessStopped { reason, .. } => Some(reason.name().to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(reasons.len(), 8, "{reasons:?}");
    assert!(world.refused > 500);
}

#[test]
fn the_same_seed_writes_the_same_log_byte_for_byte() {
    let trace = run(5, 2_000).trace();
    assert_eq!(trace, run(5, 2_000).trace());
    assert_ne!(trace, run(6, 2_000).trace());
    let (header, frames) = TraceReader::open(&trace).unwrap();
    assert_eq!(header.kernel.seed, 5);
    let frames: Vec<Frame> = frames.map(Result::unwrap).collect();
    assert!(frames.len() > 2_000);

    let mut replay = Replay::new(frames, ModelAnswers::Recomputed);
    let mut kernel = Kernel::new(header.kernel);
    loop {
        let input = match replay.next_input() {
            Next::Fact(input) => input.clone(),
            Next::Step { process, recorded } => Input::StepFinished { process, report: recorded.clone() },
            Next::Model { request, recorded } => Input::Completion { request, result: recorded.clone() },
            Next::End => break,
        };
        replay.input(&input).unwrap();
        for effect in kernel.apply(input).unwrap() {
            replay.effect(&effect).unwrap();
        }
    }
    let summary = replay.finish().unwrap();
    assert!(summary.steps > 500 && summary.model_answers > 100, "{summary:?}");
}

#[test]
fn damage_anywhere_in_a_long_log_is_found() {
    let trace = run(9, 300).trace();
    let mut random = ChaCha8Rng::seed_from_u64(9);
    for _ in 0..400 {
        let position = (random.next_u64() % trace.len() as u64) as usize;
        let mut damaged = trace.clone();
        damaged[position] ^= 1 << (random.next_u64() % 8);
        for bytes in [&damaged[..], &trace[..position]] {
            let sound =
                TraceReader::open(bytes).is_ok_and(|(_, mut frames)| frames.all(|frame| frame.is_ok()));
            assert!(!sound, "byte {position} of {}", trace.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_seed_keeps_every_promise(seed in any::<u64>()) {
        run(seed, 400).replay();
    }

    #[test]
    fn arbitrary_step_outputs_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..80), flags in 0u8..4) {
        let flags = Flags::from_bits(flags << 2).unwrap();
        let unlimited = Limits { output: Bytes(u64::MAX), ..limits() };
        let mut kernel = kernel(vec![spawn(vec![service("model")], unlimited)]);
        kernel.apply(step(1, returned(flags, &payload, 1))).unwrap();
    }

    #[test]
    fn arbitrary_snapshots_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut snapshot = vec![1];
        snapshot.extend(bytes);
        if let Ok(mut kernel) = Kernel::restore(&snapshot) {
            let inputs = [
                spawn(vec![], limits()),
                finishes(1, "1"),
                completes(1, "1"),
                Input::Kill { process: ProcessId(1), reason: ExitReason::Killed },
            ];
            for input in inputs {
                let _ = kernel.apply(input);
            }
        }
    }
}
