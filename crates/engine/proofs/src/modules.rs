//! Random valid modules: wasm-smith's, within the features that a process may use.

use arbitrary::Unstructured;
use glasshouse_engine::abi;
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, TypeSection,
    reencode::{self, Reencode, RoundtripReencoder, utils},
};
use wasm_smith::Config;

use crate::stream::Stream;

/// Whether every function of a module ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Termination {
    /// The module counts its own loops and calls, and traps when they are too many.
    Ensured,
    /// Nothing stops it but its fuel.
    ByFuel,
}

/// Bytes of the random stream: enough for several functions of some hundred operators.
const STREAM_BYTES: usize = 1 << 15;

/// Loops and calls of a module that ends by itself.
const ROUNDS: u32 = 1_000;

/// The most pages that a module's memory may start with or declare as its maximum.
const MEMORY_PAGES: u64 = 16;

/// A valid module without imports, made of this seed; none when its random stream does not suffice.
pub fn module(seed: u64, termination: Termination) -> Option<Vec<u8>> {
    let mut stream = Stream::new(seed);
    let bits = stream.word();
    let bit = |place: u32| bits >> place & 1 == 1;
    let config = Config {
        max_imports: 0,
        min_types: 3,
        min_funcs: 5,
        max_funcs: 20,
        min_memories: 1,
        export_everything: true,
        max_memories: 1,
        max_memory32_bytes: MEMORY_PAGES << 16,
        memory_max_size_required: bit(0),
        max_tables: 3,
        max_table_elements: 1_000,
        // What a table could grow by without one, engines decide.
        table_max_size_required: true,
        memory64_enabled: false,
        multi_value_enabled: true,
        bulk_memory_enabled: true,
        reference_types_enabled: bit(1),
        // Some run to their ends, some find the traps.
        disallow_traps: bit(2),
        simd_enabled: bit(4) || bit(5),
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
    let bytes = stream.bytes(STREAM_BYTES);
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
    if termination == Termination::Ensured {
        module.ensure_termination(ROUNDS).ok()?;
    }
    Some(for_a_process(&module.to_bytes()))
}

/// Makes a process's module of wasm-smith's: it makes host references wherever it makes references, and exports what a
/// process needs under no name that is known. Without imports host references are null, as references to functions can
/// be: a module stays valid when all of one kind become the other.
fn for_a_process(module: &[u8]) -> Vec<u8> {
    let mut changed = wasm_encoder::Module::new();
    ForAProcess::default()
        .parse_core_module(&mut changed, wasmparser::Parser::new(0), module)
        .expect("what wasm-smith makes can be read");
    changed.finish()
}

/// Puts `_start`, which does nothing, and the memory's export behind everything else.
#[derive(Default)]
struct ForAProcess {
    types: u32,
    functions: u32,
}

type Result<T> = std::result::Result<T, reencode::Error<std::convert::Infallible>>;

impl Reencode for ForAProcess {
    type Error = std::convert::Infallible;

    fn abstract_heap_type(
        &mut self,
        kind: wasmparser::AbstractHeapType,
    ) -> Result<wasm_encoder::AbstractHeapType> {
        if kind == wasmparser::AbstractHeapType::Extern {
            return Ok(wasm_encoder::AbstractHeapType::Func);
        }
        RoundtripReencoder.abstract_heap_type(kind)
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_type_section(self, types, section)?;
        self.types = types.len();
        types.ty().function([], []);
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_function_section(self, functions, section)?;
        self.functions = functions.len();
        functions.function(self.types);
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_export_section(self, exports, section)?;
        exports.export(abi::MEMORY, ExportKind::Memory, 0).export(
            abi::COMMAND,
            ExportKind::Func,
            self.functions,
        );
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_code_section(self, code, section)?;
        let mut function = Function::new([]);
        function.instructions().end();
        code.function(&function);
        Ok(())
    }
}
