//! What every machine promises, checked on the native one in each of its profiles, with memories mapped and copied, and
//! with a bound on memories below what they can address. The list in `cases` runs on any
//! [`glasshouse_engine::Machine`]; `web/tests/conformance` is the same list in a browser.

mod cases;
mod fixture;
mod fuel;
mod numbers;

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
