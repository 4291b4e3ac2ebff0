//! Where scores can come from.

#[cfg(feature = "confidence")]
mod confidence;
#[cfg(feature = "grounding")]
mod grounding;

#[cfg(feature = "confidence")]
pub use confidence::{Choice, confidence};
#[cfg(feature = "grounding")]
pub use grounding::Grounding;
