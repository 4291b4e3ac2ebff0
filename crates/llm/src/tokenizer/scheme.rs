//! How the pre-tokenizers that `tokenizer.ggml.pre` names split text, and what else follows from the name.
//!
//! Names and patterns are those of llama.cpp (`llm_tokenizer_bpe` in `src/llama-vocab.cpp`, `src/unicode.cpp`), also
//! where it differs from the tokenizers that the models were trained with. It sees every letter's case as both, except
//! ASCII's; a class of letters by case is written here as it behaves there. The published patterns end in
//! `\s+(?!\S)|\s+`, "white space up to but excluding the last one before a word"; the `regex` crate has no look-ahead
//! (that is why it is linear in the text), so patterns here end in `\s+`, and [`Spaces`] says what is given back.

/// How a run of white space that was matched as such is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spaces {
    /// As matched: the pattern has no `\s+`.
    Whole,
    /// The last one is left for what follows: `\s+(?!\S)|\s+`.
    LeaveLast,
    /// The same, but what ends in a line end was matched by `\s*[\r\n]+` and stays whole.
    LeaveLastInLine,
    /// As [`Spaces::LeaveLastInLine`], but what is not left is cut into powers of two, the largest first.
    PowersOfTwo,
}

/// One way to cut a piece of text into smaller ones. Each is applied to all pieces that the one before it made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Into the matches of a pattern and what lies between them.
    Pattern(&'static str, Spaces),
    /// After each group of three digits, counted from the end of their run; what precedes a run stays with its first
    /// group.
    DigitGroups,
    /// Before each group of three ASCII digits, counted from the end of their run.
    Thousands,
}

/// What follows from the name of a pre-tokenizer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scheme {
    /// How text is split.
    pub(super) steps: &'static [Step],
    /// Whether a whole word that is a token is taken without merging.
    pub(super) whole_words: bool,
    /// Whether prompts begin with the token of the beginning, unless the file says otherwise.
    pub(super) add_begin: bool,
    /// Whether tokens are spelled as SentencePiece does, not byte by byte.
    pub(super) sentence_piece: bool,
    /// Whether a run of line ends that is a token is taken without merging.
    pub(super) whole_lines: bool,
}

/// `'s`, `'re` and the like.
macro_rules! contraction {
    () => {
        r"'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"
    };
}

/// Letters with at most one other character before them.
macro_rules! word {
    () => {
        r"[^\r\n\p{L}\p{N}]?\p{L}+"
    };
}

/// Neither letters nor numbers, with at most one space before and with the line ends after them, then white space.
macro_rules! others {
    () => {
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
    };
}

/// The same with slashes among the line ends.
macro_rules! others_with_slashes {
    () => {
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"
    };
}

/// Letters, small ones after capital ones, with at most one other character before them; `$class` is what counts as
/// a letter, `$end` what may follow each.
macro_rules! cased_word {
    ($class:literal, $end:expr) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?[",
            $class,
            r"&&[^a-z]]*[",
            $class,
            r"&&[^A-Z]]+",
            $end,
            r"|[^\r\n\p{L}\p{N}]?[",
            $class,
            r"&&[^a-z]]+[",
            $class,
            r"&&[^A-Z]]*",
            $end
        )
    };
}

/// Punctuation with Latin letters, letters with marks, punctuation with at most one space before.
macro_rules! marked_words {
    () => {
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"##
    };
}

/// Chinese characters as Kimi K2 counts them.
macro_rules! han {
    () => {
        r"\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{20000}-\u{2A6DF}\u{2A700}-\u{2EBEF}\u{F900}-\u{FAFF}\u{2F800}-\u{2FA1F}"
    };
}

