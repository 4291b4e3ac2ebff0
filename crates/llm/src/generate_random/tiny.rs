//! Tiny models of every architecture but Llama and BitNet: a few narrow layers whose windows, contexts and bounds are so
//! small that a short prompt reaches beyond them.

use super::{Contents, tokenizers};
use crate::architecture::{Architecture, FeedForward, NormKind, NormPlacement, Positions, QueryKeyNorm};
use crate::gguf::{MetadataValue, TensorSpecification, TensorType};

/// A tiny model's architecture, and which of its parts are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiny {
    /// With biases.
    Qwen2,
    /// With positions scaled by YaRN.
    Qwen2Yarn,
    /// Wider heads than the embedding's parts.
    Qwen3,
    /// For embeddings, those of the last token.
    Qwen3Embedding,
    /// One key head.
    Gemma,
    /// With windows and bounds.
    Gemma2,
    /// With windows; the other layers' positions are scaled.
    Gemma3,
    /// Fused matrices, and LongRoPE's factors for long contexts.
    Phi3,
    /// With a window, and LongRoPE's factors for short contexts.
    Phi3Window,
    /// With a limit of queries, keys and values.
    Olmo,
    /// Without a window.
    Olmo2,
    /// With windows, and positions scaled by YaRN in the other layers.
    Olmo3,
    /// With layers without positions.
    SmolLm3,
    /// With factors everywhere.
    Granite,
    /// With YaRN and queries that grow with their position.
    Mistral3,
    /// The mean of the vectors, through dense layers; with windows around a token.
    GemmaEmbedding,
    /// The vector of the first token.
    Bert,
    /// The mean of the vectors.
    NomicBert,
}

/// All of them, by the name that stands in the preset's.
pub(super) const TINY: [(&str, Tiny); 18] = [
    ("qwen2", Tiny::Qwen2),
    ("qwen2-yarn", Tiny::Qwen2Yarn),
    ("qwen3", Tiny::Qwen3),
    ("qwen3-embedding", Tiny::Qwen3Embedding),
    ("gemma", Tiny::Gemma),
    ("gemma2", Tiny::Gemma2),
    ("gemma3", Tiny::Gemma3),
    ("phi3", Tiny::Phi3),
    ("phi3-window", Tiny::Phi3Window),
    ("olmo", Tiny::Olmo),
    ("olmo2", Tiny::Olmo2),
    ("olmo3", Tiny::Olmo3),
    ("smollm3", Tiny::SmolLm3),
    ("granite", Tiny::Granite),
    ("mistral3", Tiny::Mistral3),
    ("gemma-embedding", Tiny::GemmaEmbedding),
    ("bert", Tiny::Bert),
    ("nomic-bert", Tiny::NomicBert),
];

/// Types that they come in.
pub(super) const TYPES: [(&str, TensorType); 2] = [("f32", TensorType::F32), ("q8_0", TensorType::Q8_0)];

/// Tokens, the unused ones included.
const VOCABULARY: u32 = 300;
/// Width of the residual stream.
const EMBEDDING: u32 = 64;
/// Width of the feed-forward layer.
const FEED_FORWARD: u32 = 96;
/// Query heads.
const HEADS: u32 = 4;
/// The most tokens of a sequence.
const CONTEXT: u32 = 256;
/// The context before it was made longer.
const ORIGINAL_CONTEXT: u32 = 8;
/// Positions that a token sees in layers with a window.
const WINDOW: u32 = 6;
/// The number of types of tokens that an encoder knows.
const TOKEN_TYPES: u32 = 2;

/// What is not the same for all.
struct Shape {
    architecture: &'static str,
    layers: u32,
    heads_kv: u32,
    head_length: u32,
    rope_dimension: u32,
    tied: bool,
    fused_attention: bool,
    /// Of the layer between the pooled vector and its last layer, if there are such.
    dense: Option<u32>,
    biases: &'static [&'static str],
    numbers: Vec<(&'static str, MetadataValue)>,
}

