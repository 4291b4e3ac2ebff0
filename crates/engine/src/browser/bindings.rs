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
    pub(super) fn allocate(this: &Exported, receiver: &JsValue, length: u32) -> Result<u32, JsValue>;

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
    ) -> Result<i64, JsValue>;
}
