//! Why a step is stopped, in words that are the same on every host.
//!
//! - [`StepTrap`]: what a report says.
//! - [`GuestTrap`]: what an engine says, as far as all engines can tell it. Some do not say whether a table slot was
//!   empty or held a function of another type, some not whether it was memory or a table that was too small, and some not
//!   whether it was a division or a conversion whose result did not fit, or a NaN; so nobody says it here.
//! - [`Failure`]: either of them.

use std::{boxed::Box, string::String};

use glasshouse_devices::{StepOutcome, Stop, TrapKind};
use thiserror::Error;

/// How a step ended that did not return; also what a device function fails with. In a box, since it is rare and larger
/// than what is returned otherwise.
#[derive(Debug, Error)]
#[error("the step ended: {0:?}")]
pub(crate) struct StepTrap(pub(crate) Box<StepOutcome>);

impl StepTrap {
    pub(crate) fn new(kind: TrapKind, message: impl Into<String>) -> Self {
        Self(Box::new(StepOutcome::Trapped { kind, message: message.into() }))
    }

    pub(crate) fn out_of_fuel() -> Self {
        Self::new(TrapKind::OutOfFuel, "the step used up its fuel")
    }

    /// For what no engine should do. Fixed, since engines would say it differently.
    pub(crate) fn engine() -> Self {
        Self::new(TrapKind::Engine, "the engine stopped the step for a reason of its own")
    }
}

impl From<Stop> for StepTrap {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::OutOfFuel => Self::out_of_fuel(),
            Stop::Interrupted => Self::new(TrapKind::Interrupted, "the step was interrupted"),
            Stop::Misused(message) => Self::new(TrapKind::DeviceFailure, message),
            Stop::Failed(error) => Self(Box::new(StepOutcome::Failed { error })),
            Stop::Exit(code) => Self(Box::new(StepOutcome::Exited { code })),
        }
    }
}

/// Why an engine stopped the code of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuestTrap {
    Unreachable,
    StackOverflow,
    OutOfBounds,
    IndirectCall,
    DivideByZero,
    DoesNotFit,
}

impl From<GuestTrap> for StepTrap {
    fn from(trap: GuestTrap) -> Self {
        let (kind, message) = match trap {
            GuestTrap::Unreachable => {
                (TrapKind::Unreachable, "the guest executed `unreachable`, as a panic does")
            }
            GuestTrap::StackOverflow => (TrapKind::StackOverflow, "the step's calls are nested too deeply"),
            GuestTrap::OutOfBounds => {
                (TrapKind::OutOfBounds, "the guest accessed its memory or a table out of bounds")
            }
            GuestTrap::IndirectCall => (
                TrapKind::IndirectCall,
                "the guest called through a table slot that is empty or holds a function of another type",
            ),
            GuestTrap::DivideByZero => (TrapKind::DivideByZero, "the guest divided an integer by zero"),
            GuestTrap::DoesNotFit => (
                TrapKind::IntegerOverflow,
                "the guest divided or converted a number to an integer that cannot hold the result",
            ),
        };
        Self::new(kind, message)
    }
}

/// How a call into a guest fails.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The guest's own code.
    Guest(GuestTrap),
    /// A device, or the engine.
    Stopped(StepTrap),
}

/// What browsers say, in small letters: Chromium's, Firefox's and Safari's messages begin so. Safari puts the expression
/// behind.
#[cfg(any(test, target_arch = "wasm32"))]
const BROWSER_MESSAGES: &[(&str, GuestTrap)] = &[
    ("unreachable", GuestTrap::Unreachable),
    ("memory access out of bounds", GuestTrap::OutOfBounds),
    ("out of bounds memory access", GuestTrap::OutOfBounds),
    ("table index is out of bounds", GuestTrap::OutOfBounds),
    ("table access out of bounds", GuestTrap::OutOfBounds),
    ("table index out of bounds", GuestTrap::OutOfBounds),
    ("out of bounds table access", GuestTrap::OutOfBounds),
    ("out of bounds call_indirect", GuestTrap::OutOfBounds),
    ("index out of bounds", GuestTrap::OutOfBounds),
    ("data segment out of bounds", GuestTrap::OutOfBounds),
    ("element segment out of bounds", GuestTrap::OutOfBounds),
    // Older Chromium: "null function or function signature mismatch".
    ("null function", GuestTrap::IndirectCall),
    ("function signature mismatch", GuestTrap::IndirectCall),
    ("indirect call to null", GuestTrap::IndirectCall),
    ("indirect call signature mismatch", GuestTrap::IndirectCall),
    ("call_indirect to a null table entry", GuestTrap::IndirectCall),
    ("call_indirect to a signature that does not match", GuestTrap::IndirectCall),
    ("divide by zero", GuestTrap::DivideByZero),
    ("remainder by zero", GuestTrap::DivideByZero),
    ("integer divide by zero", GuestTrap::DivideByZero),
    ("division by zero", GuestTrap::DivideByZero),
    ("divide result unrepresentable", GuestTrap::DoesNotFit),
    ("float unrepresentable in integer range", GuestTrap::DoesNotFit),
    ("integer overflow", GuestTrap::DoesNotFit),
    ("invalid conversion to integer", GuestTrap::DoesNotFit),
    ("out of bounds trunc operation", GuestTrap::DoesNotFit),
    ("maximum call stack size exceeded", GuestTrap::StackOverflow),
    ("too much recursion", GuestTrap::StackOverflow),
    ("stack overflow", GuestTrap::StackOverflow),
];

#[cfg(any(test, target_arch = "wasm32"))]
impl GuestTrap {
    /// What a browser means by an error's message, if it is one that a guest's code can cause.
    pub(crate) fn from_browser(message: &str) -> Option<Self> {
        let message = message.to_ascii_lowercase();
        let known = BROWSER_MESSAGES.iter().find(|(start, _)| message.starts_with(start));
        known.map(|(_, trap)| *trap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_of_three_browsers_are_understood() {
        for (message, trap) in [
            ("unreachable", GuestTrap::Unreachable),
            ("null function or function signature mismatch", GuestTrap::IndirectCall),
            ("null function", GuestTrap::IndirectCall),
            ("function signature mismatch", GuestTrap::IndirectCall),
            ("element segment out of bounds", GuestTrap::OutOfBounds),
            ("unreachable executed", GuestTrap::Unreachable),
            ("Unreachable code should not be executed (evaluating 'entry(1, 2)')", GuestTrap::Unreachable),
            ("Out of bounds memory access (evaluating 'f()')", GuestTrap::OutOfBounds),
            ("Out of bounds call_indirect (evaluating 'f()')", GuestTrap::OutOfBounds),
            ("call_indirect to a null table entry (evaluating 'f()')", GuestTrap::IndirectCall),
            ("Division by zero (evaluating 'f()')", GuestTrap::DivideByZero),
            ("Out of bounds Trunc operation (evaluating 'f()')", GuestTrap::DoesNotFit),
            ("Maximum call stack size exceeded.", GuestTrap::StackOverflow),
        ] {
            assert_eq!(GuestTrap::from_browser(message), Some(trap), "{message}");
        }
        assert_eq!(GuestTrap::from_browser("illegal cast"), None);
        assert_eq!(GuestTrap::from_browser(""), None);
    }
}
