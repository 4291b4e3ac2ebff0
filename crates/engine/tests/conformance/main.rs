//! What every machine promises, checked on the native one. The list in `cases` runs on any [`glasshouse_engine::Machine`];
//! `web/tests/conformance` is the same list in a browser.

mod cases;
mod fixture;
mod fuel;
mod numbers;

use glasshouse_engine::native::Wasmtime;

macro_rules! on_wasmtime {
    ($($module:ident :: $case:ident,)*) => {
        $(#[test]
        fn $case() {
            $module::$case(&Wasmtime::new().unwrap());
        })*
    };
}

cases::for_each_case!(on_wasmtime);