/// Contractions, letters, numbers, others, each with at most one space before it (GPT-2).
const GPT2: Step =
    Step::Pattern(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+", Spaces::LeaveLast);

/// Llama 3: any character may lead a word, numbers in groups of three, line ends stay with what precedes them.
const LLAMA3: Step =
    Step::Pattern(concat!(contraction!(), "|", word!(), r"|\p{N}{1,3}|", others!()), Spaces::LeaveLastInLine);

/// Qwen 2: Llama 3 with single digits.
const QWEN2: Step =
    Step::Pattern(concat!(contraction!(), "|", word!(), r"|\p{N}|", others!()), Spaces::LeaveLastInLine);

/// Lines and what ends them.
const LINES: Step = Step::Pattern(r"[^\n]+|\n+", Spaces::Whole);

/// Chinese characters and kana as DeepSeek counts them.
const CHINESE_AND_KANA: Step = Step::Pattern("[一-龥぀-ゟ゠-ヿ]+", Spaces::Whole);

/// Chinese characters and more as DeepSeek's first models count them; there white space is not in the class.
const CHINESE_AND_MORE: Step = Step::Pattern(r"[[一-龥ࠀ-一가-\u{D7FF}]--\s]+", Spaces::Whole);

/// Single line ends.
const LINE_ENDS: Step = Step::Pattern(r"[\r\n]", Spaces::Whole);

/// Numbers of at most three digits from the left.
const NUMBERS_OF_THREE: Step = Step::Pattern(r"\p{N}{1,3}", Spaces::Whole);

/// Single digits.
const DIGITS: Step = Step::Pattern(r"\p{N}", Spaces::Whole);

/// Whole numbers.
const NUMBERS: Step = Step::Pattern(r"\p{N}+", Spaces::Whole);

/// Three ASCII digits.
const THREE_DIGITS: Step = Step::Pattern("[0-9]{3}", Spaces::Whole);

/// What lies between white space, brackets and stops (BLOOM).
const BLOOM: Step = Step::Pattern(r" ?[^(\s|.,!?…。，、।۔،)]+", Spaces::Whole);

/// DeepSeek V3: line ends stay with what precedes them.
const MARKED_WORDS: Step =
    Step::Pattern(concat!(marked_words!(), r"[\r\n]*|\s*[\r\n]+|\s+"), Spaces::LeaveLastInLine);

const DEEPSEEK_LLM: &[Step] = &[
    LINE_ENDS,
    Step::Pattern(
        r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1F7D}ᾀ-ᾴᾶ-ᾼ\u{1FBE}ῂ-ῄῆ-ῌῐ-\u{1FD3}ῖ-\u{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
        Spaces::Whole,
    ),
    Step::Pattern(r"\s?[!-/:-~！-／：-～‘-‟、-。]+", Spaces::Whole),
    Step::Pattern(r"\s+$", Spaces::Whole),
    CHINESE_AND_MORE,
    NUMBERS,
];

const DEEPSEEK_CODER: &[Step] = &[
    LINE_ENDS,
    Step::Pattern(r"\s?\p{L}+", Spaces::Whole),
    Step::Pattern(r"\s?\p{P}+", Spaces::Whole),
    CHINESE_AND_MORE,
    DIGITS,
];

const DEEPSEEK_V3: &[Step] = &[NUMBERS_OF_THREE, CHINESE_AND_KANA, MARKED_WORDS];

const SPARK: &[Step] = &[
    NUMBERS_OF_THREE,
    CHINESE_AND_KANA,
    Step::Pattern(concat!(marked_words!(), r"|[\r\n]|\s+"), Spaces::LeaveLast),
    DIGITS,
];

const AFMOE: &[Step] = &[
    Step::DigitGroups,
    Step::Pattern("[一-鿿㐀-䶿豈-\u{FAFF}぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-\u{D7AF}ᄀ-ᇿ]+", Spaces::Whole),
    MARKED_WORDS,
];

const YOUTU: &[Step] = &[
    Step::Pattern("[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+", Spaces::Whole),
    Step::Pattern(
        concat!(r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+(?:", contraction!(), r")?|\p{N}|", others_with_slashes!()),
        Spaces::LeaveLastInLine,
    ),
];

const TINY_AYA: &[Step] = &[
    Step::DigitGroups,
    Step::Pattern(
        concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+(?:",
            contraction!(),
            r")?|\p{N}{1,3}|",
            others_with_slashes!()
        ),
        Spaces::LeaveLastInLine,
    ),
];

const CHAMELEON: &[Step] = &[
    Step::Pattern("<sentinel:[0-9]+>", Spaces::Whole),
    Step::Pattern("IMGIMG[A-I]{1,4}Z", Spaces::Whole),
    Step::Pattern(r"[\t\n]|    |  ", Spaces::Whole),
    DIGITS,
    Step::Pattern(r"[\p{P}!-/:-@\[-`{-~]", Spaces::Whole),
    GPT2,
];

/// A scheme of which nothing but the split is special.
const fn plain(steps: &'static [Step]) -> Scheme {
    Scheme { steps, whole_words: false, add_begin: false, sentence_piece: false, whole_lines: false }
}

/// A scheme in which whole words that are tokens are not merged.
const fn whole_words(steps: &'static [Step]) -> Scheme {
    Scheme { whole_words: true, ..plain(steps) }
}

/// A scheme over SentencePiece's spelling.
const fn sentence_piece(steps: &'static [Step]) -> Scheme {
    Scheme { sentence_piece: true, ..plain(steps) }
}

const fn add_begin(scheme: Scheme) -> Scheme {
    Scheme { add_begin: true, ..scheme }
}

impl Scheme {
    /// Gemma 4: merges over whole lines of SentencePiece's spelling.
    pub(super) const GEMMA4: Self = Self { whole_lines: true, ..add_begin(sentence_piece(&[LINES])) };

    /// The scheme that `tokenizer.ggml.pre` names; no name is `default`. `None` for a name that is not known.
    pub(super) fn named(name: Option<&str>) -> Option<Self> {
        let steps: &[Step] = match name.filter(|name| !name.is_empty()).unwrap_or("default") {
            "default" => &[Step::Pattern(r"[\p{P}$+<=>^~|]+", Spaces::Whole), GPT2, NUMBERS, THREE_DIGITS],
            "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" | "gigachat"
            | "a.x-4.0" | "mellum" | "exaone4" | "roberta-bpe" | "modern-bert" | "jina-es" | "jina-de"
            | "jina-v1-en" | "jina-v2-es" | "jina-v2-de" | "jina-v2-code" => &[GPT2],
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b"
            | "mellum2" => &[DIGITS, GPT2],
            "falcon" => &[Step::Pattern(r"[\p{P}$+<=>^~|`]+", Spaces::Whole), GPT2, THREE_DIGITS],
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0"
            | "lfm2" | "jina-v5-nano" => return Some(add_begin(whole_words(&[LLAMA3]))),
            "glm4" | "glm5" => return Some(whole_words(&[LLAMA3])),
            "dbrx" | "smaug-bpe" | "chatglm-bpe" => &[LLAMA3],
            "qwen2" | "deepseek-r1-qwen" | "stablelm2" | "megrez" | "hunyuan" | "kormo" | "f2llmv2"
            | "grok-2" | "solar-open" | "bailingmoe" | "bailingmoe2" | "llada-moe" => &[QWEN2],
            "laguna" => &[LINES, QWEN2],
            "qwen35" => &[Step::Pattern(
                concat!(
                    contraction!(),
                    r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
                ),
                Spaces::LeaveLastInLine,
            )],
            "ufakzeka" => &[Step::Pattern(concat!(word!(), r"|\p{N}|", others!()), Spaces::LeaveLastInLine)],
            "seed-coder" => &[Step::Pattern(
                concat!(contraction!(), "|", word!(), r"|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+"),
                Spaces::LeaveLastInLine,
            )],
            "exaone-moe" => &[Step::Pattern(
                concat!(
                    contraction!(),
                    r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}",
                    r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+"
                ),
                Spaces::LeaveLastInLine,
            )],
            "jais-2" => &[Step::Pattern(
                concat!(contraction!(), "|", word!(), r"|\p{N}{1,3}|", others!()),
                Spaces::PowersOfTwo,
            )],
            "minicpm5" => {
                return Some(whole_words(&[
                    NUMBERS_OF_THREE,
                    Step::Pattern(
                        concat!(contraction!(), "|", word!(), r"|\p{N}+|", others!()),
                        Spaces::LeaveLastInLine,
                    ),
                ]));
            }
            "tekken" => {
                return Some(add_begin(whole_words(&[Step::Pattern(
                    concat!(cased_word!(r"\p{L}", ""), r"|\p{N}|", others_with_slashes!()),
                    Spaces::LeaveLastInLine,
                )])));
            }
            "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" => &[Step::Pattern(
                concat!(
                    cased_word!(r"\p{L}", concat!("(?:", contraction!(), ")?")),
                    r"|\p{N}{1,3}|",
                    others_with_slashes!()
                ),
                Spaces::LeaveLastInLine,
            )],
            "granite-embed-multi-97m" => {
                return Some(whole_words(&[Step::Pattern(
                    concat!(
                        cased_word!(r"[\p{L}\p{M}]", concat!("(?:", contraction!(), ")?")),
                        r"|\p{N}{1,3}|",
                        others_with_slashes!()
                    ),
                    Spaces::LeaveLastInLine,
                )]));
            }
            "kimi-k2" => &[Step::Pattern(
                concat!(
                    "[",
                    han!(),
                    r"]+|[^\r\n\p{L}\p{N}]?[\p{L}--[",
                    han!(),
                    "]]+(?:",
                    contraction!(),
                    r")?|\p{N}{1,3}|",
                    others!()
                ),
                Spaces::LeaveLastInLine,
            )],
            "deepseek-llm" => DEEPSEEK_LLM,
            "deepseek-coder" => DEEPSEEK_CODER,
            "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => DEEPSEEK_V3,
            "spark2_5" => SPARK,
            "afmoe" => AFMOE,
            "youtu" => return Some(whole_words(YOUTU)),
            "tiny_aya" | "cohere2moe" => TINY_AYA,
            "superbpe" => &[NUMBERS, Step::Thousands],
            "poro-chat" | "bloom" | "gpt3-finnish" => &[BLOOM],
            "viking" => &[BLOOM, DIGITS],
            "chameleon" => return Some(add_begin(plain(CHAMELEON))),
            "gemma4" | "granite-embed-multi-311m" => return Some(Self::GEMMA4),
            "sarvam-moe" => return Some(sentence_piece(&[LINES])),
            _ => return None,
        };
        Some(plain(steps))
    }
}
