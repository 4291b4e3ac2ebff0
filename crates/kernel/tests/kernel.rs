//! The promises of the kernel, one scenario each.

mod support;

use glasshouse_devices::{Setup, StepCall, StepOutcome, StepReport, TrapKind};
use glasshouse_envelope::{Encoder, Envelope, Flags};
use glasshouse_kernel::{
    Bytes, Capability, Effect, EventKind, ExitReason, Fuel, Input, Kernel, KernelConfig, KernelError, Life,
    Limits, MAX_MESSAGE_BYTES, ProcessId, ProcessState, RequestId, Ticks, ToolTarget,
};
use glasshouse_protocol::ErrorData;
use support::*;

const MODEL: &str = r#"{"service":"model.generate","messages":[]}"#;

#[test]
fn a_process_starts_asks_gets_an_answer_and_finishes() {
    let mut kernel = kernel(vec![]);
    let effects = kernel.apply(spawn(vec![service("model")], limits())).unwrap();
    assert_eq!(names(&effects), ["ProcessStarted", "RunStep 1"]);
    let Effect::RunStep { module, call, fuel, memory_bytes, clock_nanoseconds, random_seed, .. } =
        &effects[1]
    else {
        panic!("{effects:?}");
    };
    assert_eq!((*module, *fuel, *memory_bytes, *clock_nanoseconds), (AGENT, 1_000, 65_536, 1_000));
    let input = Envelope::plain(b"{}").encode().unwrap();
    assert_eq!(*call, StepCall::Start { entry: "run".into(), input });
    let seed = *random_seed;

    let effects = kernel.apply(asks(1, MODEL)).unwrap();
    assert_eq!(names(&effects), ["ServiceCalled", "Perform 1"]);
    let Effect::Perform { request, process, service: name, payload, grants, .. } = &effects[1] else {
        panic!("{effects:?}");
    };
    assert_eq!((*request, *process, name.as_str()), (RequestId(1), ProcessId(1), "model.generate"));
    assert_eq!(payload, MODEL.as_bytes());
    assert_eq!(*grants, [service("model")]);
    let waiting = ProcessState::Waiting { request: RequestId(1), service: "model.generate".into() };
    assert_eq!(kernel.processes().next().unwrap().state, waiting);

    let effects = kernel.apply(completes(1, "\"hello\"")).unwrap();
    assert_eq!(names(&effects), ["RunStep 1"]);
    assert_eq!(resumed_with(&effects), Ok("\"hello\"".into()));
    assert!(matches!(&effects[0], Effect::RunStep { fuel: 990, random_seed, .. } if *random_seed == seed));

    let effects = kernel.apply(finishes(1, "42")).unwrap();
    assert_eq!(names(&effects), ["ProcessStopped", "Release 1", "Exited 1"]);
    let exit = exit(&effects);
    assert_eq!((exit.code, exit.reason, exit.fuel_used), (0, ExitReason::Finished, 20));
    assert_eq!(exit.result, Ok(b"42".to_vec()));
    assert!(matches!(kernel.processes().next().unwrap().state, ProcessState::Stopped(_)));
    // Four inputs of a microsecond each, and twenty units of fuel.
    assert_eq!(kernel.clock(), Ticks(4_020));
}

