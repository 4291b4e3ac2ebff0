//! How the machine of native hosts is set up. [`EngineConfig::deterministic`] is the only constructor, and nothing that
//! can be changed in what it makes changes what a guest sees; what would is fixed in [`EngineConfig::engine`].

use std::path::PathBuf;

use wasmtime::{Config, OptLevel, RegallocAlgorithm};

use super::memory::Memories;
use crate::{ModuleError, abi, rewrite::RewriteConfig};

/// Native stack for guest code: a net below the counted limit, which is an estimate that is generous for what optimizing
/// compilers emit; threads have at least 2 MiB.
const NATIVE_STACK_BYTES: usize = 2 * abi::STACK_BYTES as usize;

/// Bytes of a memory that WebAssembly can address, and so the most that may be reserved for one.
pub(super) const ADDRESSABLE_BYTES: u64 = 1 << 32;

/// How modules are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// Compiles fast, for code that changes often: no optimization.
    Development,
    /// Compiles to fast code.
    #[default]
    Production,
    /// Makes no native code, for platforms that forbid that: wasmtime's interpreter, some ten times slower.
    Interpreter,
}

/// How the machine of native hosts compiles, runs and caches. Reports of steps do not depend on any of it, but for what
/// is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// How modules are compiled.
    pub profile: Profile,
    /// How large modules may be.
    pub modules: RewriteConfig,
    /// Bytes of address space that are reserved for each memory: the static memory bound. Instances whose limit is larger
    /// are refused, since their memories could not grow to it. With less than 4 GiB, compiled code checks each access.
    pub memory_reservation_bytes: u64,
    /// Instances that may be alive at the same time.
    pub instances: u32,
    /// Whether memories are mapped from images, where the host can. Otherwise images are copied.
    pub copy_on_write: bool,
    /// Bytes of compiled modules that are kept in memory for the next time.
    pub cache_bytes: u64,
    /// Where compiled modules are kept between runs of the program; none: nowhere.
    pub cache_directory: Option<PathBuf>,
}

impl EngineConfig {
    /// Optimized code, the default limits on modules, 4 GiB reserved for each memory (64 MiB on hosts whose
    /// addresses have 32 bits), 10,000 instances, 256 MiB of compiled modules, none on disk.
    pub fn deterministic() -> Self {
        Self {
            profile: Profile::Production,
            modules: RewriteConfig::default(),
            memory_reservation_bytes: if cfg!(target_pointer_width = "64") {
                ADDRESSABLE_BYTES
            } else {
                64 << 20
            },
            // Each takes four of the 65,530 mappings that the kernel grants a process of the host by default.
            instances: 10_000,
            copy_on_write: true,
            cache_bytes: 256 << 20,
            cache_directory: None,
        }
    }

    /// The engine's own configuration.
    ///
    /// The rewriting pass accounts for fuel, stack and growth and settles NaNs, so the engine's own counters and
    /// canonicalization are off. So are its epochs: a check at every loop head costs up to half of a tight loop's time, and
    /// where it stops a guest is a matter of luck. A deadline is looked at when the fuel of a part of a step is used up,
    /// which is at the same place in every run.
    pub(super) fn engine(&self, memories: &Memories) -> Result<Config, ModuleError> {
        let mut config = Config::new();
        config
            .max_wasm_stack(NATIVE_STACK_BYTES)
            .wasm_backtrace_max_frames(None)
            .consume_fuel(false)
            .epoch_interruption(false)
            .cranelift_nan_canonicalization(false)
            .wasm_simd(true)
            .wasm_extended_const(true)
            .wasm_relaxed_simd(false)
            .wasm_multi_memory(false)
            .wasm_memory64(false)
            .wasm_tail_call(false)
            .memory_reservation(self.memory_reservation_bytes.min(ADDRESSABLE_BYTES))
            .memory_may_move(false)
            // Images are ours: no module that runs has active data.
            .memory_init_cow(false);
        if let Some(creator) = memories.creator() {
            config.with_host_memory(creator);
        }
        match self.profile {
            Profile::Production => {}
            Profile::Development => {
                config
                    .cranelift_opt_level(OptLevel::None)
                    .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
            }
            Profile::Interpreter => {
                config.target(INTERPRETER).map_err(super::engine_error)?;
            }
        }
        Ok(config)
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self::deterministic()
    }
}

/// The interpreter's target for this host.
const INTERPRETER: &str = match (cfg!(target_pointer_width = "64"), cfg!(target_endian = "little")) {
    (true, true) => "pulley64",
    (true, false) => "pulley64be",
    (false, true) => "pulley32",
    (false, false) => "pulley32be",
};
