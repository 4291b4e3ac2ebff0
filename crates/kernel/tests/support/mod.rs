//! What tests of the kernel share: inputs and reports in short.

#![allow(dead_code, reason = "each test file uses its part")]

use glasshouse_devices::{DeviceReport, LogLine, Setup, StepCall, StepOutcome, StepReport, TrapKind};
use glasshouse_envelope::{Envelope, Flags};
use glasshouse_kernel::{
    Bytes, Capability, Effect, Event, EventKind, Exit, Fuel, Input, Kernel, KernelConfig, Life, Limits,
    ModuleHash, ProcessId, RequestId, ToolTarget,
};
use glasshouse_protocol::ErrorData;

pub const AGENT: ModuleHash = ModuleHash([1; 32]);
pub const TOOL: ModuleHash = ModuleHash([2; 32]);

pub fn service(name: &str) -> Capability {
    Capability::Service(name.into())
}

pub fn tool(name: &str) -> Capability {
    Capability::Tool(name.into())
}

pub fn limits() -> Limits {
    Limits {
        fuel: Fuel(1_000),
        memory: Bytes(65_536),
        output: Bytes(10_000),
        requests: 10,
        children: 5,
        depth: 2,
        events_per_step: 3,
    }
}

pub fn spawn(grants: Vec<Capability>, limits: Limits) -> Input {
    Input::Spawn {
        name: "agent".into(),
        module: AGENT,
        entry: "run".into(),
        payload: b"{}".to_vec(),
        grants,
        limits,
        setup: Setup::default(),
        life: Life::Once,
    }
}

pub fn guest_tool(name: &str, grants: Vec<Capability>) -> Input {
    let target = ToolTarget::Guest { module: TOOL, entry: name.into(), grants, limits: limits() };
    Input::RegisterTool { name: name.into(), target }
}

pub fn returned(flags: Flags, payload: &[u8], fuel_used: u64) -> StepReport {
    let bytes = Envelope::new(flags, payload).encode().unwrap();
    report(StepOutcome::Returned(bytes), fuel_used)
}

pub fn report(outcome: StepOutcome, fuel_used: u64) -> StepReport {
    StepReport {
        outcome,
        fuel_used,
        memory_bytes: 1_000,
        logs: Vec::new(),
        events: Vec::new(),
        devices: DeviceReport::default(),
    }
}

pub fn trapped(kind: TrapKind, fuel_used: u64) -> StepReport {
    report(StepOutcome::Trapped { kind, message: "it trapped".into() }, fuel_used)
}

pub fn step(process: u64, report: StepReport) -> Input {
    Input::StepFinished { process: ProcessId(process), report }
}

pub fn asks(process: u64, request: &str) -> Input {
    step(process, returned(Flags::EXPECTS_RESPONSE, request.as_bytes(), 10))
}

pub fn finishes(process: u64, result: &str) -> Input {
    step(process, returned(Flags::NONE, result.as_bytes(), 10))
}

pub fn fails(process: u64, error: &ErrorData) -> Input {
    step(process, returned(Flags::ERROR, &serde_json::to_vec(error).unwrap(), 10))
}

pub fn completes(request: u64, result: &str) -> Input {
    Input::Completion { request: RequestId(request), result: Ok(result.as_bytes().to_vec()) }
}

pub fn call(name: &str) -> String {
    format!(r#"{{"service":"tool.call","name":"{name}","arguments":{{"expression":"1+1"}}}}"#)
}

pub fn chatty(logs: usize, events: usize, bytes: usize) -> StepReport {
    let text = "x".repeat(bytes);
    StepReport {
        logs: vec![LogLine { level: 2, text: text.clone() }; logs],
        events: vec![text.into_bytes(); events],
        ..returned(Flags::NONE, b"1", 10)
    }
}

/// A kernel that has taken `inputs`.
pub fn kernel(inputs: Vec<Input>) -> Kernel {
    let mut kernel = Kernel::new(KernelConfig::with_seed(7));
    for input in inputs {
        kernel.apply(input).unwrap();
    }
    kernel
}

pub fn events(effects: &[Effect]) -> Vec<&EventKind> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Publish(Event { kind, .. }) => Some(kind),
            _ => None,
        })
        .collect()
}

pub fn names(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .map(|effect| match effect {
            Effect::RunStep { process, .. } => format!("RunStep {process}"),
            Effect::Prepare { process, .. } => format!("Prepare {process}"),
            Effect::Device { process, .. } => format!("Device {process}"),
            Effect::Returned { process, .. } => format!("Returned {process}"),
            Effect::Perform { request, .. } => format!("Perform {request}"),
            Effect::Release { process } => format!("Release {process}"),
            Effect::Publish(event) => event.kind.name().to_owned(),
            Effect::Exited { process, .. } => format!("Exited {process}"),
        })
        .collect()
}

pub fn exit(effects: &[Effect]) -> &Exit {
    let exit = effects.iter().find_map(|effect| match effect {
        Effect::Exited { exit, .. } => Some(exit),
        _ => None,
    });
    exit.expect("a process without a caller ends")
}

/// The answer that the only step among the effects gets.
pub fn resumed_with(effects: &[Effect]) -> Result<String, ErrorData> {
    let input = effects.iter().find_map(|effect| match effect {
        Effect::RunStep { call: StepCall::Resume { input }, .. } => Some(input),
        _ => None,
    });
    let envelope = Envelope::decode(input.expect("a process is resumed")).unwrap();
    if envelope.flags.is_error() {
        Err(serde_json::from_slice(envelope.payload).unwrap())
    } else {
        Ok(String::from_utf8(envelope.payload.to_vec()).unwrap())
    }
}
