//! Random-weight models in real shapes, for benchmarks, tests and golden vectors.
//!
//! The same preset always gives the same bytes: weights come from one seeded stream, in the file's order.

mod tiny;
mod tokenizers;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::str::FromStr;

use crate::LlmError;
use crate::formats::{encode_i2s_trailer, encode_row};
use crate::gguf::{GgufWriter, I2sPacking, MetadataValue, TensorSpecification, TensorType};

pub use tiny::Tiny;

/// Seed of every preset's weights.
const SEED: u64 = 0x61a5_5b0c;

/// A model that [`write`] can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// The shape of Llama-3.2-1B in Q4_0, tied Q8_0 embeddings.
    Llama1bQ4_0,
    /// The shape of Llama-3.2-1B in Q8_0, tied embeddings.
    Llama1bQ8_0,
    /// The shape of Llama-3.2-1B in llama.cpp's mix of Q4_K and Q6_K, tied Q6_K embeddings.
    Llama1bQ4KM,
    /// The shape of Llama-3.2-1B in IQ4_NL, tied Q8_0 embeddings.
    Llama1bIq4Nl,
    /// The shape of BitNet b1.58 2B-4T in TQ2_0, tied Q8_0 embeddings.
    BitNet2bTq2_0,
    /// The shape of BitNet b1.58 2B-4T in TQ1_0, tied Q8_0 embeddings.
    BitNet2bTq1_0,
    /// Two layers, 256 wide, `llama`, matrices of this type.
    TinyLlama(TensorType),
    /// Two layers, 256 wide, `bitnet-b1.58`, matrices of this type.
    TinyBitNet(TensorType),
    /// Two layers, 256 wide, `bitnet` (SiLU instead of squared ReLU), matrices of this type.
    TinyBitNetSilu(TensorType),
    /// A few layers, 64 wide, of another architecture, matrices of this type.
    Tiny(Tiny, TensorType),
}

/// Presets in real shapes, and their names.
const LARGE: [(&str, Preset); 6] = [
    ("llama-1b-q4_0", Preset::Llama1bQ4_0),
    ("llama-1b-q8_0", Preset::Llama1bQ8_0),
    ("llama-1b-q4_k_m", Preset::Llama1bQ4KM),
    ("llama-1b-iq4_nl", Preset::Llama1bIq4Nl),
    ("bitnet-2b-tq2_0", Preset::BitNet2bTq2_0),
    ("bitnet-2b-tq1_0", Preset::BitNet2bTq1_0),
];

/// Types that a tiny preset's name may end in.
const TINY_TYPES: [(&str, TensorType); 19] = [
    ("f32", TensorType::F32),
    ("f16", TensorType::F16),
    ("bf16", TensorType::Bf16),
    ("q8_0", TensorType::Q8_0),
    ("q6_k", TensorType::Q6K),
    ("q5_k", TensorType::Q5K),
    ("q5_1", TensorType::Q5_1),
    ("q5_0", TensorType::Q5_0),
    ("q4_k", TensorType::Q4K),
    ("q4_1", TensorType::Q4_1),
    ("q3_k", TensorType::Q3K),
    ("q2_k", TensorType::Q2K),
    ("iq4_nl", TensorType::Iq4Nl),
    ("iq4_xs", TensorType::Iq4Xs),
    ("mxfp4", TensorType::Mxfp4),
    ("q4_0", TensorType::Q4_0),
    ("tq2_0", TensorType::Tq2_0),
    ("tq1_0", TensorType::Tq1_0),
    ("i2_s", TensorType::I2S(I2sPacking::X86)),
];

impl Preset {
    /// The names that [`Preset::from_str`] takes.
    pub fn names() -> Vec<String> {
        let mut names: Vec<String> = LARGE.iter().map(|(name, _)| (*name).to_owned()).collect();
        for family in ["tiny-llama", "tiny-bitnet", "tiny-bitnet-silu"] {
            names.extend(TINY_TYPES.iter().map(|(kind, _)| format!("{family}-{kind}")));
        }
        for (family, _) in tiny::TINY {
            names.extend(tiny::TYPES.map(|(kind, _)| format!("tiny-{family}-{kind}")));
        }
        names
    }

