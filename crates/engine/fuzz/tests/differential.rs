//! The pass against wasmtime without it: the same results, traps and memory for random modules. Their numbers too: plain
//! modules have their NaNs canonicalized by wasmtime, rewritten ones by the pass alone.

use glasshouse_engine::{
    abi::{self, Account},
    rewrite,
};
use glasshouse_engine_fuzz::module;
use proptest::prelude::*;
use wasmtime::{Config, Engine, Extern, Func, Instance, Module, Store, Trap, Val};

/// What can be seen of a module: how its start and each exported function ended, its globals and its memory.
#[derive(Debug, PartialEq)]
struct Seen {
    ends: Vec<Result<String, Trap>>,
    globals: Vec<String>,
    memory: Vec<u8>,
}

fn engine(canonicalizes: bool) -> Engine {
    let mut config = Config::new();
    config.cranelift_nan_canonicalization(canonicalizes);
    Engine::new(&config).unwrap()
}

/// Values by their bits; references only by being null.
fn spell(values: &[Val]) -> String {
    let one = |value: &Val| match value {
        Val::FuncRef(reference) => format!("funcref {}", reference.is_some()),
        other => format!("{other:?}"),
    };
    values.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn call(store: &mut Store<()>, function: Func) -> Result<String, Trap> {
    let kind = function.ty(&*store);
    let zeros: Vec<Val> = kind.params().map(|kind| kind.default_value().unwrap()).collect();
    let mut results = vec![Val::I32(0); kind.results().len()];
    match function.call(&mut *store, &zeros, &mut results) {
        Ok(()) => Ok(spell(&results)),
        Err(error) => Err(*error.downcast_ref::<Trap>().unwrap()),
    }
}

/// Runs everything; none when the module does not start, or runs into a limit that only one side has.
fn run(engine: &Engine, bytes: &[u8]) -> Option<Seen> {
    let module = Module::from_binary(engine, bytes).ok()?;
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).ok()?;
    let mut ends = Vec::new();
    fill(&mut store, instance);
    if let Some(start) = instance.get_func(&mut store, abi::START) {
        call(&mut store, start).ok()?;
    }
    let exports: Vec<(String, Extern)> = instance
        .exports(&mut store)
        .map(|export| (export.name().to_owned(), export.into_extern()))
        .filter(|(name, _)| !abi::is_reserved(name))
        .collect();
    for (_, export) in &exports {
        if let Extern::Func(function) = export {
            fill(&mut store, instance);
            ends.push(call(&mut store, *function));
            if ends.last() == Some(&Err(Trap::StackOverflow)) || stack_left(&mut store, instance) < 0 {
                return None;
            }
        }
    }
    let mut globals = Vec::new();
    let mut memory = Vec::new();
    for (_, export) in exports {
        match export {
            Extern::Global(global) => globals.push(spell(&[global.get(&mut store)])),
            Extern::Memory(exported) => memory = exported.data(&store).to_vec(),
            _ => {}
        }
    }
    Some(Seen { ends, globals, memory })
}

/// Fills the accounts of a rewritten module.
fn fill(store: &mut Store<()>, instance: Instance) {
    for account in Account::ALL {
        let amount = match account {
            Account::Stack => i64::from(abi::STACK_BYTES),
            Account::MemoryRefused => 0,
            Account::Fuel | Account::MemoryPages | Account::TableElements => i64::MAX,
        };
        if let Some(global) = instance.get_global(&mut *store, account.export()) {
            global.set(&mut *store, Val::I64(amount)).unwrap();
        }
    }
}

fn stack_left(store: &mut Store<()>, instance: Instance) -> i64 {
    instance
        .get_global(&mut *store, Account::Stack.export())
        .map_or(0, |global| global.get(&mut *store).i64().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rewritten_modules_are_valid_and_compute_the_same(seed in any::<u64>()) {
        let Some(original) = module(seed) else { return Ok(()) };
        let rewritten = rewrite::rewrite(&original, &rewrite::RewriteConfig::default()).unwrap();
        wasmparser::Validator::new().validate_all(&rewritten).unwrap();
        if let (Some(plain), Some(seen)) = (run(&engine(true), &original), run(&engine(false), &rewritten)) {
            prop_assert_eq!(plain, seen);
        }
    }
}
