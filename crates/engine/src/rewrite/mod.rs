//! The one pass that every module goes through before it runs, so that it runs alike on every host.
//!
//! [`rewrite`] is a pure function of the module's bytes: the same bytes come out on every machine. It
//!
//! - *validates* against a fixed set of features (`features`), with a reason and an offset for what it refuses;
//! - *meters*: each straight-line segment pays its exact cost (`cost`) before it executes (`body`);
//! - puts in *checkpoints*, where the host hands out more fuel or stops the step (`body`);
//! - *bounds recursion* by a counted stack, since the host's own depth differs from host to host (`body`);
//! - *limits growth*: `memory.grow` and `table.grow` answer -1 beyond what the host allows (`added`);
//! - *settles NaNs*: those whose bits an engine may choose all have the same (`nan`);
//! - *checks the imports*: nothing but what `imports` admits, with exact types;
//! - makes *snapshots complete*: whatever can change is exported, and dropped segments are recorded (`state`);
//! - takes the *data* out of the module, for the host to write (`data`);
//! - turns the *start function* into the export `gh_start`, so that it runs in a step, on that step's fuel;
//! - reads the version of the contract with the host (`version`), and drops custom sections: they would describe code
//!   that has moved.
//!
//! **Invariant: a module cannot touch its own accounts.** The pass adds the globals of [`abi::Account`], the table of the
//! host's hook, its functions and their types *behind* the module's own. In a module that was just validated with `n`
//! globals, imported ones included, those added have the indices from `n` on: no operator, export or initializer of it
//! names them; and likewise the functions and the table. Exporting something under a reserved name is refused. Hosts find
//! what was added by the exports that the pass adds.

mod added;
mod body;
mod cost;
mod data;
mod encode;
mod features;
mod frame;
mod imports;
mod nan;
mod needs;
mod state;
mod version;

use std::{collections::BTreeMap, string::ToString, vec::Vec};

use wasm_encoder::{BlockType, Encode, Module, RawSection, SectionId};
use wasmparser::{
    BinaryReader, CompositeInnerType, ExternalKind, FuncType, FuncValidatorAllocations, Imports, Parser,
    Payload, TableType, TypeRef, ValType, ValidPayload, Validator, WasmFeatures,
};

use glasshouse_devices::HOST_MODULE;

use crate::{ModuleError, abi};

use added::Added;
pub use data::DataSegment;
use features::FEATURES;
pub(crate) use features::refusal;
pub use needs::{Export, Needs};
pub use state::{ChangingTable, Register};

/// Pages of the largest memory with 32-bit addresses.
const MEMORY_PAGES_MAXIMUM: u64 = 1 << 16;

/// Locals, parameters included, that a function may have: no compiler needs more, and each enlarges the frame.
const LOCALS_MAXIMUM: u32 = 16_384;

/// What a module may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RewriteConfig {
    /// Bytes of the module. Bounds the memory and time of the pass and of the compiler.
    pub module_bytes: usize,
    /// Bytes of one function's body. Compilers need more than linear time for a function, and browsers refuse bodies
    /// over 7.6 MB, which the charges must not exceed.
    pub function_bytes: usize,
    /// What the rewritten module is for.
    pub purpose: Purpose,
}

impl Default for RewriteConfig {
    /// 32 MiB, room for an interpreter with its libraries; 1 MiB, five times the largest function seen in one; to be run.
    fn default() -> Self {
        Self { module_bytes: 32 << 20, function_bytes: 1 << 20, purpose: Purpose::Run }
    }
}

/// What a rewritten module is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// To run as a process.
    #[default]
    Run,
    /// To compare the pass with the specification, never to run what is not trusted: whatever the module imports is
    /// admitted as it stands, no export is asked for, and the data stays in the module, since its place may depend on
    /// imports. An imported memory, table or global is not the module's own, so nothing accounts for it or saves it.
    Proof,
}

/// A module that the pass has rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The bytes that run.
    pub module: Vec<u8>,
    /// What a host must know to run them.
    pub needs: Needs,
}

/// The sections of a module, by identifier; contents with their count of items.
#[derive(Default)]
struct Sections<'a> {
    contents: [Option<&'a [u8]>; 14],
}