#[test]
fn a_tool_call_runs_a_process_whose_exit_is_the_answer() {
    let mut kernel = kernel(vec![guest_tool("calculate", vec![]), spawn(vec![tool("calculate")], limits())]);
    let effects = kernel.apply(asks(1, &call("calculate"))).unwrap();
    assert_eq!(names(&effects), ["ToolCalled", "ProcessStarted", "RunStep 2"]);
    let EventKind::ToolCalled { arguments, .. } = events(&effects)[0] else { panic!("{effects:?}") };
    assert_eq!(arguments, br#"{"expression":"1+1"}"#);
    let Effect::RunStep { module, call: StepCall::Start { entry, input }, fuel, .. } = &effects[2] else {
        panic!("{effects:?}");
    };
    assert_eq!((*module, entry.as_str(), *fuel), (TOOL, "calculate", 990));
    assert_eq!(Envelope::decode(input).unwrap().payload, br#"{"expression":"1+1"}"#);

    let effects = kernel.apply(finishes(2, "2")).unwrap();
    assert_eq!(names(&effects), ["ProcessStopped", "Release 2", "ToolFinished", "RunStep 1"]);
    assert_eq!(resumed_with(&effects), Ok("2".into()));
    // The tool's ten units of fuel are the caller's.
    assert!(matches!(effects[3], Effect::RunStep { fuel: 980, .. }));
    let effects = kernel.apply(finishes(1, "\"two\"")).unwrap();
    assert_eq!(exit(&effects).fuel_used, 30);
}

#[test]
fn an_error_of_a_tool_is_an_error_of_the_call_and_the_caller_lives_on() {
    let mut kernel = kernel(vec![
        guest_tool("calculate", vec![]),
        spawn(vec![tool("calculate")], limits()),
        asks(1, &call("calculate")),
    ]);
    let error = ErrorData::new("division_by_zero", "division by zero");
    let effects = kernel.apply(fails(2, &error)).unwrap();
    assert_eq!(names(&effects)[..2], ["ProcessCrashed", "ProcessStopped"]);
    assert_eq!(resumed_with(&effects), Err(error));
    kernel.apply(asks(1, &call("calculate"))).unwrap();
    let effects = kernel.apply(step(3, trapped(TrapKind::Unreachable, 5))).unwrap();
    assert_eq!(resumed_with(&effects), Err(ErrorData::new("unreachable", "it trapped")));
}

#[test]
fn a_tool_that_is_a_service_is_performed() {
    let target = ToolTarget::Service("mcp.weather".into());
    let mut kernel = kernel(vec![
        Input::RegisterTool { name: "weather".into(), target },
        spawn(vec![tool("weather")], limits()),
    ]);
    let effects = kernel.apply(asks(1, &call("weather"))).unwrap();
    assert_eq!(names(&effects), ["ToolCalled", "Perform 1"]);
    assert!(matches!(&effects[1], Effect::Perform { service, .. } if service == "mcp.weather"));
    let effects = kernel.apply(completes(1, "\"rain\"")).unwrap();
    assert_eq!(names(&effects), ["ToolFinished", "RunStep 1"]);
}

#[test]
fn what_is_not_granted_is_denied_inside_the_kernel() {
    let mut kernel = kernel(vec![guest_tool("calculate", vec![]), spawn(vec![service("model")], limits())]);
    for (request, capability) in [
        (r#"{"service":"files.read","path":"a"}"#.to_owned(), service("files")),
        (call("calculate"), tool("calculate")),
    ] {
        let effects = kernel.apply(asks(1, &request)).unwrap();
        assert_eq!(names(&effects), ["CapabilityDenied", "RunStep 1"]);
        assert!(
            matches!(events(&effects)[0], EventKind::CapabilityDenied { capability: found, .. } if *found == capability)
        );
        assert_eq!(resumed_with(&effects).unwrap_err().code, "capability_denied");
    }
}

#[test]
fn requests_that_make_no_sense_are_answered_with_errors() {
    let mut kernel =
        kernel(vec![spawn(vec![tool("ghost"), service("model")], Limits { requests: 100, ..limits() })]);
    for (request, code) in [
        ("", "bad_request"),
        ("{", "bad_request"),
        ("[]", "bad_request"),
        ("{\"service\":7}", "bad_request"),
        ("{\"service\":\"model\"}", "bad_request"),
        ("{\"service\":\".generate\"}", "bad_request"),
        ("{\"service\":\"tool.list\"}", "bad_request"),
        ("{\"service\":\"tool.call\"}", "bad_request"),
        ("{\"service\":\"tool.call\",\"name\":\"ghost\",\"arguments\":[1]}", "bad_request"),
        ("{\"service\":\"model.generate\",\"service\":\"model.generate\"}", "bad_request"),
        (&call("ghost"), "unknown_tool"),
    ] {
        let effects = kernel.apply(asks(1, request)).unwrap();
        assert_eq!(resumed_with(&effects).unwrap_err().code, code, "{request}");
    }
    let long = format!("{{\"service\":\"{}.x\"}}", "m".repeat(200));
    assert_eq!(resumed_with(&kernel.apply(asks(1, &long)).unwrap()).unwrap_err().code, "bad_request");
}

#[test]
fn a_step_that_breaks_the_protocol_ends_the_process() {
    let both = returned(Flags::EXPECTS_RESPONSE | Flags::ERROR, b"{}", 1);
    for (report, reason, code) in [
        (report(StepOutcome::Returned(b"garbage".to_vec()), 1), ExitReason::Failed, "malformed_envelope"),
        (report(StepOutcome::Returned(Vec::new()), 1), ExitReason::Failed, "malformed_envelope"),
        (both, ExitReason::Failed, "malformed_envelope"),
        (returned(Flags::NONE, b"not json", 1), ExitReason::Failed, "malformed_result"),
        (returned(Flags::NONE, b"\"\xff\"", 1), ExitReason::Failed, "malformed_result"),
        (returned(Flags::ERROR, b"{}", 1), ExitReason::Failed, "malformed_error"),
        (trapped(TrapKind::Unreachable, 1), ExitReason::Trapped, "unreachable"),
        (trapped(TrapKind::MalformedResult, 1), ExitReason::Trapped, "malformed_result"),
        (trapped(TrapKind::OutOfMemory, 1), ExitReason::OutOfMemory, "out_of_memory"),
        (trapped(TrapKind::OutOfFuel, 1_000), ExitReason::OutOfFuel, "out_of_fuel"),
    ] {
        let mut kernel = kernel(vec![spawn(vec![], limits())]);
        let effects = kernel.apply(step(1, report)).unwrap();
        assert_eq!(names(&effects), ["ProcessCrashed", "ProcessStopped", "Release 1", "Exited 1"]);
        let exit = exit(&effects);
        assert_eq!((exit.reason, exit.code), (reason, reason.exit_code()));
        assert_eq!(exit.result.as_ref().unwrap_err().code, code);
        assert!(matches!(kernel.processes().next().unwrap().state, ProcessState::Error(_)));
    }
}

#[test]
fn limits_end_the_process_that_goes_beyond_them() {
    let over_memory = StepReport { memory_bytes: 65_537, ..returned(Flags::NONE, b"1", 1) };
    for (report, reason, code) in [
        (over_memory, ExitReason::OutOfMemory, "out_of_memory"),
        (chatty(0, 4, 1), ExitReason::Failed, "event_limit"),
        (chatty(3, 3, 2_000), ExitReason::Failed, "output_limit"),
        (returned(Flags::NONE, &[b'1'; 10_001], 1), ExitReason::Failed, "output_limit"),
    ] {
        let mut kernel = kernel(vec![spawn(vec![], limits())]);
        let effects = kernel.apply(step(1, report)).unwrap();
        let exit = exit(&effects);
        assert_eq!((exit.reason, exit.result.as_ref().unwrap_err().code.as_str()), (reason, code));
    }
    let mut kernel = kernel(vec![spawn(vec![], Limits { requests: 2, ..limits() })]);
    kernel.apply(asks(1, MODEL)).unwrap();
    kernel.apply(asks(1, MODEL)).unwrap();
    let effects = kernel.apply(asks(1, MODEL)).unwrap();
    assert_eq!(exit(&effects).result.as_ref().unwrap_err().code, "request_limit");
}

#[test]
fn a_process_may_compress_what_it_returns_within_its_limit_of_output() {
    let compressed = |content: &[u8]| {
        let bytes = Encoder::new().compress_from(0).encode(Flags::NONE, content).unwrap();
        assert!(bytes.len() < 200);
        StepReport { outcome: StepOutcome::Returned(bytes), ..returned(Flags::NONE, b"", 1) }
    };
    let text = format!("\"{}\"", "x".repeat(9_000));
    let mut process = kernel(vec![spawn(vec![], limits())]);
    let effects = process.apply(step(1, compressed(text.as_bytes()))).unwrap();
    assert_eq!(exit(&effects).result.as_deref(), Ok(text.as_bytes()));
    let mut process = kernel(vec![spawn(vec![], limits())]);
    let effects = process.apply(step(1, compressed(&[b'1'; 10_001]))).unwrap();
    assert_eq!(exit(&effects).result.as_ref().unwrap_err().code, "output_limit");
}

#[test]
fn logs_and_events_are_published_in_order() {
    let mut kernel = kernel(vec![spawn(vec![], limits())]);
    let effects = kernel.apply(step(1, chatty(2, 1, 3))).unwrap();
    assert_eq!(names(&effects)[..4], ["Logged", "Logged", "Emitted", "ProcessStopped"]);
}

#[test]
fn a_process_without_fuel_for_another_step_ends() {
    let mut kernel = kernel(vec![spawn(vec![service("model")], limits())]);
    let all = returned(Flags::EXPECTS_RESPONSE, MODEL.as_bytes(), 1_000);
    let effects = kernel.apply(step(1, all)).unwrap();
    assert_eq!(exit(&effects).reason, ExitReason::OutOfFuel);
    assert!(!names(&effects).iter().any(|name| name.starts_with("Perform")));

    let effects = kernel.apply(spawn(vec![], Limits { fuel: Fuel(0), ..limits() })).unwrap();
    assert_eq!(exit(&effects).reason, ExitReason::OutOfFuel);
    // A result with the last unit is a result.
    kernel.apply(spawn(vec![], limits())).unwrap();
    let effects = kernel.apply(step(3, returned(Flags::NONE, b"1", 1_000))).unwrap();
    assert_eq!(exit(&effects).reason, ExitReason::Finished);
}

#[test]
fn a_tool_cannot_use_more_fuel_than_its_caller_has() {
    let mut kernel = kernel(vec![guest_tool("spin", vec![]), spawn(vec![tool("spin")], limits())]);
    kernel.apply(step(1, returned(Flags::EXPECTS_RESPONSE, call("spin").as_bytes(), 900))).unwrap();
    let effects = kernel.apply(step(2, trapped(TrapKind::OutOfFuel, 100))).unwrap();
    // The caller has none left to hear of it.
    assert_eq!(exit(&effects).reason, ExitReason::OutOfFuel);
    assert_eq!(exit(&effects).fuel_used, 1_000);
}

#[test]
fn recursion_of_tools_is_bounded() {
    let recursive = vec![tool("again")];
    let mut kernel = kernel(vec![guest_tool("again", recursive.clone()), spawn(recursive, limits())]);
    assert_eq!(names(&kernel.apply(asks(1, &call("again"))).unwrap())[2], "RunStep 2");
    assert_eq!(names(&kernel.apply(asks(2, &call("again"))).unwrap())[2], "RunStep 3");
    let effects = kernel.apply(asks(3, &call("again"))).unwrap();
    assert_eq!(resumed_with(&effects).unwrap_err().code, "tool_depth");
}

#[test]
fn the_number_of_tool_processes_is_bounded() {
    let mut kernel = kernel(vec![
        guest_tool("calculate", vec![]),
        spawn(vec![tool("calculate")], Limits { children: 1, ..limits() }),
        asks(1, &call("calculate")),
        finishes(2, "1"),
    ]);
    let effects = kernel.apply(asks(1, &call("calculate"))).unwrap();
    assert_eq!(resumed_with(&effects).unwrap_err().code, "tool_limit");

    let mut kernel = Kernel::new(KernelConfig { seed: 0, processes: 1 });
    kernel.apply(guest_tool("calculate", vec![])).unwrap();
    kernel.apply(spawn(vec![tool("calculate")], limits())).unwrap();
    assert_eq!(kernel.apply(spawn(vec![], limits())), Err(KernelError::TooManyProcesses { limit: 1 }));
    let effects = kernel.apply(asks(1, &call("calculate"))).unwrap();
    assert_eq!(resumed_with(&effects).unwrap_err().code, "process_limit");
}

#[test]
fn a_tool_gets_its_own_grants_and_the_callers_mounts_if_it_uses_files() {
    let mount = Capability::Mount { name: "notes".into(), writable: true };
    let mut kernel = kernel(vec![
        guest_tool("read_file", vec![service("files")]),
        guest_tool("calculate", vec![service("clock")]),
        spawn(vec![service("model"), mount.clone(), tool("read_file"), tool("calculate")], limits()),
        asks(1, &call("read_file")),
    ]);
    let effects = kernel.apply(asks(2, r#"{"service":"files.read","path":"a"}"#)).unwrap();
    assert_eq!(names(&effects), ["FileAccessed", "Perform 2"]);
    assert!(
        matches!(&effects[1], Effect::Perform { grants, .. } if *grants == [service("files"), mount.clone()])
    );
    kernel.apply(completes(2, "1")).unwrap();
    kernel.apply(finishes(2, "1")).unwrap();
    kernel.apply(asks(1, &call("calculate"))).unwrap();
    let effects = kernel.apply(asks(3, r#"{"service":"clock.now"}"#)).unwrap();
    assert!(matches!(&effects[1], Effect::Perform { grants, .. } if *grants == [service("clock")]));
    let effects = kernel.apply(completes(4, "1")).unwrap();
    assert_eq!(names(&effects), ["RunStep 3"]);
    // A tool does not inherit what its caller may use.
    let effects = kernel.apply(asks(3, MODEL)).unwrap();
    assert_eq!(resumed_with(&effects).unwrap_err().code, "capability_denied");
}

#[test]
fn a_kill_ends_the_tools_of_a_process_first_and_late_reports_are_ignored_once() {
    let mut kernel = kernel(vec![
        guest_tool("outer", vec![tool("inner"), service("model")]),
        guest_tool("inner", vec![service("model")]),
        spawn(vec![tool("outer")], limits()),
        asks(1, &call("outer")),
        asks(2, &call("inner")),
        asks(3, MODEL),
    ]);
    let kill = |process| Input::Kill { process: ProcessId(process), reason: ExitReason::Deadline };
    let effects = kernel.apply(kill(1)).unwrap();
    let released: Vec<String> =
        names(&effects).into_iter().filter(|name| name.starts_with("Release")).collect();
    assert_eq!(released, ["Release 3", "Release 2", "Release 1"]);
    assert_eq!(exit(&effects).reason, ExitReason::Deadline);
    assert_eq!(names(&kernel.apply(completes(3, "1")).unwrap()), ["CompletionIgnored"]);
    assert_eq!(kernel.apply(completes(3, "1")), Err(KernelError::NotWaiting(RequestId(3))));
    assert!(kernel.apply(kill(1)).unwrap().is_empty(), "it has ended");

    kernel.apply(spawn(vec![], limits())).unwrap();
    kernel.apply(kill(4)).unwrap();
    assert_eq!(names(&kernel.apply(finishes(4, "1")).unwrap()), ["StepIgnored"]);
    assert_eq!(kernel.apply(finishes(4, "1")), Err(KernelError::NotStepping(ProcessId(4))));
}

#[test]
fn a_killed_tool_is_an_error_for_its_caller() {
    let mut kernel = kernel(vec![
        guest_tool("calculate", vec![]),
        spawn(vec![tool("calculate")], limits()),
        asks(1, &call("calculate")),
    ]);
    let effects = kernel.apply(Input::Kill { process: ProcessId(2), reason: ExitReason::Halted }).unwrap();
    assert_eq!(names(&effects), ["ProcessStopped", "Release 2", "ToolFinished", "RunStep 1"]);
    assert_eq!(resumed_with(&effects).unwrap_err().code, "halted");
}

#[test]
fn an_illegal_input_is_refused_and_changes_nothing() {
    let base = || {
        kernel(vec![
            guest_tool("calculate", vec![]),
            spawn(vec![service("model")], limits()),
            spawn(vec![service("model")], limits()),
            spawn(vec![], limits()),
            asks(1, MODEL),
            finishes(3, "1"),
        ])
    };
    let huge = Input::Spawn {
        name: "huge".into(),
        module: AGENT,
        entry: "run".into(),
        payload: vec![0; MAX_MESSAGE_BYTES + 1],
        grants: vec![],
        limits: limits(),
        setup: Setup::default(),
        life: Life::Once,
    };
    let tool_named =
        |name: &str| Input::RegisterTool { name: name.into(), target: ToolTarget::Service("a.b".into()) };
    let kill = |process, reason| Input::Kill { process: ProcessId(process), reason };
    for (input, error) in [
        (finishes(9, "1"), KernelError::UnknownProcess(ProcessId(9))),
        (finishes(0, "1"), KernelError::UnknownProcess(ProcessId(0))),
        (finishes(1, "1"), KernelError::NotStepping(ProcessId(1))),
        (finishes(3, "1"), KernelError::NotStepping(ProcessId(3))),
        (completes(2, "1"), KernelError::NotWaiting(RequestId(2))),
        (
            step(2, returned(Flags::NONE, b"1", 1_001)),
            KernelError::FuelOverdrawn { process: ProcessId(2), given: Fuel(1_000), reported: Fuel(1_001) },
        ),
        (kill(9, ExitReason::Killed), KernelError::UnknownProcess(ProcessId(9))),
        (kill(1, ExitReason::Finished), KernelError::NotAKill(ExitReason::Finished)),
        (tool_named("calculate"), KernelError::DuplicateTool("calculate".into())),
        (tool_named("Bad name"), KernelError::BadToolName("Bad name".into())),
        (tool_named(""), KernelError::BadToolName(String::new())),
        (
            huge,
            KernelError::PayloadTooLarge {
                length: Bytes::of(MAX_MESSAGE_BYTES + 1),
                limit: Bytes::of(MAX_MESSAGE_BYTES),
            },
        ),
    ] {
        let mut kernel = base();
        let before = kernel.snapshot().unwrap();
        assert_eq!(kernel.apply(input), Err(error));
        assert_eq!(kernel.snapshot().unwrap(), before);
    }
}

#[test]
fn an_answer_that_is_too_large_becomes_an_error() {
    let mut kernel = kernel(vec![spawn(vec![service("model")], limits()), asks(1, MODEL)]);
    let result = Ok(vec![b' '; MAX_MESSAGE_BYTES + 1]);
    let effects = kernel.apply(Input::Completion { request: RequestId(1), result }).unwrap();
    assert_eq!(resumed_with(&effects).unwrap_err().code, "answer_too_large");
}

#[test]
fn seeds_depend_on_the_kernel_seed_and_the_id() {
    let first_step = |seed| {
        let mut kernel = Kernel::new(KernelConfig::with_seed(seed));
        let mut seeds = Vec::new();
        for _ in 0..2 {
            for effect in kernel.apply(spawn(vec![], limits())).unwrap() {
                if let Effect::RunStep { random_seed, .. } = effect {
                    seeds.push(random_seed);
                }
            }
        }
        seeds
    };
    assert_eq!(first_step(1), first_step(1));
    assert_ne!(first_step(1), first_step(2));
    assert_ne!(first_step(1)[0], first_step(1)[1]);
}

#[test]
fn a_snapshot_is_restored_and_damaged_ones_are_refused() {
    let kernel = kernel(vec![spawn(vec![service("model")], limits()), asks(1, MODEL)]);
    let snapshot = kernel.snapshot().unwrap();
    assert_eq!(Kernel::restore(&snapshot).unwrap().snapshot().unwrap(), snapshot);
    for length in 0..snapshot.len() {
        assert!(matches!(Kernel::restore(&snapshot[..length]), Err(KernelError::BadSnapshot(_))), "{length}");
    }
    let mut longer = snapshot.clone();
    longer.push(0);
    assert!(matches!(Kernel::restore(&longer), Err(KernelError::BadSnapshot(_))));
    let mut newer = snapshot;
    newer[0] += 1;
    assert!(matches!(Kernel::restore(&newer), Err(KernelError::BadSnapshot(_))));
}

#[test]
fn only_the_latest_ended_processes_are_listed() {
    let mut kernel = kernel(vec![]);
    for process in 1..=2_000 {
        kernel.apply(spawn(vec![], limits())).unwrap();
        kernel.apply(finishes(process, "1")).unwrap();
    }
    assert_eq!(kernel.processes().count(), 1_024);
    assert_eq!(kernel.processes().last().unwrap().id, ProcessId(2_000));
}
