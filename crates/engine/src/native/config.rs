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
            // Nobody is shown where in a guest a trap was, so compiled code carries no tables for that: it loads in a
            // third of the time.
            .wasm_backtrace_max_frames(None)
            .generate_address_map(false)
            .debug_symbols(false)
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
        if !cfg!(windows) {
            config.native_unwind_info(false);
        }
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

#[cfg(test)]
mod tests {
    use std::{string::String, vec::Vec};

    use wasmtime::{Engine, Instance, Module, Store, Trap};

    use super::*;

    /// The engine of each profile, as every machine has it.
    fn engines() -> impl Iterator<Item = Engine> {
        [Profile::Development, Profile::Production, Profile::Interpreter].into_iter().map(|profile| {
            let config = EngineConfig { profile, ..EngineConfig::deterministic() };
            Engine::new(&config.engine(&Memories::new(true)).unwrap()).unwrap()
        })
    }

    /// Without the rewriting pass, which would refuse much of this or settle it.
    fn module(engine: &Engine, fields: &str) -> wasmtime::Result<Module> {
        Module::new(engine, wat::parse_str(std::format!("(module {fields})")).unwrap())
    }

    #[test]
    fn whatever_could_differ_between_hosts_or_runs_is_no_part_of_the_engine() {
        for engine in engines() {
            assert!(module(&engine, "(memory 1)").is_ok());
            for fields in [
                "(memory 1 1 shared)",
                "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))",
                "(func (param v128 v128) (result v128) (f32x4.relaxed_min (local.get 0) (local.get 1)))",
                "(memory i64 1)",
                "(memory 1) (memory 1)",
                "(func $f (return_call $f))",
                "(tag)",
                "(type (struct))",
            ] {
                assert!(module(&engine, fields).is_err(), "{fields}");
            }
        }
    }

    #[test]
    fn the_engine_counts_no_fuel_and_no_epochs_of_its_own() {
        for engine in engines() {
            let module = module(
                &engine,
                r#"(func (export "run") (param i32)
                    (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))"#,
            );
            let mut store = Store::new(&engine, ());
            assert!(store.get_fuel().is_err());
            let instance = Instance::new(&mut store, &module.unwrap(), &[]).unwrap();
            let run = instance.get_typed_func::<i32, ()>(&mut store, "run").unwrap();
            engine.increment_epoch();
            engine.increment_epoch();
            assert!(run.call(&mut store, 1000).is_ok());
        }
    }

    #[test]
    fn the_native_stack_is_bounded_below_the_counted_limit() {
        for engine in engines() {
            let module = module(&engine, r#"(func $f (export "run") (call $f))"#).unwrap();
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
            let trap = run.call(&mut store, ()).unwrap_err();
            assert_eq!(trap.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
        }
    }

    #[test]
    fn a_memory_never_outgrows_its_reservation_and_never_moves() {
        for copy_on_write in [true, false] {
            let config = EngineConfig {
                memory_reservation_bytes: 2 << 20,
                copy_on_write,
                ..EngineConfig::deterministic()
            };
            let engine = Engine::new(&config.engine(&Memories::new(copy_on_write)).unwrap()).unwrap();
            let module = module(&engine, r#"(memory (export "memory") 1)"#).unwrap();
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            let start = memory.data_ptr(&store);
            assert!(memory.grow(&mut store, 31).is_ok());
            assert!(memory.grow(&mut store, 1).is_err());
            assert_eq!(memory.data_ptr(&store), start);
        }
    }

    #[test]
    fn the_interpreter_makes_no_native_code() {
        let targets: Vec<String> = engines()
            .map(|engine| {
                let code = module(&engine, "(func)").unwrap().serialize().unwrap();
                // The machine for which an ELF file is, in its header; wasmtime has none of its own for Pulley.
                std::format!("{:?}", &code[18..20])
            })
            .collect();
        assert_eq!(targets[0], targets[1]);
        assert_ne!(targets[1], targets[2]);
    }

    #[test]
    fn the_defaults_are_those_that_the_documentation_names() {
        let config = EngineConfig::default();
        assert_eq!(config, EngineConfig::deterministic());
        assert_eq!(config.profile, Profile::Production);
        assert_eq!(config.memory_reservation_bytes, 4 << 30);
        assert_eq!(config.cache_bytes, 256 << 20);
        assert_eq!(config.cache_directory, None);
        assert_eq!(config.instances, 10_000);
        assert_eq!(crate::DEFAULT_FUEL, 100_000_000_000);
    }
}