/// Rewrites a module as this page's top says.
///
/// # Errors
/// [`ModuleError::NotWasm`], [`ModuleError::Malformed`], [`ModuleError::Refused`], [`ModuleError::ImportNotGranted`],
/// [`ModuleError::WrongSignature`], [`ModuleError::MissingExport`], [`ModuleError::UnknownAbi`],
/// [`ModuleError::TooLarge`].
pub fn rewrite(module: &[u8], config: &RewriteConfig) -> Result<Rewritten, ModuleError> {
    if !module.starts_with(b"\0asm") {
        return Err(ModuleError::NotWasm);
    }
    if module.len() > config.module_bytes {
        return Err(ModuleError::TooLarge {
            what: "the module's size in bytes".into(),
            size: module.len() as u64,
            limit: config.module_bytes as u64,
        });
    }
    run_pass(module, config).map_err(|error| match error {
        // Not every message of the validator names the feature that is missing.
        ModuleError::Malformed { reason, offset }
            if Validator::new_with_features(WasmFeatures::all()).validate_all(module).is_ok() =>
        {
            let reason = std::format!("it uses what WebAssembly 2.0 does not allow: {reason}");
            ModuleError::Refused { reason, offset }
        }
        error => error,
    })
}

fn run_pass(module: &[u8], config: &RewriteConfig) -> Result<Rewritten, ModuleError> {
    let mut pass = Pass::new(config.purpose);
    let mut validator = Validator::new_with_features(FEATURES);
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    for payload in parser.parse_all(module) {
        let payload = payload?;
        let valid = validator.payload(&payload)?;
        if let Some((id, range)) = payload.as_section() {
            let contents = module.get(range.start as usize..range.end as usize);
            if let Some(section) = pass.sections.contents.get_mut(usize::from(id)) {
                *section = contents;
            }
        }
        pass.payload(payload)?;
        if let ValidPayload::Func(function, function_body) = valid {
            let result = pass.result_type()?;
            let validator = function.into_validator(allocations);
            let validator =
                body::rewrite(validator, &function_body, &mut pass.added, result, config, &mut pass.code)?;
            allocations = validator.into_allocations();
        }
    }
    pass.needs.hash = *blake3::hash(module).as_bytes();
    pass.finish()
}

/// What the pass knows of the module so far.
struct Pass<'a> {
    purpose: Purpose,
    sections: Sections<'a>,
    types: Vec<FuncType>,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    imported_functions: usize,
    /// Imported ones first.
    tables: Vec<TableType>,
    /// The names and functions that the module exports.
    exported: Vec<(&'a str, u32)>,
    added: Added,
    /// Functions rewritten so far.
    bodies: usize,
    code: Vec<u8>,
    /// The data section without what the host writes.
    data: Option<Vec<u8>>,
    has_version: bool,
    needs: Needs,
}