    /// Its name.
    pub fn name(self) -> String {
        let tiny = |family: &str, kind: TensorType| {
            let name = TINY_TYPES.iter().find(|(_, known)| *known == kind).map_or("other", |(name, _)| name);
            format!("{family}-{name}")
        };
        match self {
            Self::TinyLlama(kind) => tiny("tiny-llama", kind),
            Self::TinyBitNet(kind) => tiny("tiny-bitnet", kind),
            Self::TinyBitNetSilu(kind) => tiny("tiny-bitnet-silu", kind),
            Self::Tiny(model, kind) => {
                let family =
                    tiny::TINY.iter().find(|(_, known)| *known == model).map_or("", |(name, _)| name);
                tiny(&format!("tiny-{family}"), kind)
            }
            large => {
                LARGE.iter().find(|(_, preset)| *preset == large).map_or("other", |(name, _)| name).into()
            }
        }
    }

    /// What is in its file.
    fn contents(self) -> Contents {
        let tiny = |architecture, weights| Shape {
            architecture,
            layers: 2,
            embedding: 256,
            feed_forward: 512,
            heads: 4,
            heads_kv: 2,
            vocabulary: 300,
            context: 256,
            rope_base: 10_000.0,
            epsilon: 1e-5,
            weights,
            embeddings: match weights {
                TensorType::F16
                | TensorType::Bf16
                | TensorType::Q8_0
                | TensorType::Q4_0
                | TensorType::Tq2_0
                | TensorType::Tq1_0
                | TensorType::I2S(_) => TensorType::F16,
                _ => weights,
            },
            tied: architecture != "llama",
            rope_factors: architecture == "llama",
        };
        let shape = match self {
            Self::Tiny(model, kind) => return model.contents(kind),
            Self::Llama1bQ4_0 | Self::Llama1bQ8_0 | Self::Llama1bQ4KM | Self::Llama1bIq4Nl => Shape {
                architecture: "llama",
                layers: 16,
                embedding: 2048,
                feed_forward: 8192,
                heads: 32,
                heads_kv: 8,
                vocabulary: 128_256,
                context: 131_072,
                rope_base: 500_000.0,
                epsilon: 1e-5,
                weights: match self {
                    Self::Llama1bQ8_0 => TensorType::Q8_0,
                    Self::Llama1bQ4KM => TensorType::Q4K,
                    Self::Llama1bIq4Nl => TensorType::Iq4Nl,
                    _ => TensorType::Q4_0,
                },
                embeddings: if self == Self::Llama1bQ4KM { TensorType::Q6K } else { TensorType::Q8_0 },
                tied: true,
                rope_factors: true,
            },
            Self::BitNet2bTq2_0 | Self::BitNet2bTq1_0 => Shape {
                architecture: "bitnet-b1.58",
                layers: 30,
                embedding: 2560,
                feed_forward: 6912,
                heads: 20,
                heads_kv: 5,
                vocabulary: 128_256,
                context: 4096,
                rope_base: 500_000.0,
                epsilon: 1e-5,
                weights: if self == Self::BitNet2bTq1_0 { TensorType::Tq1_0 } else { TensorType::Tq2_0 },
                embeddings: TensorType::Q8_0,
                tied: true,
                rope_factors: false,
            },
            Self::TinyLlama(kind) => tiny("llama", kind),
            Self::TinyBitNet(kind) => tiny("bitnet-b1.58", kind),
            Self::TinyBitNetSilu(kind) => tiny("bitnet", kind),
        };
        Contents {
            metadata: shape.metadata(),
            tensors: shape.tensors(),
            tokenizer: tokenizers::bytes(shape.vocabulary),
        }
    }
}

impl FromStr for Preset {
    type Err = LlmError;

