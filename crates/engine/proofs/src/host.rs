//! Runs modules as a host does, rewritten or as they stand: sets accounts, starts them, says why a call ended.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use glasshouse_engine::{
    abi::{self, Account},
    rewrite::{DataSegment, Rewritten},
};

use crate::{
    engines::{Exports, Hook, Imports, Item, World},
    value::{Failure, Trap, Value},
};

/// How a call, or the start of an instance, ended.
pub type End = Result<Vec<Value>, Failure>;

/// What the accounts of an instance are set to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Fuel of the whole run.
    pub fuel: i64,
    /// Fuel that is handed out at once. It must not be seen.
    pub slice: i64,
    /// Estimated bytes of stack for each call.
    pub stack: i64,
    /// Pages that a memory may have.
    pub memory_pages: i64,
    /// Elements that all tables of an instance together may grow by.
    pub table_elements: i64,
}

impl Limits {
    /// The stack that processes have, and no other limit that a test would reach.
    pub const PLENTY: Self = Self {
        fuel: 1 << 40,
        slice: i64::MAX,
        stack: abi::STACK_BYTES as i64,
        memory_pages: 65_536,
        table_elements: 1 << 32,
    };
}

/// Instances in one world.
pub struct Host {
    world: Box<dyn World>,
    limits: Limits,
    instances: Vec<Hosted>,
}

struct Hosted {
    /// The module's own.
    exports: Exports,
    /// None for a module that was not rewritten, or that did not come so far.
    accounts: Option<Accounts>,
}

struct Accounts {
    /// In the order of [`Account::ALL`].
    items: Vec<Item>,
    /// Fuel that was not handed out yet.
    reserve: Arc<AtomicI64>,
}

/// All that can be seen of an instance between calls, by the names of its exports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    globals: Vec<(String, Value)>,
    tables: Vec<(String, Vec<Value>)>,
    memories: Vec<(String, Vec<u8>)>,
}

impl State {
    /// Where another state differs; none if it does not.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.globals != other.globals {
            return Some(format!("globals: {:x?} and {:x?}", self.globals, other.globals));
        }
        if self.tables != other.tables {
            return Some(format!("tables: {:?} and {:?}", self.tables, other.tables));
        }
        let place = |one: &[u8], other: &[u8]| {
            let place = one.iter().zip(other).position(|(one, other)| one != other);
            let start = place.unwrap_or(one.len().min(other.len())) & !15;
            let part = |bytes: &[u8]| format!("{:02x?}", &bytes[start..bytes.len().min(start + 16)]);
            format!(
                "memories of {} and {} bytes, from {start} on: {} and {}",
                one.len(),
                other.len(),
                part(one),
                part(other)
            )
        };
        self.memories
            .iter()
            .zip(&other.memories)
            .find(|(one, other)| one != other)
            .map(|(one, other)| place(&one.1, &other.1))
    }
}

impl Host {
    /// A host without instances.
    pub fn new(world: Box<dyn World>, limits: Limits) -> Self {
        Self { world, limits, instances: Vec::new() }
    }

