//! Metadata values as places in the file.

use std::ops::Range;

/// Type of a scalar or of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    U64,
    I64,
    F64,
}

impl ElementType {
    /// The type of the format's number `id`, strings and arrays aside.
    pub fn scalar(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of an element; of a string, the bytes of its length field.
    pub fn bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::String => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::U8 | Self::I8 | Self::U16 | Self::I16 | Self::U32 | Self::I32 | Self::U64 | Self::I64 => {
                "an integer"
            }
            Self::F32 | Self::F64 => "a number",
            Self::Bool => "a boolean",
            Self::String => "a string",
        }
    }

    /// The integer in `raw`; `None` for a type that is not an integer.
    pub fn integer(self, raw: &[u8]) -> Option<i128> {
        Some(match self {
            Self::U8 => u8::from_le_bytes(raw.try_into().ok()?).into(),
            Self::I8 => i8::from_le_bytes(raw.try_into().ok()?).into(),
            Self::U16 => u16::from_le_bytes(raw.try_into().ok()?).into(),
            Self::I16 => i16::from_le_bytes(raw.try_into().ok()?).into(),
            Self::U32 => u32::from_le_bytes(raw.try_into().ok()?).into(),
            Self::I32 => i32::from_le_bytes(raw.try_into().ok()?).into(),
            Self::U64 => u64::from_le_bytes(raw.try_into().ok()?).into(),
            Self::I64 => i64::from_le_bytes(raw.try_into().ok()?).into(),
            Self::F32 | Self::F64 | Self::Bool | Self::String => return None,
        })
    }

    /// The float in `raw`; `None` for a type that is not a float.
    pub fn float(self, raw: &[u8]) -> Option<f64> {
        Some(match self {
            Self::F32 => f32::from_le_bytes(raw.try_into().ok()?).into(),
            Self::F64 => f64::from_le_bytes(raw.try_into().ok()?),
            _ => return None,
        })
    }
}

/// A metadata value: where its bytes are. Every range was checked against the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Scalar(ElementType, Range<usize>),
    String(Range<usize>),
    /// Element type, number of elements, all their bytes.
    Array(ElementType, u64, Range<usize>),
}

impl Value {
    /// The integer that it is, if it is one.
    pub fn integer(&self, bytes: &[u8]) -> Option<i128> {
        match self {
            Self::Scalar(element, range) => element.integer(bytes.get(range.clone())?),
            _ => None,
        }
    }

    /// What it is, for error messages.
    pub fn describe(&self, bytes: &[u8]) -> String {
        match self {
            Self::Scalar(element, range) => {
                let raw = bytes.get(range.clone()).unwrap_or_default();
                match (element.integer(raw), element.float(raw)) {
                    (Some(integer), _) => integer.to_string(),
                    (_, Some(float)) => float.to_string(),
                    _ => element.name().to_owned(),
                }
            }
            Self::String(_) => "a string".into(),
            Self::Array(element, count, _) => {
                format!("an array of {count} elements, each {}", element.name())
            }
        }
    }
}
