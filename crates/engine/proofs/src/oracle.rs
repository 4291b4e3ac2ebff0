//! Decides whether a module does the same everywhere.
//!
//! - [`Oracle::same_as_plain`]: the pass changes nothing that a module computes.
//! - [`Oracle::same_on_all_engines`]: engines that run the same rewritten bytes agree, about every account too.
//! - [`Oracle::cut_short`]: they agree as well when fuel, stack, memory or tables are short.

use std::collections::BTreeMap;

use glasshouse_engine::rewrite::{self, RewriteConfig, Rewritten};

use crate::{
    engines::{EngineKind, Engines, Imports, Item},
    host::{End, Host, Limits, State},
    stream::Stream,
    value::{Failure, Kind, Trap, Value},
};

/// Pages that a memory may have in these runs: all of them are compared, often.
const MEMORY_PAGES: i64 = 64;

/// What was compared.
#[derive(Debug, Default)]
pub struct Counts {
    /// Modules.
    pub modules: u64,
    /// Runs of modules: all of their functions, on all engines.
    pub runs: u64,
    /// Calls, by how they ended.
    pub ends: BTreeMap<String, u64>,
    /// Fuel that was used, and found equal.
    pub fuel: u64,
}

/// Compares modules.
pub struct Oracle {
    engines: Engines,
    /// What was compared so far.
    pub counts: Counts,
}

