//! What a module is and needs, read without running any of its code.

use std::{format, string::String, string::ToString, vec::Vec};

use serde::Serialize;
use wasmparser::{
    CompositeInnerType, ExternalKind, FuncType, Imports, MemoryType, Parser, Payload, TableType, TypeRef,
};

use crate::{
    ModuleError, PAGE_BYTES, abi,
    rewrite::{self, RewriteConfig},
};

/// What a module is and needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Bytes of the module.
    pub bytes: u64,
    /// How it is run.
    pub kind: ModuleKind,
    /// Version of the contract with its host that it was built for; none when it does not say.
    pub abi: Option<u32>,
    /// What it imports, in its order.
    pub imports: Vec<Import>,
    /// What it exports, in its order.
    pub exports: Vec<Export>,
    /// Its linear memory.
    pub memory: Option<Memory>,
    /// Elements that its tables start with, together.
    pub table_elements: u64,
    /// Functions of its own.
    pub functions: u32,
    /// The names of its custom sections, each with its bytes.
    pub sections: Vec<(String, u64)>,
    /// Whether it carries a signature. Whose, and whether it is right, only a key can tell.
    pub signed: bool,
    /// The tools that it describes.
    pub tools: Vec<String>,
    /// What it would need granted to do all that it can ask for: services by name, and mounted directories.
    pub grants: Vec<String>,
    /// Why it would not run.
    pub refused: Option<String>,
}

/// How a module is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModuleKind {
    /// A program: its export `_start` is run once.
    Command,
    /// A module with entries, which are called.
    Entries,
    /// Neither.
    Unknown,
}

/// Something that a module imports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Import {
    /// The module it imports from.
    pub module: String,
    /// The name.
    pub name: String,
    /// Its type, as it is written in the text format.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether every process is given it.
    pub given: bool,
}

/// Something that a module exports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Export {
    /// The name.
    pub name: String,
    /// Its type, as it is written in the text format.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether a step can enter it.
    pub entry: bool,
}

/// A linear memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Bytes that it starts with.
    pub initial_bytes: u64,
    /// Bytes that it may have, if the module bounds them.
    pub maximum_bytes: Option<u64>,
}

/// Looks at a module. What is wrong with one that cannot run is in [`Inspection::refused`].
///
/// # Errors
/// [`ModuleError::NotWasm`], and [`ModuleError::Malformed`] when its sections cannot be told apart.
pub fn inspect(module: &[u8]) -> Result<Inspection, ModuleError> {
    if !module.starts_with(b"\0asm") {
        return Err(ModuleError::NotWasm);
    }
    let mut reader = Reader::default();
    for payload in Parser::new(0).parse_all(module) {
        reader.payload(payload?)?;
    }
    let refused = rewrite::rewrite(module, &RewriteConfig::default()).err().map(|error| error.to_string());
    let has = |name: &str| reader.exports.iter().any(|export| export.name == name);
    let kind = if has(abi::COMMAND) {
        ModuleKind::Command
    } else if has(abi::ALLOCATE) {
        ModuleKind::Entries
    } else {
        ModuleKind::Unknown
    };
    let tools = crate::describe_tools(module).unwrap_or_default();
    let mut grants: Vec<String> = Vec::new();
    for service in tools.iter().flat_map(|tool| &tool.services) {
        let grant = format!("service {service}");
        if !grants.contains(&grant) {
            grants.push(grant);
        }
    }
    if reader.imports.iter().any(|import| import.name.starts_with("path_")) {
        grants.push("mounts, to see any directory of the host".into());
    }
    for import in reader.imports.iter().filter(|import| import.module == glasshouse_devices::HOST_MODULE) {
        grants.push(format!("host function {}", import.name));
    }
    Ok(Inspection {
        bytes: module.len() as u64,
        kind,
        abi: reader.abi,
        signed: crate::signature::is_signed(module),
        imports: reader.imports,
        exports: reader.exports,
        memory: reader.memory,
        table_elements: reader.table_elements,
        functions: reader.own_functions,
        sections: reader.sections,
        tools: tools.into_iter().map(|tool| tool.name).collect(),
        grants,
        refused,
    })
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    types: Vec<FuncType>,
    functions: Vec<u32>,
    own_functions: u32,
    imports: Vec<Import>,
    exports: Vec<Export>,
    memory: Option<Memory>,
    table_elements: u64,
    sections: Vec<(String, u64)>,
    abi: Option<u32>,
}

impl Reader {
    fn payload(&mut self, payload: Payload<'_>) -> Result<(), ModuleError> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for kind in group?.into_types() {
                        // Types that are no functions keep their place.
                        self.types.push(match kind.composite_type.inner {
                            CompositeInnerType::Func(function) => function,
                            _ => FuncType::new([], []),
                        });
                    }
                }
            }
            Payload::ImportSection(section) => {
                for imports in section {
                    if let Imports::Single(_, import) = imports? {
                        self.import(import);
                    }
                }
            }
            Payload::FunctionSection(section) => {
                self.own_functions = section.count();
                for kind in section {
                    self.functions.push(kind?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.table(&table?.ty);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memory(&memory?);
                }
            }
            Payload::ExportSection(section) => {
                let (parameters, results) = abi::ENTRY_SIGNATURE;
                let entry_type = FuncType::new(parameters.iter().copied(), results.iter().copied());
                for export in section {
                    let export = export?;
                    let function =
                        (export.kind == ExternalKind::Func).then(|| self.signature(export.index)).flatten();
                    let entry = function.as_ref() == Some(&entry_type);
                    let kind = match (export.kind, function) {
                        (ExternalKind::Func, Some(function)) => {
                            format!("func {}", rewrite::signature(&function))
                        }
                        (kind, _) => format!("{kind:?}").to_ascii_lowercase(),
                    };
                    self.exports.push(Export { name: export.name.into(), kind, entry });
                }
            }
            Payload::CustomSection(section) => {
                if section.name() == abi::VERSION_SECTION {
                    self.abi = section.data().try_into().ok().map(u32::from_le_bytes);
                }
                self.sections.push((section.name().into(), section.data().len() as u64));
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: wasmparser::Import<'_>) {
        let kind = match import.ty {
            TypeRef::Func(kind) => {
                self.functions.push(kind);
                match self.types.get(kind as usize) {
                    Some(function) => format!("func {}", rewrite::signature(function)),
                    None => "func".to_string(),
                }
            }
            TypeRef::Table(table) => {
                self.table(&table);
                "table".to_string()
            }
            TypeRef::Memory(memory) => {
                self.memory(&memory);
                "memory".to_string()
            }
            TypeRef::Global(_) => "global".to_string(),
            _ => "other".to_string(),
        };
        self.imports.push(Import {
            module: import.module.into(),
            name: import.name.into(),
            kind,
            given: glasshouse_devices::find(import.module, import.name).is_some(),
        });
    }

    fn table(&mut self, table: &TableType) {
        self.table_elements = self.table_elements.saturating_add(table.initial);
    }

    fn memory(&mut self, memory: &MemoryType) {
        self.memory = Some(Memory {
            initial_bytes: memory.initial.saturating_mul(PAGE_BYTES),
            maximum_bytes: memory.maximum.map(|pages| pages.saturating_mul(PAGE_BYTES)),
        });
    }

    fn signature(&self, function: u32) -> Option<FuncType> {
        let kind = self.functions.get(function as usize)?;
        self.types.get(*kind as usize).cloned()
    }
}