impl<'a> Pass<'a> {
    fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            sections: Sections::default(),
            types: Vec::new(),
            functions: Vec::new(),
            imported_functions: 0,
            tables: Vec::new(),
            exported: Vec::new(),
            added: Added::default(),
            bodies: 0,
            code: Vec::new(),
            data: None,
            has_version: false,
            needs: Needs::default(),
        }
    }

    /// Takes a payload that the validator has accepted.
    fn payload(&mut self, payload: Payload<'a>) -> Result<(), ModuleError> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for kind in group?.into_types() {
                        if let CompositeInnerType::Func(function) = kind.composite_type.inner {
                            self.types.push(function);
                        }
                    }
                }
                self.added.types = self.types.len() as u32;
            }
            Payload::ImportSection(section) => {
                for item in section.into_iter_with_offsets() {
                    let (offset, imports) = item?;
                    let Imports::Single(_, import) = imports else {
                        return Err(ModuleError::Refused {
                            reason: "it uses compact imports, which no browser has".into(),
                            offset,
                        });
                    };
                    self.import(&import, offset)?;
                }
                self.imported_functions = self.functions.len();
                self.added.functions = self.functions.len() as u32;
                self.added.tables = self.tables.len() as u32;
            }
            Payload::FunctionSection(section) => {
                self.added.functions += section.count();
                for kind in section {
                    self.functions.push(kind?);
                }
            }
            Payload::TableSection(section) => {
                self.added.tables += section.count();
                for table in section {
                    let kind = table?.ty;
                    self.needs.table_elements = self.needs.table_elements.saturating_add(kind.initial);
                    self.tables.push(kind);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    let bytes = |pages: u64| pages.saturating_mul(crate::PAGE_BYTES);
                    self.needs.memory_bytes = bytes(memory.initial);
                    self.needs.memory_maximum = bytes(memory.maximum.unwrap_or(MEMORY_PAGES_MAXIMUM));
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global?;
                    self.added.state.global(self.added.globals, global.ty, &global.init_expr)?;
                    self.added.globals += 1;
                }
            }
            Payload::ExportSection(section) => {
                for item in section.into_iter_with_offsets() {
                    let (offset, export) = item?;
                    self.export(export, offset)?;
                }
            }
            Payload::StartSection { func, .. } => {
                self.added.start = Some(func);
                self.needs.starts = true;
            }
            Payload::ElementSection(section) => {
                for elements in section {
                    self.added.state.elements(elements?)?;
                }
            }
            Payload::DataSection(section) if self.purpose == Purpose::Run => {
                let (segments, rest) = data::take_segments(section)?;
                self.needs.data = segments;
                self.data = Some(rest);
            }
            Payload::CustomSection(section) if section.name() == abi::VERSION_SECTION => {
                version::check(section.data(), section.data_offset(), self.has_version)?;
                self.has_version = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: &wasmparser::Import<'_>, offset: u64) -> Result<(), ModuleError> {
        if self.purpose == Purpose::Run {
            imports::check(import, &self.types, offset)?;
            let known = |name: &str| self.needs.host_functions.iter().any(|function| function == name);
            if import.module == HOST_MODULE && !known(import.name) {
                self.needs.host_functions.push(import.name.into());
            }
        }
        match import.ty {
            TypeRef::Func(kind) => self.functions.push(kind),
            TypeRef::Table(kind) => self.tables.push(kind),
            TypeRef::Global(_) => self.added.globals += 1,
            _ => {}
        }
        Ok(())
    }

    fn export(&mut self, export: wasmparser::Export<'a>, offset: u64) -> Result<(), ModuleError> {
        if abi::is_reserved(export.name) {
            let reason = std::format!("it exports `{}`, a name that only the host may use", export.name);
            return Err(ModuleError::Refused { reason, offset });
        }
        let kind = match export.kind {
            ExternalKind::Func => {
                self.exported.push((export.name, export.index));
                match self.function_type(export.index) {
                    Some(kind) if *kind == needs::function_type(abi::ENTRY_SIGNATURE) => Export::Entry,
                    Some(kind) if *kind == needs::function_type(abi::PROCEDURE_SIGNATURE) => {
                        Export::Procedure
                    }
                    _ => Export::Function,
                }
            }
            ExternalKind::Memory => Export::Memory,
            _ => Export::Other,
        };
        self.needs.exports.insert(export.name.into(), kind);
        Ok(())
    }

    fn function_type(&self, function: u32) -> Option<&FuncType> {
        self.functions.get(function as usize).and_then(|kind| self.types.get(*kind as usize))
    }

    /// The results of the next function, as the type of a block; adds a type when a block cannot spell it.
    fn result_type(&mut self) -> Result<BlockType, ModuleError> {
        let function = self.imported_functions + self.bodies;
        self.bodies += 1;
        let kind = self.functions.get(function).and_then(|kind| self.types.get(*kind as usize));
        let Some(kind) = kind else {
            return Err(ModuleError::Malformed { reason: "a function has no type".into(), offset: 0 });
        };
        self.added.block_type(kind.results())
    }

    /// Puts the module together again, in the canonical order of sections.
    fn finish(mut self) -> Result<Rewritten, ModuleError> {
        if self.purpose == Purpose::Run {
            let exported = self.exported.iter();
            let types: BTreeMap<&str, &FuncType> =
                exported.filter_map(|(name, index)| Some((*name, self.function_type(*index)?))).collect();
            self.needs.check_exports(&types)?;
            let allocate = self.exported.iter().find(|(name, _)| *name == abi::ALLOCATE);
            self.added.allocate = allocate.map(|(_, index)| *index);
            let is_entry = |name: &str| self.needs.exports.get(name) == Some(&Export::Entry);
            let entries = self.exported.iter().filter(|(name, _)| is_entry(name));
            self.added.entries = entries.map(|(name, index)| ((*name).into(), *index)).collect();
        }
        self.added.complete();
        let mut module = Module::new();
        for id in [
            SectionId::Type,
            SectionId::Import,
            SectionId::Function,
            SectionId::Table,
            SectionId::Memory,
            SectionId::Global,
            SectionId::Export,
            SectionId::Element,
            SectionId::DataCount,
            SectionId::Code,
            SectionId::Data,
        ] {
            let (count, items) = match id {
                SectionId::Type => self.added.encode_types()?,
                SectionId::Function => self.added.encode_functions(),
                SectionId::Table => self.added.encode_tables(),
                SectionId::Global => self.added.encode_globals(),
                SectionId::Export => self.added.encode_exports(),
                SectionId::Code => self.added.encode_code(),
                _ => (0, Vec::new()),
            };
            // The code and the data are the only sections whose own items are not the original's.
            let code;
            let contents = if id == SectionId::Code && self.bodies > 0 {
                let mut data = Vec::with_capacity(self.code.len() + 5);
                self.bodies.encode(&mut data);
                data.extend_from_slice(&self.code);
                code = data;
                Some(code.as_slice())
            } else if id == SectionId::Data && self.data.is_some() {
                self.data.as_deref()
            } else {
                self.sections.contents[id as usize]
            };
            if count > 0 {
                let data = append(contents, count, &items)?;
                module.section(&RawSection { id: id as u8, data: &data });
            } else if let Some(data) = contents {
                module.section(&RawSection { id: id as u8, data });
            }
        }
        self.describe_state();
        Ok(Rewritten { module: module.finish(), needs: self.needs })
    }

    /// Writes down what a snapshot must reach.
    fn describe_state(&mut self) {
        let state = &self.added.state;
        self.needs.globals = state.globals().to_vec();
        self.needs.functions = state.functions().collect();
        self.needs.dropped = self.added.dropped_globals();
        let table = |index: u32| Some(ChangingTable::new(index, *self.tables.get(index as usize)?));
        self.needs.tables = state.tables().filter_map(table).collect();
    }
}

