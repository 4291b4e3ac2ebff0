//! The runtime of one worker.

use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use glasshouse_memory::MemoryStore;
use glasshouse_runtime::{HashedModel, ModelSource, Run, Runtime, RuntimeOptions, agent_outcome};
use serde_json::json;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::{error::Thrown, events::Events, options::ChatOptions};

/// More memories than this are not listed at once.
const MEMORIES_LISTED: usize = 1000;

/// The bytes of an event log while its run writes it.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is going on while a question is answered.
struct Chat {
    run: Run<'static>,
    events: Events,
}

/// The runtime of one worker: a model, long-term memory, one run at a time.
#[wasm_bindgen]
pub struct Engine {
    runtime: Runtime,
    stop: Arc<AtomicBool>,
    memory_problem: Option<String>,
    memory_is_persistent: bool,
    /// Room for a model file, while the page writes it.
    reserved: Option<Vec<u8>>,
    chat: Option<Chat>,
    log: Option<Log>,
}

#[wasm_bindgen]
impl Engine {
    /// A runtime without a model. With `persistent`, long-term memory is kept in the origin's private files; where that
    /// cannot be, `memoryProblem` says why, and memory lasts as long as the worker.
    pub async fn open(persistent: bool) -> Result<Engine, wasm_bindgen::JsValue> {
        let (mut memory, mut memory_problem) = (None, None);
        if persistent {
            match MemoryStore::open_origin_private().await {
                Ok(opened) => memory = Some(opened),
                Err(error) => memory_problem = Some(error.to_string()),
            }
        }
        let memory_is_persistent = memory.is_some();
        let options = RuntimeOptions { model: ModelSource::None, memory, ..RuntimeOptions::default() };
        let runtime = Runtime::new(options).map_err(Thrown::from)?;
        let stop = runtime.stop_flag();
        Ok(Self {
            runtime,
            stop,
            memory_problem,
            memory_is_persistent,
            reserved: None,
            chat: None,
            log: None,
        })
    }

    /// Whether what is remembered is there when the page is opened again.
    #[wasm_bindgen(getter, js_name = memoryIsPersistent)]
    pub fn memory_is_persistent(&self) -> bool {
        self.memory_is_persistent
    }

    /// Why memory is not persistent although it should be: a sentence.
    #[wasm_bindgen(getter, js_name = memoryProblem)]
    pub fn memory_problem(&self) -> Option<String> {
        self.memory_problem.clone()
    }

    /// Room in linear memory for a model file of so many bytes, all zero: where it begins. It stays there until
    /// `loadModel` or `dropReservedModel`.
    #[wasm_bindgen(js_name = reserveModel)]
    pub fn reserve_model(&mut self, bytes: f64) -> Result<usize, wasm_bindgen::JsValue> {
        self.reserved = None;
        let mut room = Vec::new();
        // Whatever is no size saturates to one that cannot be had.
        let length = bytes as usize;
        if bytes.is_nan() || bytes < 1.0 || room.try_reserve_exact(length).is_err() {
            return Err(Thrown::new(
                "model_too_large",
                format!("a model file of {bytes} bytes does not fit the memory of a browser's tab; take a smaller one"),
            )
            .into());
        }
        room.resize(length, 0);
        let start = room.as_ptr() as usize;
        self.reserved = Some(room);
        Ok(start)
    }

    /// Gives the reserved room back.
    #[wasm_bindgen(js_name = dropReservedModel)]
    pub fn drop_reserved_model(&mut self) {
        self.reserved = None;
    }

    /// Loads the model that was written to the reserved room: JSON of what it is. The model before stays on failure.
    #[wasm_bindgen(js_name = loadModel)]
    pub fn load_model(&mut self) -> Result<String, wasm_bindgen::JsValue> {
        self.idle()?;
        let Some(bytes) = self.reserved.take() else {
            return Err(
                Thrown::new("no_model", "no model file was written; reserve room for it first").into()
            );
        };
        let size = bytes.len();
        let model = HashedModel::from_bytes(bytes, 1).map_err(Thrown::from)?;
        let mut description = json!(model.model.description());
        description["bytes"] = json!(size);
        description["hash"] = json!(model.hash.to_string());
        self.runtime.load_model(ModelSource::Loaded(model), Some(1)).map_err(Thrown::from)?;
        Ok(description.to_string())
    }