    fn from_str(name: &str) -> Result<Self, LlmError> {
        let tiny = |prefix: &str| {
            let kind = name.strip_prefix(prefix)?;
            TINY_TYPES.iter().find(|(known, _)| *known == kind).map(|(_, kind)| *kind)
        };
        let large = LARGE.iter().find(|(known, _)| *known == name).map(|(_, preset)| *preset);
        large
            .or_else(|| tiny("tiny-llama-").map(Self::TinyLlama))
            .or_else(|| tiny("tiny-bitnet-silu-").map(Self::TinyBitNetSilu))
            .or_else(|| tiny("tiny-bitnet-").map(Self::TinyBitNet))
            .or_else(|| {
                let (family, kind) = name.strip_prefix("tiny-")?.rsplit_once('-')?;
                let (_, model) = tiny::TINY.iter().find(|(known, _)| *known == family)?;
                let (_, kind) = tiny::TYPES.iter().find(|(known, _)| *known == kind)?;
                Some(Self::Tiny(*model, *kind))
            })
            .ok_or_else(|| {
                let names = Self::names().join(", ");
                LlmError::Unsupported(format!("there is no preset `{name}`; there are: {names}"))
            })
    }
}

/// What is in a file besides its name.
struct Contents {
    metadata: Vec<(String, MetadataValue)>,
    tensors: Vec<TensorSpecification>,
    tokenizer: Vec<(String, MetadataValue)>,
}

struct Shape {
    architecture: &'static str,
    layers: u32,
    embedding: u32,
    feed_forward: u32,
    heads: u32,
    heads_kv: u32,
    vocabulary: u32,
    context: u32,
    rope_base: f32,
    epsilon: f32,
    weights: TensorType,
    embeddings: TensorType,
    tied: bool,
    rope_factors: bool,
}

impl Shape {
    fn head_length(&self) -> u32 {
        self.embedding / self.heads
    }

    fn metadata(&self) -> Vec<(String, MetadataValue)> {
        let text = |text: &str| MetadataValue::String(text.to_owned());
        let mut metadata = vec![("general.architecture".to_owned(), text(self.architecture))];
        let numbers = [
            ("context_length", self.context),
            ("embedding_length", self.embedding),
            ("block_count", self.layers),
            ("feed_forward_length", self.feed_forward),
            ("attention.head_count", self.heads),
            ("attention.head_count_kv", self.heads_kv),
            ("rope.dimension_count", self.head_length()),
            ("vocab_size", self.vocabulary),
        ];
        let key = |suffix: &str| format!("{}.{suffix}", self.architecture);
        metadata.extend(numbers.map(|(suffix, value)| (key(suffix), MetadataValue::U32(value))));
        metadata.push((key("attention.layer_norm_rms_epsilon"), MetadataValue::F32(self.epsilon)));
        metadata.push((key("rope.freq_base"), MetadataValue::F32(self.rope_base)));
        metadata
    }

    /// The type of the matrices that llama.cpp gives more bits in some layers of a Q4_K_M file: in the first and the last
    /// eighth, and in every third between (`use_more_bits` in `llama-quant.cpp`).
    fn type_with_more_bits(&self, layer: u32) -> TensorType {
        let eighth = self.layers / 8;
        let more = layer < eighth || layer >= 7 * self.layers / 8 || (layer - eighth) % 3 == 2;
        let is_mix = self.weights == TensorType::Q4K && self.embeddings == TensorType::Q6K;
        if is_mix && more { TensorType::Q6K } else { self.weights }
    }