/// A module, as it stands or rewritten.
#[derive(Clone, Copy)]
enum Form<'a> {
    Plain(&'a [u8]),
    Rewritten(&'a Rewritten),
}

/// A run of all functions of a module.
#[derive(Debug, PartialEq)]
struct Run {
    /// Start, then each exported function.
    ends: Vec<(String, End)>,
    /// None when the run did not come to its end.
    state: Option<State>,
    accounts: Vec<i64>,
}

impl Oracle {
    /// An oracle that has compared nothing yet.
    pub fn new() -> Self {
        Self { engines: Engines::new(), counts: Counts::default() }
    }

    /// Rewrites a module, and holds the result against it on all engines.
    ///
    /// # Errors
    /// What differs.
    pub fn same_as_plain(&mut self, module: &[u8], seed: u64) -> Result<(), String> {
        let rewritten = rewritten(module)?;
        let limits = Limits { memory_pages: MEMORY_PAGES, ..Limits::PLENTY };
        let plain = self.run(EngineKind::Settling, Form::Plain(module), limits, seed);
        let run = self.agreed(&rewritten, limits, seed)?;
        // The plain one's native stack and the counted one are of different sizes.
        let overflows = |run: &Run| run.ends.iter().position(|(_, end)| is_trap(end, Trap::StackOverflow));
        let length = [&plain, &run].into_iter().filter_map(overflows).min();
        let compared = length.unwrap_or(usize::MAX);
        for (plain, rewritten) in plain.ends.iter().zip(&run.ends).take(compared) {
            if !is_same(plain, rewritten) {
                return Err(format!("plain {plain:x?}, rewritten {rewritten:x?}"));
            }
        }
        if length.is_some() {
            return Ok(());
        }
        match (plain.state, run.state) {
            (Some(plain), Some(rewritten)) => plain.difference(&rewritten).map_or(Ok(()), Err),
            (None, None) => Ok(()),
            _ => Err("only one of them starts".into()),
        }
    }

    /// Runs a rewritten module on all engines with this much fuel.
    ///
    /// # Errors
    /// What differs.
    pub fn same_on_all_engines(&mut self, module: &[u8], fuel: i64, seed: u64) -> Result<(), String> {
        let limits = Limits { fuel, memory_pages: MEMORY_PAGES, ..Limits::PLENTY };
        self.agreed(&rewritten(module)?, limits, seed).map(|_| ())
    }

    /// Runs a rewritten module on all engines with less of everything than it needs: fuel, stack, memory, tables.
    ///
    /// # Errors
    /// What differs.
    pub fn cut_short(&mut self, module: &[u8], seed: u64) -> Result<(), String> {
        let rewritten = rewritten(module)?;
        let mut stream = Stream::new(!seed);
        let whole = Limits { fuel: 1 << 20, memory_pages: MEMORY_PAGES, ..Limits::PLENTY };
        let run = self.run(EngineKind::Compiler, Form::Rewritten(&rewritten), whole, seed);
        let used = run.accounts.first().map_or(0, |left| whole.fuel - left.max(&0)) as u64;
        for _ in 0..3 {
            let fuel = stream.below(used + 1) as i64;
            self.agreed(&rewritten, Limits { fuel, ..whole }, seed)?;
        }
        // How fuel is handed out must not be seen.
        let slice = 1 + stream.below(used / 2 + 1) as i64;
        let sliced = self.agreed(&rewritten, Limits { slice, ..whole }, seed)?;
        if sliced != run {
            return Err(format!(
                "with fuel in slices of {slice}: {:?}, else {:?}",
                sliced.accounts, run.accounts
            ));
        }
        let fuel = stream.below(200) as i64;
        self.agreed(&rewritten, Limits { fuel, ..whole }, seed)?;
        let stack = stream.below(16 << 10) as i64;
        self.agreed(&rewritten, Limits { stack, ..whole }, seed)?;
        let memory_pages = stream.below(20) as i64;
        let table_elements = stream.below(1_000) as i64;
        self.agreed(&rewritten, Limits { memory_pages, table_elements, ..whole }, seed).map(|_| ())
    }

    /// Whether a module's results as it stands depend on how NaNs are settled: whether it shows anything.
    pub fn shows_nans(&mut self, module: &[u8], seed: u64) -> bool {
        let limits = Limits { memory_pages: MEMORY_PAGES, ..Limits::PLENTY };
        let settled = self.run(EngineKind::Settling, Form::Plain(module), limits, seed);
        self.run(EngineKind::Compiler, Form::Plain(module), limits, seed) != settled
    }

    /// What all engines make of a rewritten module.
    fn agreed(&mut self, rewritten: &Rewritten, limits: Limits, seed: u64) -> Result<Run, String> {
        let [first, others @ ..] = EngineKind::REWRITTEN;
        let run = self.run(first, Form::Rewritten(rewritten), limits, seed);
        for kind in others {
            let other = self.run(kind, Form::Rewritten(rewritten), limits, seed);
            let places = run.ends.iter().zip(&other.ends);
            if let Some((one, other)) = places.into_iter().find(|(one, other)| !is_same(one, other)) {
                return Err(format!("{first:?} {one:x?}, {kind:?} {other:x?}, within {limits:?}"));
            }
            if run.accounts != other.accounts {
                return Err(format!(
                    "{first:?} {:?}, {kind:?} {:?}, within {limits:?}",
                    run.accounts, other.accounts
                ));
            }
            if run.state.is_some() != other.state.is_some() {
                return Err(format!("it starts on one of {first:?} and {kind:?} only, within {limits:?}"));
            }
            if let (Some(one), Some(other)) = (&run.state, &other.state)
                && let Some(difference) = one.difference(other)
            {
                return Err(format!("{first:?} and {kind:?}: {difference}, within {limits:?}"));
            }
        }
        self.counts.runs += 1;
        self.counts.fuel += run.accounts.first().map_or(0, |left| (limits.fuel - left.max(&0)) as u64);
        for (_, end) in &run.ends {
            let end = match end {
                Ok(_) => "returned".into(),
                Err(Failure::Trap(trap)) => format!("{trap:?}"),
                Err(Failure::Link(_)) => "did not start".into(),
            };
            *self.counts.ends.entry(end).or_default() += 1;
        }
        Ok(run)
    }

    /// Calls everything that a module exports.
    fn run(&self, kind: EngineKind, module: Form<'_>, limits: Limits, seed: u64) -> Run {
        let memory_bytes = (limits.memory_pages as usize) << 16;
        // Growing is refused by the pass's accounts, or by the engine where there are none.
        let engine_bytes = if matches!(module, Form::Plain(_)) { memory_bytes } else { usize::MAX };
        let mut host = Host::new(self.engines.world(kind, engine_bytes), limits);
        let mut ends = Vec::new();
        let made = match module {
            Form::Plain(module) => host.instantiate(module, &Imports::new()),
            Form::Rewritten(module) => host.instantiate_rewritten(module, &Imports::new()),
        };
        let instance = match made {
            Ok(instance) => instance,
            Err(failure) => {
                ends.push(("start".into(), Err(failure)));
                return Run { ends, state: None, accounts: host.accounts() };
            }
        };
        let mut stream = Stream::new(seed);
        for (name, item) in host.exports(instance).clone() {
            if let Item::Function(_) = item {
                let kinds = host.world().parameters(item);
                let arguments: Vec<Value> = kinds.iter().map(|kind| argument(*kind, &mut stream)).collect();
                ends.push((name, host.run(item, &arguments)));
            }
        }
        Run { ends, state: Some(host.state(instance)), accounts: host.accounts() }
    }
}

impl Default for Oracle {
    fn default() -> Self {
        Self::new()
    }
}

/// Rewrites a module; what comes out must be valid.
fn rewritten(module: &[u8]) -> Result<Rewritten, String> {
    let rewritten = rewrite::rewrite(module, &RewriteConfig::default()).map_err(|error| error.to_string())?;
    let valid = wasmparser::Validator::new().validate_all(&rewritten.module);
    valid.map_err(|error| format!("the rewritten module is not valid: {error}"))?;
    Ok(rewritten)
}

fn is_trap(end: &End, trap: Trap) -> bool {
    *end == Err(Failure::Trap(trap))
}

/// Engines say in words of their own why they do not link, and not all tell NaNs from numbers that do not fit.
fn is_same(one: &(String, End), other: &(String, End)) -> bool {
    let conversion =
        |end: &End| is_trap(end, Trap::IntegerOverflow) || is_trap(end, Trap::BadConversionToInteger);
    match (&one.1, &other.1) {
        (Err(Failure::Link(_)), Err(Failure::Link(_))) => true,
        (one, other) if conversion(one) && conversion(other) => true,
        _ => one == other,
    }
}

/// A number that finds something, or null.
fn argument(kind: Kind, stream: &mut Stream) -> Value {
    match kind {
        Kind::I32 => Value::I32(*stream.one_of(&[0, 1, -1, 7, 1_000, i32::MIN, i32::MAX])),
        Kind::I64 => Value::I64(*stream.one_of(&[0, 1, -1, 7, 1_000, i64::MIN, i64::MAX])),
        Kind::F32 => Value::F32(crate::floats::f32_bits(stream)),
        Kind::F64 => Value::F64(crate::floats::f64_bits(stream)),
        Kind::V128 => Value::V128(crate::floats::v128_bits(stream)),
        Kind::Function | Kind::Other => Value::Function(None),
    }
}