    /// Begins to answer a question. `options` is JSON, with the names of `glasshouse ask`.
    pub fn start(&mut self, question: String, options: &str) -> Result<(), wasm_bindgen::JsValue> {
        self.idle()?;
        let options = ChatOptions::parse(options)?;
        self.stop.store(false, Ordering::Relaxed);
        self.log = options.record.then(Log::default);
        let mut events = Events::default();
        let run = self
            .runtime
            .start(vec![options.ask(question)], options.run(), self.log.clone(), &mut events)
            .map_err(Thrown::from)?;
        self.chat = Some(Chat { run, events });
        Ok(())
    }

    /// Works on the answer for about so many milliseconds: a JSON array of what happened. The last event of a run is
    /// `end` or `error`.
    pub fn advance(&mut self, milliseconds: f64) -> String {
        let Some(mut chat) = self.chat.take() else { return "[]".into() };
        let until = js_sys::Date::now() + milliseconds;
        loop {
            match self.runtime.advance(&mut chat.run, &mut chat.events) {
                Ok(None) => {
                    if js_sys::Date::now() >= until {
                        let events = chat.events.take();
                        self.chat = Some(chat);
                        return events;
                    }
                }
                Ok(Some(exits)) => {
                    for outcome in exits.into_iter().map(agent_outcome) {
                        match outcome {
                            Ok(outcome) => chat.events.end(&outcome),
                            Err(error) => chat.events.error(error.code(), &error.to_string()),
                        }
                    }
                    return chat.events.take();
                }
                Err(error) => {
                    self.log = None;
                    chat.events.error(error.code(), &error.to_string());
                    return chat.events.take();
                }
            }
        }
    }

    /// Stops the run that is going on; the next `advance` tells how it ended.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The event log of the last run, if it was recorded and has ended.
    #[wasm_bindgen(js_name = takeLog)]
    pub fn take_log(&mut self) -> Option<Vec<u8>> {
        if self.chat.is_some() {
            return None;
        }
        self.log.take().map(|log| log.0.take())
    }

    /// Every memory as JSON, in the order of storing.
    #[wasm_bindgen(js_name = memoryList)]
    pub fn memory_list(&mut self) -> Result<String, wasm_bindgen::JsValue> {
        let records = self.runtime.memory().list(0, MEMORIES_LISTED).map_err(Thrown::from)?;
        let texts: Vec<_> =
            records.iter().map(|record| json!({ "id": record.id, "text": record.text })).collect();
        Ok(json!(texts).to_string())
    }

    /// The memories that match, best first, as JSON.
    #[wasm_bindgen(js_name = memorySearch)]
    pub fn memory_search(&mut self, query: &str) -> Result<String, wasm_bindgen::JsValue> {
        let found = self.runtime.memory().search(query, MEMORIES_LISTED).map_err(Thrown::from)?;
        let texts: Vec<_> =
            found.iter().map(|memory| json!({ "id": memory.id, "text": memory.text })).collect();
        Ok(json!(texts).to_string())
    }

    /// Keeps a text: the new memory as JSON.
    #[wasm_bindgen(js_name = memoryAdd)]
    pub fn memory_add(&mut self, text: &str) -> Result<String, wasm_bindgen::JsValue> {
        let id = self.runtime.memory().store(text, None).map_err(Thrown::from)?;
        Ok(json!({ "id": id, "text": text }).to_string())
    }

    /// Forgets a memory: whether there was one of that number.
    #[wasm_bindgen(js_name = memoryRemove)]
    pub fn memory_remove(&mut self, id: f64) -> Result<bool, wasm_bindgen::JsValue> {
        Ok(self.runtime.memory().delete(id as i64).map_err(Thrown::from)?)
    }

    fn idle(&self) -> Result<(), Thrown> {
        if self.chat.is_none() {
            return Ok(());
        }
        Err(Thrown::new("busy", "a question is being answered; wait for its end, or stop it"))
    }
}
