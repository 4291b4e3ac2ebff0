//! What the supported architectures do differently from each other: one table, one row for each name.
//!
//! The graph in `model` is the same for all of them; a row says which of its optional parts an architecture has, and
//! [`Config`](crate::Config) the numbers of one model. Facts are those of llama.cpp's `src/models/*.cpp` and of its
//! converter, which write and read the files, unless a row says otherwise.

/// Which elements of a head rotate together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeStyle {
    /// Elements 2i and 2i + 1.
    Adjacent,
    /// Elements i and i + half.
    HalfSplit,
}

/// What says where a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// Queries and keys are rotated.
    Rope(RopeStyle),
    /// A learned vector for each position is added to the token's embedding.
    Learned,
}

/// The activation of the feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x · sigmoid(x).
    Silu,
    /// max(x, 0)².
    SquaredRelu,
    /// The Gaussian error linear unit, in its form with tanh.
    Gelu,
}

/// The matrices before the activation of the feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedForward {
    /// activation(gate · x) · (up · x), of two matrices.
    Gated,
    /// The same; one matrix holds the rows of the gate and then those of `up`.
    Fused,
    /// activation(up · x).
    Plain,
}

/// How activations are normalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// By their root mean square, times a weight.
    Rms,
    /// By their mean and deviation, times a weight, plus a bias.
    Layer,
    /// By their mean and deviation.
    PlainLayer,
}

/// Where a block, of attention or feed-forward, is normalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlacement {
    /// x + block(norm(x)).
    Before,
    /// x + norm(block(x)).
    After,
    /// x + norm(block(norm(x))).
    BeforeAndAfter,
    /// norm(x + block(x)).
    AfterResidual,
}

/// Whether queries and keys are normalized before they rotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKeyNorm {
    /// They are not.
    None,
    /// Each head by itself, all with the same weight.
    Head,
    /// All heads of a token together.
    Full,
}

/// What rotates the heads of layers with a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LocalRope {
    /// The same as in the other layers.
    Same,
    /// The same base, but no scaling.
    Unscaled,
    /// A base of its own, this one if the file does not say, and no scaling.
    Base(f32),
}

/// Layers that see only the last positions, or, where a text is seen as a whole, only those around.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowRule {
    /// Positions that a token sees, its own included, if the file does not say; `None`: then all.
    pub default_length: Option<u32>,
    /// Of so many layers, the last one sees everything, if the file does not say; 0: every layer has the window.
    pub period: u32,
    /// What rotates their heads.
    pub rope: LocalRope,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Architecture {
    /// `general.architecture`.
    pub name: &'static str,
    /// What says where a token is.
    pub positions: Positions,
    /// The activation of the feed-forward layer.
    pub activation: Activation,
    /// The matrices before it.
    pub feed_forward: FeedForward,
    /// How activations are normalized.
    pub norm: NormKind,
    /// Where.
    pub norm_placement: NormPlacement,
    /// Whether queries and keys are too.
    pub query_key_norm: QueryKeyNorm,
    /// Whether the inputs of the second matrix of each block are (BitNet).
    pub sub_norms: bool,
    /// Layers with a window.
    pub window: Option<WindowRule>,
    /// Of so many layers, the last one does not rotate.
    pub unrotated_period: Option<usize>,
    /// Whether embeddings are multiplied by the root of their width.
    pub root_embedding_scale: bool,
    /// The number of layers of the model whose queries are divided by the root of the width for each head, instead of the
    /// root of the head's length.
    pub width_scaled_queries: Option<u32>,
    /// Whether the file may say by what embeddings, scores, residuals and logits are multiplied.
    pub scales: bool,
    /// Whether queries grow with the logarithm of their position if the file says so.
    pub position_scale: bool,
    /// The bound of attention scores, if the file does not say.
    pub score_cap: Option<f32>,
    /// The bound of logits, if the file does not say.
    pub logit_cap: Option<f32>,
    /// Whether it sees a text as a whole and has no logits.
    pub encoder: bool,
    /// Whether embeddings say of which type a token is, and are normalized (BERT).
    pub typed_embeddings: bool,
}