impl Tiny {
    fn shape(self) -> Shape {
        use MetadataValue::{Bool, F32, I32s, String, U32};
        let plain = |architecture, layers| Shape {
            architecture,
            layers,
            heads_kv: 2,
            head_length: EMBEDDING / HEADS,
            rope_dimension: EMBEDDING / HEADS,
            tied: true,
            fused_attention: false,
            dense: None,
            biases: &[],
            numbers: Vec::new(),
        };
        let wide = |architecture, layers| Shape {
            head_length: 32,
            rope_dimension: 32,
            ..plain(architecture, layers)
        };
        let yarn = |factor: f32| {
            vec![
                ("rope.scaling.type", String("yarn".into())),
                ("rope.scaling.factor", F32(factor)),
                ("rope.scaling.original_context_length", U32(ORIGINAL_CONTEXT)),
            ]
        };
        let window = || ("attention.sliding_window", U32(WINDOW));
        let encoder = |pooling: u32| {
            vec![
                ("attention.causal", Bool(false)),
                ("pooling_type", U32(pooling)),
                ("rope.freq_base", F32(1000.0)),
            ]
        };
        match self {
            Self::Qwen2 => {
                Shape { biases: &["attn_q", "attn_k", "attn_v"], tied: false, ..plain("qwen2", 2) }
            }
            Self::Qwen2Yarn => {
                Shape { numbers: yarn(4.0), biases: &["attn_q", "attn_k", "attn_v"], ..plain("qwen2", 2) }
            }
            Self::Qwen3 => wide("qwen3", 2),
            Self::Qwen3Embedding => Shape { numbers: vec![("pooling_type", U32(3))], ..wide("qwen3", 2) },
            Self::Gemma => Shape { heads_kv: 1, ..wide("gemma", 2) },
            Self::Gemma2 => Shape {
                numbers: vec![
                    window(),
                    ("attn_logit_softcapping", F32(2.0)),
                    ("final_logit_softcapping", F32(3.0)),
                ],
                ..wide("gemma2", 3)
            },
            // One more than the period.
            Self::Gemma3 => Shape {
                numbers: vec![
                    window(),
                    ("rope.scaling.type", String("linear".into())),
                    ("rope.scaling.factor", F32(8.0)),
                    ("rope.freq_base", F32(1_000_000.0)),
                ],
                ..wide("gemma3", 7)
            },
            Self::Phi3 => Shape {
                rope_dimension: 12,
                tied: false,
                fused_attention: true,
                numbers: vec![
                    ("attention.sliding_window", U32(0)),
                    ("rope.scaling.original_context_length", U32(ORIGINAL_CONTEXT)),
                    ("rope.scaling.attn_factor", F32(1.19)),
                ],
                ..plain("phi3", 2)
            },
            Self::Phi3Window => Shape {
                fused_attention: true,
                numbers: vec![window(), ("rope.scaling.type", String("longrope".into()))],
                ..plain("phi3", 2)
            },
            Self::Olmo => {
                Shape { heads_kv: 4, numbers: vec![("attention.clamp_kqv", F32(0.75))], ..plain("olmo", 2) }
            }
            Self::Olmo2 => Shape { tied: false, ..plain("olmo2", 2) },
            Self::Olmo3 => Shape {
                tied: false,
                numbers: [
                    yarn(8.0),
                    vec![window(), ("attention.sliding_window_pattern", I32s(vec![1, 1, 1, 0, 1]))],
                ]
                .concat(),
                ..plain("olmo2", 5)
            },
            Self::SmolLm3 => plain("smollm3", 5),
            Self::Granite => Shape {
                numbers: vec![
                    ("embedding_scale", F32(12.0)),
                    ("residual_scale", F32(0.22)),
                    ("attention.scale", F32(0.015_625)),
                    ("logit_scale", F32(8.0)),
                ],
                ..plain("granite", 2)
            },
            Self::Mistral3 => Shape {
                numbers: [
                    yarn(16.0),
                    vec![
                        ("rope.scaling.yarn_beta_fast", F32(0.5)),
                        ("rope.scaling.yarn_beta_slow", F32(0.05)),
                        ("rope.scaling.yarn_log_multiplier", F32(1.0)),
                        ("attention.temperature_scale", F32(0.5)),
                    ],
                ]
                .concat(),
                ..wide("mistral3", 2)
            },
            Self::GemmaEmbedding => Shape {
                dense: Some(96),
                numbers: [
                    encoder(1),
                    vec![
                        window(),
                        ("dense_2_feat_in", U32(EMBEDDING)),
                        ("dense_2_feat_out", U32(96)),
                        ("dense_3_feat_in", U32(96)),
                        ("dense_3_feat_out", U32(EMBEDDING)),
                    ],
                ]
                .concat(),
                ..wide("gemma-embedding", 7)
            },
            Self::Bert => Shape {
                heads_kv: 4,
                biases: &["attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"],
                numbers: encoder(2),
                ..plain("bert", 2)
            },
            Self::NomicBert => {
                Shape { heads_kv: 4, fused_attention: true, numbers: encoder(1), ..plain("nomic-bert", 2) }
            }
        }
    }

