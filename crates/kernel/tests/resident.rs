//! Resident processes: called again and again, with their devices acted on between the calls.

mod support;

use glasshouse_devices::{DeviceInput, MountPoint, Setup, StepCall, StepOutcome, TrapKind};
use glasshouse_envelope::Flags;
use glasshouse_kernel::{
    Effect, ExitReason, Fuel, Input, Kernel, KernelError, Life, ProcessId, ProcessState,
};
use support::*;

const FIRST: ProcessId = ProcessId(1);

/// A resident process that starts with nothing to do.
fn resident() -> Input {
    let Input::Spawn { name, module, payload, grants, limits, .. } = spawn(vec![service("model")], limits())
    else {
        unreachable!()
    };
    let (entry, setup, life) = (String::new(), Setup::default(), Life::Resident);
    Input::Spawn { name, module, entry, payload, grants, limits, setup, life }
}

fn call(entry: &str) -> Input {
    Input::Call { process: FIRST, entry: entry.into(), payload: b"{}".to_vec() }
}

fn state(kernel: &Kernel) -> ProcessState {
    kernel.processes().next().unwrap().state
}

#[test]
fn a_resident_process_is_idle_between_its_calls_and_ends_only_when_it_is_killed() {
    let mut kernel = Kernel::default();
    let effects = kernel.apply(resident()).unwrap();
    assert!(matches!(effects[0], Effect::Prepare { process: FIRST, .. }));
    assert_eq!(names(&effects[1..]), ["ProcessStarted"]);
    for round in 0..3 {
        assert_eq!(state(&kernel), ProcessState::Idle);
        let effects = kernel.apply(call("add")).unwrap();
        assert!(matches!(
            &effects[0],
            Effect::RunStep { call: StepCall::Start { entry, .. }, .. } if entry == "add"
        ));
        let effects = kernel.apply(finishes(1, &round.to_string())).unwrap();
        let result = Ok(round.to_string().into_bytes());
        assert_eq!(*effects.last().unwrap(), Effect::Returned { process: FIRST, result });
    }
    let effects = kernel.apply(Input::Kill { process: FIRST, reason: ExitReason::Killed }).unwrap();
    assert_eq!(exit(&effects).reason, ExitReason::Killed);
}

#[test]
fn a_call_that_fails_leaves_the_process_alive_and_a_trap_ends_it() {
    let mut kernel = kernel(vec![resident(), call("add")]);
    let refused = returned(Flags::ERROR, br#"{"code":"sad","message":"It did not work."}"#, 1);
    let effects = kernel.apply(step(1, refused)).unwrap();
    let Some(Effect::Returned { result: Err(error), .. }) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(error.code, "sad");
    kernel.apply(call("add")).unwrap();
    let effects = kernel.apply(step(1, trapped(TrapKind::Unreachable, 1))).unwrap();
    assert_eq!(exit(&effects).reason, ExitReason::Trapped);
    assert_eq!(kernel.apply(call("add")), Err(KernelError::NotIdle(FIRST)));
}

#[test]
fn only_an_idle_process_can_be_called_and_only_a_living_one_acted_on() {
    let act = || Input::Device { process: FIRST, input: DeviceInput::Stdin(b"hello\n".to_vec()) };
    let mut kernel = kernel(vec![]);
    assert_eq!(kernel.apply(call("add")), Err(KernelError::UnknownProcess(FIRST)));
    assert_eq!(kernel.apply(act()), Err(KernelError::UnknownProcess(FIRST)));
    kernel.apply(resident()).unwrap();
    let effects = kernel.apply(act()).unwrap();
    assert_eq!(names(&effects[..1]), ["DeviceInput"]);
    assert!(matches!(effects[1], Effect::Device { process: FIRST, .. }));
    kernel.apply(call("add")).unwrap();
    assert_eq!(kernel.apply(call("add")), Err(KernelError::NotIdle(FIRST)));
    assert_eq!(kernel.apply(act()), Err(KernelError::Busy(FIRST)));
    kernel.apply(asks(1, r#"{"service":"model.generate"}"#)).unwrap();
    assert_eq!(kernel.apply(call("add")), Err(KernelError::NotIdle(FIRST)));
    kernel.apply(act()).unwrap();
}

#[test]
fn more_fuel_can_be_given_between_two_steps() {
    let mut kernel = kernel(vec![resident(), call("add")]);
    kernel.apply(step(1, returned(Flags::NONE, b"1", 990))).unwrap();
    kernel.apply(Input::Refuel { process: FIRST, fuel: Fuel(100) }).unwrap();
    let effects = kernel.apply(call("add")).unwrap();
    assert!(matches!(effects[0], Effect::RunStep { fuel: 110, .. }));
    let summary = kernel.processes().next().unwrap();
    assert_eq!(summary.fuel_used, Fuel(990));
}

#[test]
fn what_the_devices_start_with_is_prepared_before_the_first_step() {
    let mut kernel = Kernel::default();
    let Input::Spawn { name, module, entry, payload, grants, limits, life, .. } = spawn(vec![], limits())
    else {
        unreachable!()
    };
    let mounts = vec![MountPoint { path: "/data".into(), writable: true }];
    let setup = Setup { arguments: vec!["program".into()], mounts, ..Setup::default() };
    let start = Input::Spawn { name, module, entry, payload, grants, limits, setup: setup.clone(), life };
    let effects = kernel.apply(start).unwrap();
    let (Effect::Prepare { setup: prepared, random_seed: first, .. }, Effect::RunStep { random_seed, .. }) =
        (&effects[0], &effects[2])
    else {
        panic!("{effects:?}")
    };
    assert_eq!((prepared, first), (&setup, random_seed));
}

#[test]
fn a_process_that_exits_ends_with_its_code() {
    for (code, reason, exit_code, succeeded) in
        [(0, ExitReason::Finished, 0, true), (3, ExitReason::Exited(3), 3, false)]
    {
        let mut kernel = kernel(vec![resident(), call("_start")]);
        let effects = kernel.apply(step(1, report(StepOutcome::Exited { code }, 5))).unwrap();
        let exit = exit(&effects);
        assert_eq!((exit.reason, exit.code, exit.result.is_ok()), (reason, exit_code, succeeded));
        assert!(matches!(state(&kernel), ProcessState::Stopped(_)));
    }
}

#[test]
fn what_a_guest_gives_up_with_is_its_error() {
    for (error, code, message) in [
        (
            br#"{"code":"guest_panic","message":"index out of bounds"}"#.to_vec(),
            "guest_panic",
            "index out of bounds",
        ),
        (b"not json".to_vec(), "guest_failed", "not json"),
    ] {
        let mut kernel = kernel(vec![spawn(vec![], limits())]);
        let effects = kernel.apply(step(1, report(StepOutcome::Failed { error }, 5))).unwrap();
        let exit = exit(&effects);
        let error = exit.result.as_ref().unwrap_err();
        assert_eq!(
            (exit.reason, error.code.as_str(), error.message.as_str()),
            (ExitReason::Failed, code, message)
        );
    }
}
