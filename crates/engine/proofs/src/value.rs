//! Values and traps, spelled alike for every engine.

use std::fmt;

/// A value by its bits, so that NaNs are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `i32`.
    I32(i32),
    /// `i64`.
    I64(i64),
    /// `f32`.
    F32(u32),
    /// `f64`.
    F64(u64),
    /// `v128`.
    V128(u128),
    /// `funcref`: the number of the function's instance and the name under which it is exported; none for null.
    Function(Option<String>),
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `i32`.
    I32,
    /// `i64`.
    I64,
    /// `f32`.
    F32,
    /// `f64`.
    F64,
    /// `v128`.
    V128,
    /// `funcref`.
    Function,
    /// Any other reference. Only modules that the pass refuses have it.
    Other,
}

/// Why code stopped, as finely as engines tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// `unreachable`.
    Unreachable,
    /// Calls are nested too deeply.
    StackOverflow,
    /// The fuel is used up.
    OutOfFuel,
    /// A memory was accessed out of bounds.
    MemoryOutOfBounds,
    /// A table was accessed out of bounds.
    TableOutOfBounds,
    /// `call_indirect` of null.
    IndirectCallToNull,
    /// `call_indirect` of a function of another type.
    BadSignature,
    /// An integer was divided by zero.
    DivideByZero,
    /// A quotient that does not fit.
    IntegerOverflow,
    /// A number that no integer of the type can hold.
    BadConversionToInteger,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Trap {}

impl wasmi::errors::HostError for Trap {}

impl Trap {
    /// The beginnings of the messages by which the specification's tests name this trap.
    pub fn messages(self) -> &'static [&'static str] {
        match self {
            Self::Unreachable => &["unreachable"],
            Self::StackOverflow => &["call stack exhausted"],
            Self::OutOfFuel => &[],
            Self::MemoryOutOfBounds => &["out of bounds memory access"],
            Self::TableOutOfBounds => &["out of bounds table access", "undefined element", "undefined"],
            Self::IndirectCallToNull => &["uninitialized element"],
            Self::BadSignature => &["indirect call type mismatch"],
            Self::DivideByZero => &["integer divide by zero"],
            Self::IntegerOverflow => &["integer overflow"],
            // Some tests expect `integer overflow` of a conversion; engines tell only NaNs from it, if at all.
            Self::BadConversionToInteger => &["invalid conversion to integer", "integer overflow"],
        }
    }
}

/// How code or the start of an instance failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It trapped.
    Trap(Trap),
    /// An import is missing or has another type, or the engine refuses the module.
    Link(String),
}
