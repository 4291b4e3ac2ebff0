//! What a browser's worker calls to try the inference kernels where they run: `case_names` and `run_case` hold them
//! against the scalar ones, [`Measurement`] holds a model against the clock, and `grammar_problem` tries the grammar
//! compiler on the stack that the worker has.

use std::sync::Arc;

use glasshouse_llm::{Kernels, LoadedModel, Model, gguf::Gguf, verify};
use glasshouse_protocol::Constraint;
use wasm_bindgen::prelude::*;

/// What the kernels of this module are called.
#[wasm_bindgen]
pub fn kernels() -> String {
    Kernels::detect().name().to_owned()
}

/// The names of all comparisons.
#[wasm_bindgen]
pub fn case_names() -> Vec<String> {
    verify::case_names().into_iter().map(str::to_owned).collect()
}

/// Runs a comparison with random values made from `seed`; the first difference as text.
#[wasm_bindgen]
pub fn run_case(name: &str, seed: u32) -> Option<String> {
    verify::run_case(name, u64::from(seed)).err()
}

/// A model and a conversation of meaningless tokens.
#[wasm_bindgen]
pub struct Measurement {
    file: Vec<u8>,
    model: Option<Arc<LoadedModel>>,
    network: Option<Model>,
    logits: Vec<f32>,
}

impl Default for Measurement {
    fn default() -> Self {
        Self::new()
    }
}

#[wasm_bindgen]
impl Measurement {
    /// Nothing is loaded.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self { file: Vec::new(), model: None, network: None, logits: Vec::new() }
    }

    /// Where in linear memory to write a model file of so many bytes.
    pub fn reserve(&mut self, bytes: usize) -> Result<*mut u8, JsError> {
        self.file.try_reserve_exact(bytes)?;
        self.file.resize(bytes, 0);
        Ok(self.file.as_mut_ptr())
    }

    /// Loads the network of the file that was written.
    pub fn load(&mut self) -> Result<(), JsError> {
        let gguf = Arc::new(Gguf::from_vec(std::mem::take(&mut self.file))?);
        self.network = Some(Model::load(gguf, 1)?);
        Ok(())
    }

    /// Loads the network, tokenizer and template of the file that was written.
    pub fn load_whole(&mut self) -> Result<(), JsError> {
        let gguf = Arc::new(Gguf::from_vec(std::mem::take(&mut self.file))?);
        self.model = Some(Arc::new(LoadedModel::load(gguf, 1)?));
        Ok(())
    }

    /// Evaluates a prompt of so many tokens and then so many more, one by one, calling `between` in between.
    pub fn run(&mut self, prompt: usize, decoded: usize, between: &js_sys::Function) -> Result<(), JsError> {
        let model = match (&self.network, &self.model) {
            (Some(network), _) => network,
            (None, Some(model)) => model.model(),
            (None, None) => return Err(JsError::new("load a model first")),
        };
        let vocabulary = model.config().vocabulary_size;
        let token = |number: usize| (number * 7919 % vocabulary) as u32;
        let tokens: Vec<u32> = (0..prompt).map(token).collect();
        let mut cache = model.new_cache(prompt + decoded);
        model.forward(&mut cache, &tokens, &mut self.logits)?;
        between.call0(&JsValue::NULL).map_err(|_| JsError::new("the callback failed"))?;
        for number in 0..decoded {
            model.forward(&mut cache, &[token(number)], &mut self.logits)?;
        }
        Ok(())
    }

    /// A sum over the bits of the last logits, which is the same on every host.
    pub fn fingerprint(&self) -> String {
        let mix = |sum: u64, logit: &f32| {
            sum.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(logit.to_bits())
        };
        format!("{:016x}", self.logits.iter().fold(0, mix))
    }

    /// Compiles a Lark grammar for the model's vocabulary: what is wrong with it, if anything.
    pub fn grammar_problem(&self, grammar: &str) -> Option<String> {
        self.constraint_problem(Constraint::Lark(grammar.to_owned()))
    }

    /// Compiles a JSON schema for the model's vocabulary: what is wrong with it, if anything.
    pub fn schema_problem(&self, schema: &str) -> Option<String> {
        match serde_json::from_str(schema) {
            Ok(schema) => self.constraint_problem(Constraint::JsonSchema(schema)),
            Err(error) => Some(error.to_string()),
        }
    }

    fn constraint_problem(&self, description: Constraint) -> Option<String> {
        let Some(model) = &self.model else { return Some("load a whole model first".to_owned()) };
        let factory = glasshouse_llm::constraint::ConstraintFactory::default();
        factory.constraint(model.tokenizer(), &description).err().map(|error| error.to_string())
    }
}
