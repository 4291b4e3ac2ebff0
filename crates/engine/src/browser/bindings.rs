//! The few objects of the browser's WebAssembly that need other types than `js-sys` gives them: 64-bit integers without
//! a detour, and sizes up to 4 GiB.

use js_sys::{Array, ArrayBuffer, Object};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// A `WebAssembly.Global` of type `(mut i64)`.
    #[wasm_bindgen(extends = Object)]
    pub(super) type Account;

    #[wasm_bindgen(method, getter)]
    pub(super) fn value(this: &Account) -> i64;

    #[wasm_bindgen(method, setter)]
    pub(super) fn set_value(this: &Account, value: i64);

    /// A `WebAssembly.Memory`.
    #[wasm_bindgen(extends = Object)]
    pub(super) type Memory;

    /// The bytes, until the memory grows.
    #[wasm_bindgen(method, getter)]
    pub(super) fn buffer(this: &Memory) -> Bytes;

    #[wasm_bindgen(method, catch)]
    pub(super) fn grow(this: &Memory, pages: u32) -> Result<u32, JsValue>;

    /// An `ArrayBuffer` whose size may be 4 GiB.
    #[wasm_bindgen(extends = ArrayBuffer)]
    pub(super) type Bytes;

    /// Zero when the memory has grown since.
    #[wasm_bindgen(method, getter, js_name = byteLength)]
    pub(super) fn size(this: &Bytes) -> f64;

    /// An exported function; the receiver that `call` wants is not looked at.
    #[wasm_bindgen(extends = Object)]
    pub(super) type Exported;

    #[wasm_bindgen(method, catch, js_name = call)]
    pub(super) fn procedure(this: &Exported, receiver: &JsValue) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = call)]
    pub(super) fn begin(
        this: &Exported,
        receiver: &JsValue,
        fuel: i64,
        length: u32,
    ) -> Result<Answer, JsValue>;

    #[wasm_bindgen(method, catch, js_name = call)]
    pub(super) fn free(this: &Exported, receiver: &JsValue, pointer: u32, length: u32)
    -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = call)]
    pub(super) fn read_bits(this: &Exported, receiver: &JsValue) -> Result<i64, JsValue>;

    #[wasm_bindgen(method, catch, js_name = call)]
    pub(super) fn write_bits(this: &Exported, receiver: &JsValue, bits: i64) -> Result<(), JsValue>;

    /// Answers an array of two.
    #[wasm_bindgen(method, catch, js_name = call)]
    pub(super) fn read_halves(this: &Exported, receiver: &JsValue) -> Result<Array, JsValue>;

    #[wasm_bindgen(method, catch, js_name = call)]
    pub(super) fn write_halves(
        this: &Exported,
        receiver: &JsValue,
        low: i64,
        high: i64,
    ) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = call)]
    pub(super) fn enter(
        this: &Exported,
        receiver: &JsValue,
        pointer: u32,
        length: u32,
    ) -> Result<Answer, JsValue>;

    /// The array of results of what begins a step or enters it.
    #[wasm_bindgen(extends = Array)]
    pub(super) type Answer;

    /// The first result of what begins a step.
    #[wasm_bindgen(method, structural, indexing_getter)]
    fn at_number(this: &Answer, index: u32) -> u32;

    #[wasm_bindgen(method, structural, indexing_getter)]
    fn at_integer(this: &Answer, index: u32) -> i64;
}

impl Answer {
    /// The place that a step's input has: an `i32`, which a script sees with its sign.
    pub(super) fn place(&self) -> u32 {
        self.at_number(0)
    }

    /// The packed place of a step's output.
    pub(super) fn packed(&self) -> i64 {
        self.at_integer(0)
    }

    /// The fuel on the account.
    pub(super) fn fuel(&self) -> i64 {
        self.at_integer(1)
    }
}
