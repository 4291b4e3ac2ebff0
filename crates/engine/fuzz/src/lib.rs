//! What makes the modules: wasm-smith within the features that a process may use.

use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

/// A valid module without imports whose every function ends, made of a random stream with this seed; none when the
/// stream does not suffice.
pub fn module(seed: u64) -> Option<Vec<u8>> {
    let bytes = stream(seed);
    let config = Config {
        max_imports: 0,
        min_types: 3,
        min_funcs: 5,
        min_memories: 1,
        export_everything: true,
        max_memories: 1,
        max_memory32_bytes: 1 << 20,
        max_table_elements: 1_000,
        memory64_enabled: false,
        multi_value_enabled: true,
        bulk_memory_enabled: true,
        // Its modules would nearly all have host references, which are refused.
        reference_types_enabled: false,
        // Half of the modules run to their ends, half find the traps.
        disallow_traps: seed.is_multiple_of(2),
        simd_enabled: true,
        extended_const_enabled: true,
        relaxed_simd_enabled: false,
        threads_enabled: false,
        shared_everything_threads_enabled: false,
        tail_call_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        canonicalize_nans: false,
        allow_start_export: true,
        ..Config::default()
    };
    let mut module = Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
    module.ensure_termination(1_000).ok()?;
    Some(module.to_bytes())
}

/// Bytes of the stream: enough for several functions of some hundred operators.
const STREAM_BYTES: usize = 1 << 16;

/// The splitmix64 generator.
fn stream(mut state: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(STREAM_BYTES);
    while bytes.len() < STREAM_BYTES {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((word ^ (word >> 31)).to_le_bytes());
    }
    bytes
}
