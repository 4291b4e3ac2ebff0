//! A second host, of nothing but a WebAssembly engine: it holds modules against the contract, not against the engine of
//! this repository. Modules run as they are, without limits.

use std::collections::VecDeque;

use glasshouse_envelope::{Decoder, Envelope, Flags, unpack};
use glasshouse_guest::ErrorData;
use serde_json::Value;
use wasmtime::{Caller, Engine, Extern, Instance, Linker, Module, Store};

/// Answers a call of a host function: by its name, and the argument.
pub type HostFunctions = fn(&str, Value) -> Result<Value, ErrorData>;

/// How a step ended.
#[derive(Debug, PartialEq)]
pub enum Ended {
    /// With these bytes.
    Returned(Vec<u8>),
    /// With `glasshouse.fail`.
    Failed(ErrorData),
    /// Otherwise.
    Trapped,
}

/// A process.
pub struct Bare {
    store: Store<State>,
    instance: Instance,
}

struct State {
    functions: HostFunctions,
    answer: Option<Vec<u8>>,
    failure: Option<ErrorData>,
    logs: VecDeque<String>,
}

type Guest<'a> = Caller<'a, State>;

impl Bare {
    pub fn new(module: &[u8], functions: HostFunctions) -> Self {
        let engine = Engine::default();
        let module = Module::new(&engine, module).unwrap();
        let mut linker: Linker<State> = Linker::new(&engine);
        linker.func_wrap("glasshouse", "clock_now", || 5_i64).unwrap();
        linker
            .func_wrap("glasshouse", "random_fill", |mut guest: Guest<'_>, pointer: u32, length: u32| {
                write(&mut guest, pointer, &vec![4; length as usize]);
            })
            .unwrap();
        linker
            .func_wrap("glasshouse", "log", |mut guest: Guest<'_>, _: u32, pointer: u32, length: u32| {
                let text = read(&mut guest, pointer, length);
                guest.data_mut().logs.push_back(String::from_utf8(text).unwrap());
            })
            .unwrap();
        linker
            .func_wrap("glasshouse", "fail", |mut guest: Guest<'_>, pointer: u32, length: u32| {
                let json = read(&mut guest, pointer, length);
                guest.data_mut().failure = Some(serde_json::from_slice(&json).unwrap());
                Err::<(), _>(wasmtime::Error::msg("the guest failed"))
            })
            .unwrap();
        linker
            .func_wrap("glasshouse", "take_answer", |mut guest: Guest<'_>, pointer: u32, length: u32| {
                let answer = guest.data_mut().answer.take().filter(|answer| answer.len() == length as usize);
                let Some(answer) = answer else { return Err(wasmtime::Error::msg("no such answer")) };
                write(&mut guest, pointer, &answer);
                Ok(())
            })
            .unwrap();
        let names = module
            .imports()
            .filter(|import| import.module() == "host")
            .map(|import| import.name().to_owned());
        for name in names.collect::<Vec<_>>() {
            let function = name.clone();
            linker
                .func_wrap("host", &name, move |mut guest: Guest<'_>, pointer: u32, length: u32| {
                    let request = read(&mut guest, pointer, length);
                    let request = Envelope::decode(&request).unwrap();
                    assert_eq!(request.flags, Flags::NONE);
                    let argument = serde_json::from_slice(request.payload).unwrap();
                    let (flags, payload) = match (guest.data().functions)(&function, argument) {
                        Ok(answer) => (Flags::NONE, serde_json::to_vec(&answer).unwrap()),
                        Err(error) => (Flags::ERROR, serde_json::to_vec(&error).unwrap()),
                    };
                    let answer = Envelope::new(flags, &payload).encode().unwrap();
                    let length = answer.len() as i64;
                    guest.data_mut().answer = Some(answer);
                    length
                })
                .unwrap();
        }
        let state = State { functions, answer: None, failure: None, logs: VecDeque::new() };
        let mut store = Store::new(&engine, state);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        Self { store, instance }
    }

    /// One step on these bytes.
    pub fn step(&mut self, entry: &str, input: &[u8]) -> Ended {
        let length = input.len() as u32;
        let allocate = self.instance.get_typed_func::<u32, u32>(&mut self.store, "gh_allocate").unwrap();
        let pointer = allocate.call(&mut self.store, length).unwrap();
        let memory = self.instance.get_memory(&mut self.store, "memory").unwrap();
        memory.write(&mut self.store, pointer as usize, input).unwrap();
        self.enter(entry, pointer, length)
    }

    /// Calls an entry with any place as its input.
    pub fn enter(&mut self, entry: &str, pointer: u32, length: u32) -> Ended {
        let memory = self.instance.get_memory(&mut self.store, "memory").unwrap();
        let entry = self.instance.get_typed_func::<(u32, u32), u64>(&mut self.store, entry).unwrap();
        match entry.call(&mut self.store, (pointer, length)) {
            Ok(word) => {
                let (pointer, length) = unpack(word);
                let end = pointer as usize + length as usize;
                Ended::Returned(memory.data(&self.store)[pointer as usize..end].to_vec())
            }
            Err(_) => self.store.data_mut().failure.take().map_or(Ended::Trapped, Ended::Failed),
        }
    }

    /// One step on a plain envelope with this payload; what it returned, decoded.
    pub fn call(&mut self, entry: &str, argument: &Value) -> Result<Value, ErrorData> {
        let (flags, payload) =
            self.message(entry, &Envelope::plain(argument.to_string().as_bytes()).encode().unwrap());
        if flags == Flags::ERROR {
            return Err(serde_json::from_slice(&payload).unwrap());
        }
        assert_eq!(flags, Flags::NONE);
        Ok(serde_json::from_slice(&payload).unwrap())
    }

    /// One step on these bytes; the flags and the content of what it returned.
    pub fn message(&mut self, entry: &str, input: &[u8]) -> (Flags, Vec<u8>) {
        let ended = self.step(entry, input);
        let Ended::Returned(bytes) = &ended else { panic!("{ended:?}") };
        let message = Decoder::new().decode(bytes).unwrap();
        (message.flags, message.content.into_owned())
    }

    /// Bytes of the linear memory.
    pub fn memory_bytes(&mut self) -> usize {
        self.instance.get_memory(&mut self.store, "memory").unwrap().data_size(&self.store)
    }

    /// The oldest line of the log that was not taken.
    pub fn take_log(&mut self) -> Option<String> {
        self.store.data_mut().logs.pop_front()
    }
}

/// For guests that use no host function.
pub fn none(name: &str, _: Value) -> Result<Value, ErrorData> {
    Err(ErrorData::new("unknown_host_function", format!("the host has no function `{name}`")))
}

fn memory(guest: &mut Guest<'_>) -> wasmtime::Memory {
    match guest.get_export("memory") {
        Some(Extern::Memory(memory)) => memory,
        _ => panic!("a guest exports its memory"),
    }
}

fn read(guest: &mut Guest<'_>, pointer: u32, length: u32) -> Vec<u8> {
    let memory = memory(guest);
    memory.data(&guest)[pointer as usize..pointer as usize + length as usize].to_vec()
}

fn write(guest: &mut Guest<'_>, pointer: u32, bytes: &[u8]) {
    memory(guest).write(guest, pointer as usize, bytes).unwrap();
}