/// A section's contents with `count` more items behind its own.
fn append(contents: Option<&[u8]>, count: u32, items: &[u8]) -> Result<Vec<u8>, ModuleError> {
    let mut data = Vec::new();
    let (own, rest) = match contents {
        Some(contents) => {
            let mut reader = BinaryReader::new(contents, 0);
            let own = reader.read_var_u32()?;
            (own, &contents[reader.current_position()..])
        }
        None => (0, [].as_slice()),
    };
    (own + count).encode(&mut data);
    data.extend_from_slice(rest);
    data.extend_from_slice(items);
    Ok(data)
}

fn encoded_type(kind: ValType) -> Result<wasm_encoder::ValType, ModuleError> {
    Ok(match kind {
        ValType::I32 => wasm_encoder::ValType::I32,
        ValType::I64 => wasm_encoder::ValType::I64,
        ValType::F32 => wasm_encoder::ValType::F32,
        ValType::F64 => wasm_encoder::ValType::F64,
        ValType::V128 => wasm_encoder::ValType::V128,
        ValType::Ref(reference) if reference == wasmparser::RefType::FUNCREF => {
            wasm_encoder::ValType::FUNCREF
        }
        ValType::Ref(reference) => {
            let reason = std::format!("it uses the type {reference}, which processes may not use");
            return Err(ModuleError::Refused { reason, offset: 0 });
        }
    })
}

/// A function type as it is written in the text format, without its keywords: `(i32, i32) -> i64`.
pub(crate) fn signature(function: &FuncType) -> std::string::String {
    let list = |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    std::format!("({}) -> ({})", list(function.params()), list(function.results()))
}