    /// Instantiates a module as it stands. Answers the instance's number.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn instantiate(&mut self, module: &[u8], imports: &Imports) -> Result<usize, Failure> {
        let exports = self.world.instantiate(module, imports)?;
        self.instances.push(Hosted { exports, accounts: None });
        Ok(self.instances.len() - 1)
    }

    /// Instantiates a rewritten module, writes its data, and runs its start function. Answers the instance's number.
    ///
    /// # Errors
    /// [`Failure`]. What has been written to imported memories and tables by then stays there, as it should.
    pub fn instantiate_rewritten(&mut self, module: &Rewritten, imports: &Imports) -> Result<usize, Failure> {
        let mut exports = self.world.instantiate(&module.module, imports)?;
        let find = |name: &str| {
            let export = exports.iter().find(|(found, _)| found == name);
            export.map(|(_, item)| *item).unwrap_or_else(|| panic!("the pass exports `{name}`"))
        };
        let items: Vec<Item> = Account::ALL.iter().map(|account| find(account.export())).collect();
        let hooks = find(abi::HOOKS);
        let memory = (!module.needs.data.is_empty()).then(|| find(abi::MEMORY));
        let start = module.needs.starts.then(|| find(abi::START));
        let reserve = Arc::new(AtomicI64::new(self.limits.fuel));
        let (fuel, stack) = (items[Account::Fuel as usize], items[Account::Stack as usize]);
        self.world.set_hook(hooks, Hook { fuel, stack, reserve: reserve.clone(), slice: self.limits.slice });
        exports.retain(|(name, _)| !abi::is_reserved(name));
        self.instances.push(Hosted { exports, accounts: Some(Accounts { items, reserve }) });
        let instance = self.instances.len() - 1;
        self.set_account(instance, Account::MemoryPages, self.limits.memory_pages);
        self.set_account(instance, Account::TableElements, self.limits.table_elements);
        if let Some(memory) = memory {
            self.write(memory, &module.needs.data)?;
        }
        if let Some(start) = start {
            self.run(start, &[])?;
        }
        Ok(instance)
    }

    fn write(&mut self, memory: Item, data: &[DataSegment]) -> Result<(), Failure> {
        let memory = self.world.memory(memory);
        for DataSegment { offset, bytes } in data {
            let start = *offset as usize;
            let place = memory.get_mut(start..start + bytes.len());
            place.ok_or(Failure::Trap(Trap::MemoryOutOfBounds))?.copy_from_slice(bytes);
        }
        Ok(())
    }

    /// What an instance exports.
    pub fn exports(&self, instance: usize) -> &Exports {
        &self.instances[instance].exports
    }

    /// An export of an instance.
    pub fn export(&self, instance: usize, name: &str) -> Option<Item> {
        self.exports(instance).iter().find(|(found, _)| found == name).map(|(_, item)| *item)
    }

    /// The world in which the instances are.
    pub fn world(&mut self) -> &mut dyn World {
        self.world.as_mut()
    }

    /// Calls a function with the whole stack before it.
    ///
    /// # Errors
    /// [`Failure::Trap`].
    pub fn run(&mut self, function: Item, arguments: &[Value]) -> End {
        for instance in 0..self.instances.len() {
            self.set_account(instance, Account::Stack, self.limits.stack);
        }
        let end = self.world.call(function, arguments);
        self.judge(end)
    }

    /// What a process would report: a step that has used more fuel than it had is out of fuel, whatever it did since.
    fn judge(&mut self, end: End) -> End {
        if (0..self.instances.len()).any(|instance| self.fuel(instance) < 0) {
            return Err(Failure::Trap(Trap::OutOfFuel));
        }
        end
    }

    /// Fuel that is left to an instance, handed out or not; below zero when it was overdrawn.
    pub fn fuel(&mut self, instance: usize) -> i64 {
        let reserve = self.instances[instance].accounts.as_ref().map(|accounts| accounts.reserve.clone());
        self.account(instance, Account::Fuel) + reserve.map_or(0, |reserve| reserve.load(Ordering::Relaxed))
    }

    /// Every account of every instance; of fuel, what is left in all.
    pub fn accounts(&mut self) -> Vec<i64> {
        let mut accounts = Vec::new();
        for instance in 0..self.instances.len() {
            accounts.push(self.fuel(instance));
            accounts.extend(Account::ALL[1..].iter().map(|account| self.account(instance, *account)));
        }
        accounts
    }

    /// What an account of an instance shows; zero if it was not rewritten.
    pub fn account(&mut self, instance: usize, account: Account) -> i64 {
        let Some(accounts) = &self.instances[instance].accounts else { return 0 };
        match self.world.global(accounts.items[account as usize]) {
            Value::I64(value) => value,
            other => panic!("an account is {other:?}"),
        }
    }

    fn set_account(&mut self, instance: usize, account: Account, amount: i64) {
        if let Some(accounts) = &self.instances[instance].accounts {
            self.world.set_global(accounts.items[account as usize], &Value::I64(amount));
        }
    }

    /// What can be seen of an instance.
    pub fn state(&mut self, instance: usize) -> State {
        let mut state = State::default();
        for (name, item) in self.instances[instance].exports.clone() {
            match item {
                Item::Function(_) => {}
                Item::Global(_) => state.globals.push((name, self.world.global(item))),
                Item::Table(_) => state.tables.push((name, self.world.table(item))),
                Item::Memory(_) => state.memories.push((name, self.world.memory(item).to_vec())),
            }
        }
        state
    }
}
