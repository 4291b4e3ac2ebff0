//! The kernel's limits, and their ranges: one table, by which they are set, checked and described.

use alloc::{borrow::ToOwned, format, string::String};
use core::fmt::{self, Write};

use thiserror::Error;

/// How a drop over the trend window is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trend {
    /// The oldest score less the newest one. Sees a single sharp fall; does not see a sag that recovers.
    #[default]
    Endpoint,
    /// What a line by least squares through the scores falls by, from the first place to the last.
    LeastSquares,
}

/// What a broken rule does to the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HaltMode {
    /// The stream stops before the token that broke the rule.
    #[default]
    Hard,
    /// After the window's mean, the trend or the entropy, the sentence may be finished; a score below the hard limit stops
    /// the stream at once even then.
    Soft,
}

/// What comes of an input that is none: a score that is missing, no number or not in [0, 1], a token out of order, a token
/// after the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidInput {
    /// The stream halts.
    #[default]
    Halt,
    /// The caller gets an error, and the kernel waits for the token as it should be: nothing goes on without it.
    Error,
}

/// The limits of a kernel. Names, defaults and ranges are those of the reference as far as it has them; the others are off
/// by default or bound memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What a scorer approves of, in [0, 1]; for scorers, the kernel does not look at it.
    pub coherence_threshold: f64,
    /// A score below it halts; in [0, 1].
    pub hard_limit: f64,
    /// A score below it, and not below the hard limit, is warned of; in [0, 1]. None: nothing is.
    pub soft_limit: Option<f64>,
    /// The weight of a scorer's first part, in [0, 1]; see [`crate::scorer`].
    pub w_logic: f64,
    /// The weight of a scorer's second part; both together are 1.
    pub w_fact: f64,
    /// Scores whose mean is taken; 1 to 65,536.
    pub window_size: u32,
    /// A mean below it halts; in [0, 1].
    pub window_threshold: f64,
    /// Scores over which a drop is measured; 2 to 65,536.
    pub trend_window: u32,
    /// A drop above it halts; above 0.
    pub trend_threshold: f64,
    /// How a drop is measured.
    pub trend: Trend,
    /// Content words that a scorer looks back on, 1 to 65,536; the kernel does not look at it.
    pub history_window: u32,
    /// Milliseconds that a scored token may take, above 0, where the caller says how long it took.
    pub deadline_ms: f64,
    /// Bits of entropy that a token's choice may have, above 0, where the caller says how many.
    pub logit_entropy_limit: f64,
    /// What a broken rule does to the stream.
    pub halt_mode: HaltMode,
    /// Tokens that a soft halt waits at most for the end of a sentence; 0 to 65,536.
    pub soft_halt_tokens: u32,
    /// Tokens that are held back: one is released when so many more have passed; 0 to 65,536.
    pub hold_back: u32,
    /// What comes of an input that is none.
    pub invalid_input: InvalidInput,
    /// Tokens of which the trace keeps what was decided; 0 to 65,536.
    pub trace_tokens: u32,
    /// Whether the trace keeps their text, as far as [`crate::TraceEntry::TEXT_BYTES`] go.
    pub keep_text: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            coherence_threshold: 0.6,
            hard_limit: 0.5,
            soft_limit: None,
            w_logic: 0.6,
            w_fact: 0.4,
            window_size: 10,
            window_threshold: 0.55,
            trend_window: 5,
            trend_threshold: 0.15,
            trend: Trend::Endpoint,
            history_window: 5,
            deadline_ms: 50.0,
            logit_entropy_limit: 1.2,
            halt_mode: HaltMode::Hard,
            soft_halt_tokens: 50,
            hold_back: 0,
            invalid_input: InvalidInput::Halt,
            trace_tokens: 256,
            keep_text: false,
        }
    }
}

/// Why a configuration is refused. Data until it is shown: where numbers are not to be worded, nothing of that is linked.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ConfigError {
    /// A field that does not exist.
    #[error("`{field}` is no field of the configuration; the fields are {}", Config::FIELDS.join(", "))]
    Unknown {
        /// Its name.
        field: String,
    },
    /// A field whose value is none of its range.
    #[error("`{field}` is {value}; it must be {range}")]
    OutOfRange {
        /// Its name.
        field: &'static str,
        /// What it was set to.
        value: Refused,
        /// What it may be.
        range: &'static str,
    },
}

/// A value that a field cannot have.
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// Nothing.
    Off,
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("null"),
            Self::Flag(flag) => flag.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl From<Setting<'_>> for Refused {
    fn from(setting: Setting<'_>) -> Self {
        match setting {
            Setting::Off => Self::Off,
            Setting::Flag(flag) => Self::Flag(flag),
            Setting::Number(number) => Self::Number(number),
            Setting::Text(text) => Self::Text(text.to_owned()),
        }
    }
}

