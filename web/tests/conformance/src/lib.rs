//! What every machine promises, checked on the browser's.
//!
//! - [`case_names`]: the list, which is the native tests' own.
//! - [`run_case`]: runs one; a broken promise is thrown as an `Error` with the panic's message.
//! - [`time_loop`]: how long a metered loop takes here, to be set beside the native bench.

#![cfg(target_arch = "wasm32")]

#[path = "../../../../crates/engine/tests/conformance/budget.rs"]
mod budget;
#[path = "../../../../crates/engine/tests/conformance/cases.rs"]
mod cases;
#[path = "../../../../crates/engine/tests/conformance/fixture.rs"]
mod fixture;
#[path = "../../../../crates/engine/tests/conformance/fuel.rs"]
mod fuel;
#[path = "../../../../crates/engine/tests/conformance/kinds.rs"]
mod kinds;
#[path = "../../../../crates/engine/tests/conformance/loops.rs"]
mod loops;
#[path = "../../../../crates/engine/tests/conformance/numbers.rs"]
mod numbers;
#[path = "../../../../crates/engine/tests/conformance/snapshots.rs"]
mod snapshots;
#[path = "../../../../crates/engine/tests/conformance/stack.rs"]
mod stack;

use glasshouse_engine::{HostMachine, Instance};
use js_sys::Error;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// Milliseconds, finer than those of the clock.
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

macro_rules! list {
    ($($module:ident :: $case:ident,)*) => {
        const CASES: &[(&str, fn(&HostMachine))] = &[$((stringify!($case), $module::$case)),*];
    };
}

cases::for_each_case!(list);

/// The names of all cases.
#[wasm_bindgen]
pub fn case_names() -> Vec<String> {
    CASES.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// Runs one case.
///
/// # Errors
/// Throws an `Error` when there is no such case, or when it fails. After a failure the module cannot be used again.
#[wasm_bindgen]
pub fn run_case(name: &str) -> Result<(), Error> {
    std::panic::set_hook(Box::new(|panic| wasm_bindgen::throw_val(Error::new(&panic.to_string()).into())));
    let case = CASES.iter().find(|(known, _)| *known == name);
    let (_, case) = case.ok_or_else(|| Error::new(&format!("there is no case `{name}`")))?;
    let machine = HostMachine::new().map_err(|error| Error::new(&error.to_string()))?;
    case(&machine);
    Ok(())
}

/// Runs a loop of [`loops::LOOPS`] by its index once to warm up and then `runs` times. Answers its name, the
/// milliseconds of the fastest run and the fuel of one, with spaces between, or nothing when there is no such loop.
#[wasm_bindgen]
pub fn time_loop(index: usize, runs: u32) -> Option<String> {
    let (name, body) = loops::LOOPS.get(index)?;
    let machine = HostMachine::new().ok()?;
    let mut instance = fixture::instantiate(&machine, &loops::guest(body));
    let mut fastest = f64::INFINITY;
    let mut fuel = 0;
    for _ in 0..=runs {
        let start = now();
        let report = instance.step(&fixture::start("run", b""), &mut fixture::context(), u64::MAX);
        fixture::returned(&report);
        fastest = fastest.min(now() - start);
        fuel = report.fuel_used;
    }
    Some(format!("{name}: {fastest:.2} ms, {fuel} fuel"))
}