    fn tensors(&self) -> Vec<TensorSpecification> {
        let (embedding, feed_forward) = (u64::from(self.embedding), u64::from(self.feed_forward));
        let key_value = u64::from(self.heads_kv * self.head_length());
        let vocabulary = u64::from(self.vocabulary);
        let matrix =
            |name: String, columns, rows| TensorSpecification::new(name, &[columns, rows], self.weights);
        let vector = |name: String, length| TensorSpecification::new(name, &[length], TensorType::F32);
        let mut tensors =
            vec![TensorSpecification::new("token_embd.weight", &[embedding, vocabulary], self.embeddings)];
        if self.rope_factors {
            tensors.push(vector("rope_freqs.weight".into(), u64::from(self.head_length() / 2)));
        }
        for layer in 0..self.layers {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            let more_bits = |name: String, columns, rows| {
                TensorSpecification::new(name, &[columns, rows], self.type_with_more_bits(layer))
            };
            tensors.push(vector(name("attn_norm"), embedding));
            tensors.push(matrix(name("attn_q"), embedding, embedding));
            tensors.push(matrix(name("attn_k"), embedding, key_value));
            tensors.push(more_bits(name("attn_v"), embedding, key_value));
            tensors.push(matrix(name("attn_output"), embedding, embedding));
            tensors.push(vector(name("ffn_norm"), embedding));
            tensors.push(matrix(name("ffn_gate"), embedding, feed_forward));
            tensors.push(matrix(name("ffn_up"), embedding, feed_forward));
            tensors.push(more_bits(name("ffn_down"), feed_forward, embedding));
            if self.architecture != "llama" {
                tensors.push(vector(name("attn_sub_norm"), embedding));
                tensors.push(vector(name("ffn_sub_norm"), feed_forward));
            }
        }
        tensors.push(vector("output_norm.weight".into(), embedding));
        if !self.tied {
            tensors.push(matrix("output.weight".into(), embedding, vocabulary));
        }
        tensors
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in ±1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Fills `row` with weights of the tensor called `name`.
fn fill(name: &str, kind: TensorType, random: &mut Random, row: &mut [f32]) {
    let columns = row.len() as f32;
    for value in row {
        *value = if name.ends_with("bias") {
            0.3 * random.unit()
        } else if name.ends_with("norm.weight") {
            1.0 + 0.25 * random.unit()
        } else if name == "rope_factors_short.weight" {
            1.0 + 0.5 * (1.0 + random.unit())
        } else if name == "rope_freqs.weight" || name == "rope_factors_long.weight" {
            1.0 + 3.5 * (1.0 + random.unit())
        } else if name == "token_embd.weight" {
            random.unit()
        } else if matches!(kind, TensorType::Tq1_0 | TensorType::Tq2_0 | TensorType::I2S(_)) {
            ((random.next() % 3) as f32 - 1.0) * (1.5 / columns).sqrt()
        } else {
            // A variance of 1 / columns keeps the width of activations.
            random.unit() * (3.0 / columns).sqrt()
        };
    }
}

/// Writes the model of `preset` to `output`.
pub fn write_to(output: impl Write, preset: Preset) -> std::io::Result<()> {
    let Contents { mut metadata, tensors, tokenizer } = preset.contents();
    let name = MetadataValue::String(format!("random {}", preset.name()));
    metadata.insert(1, ("general.name".to_owned(), name));
    metadata.extend(tokenizer);
    let mut writer = GgufWriter::new(output, &metadata, tensors)?;
    let mut random = Random(SEED);
    while let Some(tensor) = writer.next_tensor().cloned() {
        let kind = tensor.tensor_type;
        let columns = tensor.shape.first().copied().unwrap_or(0) as usize;
        let rows: u64 = tensor.shape.iter().skip(1).product();
        let scale = (1.5 / columns as f32).sqrt();
        let encode = |row: u64| {
            let mut values = vec![0.0; columns];
            fill(&tensor.name, kind, &mut random, &mut values);
            let mut bytes = Vec::new();
            encode_row(kind, &values, scale, &mut bytes);
            if matches!(kind, TensorType::I2S(_)) && row + 1 == rows {
                encode_i2s_trailer(scale, &mut bytes);
            }
            bytes
        };
        writer.tensor((0..rows).map(encode))?;
    }
    writer.finish()?;
    Ok(())
}

/// Writes the model of `preset` to the file `path`.
pub fn write(path: impl AsRef<Path>, preset: Preset) -> Result<(), LlmError> {
    let path = path.as_ref();
    let fail = |source| LlmError::Write { path: path.to_owned(), source };
    let file = File::create(path).map_err(fail)?;
    write_to(BufWriter::with_capacity(1 << 20, file), preset).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_means_the_preset_that_it_names() {
        for name in Preset::names() {
            assert_eq!(name.parse::<Preset>().unwrap().name(), name);
        }
        assert!("llama-7b".parse::<Preset>().is_err());
    }
}