/// A value that a field is set to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Setting<'a> {
    /// Nothing: the field is off, if it can be.
    Off,
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(&'a str),
}

/// The most that any count may be: it bounds the memory of a kernel.
const COUNT_MAXIMUM: u32 = 1 << 16;

/// A field and what it may be.
enum Field<'a> {
    /// Of [0, 1].
    Fraction(&'a mut f64),
    OptionalFraction(&'a mut Option<f64>),
    /// Above 0, and finite.
    Positive(&'a mut f64),
    /// From here to [`COUNT_MAXIMUM`].
    Count(&'a mut u32, Least),
    Trend(&'a mut Trend),
    HaltMode(&'a mut HaltMode),
    InvalidInput(&'a mut InvalidInput),
    Flag(&'a mut bool),
}

/// The least that a count may be.
#[derive(Clone, Copy)]
enum Least {
    Zero,
    One,
    Two,
}

const TREND: [(&str, Trend); 2] = [("endpoint", Trend::Endpoint), ("least_squares", Trend::LeastSquares)];
const HALT_MODE: [(&str, HaltMode); 2] = [("hard", HaltMode::Hard), ("soft", HaltMode::Soft)];
const INVALID_INPUT: [(&str, InvalidInput); 2] =
    [("halt", InvalidInput::Halt), ("error", InvalidInput::Error)];

impl Config {
    /// The names of all fields, in order.
    pub const FIELDS: [&'static str; 19] = [
        "coherence_threshold",
        "hard_limit",
        "soft_limit",
        "w_logic",
        "w_fact",
        "window_size",
        "window_threshold",
        "trend_window",
        "trend_threshold",
        "trend",
        "history_window",
        "deadline_ms",
        "logit_entropy_limit",
        "halt_mode",
        "soft_halt_tokens",
        "hold_back",
        "invalid_input",
        "trace_tokens",
        "keep_text",
    ];

    fn field(&mut self, name: &str) -> Option<Field<'_>> {
        Some(match name {
            "coherence_threshold" => Field::Fraction(&mut self.coherence_threshold),
            "hard_limit" => Field::Fraction(&mut self.hard_limit),
            "soft_limit" => Field::OptionalFraction(&mut self.soft_limit),
            "w_logic" => Field::Fraction(&mut self.w_logic),
            "w_fact" => Field::Fraction(&mut self.w_fact),
            "window_size" => Field::Count(&mut self.window_size, Least::One),
            "window_threshold" => Field::Fraction(&mut self.window_threshold),
            "trend_window" => Field::Count(&mut self.trend_window, Least::Two),
            "trend_threshold" => Field::Positive(&mut self.trend_threshold),
            "trend" => Field::Trend(&mut self.trend),
            "history_window" => Field::Count(&mut self.history_window, Least::One),
            "deadline_ms" => Field::Positive(&mut self.deadline_ms),
            "logit_entropy_limit" => Field::Positive(&mut self.logit_entropy_limit),
            "halt_mode" => Field::HaltMode(&mut self.halt_mode),
            "soft_halt_tokens" => Field::Count(&mut self.soft_halt_tokens, Least::Zero),
            "hold_back" => Field::Count(&mut self.hold_back, Least::Zero),
            "invalid_input" => Field::InvalidInput(&mut self.invalid_input),
            "trace_tokens" => Field::Count(&mut self.trace_tokens, Least::Zero),
            "keep_text" => Field::Flag(&mut self.keep_text),
            _ => return None,
        })
    }

    /// Sets a field by its name.
    ///
    /// # Errors
    /// [`ConfigError`], with the field, the value and the range; nothing is set then.
    pub fn set(&mut self, field: &str, setting: Setting<'_>) -> Result<(), ConfigError> {
        let known = Self::FIELDS.into_iter().find(|known| *known == field);
        let (Some(name), Some(place)) = (known, self.field(field)) else {
            return Err(ConfigError::Unknown { field: field.to_owned() });
        };
        let refused = |range| ConfigError::OutOfRange { field: name, value: setting.into(), range };
        place.set(setting).map_err(refused)
    }

    /// Fails unless every field is within its range.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for the first that is not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut checked = self.clone();
        let out_of_range = |field, value, range| {
            Err(ConfigError::OutOfRange { field, value: Refused::Number(value), range })
        };
        for field in Self::FIELDS {
            if let Some(Err((value, range))) = checked.field(field).map(|place| place.check()) {
                return out_of_range(field, value, range);
            }
        }
        let sum = self.w_logic + self.w_fact;
        if (sum - 1.0).abs() > 1e-9 {
            return out_of_range("w_logic + w_fact", sum, "1");
        }
        Ok(())
    }

    /// A JSON Schema (draft 2020-12) of the configuration as an object whose fields may all be missing.
    pub fn json_schema() -> String {
        let mut defaults = Self::default();
        let mut fields = String::new();
        for field in Self::FIELDS {
            let schema = defaults.field(field).map(|place| place.schema()).unwrap_or_default();
            let comma = if fields.is_empty() { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(fields, "{comma}\"{field}\":{{{schema}}}");
        }
        format!(
            "{{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"title\":\"halt kernel\",\
             \"type\":\"object\",\"additionalProperties\":false,\"properties\":{{{fields}}}}}"
        )
    }
}

fn is_fraction(number: f64) -> bool {
    (0.0..=1.0).contains(&number)
}

fn put<T>(place: &mut T, value: T) -> bool {
    *place = value;
    true
}

/// Puts the value of a name there, if it has one.
fn choose<T: Copy>(place: &mut T, choices: &[(&str, T)], setting: Setting<'_>) -> bool {
    let found = choices.iter().find(|(name, _)| setting == Setting::Text(name));
    found.is_some_and(|(_, choice)| put(place, *choice))
}

fn name_of<T: PartialEq>(choices: &[(&'static str, T)], choice: &T) -> &'static str {
    choices.iter().find(|(_, other)| other == choice).map_or("", |(name, _)| name)
}

impl Least {
    fn number(self) -> u32 {
        self as u32
    }
}

impl Field<'_> {
    /// Sets it, or answers what it may be.
    fn set(self, setting: Setting<'_>) -> Result<(), &'static str> {
        let range = self.range();
        let is_set = match (self, setting) {
            (Self::Fraction(place), Setting::Number(number)) if is_fraction(number) => put(place, number),
            (Self::OptionalFraction(place), Setting::Off) => put(place, None),
            (Self::OptionalFraction(place), Setting::Number(number)) if is_fraction(number) => {
                put(place, Some(number))
            }
            (Self::Positive(place), Setting::Number(number)) if number > 0.0 && number.is_finite() => {
                put(place, number)
            }
            (Self::Count(place, least), Setting::Number(number))
                if number >= least.number().into()
                    && number <= COUNT_MAXIMUM.into()
                    && f64::from(number as u32) == number =>
            {
                put(place, number as u32)
            }
            (Self::Trend(place), setting) => choose(place, &TREND, setting),
            (Self::HaltMode(place), setting) => choose(place, &HALT_MODE, setting),
            (Self::InvalidInput(place), setting) => choose(place, &INVALID_INPUT, setting),
            (Self::Flag(place), Setting::Flag(flag)) => put(place, flag),
            _ => false,
        };
        if is_set { Ok(()) } else { Err(range) }
    }

    /// Its value and what it may be, if it is not that.
    fn check(&self) -> Result<(), (f64, &'static str)> {
        let wrong = match self {
            Self::Fraction(number) if !is_fraction(**number) => Some(**number),
            Self::OptionalFraction(Some(number)) if !is_fraction(*number) => Some(*number),
            Self::Positive(number) if !(**number > 0.0 && number.is_finite()) => Some(**number),
            Self::Count(count, least) if **count < least.number() || **count > COUNT_MAXIMUM => {
                Some((**count).into())
            }
            _ => None,
        };
        wrong.map_or(Ok(()), |value| Err((value, self.range())))
    }

    fn range(&self) -> &'static str {
        match self {
            Self::Fraction(_) => "a number from 0 to 1",
            Self::OptionalFraction(_) => "a number from 0 to 1, or null",
            Self::Positive(_) => "a finite number above 0",
            Self::Count(_, Least::Zero) => "a whole number from 0 to 65536",
            Self::Count(_, Least::One) => "a whole number from 1 to 65536",
            Self::Count(_, Least::Two) => "a whole number from 2 to 65536",
            Self::Trend(_) => "\"endpoint\" or \"least_squares\"",
            Self::HaltMode(_) => "\"hard\" or \"soft\"",
            Self::InvalidInput(_) => "\"halt\" or \"error\"",
            Self::Flag(_) => "true or false",
        }
    }

    /// The inside of its schema.
    fn schema(&self) -> String {
        let text = |names: alloc::vec::Vec<String>, default: &str| {
            format!("\"enum\":[{}],\"default\":\"{default}\"", names.join(","))
        };
        let quoted = |name: &&str| format!("\"{name}\"");
        match self {
            Self::Fraction(default) => {
                format!("\"type\":\"number\",\"minimum\":0,\"maximum\":1,\"default\":{default}")
            }
            Self::OptionalFraction(_) => {
                "\"type\":[\"number\",\"null\"],\"minimum\":0,\"maximum\":1,\"default\":null".to_owned()
            }
            Self::Positive(default) => {
                format!("\"type\":\"number\",\"exclusiveMinimum\":0,\"default\":{default}")
            }
            Self::Count(default, least) => format!(
                "\"type\":\"integer\",\"minimum\":{},\"maximum\":{COUNT_MAXIMUM},\"default\":{default}",
                least.number()
            ),
            Self::Trend(default) => {
                text(TREND.iter().map(|(name, _)| quoted(name)).collect(), name_of(&TREND, default))
            }
            Self::HaltMode(default) => {
                text(HALT_MODE.iter().map(|(name, _)| quoted(name)).collect(), name_of(&HALT_MODE, default))
            }
            Self::InvalidInput(default) => text(
                INVALID_INPUT.iter().map(|(name, _)| quoted(name)).collect(),
                name_of(&INVALID_INPUT, default),
            ),
            Self::Flag(default) => format!("\"type\":\"boolean\",\"default\":{default}"),
        }
    }
}

#[cfg(feature = "serde")]
mod data {
    use core::fmt;

    use serde::{
        Deserialize, Deserializer, Serialize, Serializer,
        de::{Error, MapAccess, Visitor},
        ser::SerializeMap,
    };

    use super::{Config, Field, HALT_MODE, INVALID_INPUT, Setting, String, TREND, name_of};

    /// Missing fields have their defaults; unknown ones, and values out of range, are errors that name them.
    impl<'de> Deserialize<'de> for Config {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(ConfigVisitor)
        }
    }

    struct ConfigVisitor;

    impl<'de> Visitor<'de> for ConfigVisitor {
        type Value = Config;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the configuration of a halt kernel")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Config, A::Error> {
            let mut config = Config::default();
            while let Some(field) = map.next_key::<String>()? {
                let value = map.next_value::<Value>()?;
                config.set(&field, value.setting()).map_err(Error::custom)?;
            }
            config.validate().map_err(Error::custom)?;
            Ok(config)
        }
    }

    /// A value of any field.
    enum Value {
        Off,
        Flag(bool),
        Number(f64),
        Text(String),
    }

    impl Value {
        fn setting(&self) -> Setting<'_> {
            match self {
                Self::Off => Setting::Off,
                Self::Flag(flag) => Setting::Flag(*flag),
                Self::Number(number) => Setting::Number(*number),
                Self::Text(text) => Setting::Text(text),
            }
        }
    }

    impl<'de> Deserialize<'de> for Value {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct ValueVisitor;

            impl Visitor<'_> for ValueVisitor {
                type Value = Value;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a number, a text, true, false or null")
                }

                fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
                    Ok(Value::Flag(flag))
                }

                fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                    Ok(Value::Number(number as f64))
                }

                fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
                    Ok(Value::Number(number as f64))
                }

                fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
                    Ok(Value::Number(number))
                }

                fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                    Ok(Value::Text(text.into()))
                }

                fn visit_unit<E>(self) -> Result<Value, E> {
                    Ok(Value::Off)
                }
            }

            deserializer.deserialize_any(ValueVisitor)
        }
    }

    impl Serialize for Config {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut config = self.clone();
            let mut map = serializer.serialize_map(Some(Self::FIELDS.len()))?;
            for name in Self::FIELDS {
                match config.field(name) {
                    Some(Field::Fraction(number) | Field::Positive(number)) => {
                        map.serialize_entry(name, number)?;
                    }
                    // Formats without a null leave it out.
                    Some(Field::OptionalFraction(None)) | None => {}
                    Some(Field::OptionalFraction(Some(number))) => map.serialize_entry(name, number)?,
                    Some(Field::Count(count, _)) => map.serialize_entry(name, count)?,
                    Some(Field::Trend(choice)) => map.serialize_entry(name, name_of(&TREND, choice))?,
                    Some(Field::HaltMode(choice)) => {
                        map.serialize_entry(name, name_of(&HALT_MODE, choice))?;
                    }
                    Some(Field::InvalidInput(choice)) => {
                        map.serialize_entry(name, name_of(&INVALID_INPUT, choice))?;
                    }
                    Some(Field::Flag(flag)) => map.serialize_entry(name, flag)?,
                }
            }
            map.end()
        }
    }
}
