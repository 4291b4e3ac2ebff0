//! Which WebAssembly features a process may use, and why not the others.

use wasmparser::WasmFeatures;

/// WebAssembly 2.0 without host references, and `extended-const`: what is deterministic, in every browser, and emitted
/// by today's compilers.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::EXTENDED_CONST);

/// Why a feature outside of [`FEATURES`] is refused.
pub(crate) fn refusal(feature: WasmFeatures) -> &'static str {
    for (refused, reason) in REFUSALS {
        if feature.intersects(*refused) {
            return reason;
        }
    }
    "it uses a WebAssembly feature that processes may not use; build for WebAssembly 2.0"
}

const REFUSALS: &[(WasmFeatures, &str)] = &[
    (
        WasmFeatures::THREADS.union(WasmFeatures::SHARED_EVERYTHING_THREADS),
        "it uses threads or atomics, whose result depends on timing; build without the `atomics` feature",
    ),
    (
        WasmFeatures::RELAXED_SIMD,
        "it uses relaxed SIMD, whose results differ between machines; build without the `relaxed-simd` feature",
    ),
    (WasmFeatures::MEMORY64, "it uses 64-bit memory, which not every host has; build for wasm32"),
    (WasmFeatures::MULTI_MEMORY, "it uses several memories; a process has one"),
    (
        WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS),
        "it uses exceptions, through which code could escape its accounts; build with panic=abort or without exceptions",
    ),
    (
        WasmFeatures::TAIL_CALL,
        "it uses tail calls, which the count of nested calls does not cover; build without the `tail-call` feature",
    ),
    (
        WasmFeatures::GC.union(WasmFeatures::GC_TYPES).union(WasmFeatures::FUNCTION_REFERENCES),
        "it uses garbage-collected or host references, whose memory a process's limit does not cover",
    ),
    (WasmFeatures::STACK_SWITCHING, "it uses stack switching, which no browser has"),
    (WasmFeatures::COMPONENT_MODEL, "it is a component; give its core module instead"),
    (WasmFeatures::WIDE_ARITHMETIC, "it uses wide arithmetic, which no browser has"),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "it uses custom page sizes, which no browser has"),
];
