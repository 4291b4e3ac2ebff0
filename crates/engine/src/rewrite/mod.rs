//! The one pass that every module goes through before it runs, so that it runs alike on every host.
//!
//! [`rewrite`] is a pure function of the module's bytes: the same bytes come out on every machine. It
//!
//! - *validates* against a fixed set of features (`features`), with a reason and an offset for what it refuses;
//! - *meters*: each straight-line segment pays its exact cost (`cost`) before it executes (`body`);
//! - *bounds recursion* by a counted stack, since the host's own depth differs from host to host (`body`);
//! - *limits growth*: `memory.grow` and `table.grow` answer -1 beyond what the host allows (`added`);
//! - *settles NaNs*: those whose bits an engine may choose all have the same (`nan`);
//! - *checks the imports*: nothing but the functions of [`glasshouse_devices::functions`], with their exact types;
//! - turns the *start function* into the export `gh_start`, so that it runs in a step, on that step's fuel;
//! - drops custom sections: they would describe code that has moved.
//!
//! **Invariant: a module cannot touch its own accounts.** The pass adds the globals of [`abi::Account`], the functions
//! that grow memory and tables, and their types *behind* the module's own. Imported globals are refused, so the globals
//! have the indices from `n` on in a module that was just validated with `n` globals: no operator, export or initializer
//! of it names them; and likewise the functions. Exporting something under a reserved name is refused, and nothing can
//! be imported but the functions of the devices. Hosts find the globals by the exports that the pass adds.

mod added;
mod body;
mod cost;
mod features;
mod nan;
mod needs;

use std::{string::ToString, vec::Vec};

use wasm_encoder::{BlockType, Encode, Module, RawSection, SectionId};
use wasmparser::{
    BinaryReader, CompositeInnerType, FuncType, FuncValidatorAllocations, Imports, Parser, Payload, TypeRef,
    ValType, ValidPayload, Validator, WasmFeatures,
};

use glasshouse_devices::ValueType;

use crate::{ModuleError, abi};

use added::Added;
use features::FEATURES;
pub(crate) use features::refusal;
pub use needs::{Export, Needs, needs};

/// Locals, parameters included, that a function may have: no compiler needs more, and each enlarges the frame.
const LOCALS_MAXIMUM: u32 = 16_384;

/// How large a module may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RewriteConfig {
    /// Bytes of the module. Bounds the memory and time of the pass and of the compiler.
    pub module_bytes: usize,
    /// Bytes of one function's body. Compilers need more than linear time for a function, and browsers refuse bodies
    /// over 7.6 MB, which the charges must not exceed.
    pub function_bytes: usize,
}

impl Default for RewriteConfig {
    /// 32 MiB, room for an interpreter with its libraries; 1 MiB, five times the largest function seen in one.
    fn default() -> Self {
        Self { module_bytes: 32 << 20, function_bytes: 1 << 20 }
    }
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
/// [`ModuleError::WrongSignature`] for an import, [`ModuleError::TooLarge`].
pub fn rewrite(module: &[u8], config: &RewriteConfig) -> Result<Vec<u8>, ModuleError> {
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

fn run_pass(module: &[u8], config: &RewriteConfig) -> Result<Vec<u8>, ModuleError> {
    let mut pass = Pass::default();
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
    pass.finish()
}

/// What the pass knows of the module so far.
#[derive(Default)]
struct Pass<'a> {
    sections: Sections<'a>,
    types: Vec<FuncType>,
    /// The type of each function that the module defines.
    functions: Vec<u32>,
    added: Added,
    /// Functions rewritten so far.
    bodies: usize,
    code: Vec<u8>,
}

impl<'a> Pass<'a> {
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
                let offset = section.range().start;
                self.added.functions += section.count();
                for imports in section {
                    let Imports::Single(_, import) = imports? else {
                        return Err(ModuleError::Refused {
                            reason: "it uses compact imports, which no browser has".into(),
                            offset,
                        });
                    };
                    self.import(import)?;
                }
            }
            Payload::FunctionSection(section) => {
                self.added.functions += section.count();
                for kind in section {
                    self.functions.push(kind?);
                }
            }
            Payload::GlobalSection(section) => self.added.globals = section.count(),
            Payload::ExportSection(section) => {
                for (offset, export) in section.into_iter_with_offsets().flatten() {
                    if abi::is_reserved(export.name) {
                        let reason =
                            std::format!("it exports `{}`, a name that only the host may use", export.name);
                        return Err(ModuleError::Refused { reason, offset });
                    }
                }
            }
            Payload::StartSection { func, .. } => self.added.start = Some(func),
            _ => {}
        }
        Ok(())
    }

    fn import(&self, import: wasmparser::Import<'_>) -> Result<(), ModuleError> {
        let not_granted =
            || ModuleError::ImportNotGranted { module: import.module.into(), name: import.name.into() };
        let function = glasshouse_devices::find(import.module, import.name).ok_or_else(not_granted)?;
        let kind = |kind: &ValueType| match kind {
            ValueType::I32 => ValType::I32,
            ValueType::I64 => ValType::I64,
        };
        let expected = FuncType::new(function.parameters.iter().map(kind), function.result.iter().map(kind));
        let found = match import.ty {
            TypeRef::Func(kind) => self.types.get(kind as usize),
            _ => None,
        };
        if found == Some(&expected) {
            return Ok(());
        }
        Err(ModuleError::WrongSignature {
            item: std::format!("the import {}.{}", import.module, import.name),
            expected: signature(&expected),
            found: found.map_or_else(|| "something that is no function".into(), signature),
        })
    }

    /// The results of the next function, as the type of a block; adds a type when a block cannot spell it.
    fn result_type(&mut self) -> Result<BlockType, ModuleError> {
        let kind = self.functions.get(self.bodies).and_then(|kind| self.types.get(*kind as usize));
        self.bodies += 1;
        let Some(kind) = kind else {
            return Err(ModuleError::Malformed { reason: "a function has no type".into(), offset: 0 });
        };
        self.added.block_type(kind.results())
    }

    /// Puts the module together again, in the canonical order of sections.
    fn finish(self) -> Result<Vec<u8>, ModuleError> {
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
                SectionId::Global => self.added.encode_globals(),
                SectionId::Export => self.added.encode_exports(),
                SectionId::Code => self.added.encode_code(),
                _ => (0, Vec::new()),
            };
            // The code is the only section whose own items are not the original's.
            let code;
            let contents = if id == SectionId::Code && self.bodies > 0 {
                let mut data = Vec::with_capacity(self.code.len() + 5);
                self.bodies.encode(&mut data);
                data.extend_from_slice(&self.code);
                code = data;
                Some(code.as_slice())
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
        Ok(module.finish())
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