    /// What is in its file, with matrices of type `kind`.
    pub(super) fn contents(self, kind: TensorType) -> Contents {
        let tokenizer = match self {
            Self::Bert | Self::NomicBert => tokenizers::word_pieces(VOCABULARY),
            _ => tokenizers::bytes(VOCABULARY),
        };
        Contents { metadata: self.metadata(), tensors: self.tensors(kind), tokenizer }
    }

    fn metadata(self) -> Vec<(String, MetadataValue)> {
        let shape = self.shape();
        let numbers = [
            ("context_length", CONTEXT),
            ("embedding_length", EMBEDDING),
            ("block_count", shape.layers),
            ("feed_forward_length", FEED_FORWARD),
            ("attention.head_count", HEADS),
            ("attention.head_count_kv", shape.heads_kv),
            ("attention.key_length", shape.head_length),
            ("attention.value_length", shape.head_length),
            ("rope.dimension_count", shape.rope_dimension),
            ("vocab_size", VOCABULARY),
        ]
        .map(|(suffix, value)| (suffix, MetadataValue::U32(value)));
        let epsilons = ["attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"]
            .map(|suffix| (suffix, MetadataValue::F32(1e-5)));
        let mut metadata =
            vec![("general.architecture".to_owned(), MetadataValue::String(shape.architecture.into()))];
        metadata.extend(
            numbers
                .into_iter()
                .chain(epsilons)
                .chain(shape.numbers)
                .map(|(suffix, value)| (format!("{}.{suffix}", shape.architecture), value)),
        );
        metadata.push(("tokenizer.ggml.token_type_count".into(), MetadataValue::U32(TOKEN_TYPES)));
        metadata
    }

    fn tensors(self, kind: TensorType) -> Vec<TensorSpecification> {
        let shape = self.shape();
        let Some(architecture) = Architecture::by_name(shape.architecture) else { return Vec::new() };
        Tensors { architecture, kind, biases: shape.biases, list: Vec::new() }.all(&shape)
    }
}

struct Tensors {
    architecture: &'static Architecture,
    kind: TensorType,
    biases: &'static [&'static str],
    list: Vec<TensorSpecification>,
}

impl Tensors {
    fn push(&mut self, name: &str, shape: &[u32], kind: TensorType) {
        let shape: Vec<u64> = shape.iter().map(|&extent| u64::from(extent)).collect();
        self.list.push(TensorSpecification::new(name, &shape, kind));
    }

    fn matrix(&mut self, name: &str, columns: u32, rows: u32) {
        self.push(&format!("{name}.weight"), &[columns, rows], self.kind);
        if self.biases.iter().any(|part| name.ends_with(part)) {
            self.push(&format!("{name}.bias"), &[rows], TensorType::F32);
        }
    }

