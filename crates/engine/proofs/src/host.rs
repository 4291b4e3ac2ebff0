//! Runs modules as a host does, rewritten or as they stand: sets accounts, starts them, says why a call ended.

use glasshouse_engine::abi::{self, Account};

use crate::{
    engines::{Exports, Imports, Item, World},
    value::{Failure, Trap, Value},
};

/// How a call, or the start of an instance, ended.
pub type End = Result<Vec<Value>, Failure>;

/// What the accounts of an instance are set to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Fuel of the whole run.
    pub fuel: i64,
    /// Estimated bytes of stack for each call.
    pub stack: i64,
    /// Pages that a memory may have.
    pub memory_pages: i64,
    /// Elements that all tables of an instance together may grow by.
    pub table_elements: i64,
}

impl Limits {
    /// The stack that processes have, and no other limit that a test would reach.
    pub const PLENTY: Self =
        Self { fuel: 1 << 40, stack: abi::STACK_BYTES as i64, memory_pages: 65_536, table_elements: 1 << 32 };
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
    /// In the order of [`Account::ALL`]; none for a module that was not rewritten.
    accounts: Option<Vec<Item>>,
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

    /// Instantiates a module, rewritten or not, and runs its start function. Answers the instance's number.
    ///
    /// # Errors
    /// [`Failure`]. What has been written to imported memories and tables by then stays there, as it should.
    pub fn instantiate(&mut self, module: &[u8], imports: &Imports) -> Result<usize, Failure> {
        let mut exports = self.world.instantiate(module, imports)?;
        let find = |name: &str| exports.iter().find(|(found, _)| found == name).map(|(_, item)| *item);
        let accounts: Option<Vec<Item>> = Account::ALL.iter().map(|account| find(account.export())).collect();
        let start = find(abi::START);
        exports.retain(|(name, _)| !abi::is_reserved(name));
        self.instances.push(Hosted { exports, accounts });
        let instance = self.instances.len() - 1;
        for account in Account::ALL {
            self.set_account(instance, account, self.amount(account));
        }
        if let Some(start) = start {
            self.run(start, &[])?;
        }
        Ok(instance)
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

    /// What a process would report: accounts tell the pass's own trap from the module's.
    fn judge(&mut self, end: End) -> End {
        let overdrawn = |host: &mut Self, account| {
            (0..host.instances.len()).any(|instance| host.account(instance, account) < 0)
        };
        if overdrawn(self, Account::Fuel) {
            return Err(Failure::Trap(Trap::OutOfFuel));
        }
        if end == Err(Failure::Trap(Trap::Unreachable)) && overdrawn(self, Account::Stack) {
            return Err(Failure::Trap(Trap::StackOverflow));
        }
        end
    }

    /// Every account of every instance.
    pub fn accounts(&mut self) -> Vec<i64> {
        let places =
            (0..self.instances.len()).flat_map(|instance| Account::ALL.map(|account| (instance, account)));
        places.map(|(instance, account)| self.account(instance, account)).collect()
    }

    /// An account of an instance; zero if it was not rewritten.
    pub fn account(&mut self, instance: usize, account: Account) -> i64 {
        let Some(accounts) = &self.instances[instance].accounts else { return 0 };
        match self.world.global(accounts[account as usize]) {
            Value::I64(value) => value,
            other => panic!("an account is {other:?}"),
        }
    }

    fn set_account(&mut self, instance: usize, account: Account, amount: i64) {
        if let Some(accounts) = &self.instances[instance].accounts {
            self.world.set_global(accounts[account as usize], &Value::I64(amount));
        }
    }

    fn amount(&self, account: Account) -> i64 {
        match account {
            Account::Fuel => self.limits.fuel,
            Account::Stack => self.limits.stack,
            Account::MemoryPages => self.limits.memory_pages,
            Account::MemoryRefused => 0,
            Account::TableElements => self.limits.table_elements,
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
