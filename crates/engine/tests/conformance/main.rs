//! What every machine promises, checked on the native one in each of its profiles, with memories mapped and copied, and
//! with a bound on memories below what they can address. The list in `cases` runs on any
//! [`glasshouse_engine::Machine`]; `web/tests/conformance` is the same list in a browser.

mod budget;
mod cases;
mod fixture;
mod fuel;
mod kinds;
mod numbers;
mod recording;
mod snapshots;
mod stack;

use glasshouse_engine::native::{EngineConfig, Profile, Wasmtime};

fn machine(change: fn(&mut EngineConfig)) -> Wasmtime {
    let mut config = EngineConfig::deterministic();
    change(&mut config);
    Wasmtime::with_config(config).unwrap()
}

macro_rules! on_each_machine {
    ($($module:ident :: $case:ident,)*) => {
        mod production {
            use super::*;
            $(#[test]
            fn $case() {
                $module::$case(&machine(|_| {}));
            })*
        }
        mod development {
            use super::*;
            $(#[test]
            fn $case() {
                $module::$case(&machine(|config| config.profile = Profile::Development));
            })*
        }
        mod interpreter {
            use super::*;
            $(#[test]
            fn $case() {
                $module::$case(&machine(|config| config.profile = Profile::Interpreter));
            })*
        }
        mod copied_memories {
            use super::*;
            $(#[test]
            fn $case() {
                $module::$case(&machine(|config| config.copy_on_write = false));
            })*
        }
        #[test]
        fn all_machines_give_identical_reports() {
            let reports = |machine: Wasmtime| {
                let recording = recording::Recording::new(machine);
                $($module::$case(&recording);)*
                recording.reports()
            };
            let production = reports(machine(|_| {}));
            assert!(production.len() > 500, "{} reports", production.len());
            for change in [
                |config: &mut EngineConfig| config.profile = Profile::Development,
                |config: &mut EngineConfig| config.profile = Profile::Interpreter,
                |config: &mut EngineConfig| config.copy_on_write = false,
            ] {
                for (number, (found, expected)) in
                    reports(machine(change)).iter().zip(&production).enumerate()
                {
                    assert_eq!(found, expected, "report {number}");
                }
            }
        }
        mod small_reservations {
            use super::*;
            $(#[test]
            fn $case() {
                $module::$case(&machine(|config| config.memory_reservation_bytes = 1 << 30));
            })*
        }
    };
}

cases::for_each_case!(on_each_machine);