    fn norm(&mut self, exists: bool, name: &str, width: u32) {
        if exists && self.architecture.norm != NormKind::PlainLayer {
            self.push(&format!("{name}.weight"), &[width], TensorType::F32);
            if self.architecture.norm == NormKind::Layer {
                self.push(&format!("{name}.bias"), &[width], TensorType::F32);
            }
        }
    }

    fn all(mut self, shape: &Shape) -> Vec<TensorSpecification> {
        let architecture = self.architecture;
        let (query, key_value) = (HEADS * shape.head_length, shape.heads_kv * shape.head_length);
        self.push("token_embd.weight", &[EMBEDDING, VOCABULARY], self.kind);
        if architecture.typed_embeddings {
            self.push("token_types.weight", &[EMBEDDING, TOKEN_TYPES], TensorType::F32);
        }
        if architecture.positions == Positions::Learned {
            self.push("position_embd.weight", &[EMBEDDING, CONTEXT], TensorType::F32);
        }
        self.norm(architecture.typed_embeddings, "token_embd_norm", EMBEDDING);
        if shape.architecture == "phi3" {
            for name in ["rope_factors_long.weight", "rope_factors_short.weight"] {
                self.push(name, &[shape.rope_dimension / 2], TensorType::F32);
            }
        }
        let placement = architecture.norm_placement;
        let before = matches!(placement, NormPlacement::Before | NormPlacement::BeforeAndAfter);
        let after = matches!(placement, NormPlacement::After | NormPlacement::BeforeAndAfter);
        let residual = placement == NormPlacement::AfterResidual;
        for layer in 0..shape.layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            self.norm(before, &name("attn_norm"), EMBEDDING);
            if shape.fused_attention {
                self.matrix(&name("attn_qkv"), EMBEDDING, query + 2 * key_value);
            } else {
                self.matrix(&name("attn_q"), EMBEDDING, query);
                self.matrix(&name("attn_k"), EMBEDDING, key_value);
                self.matrix(&name("attn_v"), EMBEDDING, key_value);
            }
            let (query_width, key_width) = match architecture.query_key_norm {
                QueryKeyNorm::Full => (query, key_value),
                QueryKeyNorm::Head | QueryKeyNorm::None => (shape.head_length, shape.head_length),
            };
            let normed = architecture.query_key_norm != QueryKeyNorm::None;
            self.norm(normed, &name("attn_q_norm"), query_width);
            self.norm(normed, &name("attn_k_norm"), key_width);
            self.matrix(&name("attn_output"), query, EMBEDDING);
            self.norm(after, &name("post_attention_norm"), EMBEDDING);
            self.norm(residual, &name("attn_output_norm"), EMBEDDING);
            self.norm(before, &name("ffn_norm"), EMBEDDING);
            let up = match architecture.feed_forward {
                FeedForward::Gated => {
                    self.matrix(&name("ffn_gate"), EMBEDDING, FEED_FORWARD);
                    FEED_FORWARD
                }
                FeedForward::Fused => 2 * FEED_FORWARD,
                FeedForward::Plain => FEED_FORWARD,
            };
            self.matrix(&name("ffn_up"), EMBEDDING, up);
            self.matrix(&name("ffn_down"), FEED_FORWARD, EMBEDDING);
            self.norm(after, &name("post_ffw_norm"), EMBEDDING);
            self.norm(residual, &name("layer_output_norm"), EMBEDDING);
        }
        self.norm(!residual, "output_norm", EMBEDDING);
        if let Some(width) = shape.dense {
            self.matrix("dense_2", EMBEDDING, width);
            self.matrix("dense_3", width, EMBEDDING);
        }
        if !architecture.encoder && !shape.tied {
            self.matrix("output", EMBEDDING, VOCABULARY);
        }
        self.list
    }
}
