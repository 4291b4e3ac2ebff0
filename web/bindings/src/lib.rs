//! The runtime in a browser's worker: the JavaScript interface beneath the npm package.
//!
//! - [`Engine`]: the runtime of one worker: its model, its memory, one run at a time.
//! - [`version`], [`kernels`]: what this build is.
//!
//! Nothing here waits: a run is advanced for some milliseconds at a time, so that the worker hears of a stop.
//! Texts of structured values are JSON; `web/src/protocol.ts` has their types. Whatever is thrown is an `Error` with a
//! sentence for a person as its `message` and a stable `code`.
#![cfg(target_arch = "wasm32")]

mod engine;
mod error;
mod events;
mod options;

use wasm_bindgen::prelude::wasm_bindgen;

pub use engine::Engine;

/// The version of the program.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}

/// What the model's kernels are made for in this build.
#[wasm_bindgen]
pub fn kernels() -> String {
    glasshouse_llm::Kernels::detect().name().into()
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(text: &str);
}

/// Panics end the worker's module; their message goes to the console first.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| console_error(&panic.to_string())));
}
