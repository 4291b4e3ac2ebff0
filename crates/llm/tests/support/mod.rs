//! A small model of random weights, and requests for it.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_llm::gguf::{Gguf, GgufWriter, MetadataValue, TensorSpecification, TensorType};
use glasshouse_llm::{CacheOptions, LlmError, LoadedModel, Session};
use glasshouse_protocol::{
    Constraint, GenerateRequest, GenerateResponse, Message, Role, Sampling, ToolDescription,
};

pub const CONTROL: [&str; 6] = ["<|begin|>", "<|tools|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>"];
pub const USER_DEFINED: [&str; 5] = ["Thought: ", "\nCall: ", "Call: ", "\nAnswer: ", "Answer: "];
pub const END: u32 = 261;
pub const CONTEXT: u32 = 160;
pub const TEMPLATE: &str = "<|begin|>{% if tools %}<|tools|>{{ tools | map(attribute='name') | join(' ') }}{% endif %}\
    {% for message in messages %}{% if message.role == 'user' %}<|user|>{{ message.content }}<|assistant|>\
    {% elif message.role == 'assistant' %}{{ message.content }}<|end|>\
    {% elif message.role == 'tool' %}<|tool|>{{ message.content }}<|assistant|>{% endif %}{% endfor %}";

/// GPT-2's spelling of a byte.
fn spelling(byte: u8) -> String {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let code = match printable(byte) {
        true => u32::from(byte),
        false => 0x100 + (0..byte).filter(|&other| !printable(other)).count() as u32,
    };
    char::from_u32(code).unwrap().to_string()
}

/// A model file of two narrow layers with random weights.
pub fn model_file() -> Vec<u8> {
    model_files(1).remove(0)
}

/// The same model in so many files.
pub fn model_files(count: usize) -> Vec<Vec<u8>> {
    let (width, feed_forward, heads, head_kv) = (32u64, 48u64, 4u32, 2u32);
    let tokens: Vec<String> = (0..=255)
        .map(spelling)
        .chain(CONTROL.iter().chain(&USER_DEFINED).map(|text| text.to_string()))
        .collect();
    let vocabulary = tokens.len() as u64;
    let types = [vec![1; 256], vec![3; CONTROL.len()], vec![4; USER_DEFINED.len()]].concat();
    let text = |value: &str| MetadataValue::String(value.to_string());
    let metadata = [
        ("general.architecture", text("llama")),
        ("general.name", text("random")),
        ("llama.context_length", MetadataValue::U32(CONTEXT)),
        ("llama.embedding_length", MetadataValue::U32(width as u32)),
        ("llama.block_count", MetadataValue::U32(2)),
        ("llama.feed_forward_length", MetadataValue::U32(feed_forward as u32)),
        ("llama.attention.head_count", MetadataValue::U32(heads)),
        ("llama.attention.head_count_kv", MetadataValue::U32(head_kv)),
        ("llama.attention.layer_norm_rms_epsilon", MetadataValue::F32(1e-5)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("default")),
        ("tokenizer.ggml.tokens", MetadataValue::Strings(tokens)),
        ("tokenizer.ggml.token_type", MetadataValue::I32s(types)),
        ("tokenizer.ggml.merges", MetadataValue::Strings(vec![])),
        ("tokenizer.ggml.bos_token_id", MetadataValue::U32(256)),
        ("tokenizer.ggml.eos_token_id", MetadataValue::U32(END)),
        ("tokenizer.ggml.add_bos_token", MetadataValue::Bool(false)),
        ("tokenizer.chat_template", text(TEMPLATE)),
    ]
    .map(|(key, value)| (key.to_string(), value));
    let key_value = width / u64::from(heads / head_kv);
    let mut shapes = vec![("token_embd.weight".to_string(), vec![width, vocabulary])];
    for layer in 0..2 {
        for (name, shape) in [
            ("attn_norm", vec![width]),
            ("attn_q", vec![width, width]),
            ("attn_k", vec![width, key_value]),
            ("attn_v", vec![width, key_value]),
            ("attn_output", vec![width, width]),
            ("ffn_norm", vec![width]),
            ("ffn_gate", vec![width, feed_forward]),
            ("ffn_up", vec![width, feed_forward]),
            ("ffn_down", vec![feed_forward, width]),
        ] {
            shapes.push((format!("blk.{layer}.{name}.weight"), shape));
        }
    }
    shapes.push(("output_norm.weight".to_string(), vec![width]));
    let mut state = 1u32;
    let tensors = shapes.len();
    let parts = shapes.chunks(tensors.div_ceil(count)).enumerate();
    let files = parts.map(|(number, shapes)| {
        let mut metadata = if number == 0 { metadata.to_vec() } else { Vec::new() };
        if count > 1 {
            let split = [("split.no", number), ("split.count", count), ("split.tensors.count", tensors)];
            metadata.extend(split.map(|(key, value)| (key.to_string(), MetadataValue::U32(value as u32))));
        }
        write(&metadata, shapes, &mut state)
    });
    files.collect()
}

/// A file of tensors with random weights.
fn write(metadata: &[(String, MetadataValue)], shapes: &[(String, Vec<u64>)], state: &mut u32) -> Vec<u8> {
    let specifications =
        shapes.iter().map(|(name, shape)| TensorSpecification::new(name, shape, TensorType::F32)).collect();
    let mut writer = GgufWriter::new(Vec::new(), metadata, specifications).unwrap();
    while let Some(tensor) = writer.next_tensor() {
        let count: u64 = tensor.shape.iter().product();
        let norm = tensor.shape.len() == 1;
        let values: Vec<u8> = (0..count)
            .flat_map(|_| {
                *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let uniform = (*state >> 8) as f32 / (1 << 24) as f32 - 0.5;
                (if norm { 1.0 } else { uniform }).to_le_bytes()
            })
            .collect();
        writer.tensor([values]).unwrap();
    }
    writer.finish().unwrap()
}

/// Sessions of it share nothing.
pub fn load() -> Arc<LoadedModel> {
    load_with(CacheOptions { prefix_bytes: 0, ..CacheOptions::default() })
}

pub fn load_with(options: CacheOptions) -> Arc<LoadedModel> {
    Arc::new(LoadedModel::load_with(Arc::new(Gguf::from_vec(model_file()).unwrap()), 1, options).unwrap())
}

pub fn session() -> Session {
    Session::new(load())
}

pub fn request(messages: &[(Role, &str)], constraint: &str, maximum_tokens: u32) -> GenerateRequest {
    let messages = messages.iter().map(|(role, content)| Message::new(*role, *content)).collect();
    GenerateRequest {
        tools: vec![ToolDescription {
            name: "get_time".to_string(),
            description: "Tells the time.".to_string(),
            parameters: serde_json::json!({"type": "object"}),
            entry: String::new(),
            services: vec![],
        }],
        constraint: match constraint {
            "" => Constraint::None,
            lark => Constraint::Lark(lark.to_string()),
        },
        sampling: Sampling { temperature: 1.0, ..Sampling::default() },
        ..GenerateRequest::new(messages, maximum_tokens)
    }
}

pub fn generate(session: &mut Session, request: &GenerateRequest) -> Result<GenerateResponse, LlmError> {
    session.generate(request, 1, &mut |_| ControlFlow::Continue(()))
}
