//! The modules a runtime knows, by the hash of their original bytes. Each is compiled when it is first needed, and kept: by
//! the machine, within its bounds, or here if the machine keeps none.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use glasshouse_engine::Machine;
use glasshouse_kernel::ModuleHash;

use crate::{RuntimeError, builtin};

#[derive(Clone)]
struct Entry<M: Machine> {
    name: String,
    bytes: Arc<[u8]>,
    /// For machines that keep no modules.
    compiled: OnceLock<M::Module>,
}

/// Modules by hash, and the machine that compiles them. Cheap to clone; clones share the modules' bytes and code.
#[derive(Clone)]
pub struct Modules<M: Machine> {
    machine: M,
    entries: BTreeMap<ModuleHash, Entry<M>>,
}

impl<M: Machine> Modules<M> {
    /// No modules yet.
    pub fn new(machine: M) -> Self {
        Self { machine, entries: BTreeMap::new() }
    }

    /// The machine that compiles and instantiates.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Adds a module under a name for people; the same bytes are kept once.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> ModuleHash {
        let hash = ModuleHash(*blake3::hash(bytes).as_bytes());
        let entry = || Entry { name: name.to_owned(), bytes: bytes.into(), compiled: OnceLock::new() };
        self.entries.entry(hash).or_insert_with(entry);
        hash
    }

    /// Adds the agent and the tools that are built in.
    pub fn add_builtin(&mut self) {
        self.add(builtin::REACT.0, builtin::REACT.1);
        for (name, bytes) in builtin::TOOLS {
            self.add(name, bytes);
        }
    }

    /// Name and hash of every module, in the order of the hashes.
    pub fn list(&self) -> impl Iterator<Item = (&str, ModuleHash)> {
        self.entries.iter().map(|(hash, entry)| (entry.name.as_str(), *hash))
    }

    /// The module compiled, and its name.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownModule`], or [`RuntimeError::Module`] when it is not a module that can run.
    pub fn compiled(&self, hash: &ModuleHash) -> Result<(&str, M::Module), RuntimeError> {
        let entry = self.entries.get(hash).ok_or(RuntimeError::UnknownModule { hash: *hash })?;
        let name = entry.name.as_str();
        if let Some(compiled) = entry.compiled.get() {
            return Ok((name, compiled.clone()));
        }
        let compiled = self
            .machine
            .compile_known(&hash.0, &entry.bytes)
            .map_err(|source| RuntimeError::Module { name: name.to_owned(), source })?;
        if !M::KEEPS_MODULES {
            return Ok((name, entry.compiled.get_or_init(|| compiled).clone()));
        }
        Ok((name, compiled))
    }
}