/// Llama 2 and 3, Mistral, SmolLM, the ternary Falcon models, and whatever else shares their graph.
const LLAMA: Architecture = Architecture {
    name: "llama",
    positions: Positions::Rope(RopeStyle::Adjacent),
    activation: Activation::Silu,
    feed_forward: FeedForward::Gated,
    norm: NormKind::Rms,
    norm_placement: NormPlacement::Before,
    query_key_norm: QueryKeyNorm::None,
    sub_norms: false,
    window: None,
    unrotated_period: None,
    root_embedding_scale: false,
    width_scaled_queries: None,
    scales: false,
    position_scale: false,
    score_cap: None,
    logit_cap: None,
    encoder: false,
    typed_embeddings: false,
};

/// BitNet b1.58 2B-4T.
const BITNET: Architecture = Architecture {
    name: "bitnet-b1.58",
    positions: Positions::Rope(RopeStyle::HalfSplit),
    activation: Activation::SquaredRelu,
    sub_norms: true,
    ..LLAMA
};

const QWEN2: Architecture =
    Architecture { name: "qwen2", positions: Positions::Rope(RopeStyle::HalfSplit), ..LLAMA };

const GEMMA: Architecture = Architecture {
    name: "gemma",
    positions: Positions::Rope(RopeStyle::HalfSplit),
    activation: Activation::Gelu,
    root_embedding_scale: true,
    ..LLAMA
};

/// Gemma 2; the 27B model is the one of 46 layers.
const GEMMA2: Architecture = Architecture {
    name: "gemma2",
    norm_placement: NormPlacement::BeforeAndAfter,
    window: Some(WindowRule { default_length: Some(4096), period: 2, rope: LocalRope::Same }),
    width_scaled_queries: Some(46),
    score_cap: Some(50.0),
    logit_cap: Some(30.0),
    ..GEMMA
};

/// Gemma 3, its text part; the 27B model is the one of 62 layers.
const GEMMA3: Architecture = Architecture {
    name: "gemma3",
    norm_placement: NormPlacement::BeforeAndAfter,
    query_key_norm: QueryKeyNorm::Head,
    window: Some(WindowRule { default_length: None, period: 6, rope: LocalRope::Base(10_000.0) }),
    width_scaled_queries: Some(62),
    ..GEMMA
};

/// Encoders for embeddings.
const BERT: Architecture = Architecture {
    name: "bert",
    positions: Positions::Learned,
    activation: Activation::Gelu,
    feed_forward: FeedForward::Plain,
    norm: NormKind::Layer,
    norm_placement: NormPlacement::AfterResidual,
    encoder: true,
    typed_embeddings: true,
    ..LLAMA
};

/// All of them.
static ARCHITECTURES: [Architecture; 17] = [
    LLAMA,
    BITNET,
    // The reference of this name, and llama.cpp, have SiLU.
    Architecture { name: "bitnet", activation: Activation::Silu, ..BITNET },
    QWEN2,
    Architecture { name: "qwen3", query_key_norm: QueryKeyNorm::Head, ..QWEN2 },
    GEMMA,
    GEMMA2,
    GEMMA3,
    Architecture { name: "gemma-embedding", encoder: true, ..GEMMA3 },
    // As in the model's own code, the window is used; llama.cpp ignores it.
    Architecture {
        name: "phi3",
        feed_forward: FeedForward::Fused,
        window: Some(WindowRule { default_length: None, period: 0, rope: LocalRope::Same }),
        ..QWEN2
    },
    Architecture { name: "olmo", norm: NormKind::PlainLayer, ..LLAMA },
    // OLMo 3 is this too, with a window.
    Architecture {
        name: "olmo2",
        norm_placement: NormPlacement::After,
        query_key_norm: QueryKeyNorm::Full,
        window: Some(WindowRule { default_length: None, period: 4, rope: LocalRope::Unscaled }),
        ..QWEN2
    },
    Architecture { name: "smollm3", unrotated_period: Some(4), ..LLAMA },
    Architecture { name: "granite", scales: true, ..LLAMA },
    Architecture { name: "mistral3", position_scale: true, ..LLAMA },
    BERT,
    Architecture {
        name: "nomic-bert",
        positions: Positions::Rope(RopeStyle::HalfSplit),
        activation: Activation::Silu,
        feed_forward: FeedForward::Gated,
        ..BERT
    },
];

impl Architecture {
    /// The row of this `general.architecture`.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|architecture| architecture.name == name)
    }

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ARCHITECTURES.iter().map(|architecture| architecture.name)
    }
}
