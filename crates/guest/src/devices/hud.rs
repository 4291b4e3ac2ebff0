//! The head-up display: values and annotations that a host may show. Data only: the guest draws nothing.

use glasshouse_protocol::ErrorData;
use serde::Serialize;

use super::host;

/// A value that a host may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Signal<'a> {
    /// Which; a signal replaces the one with its id.
    pub id: &'a str,
    /// What it is about.
    pub kind: Kind,
    /// The value as text.
    pub value: &'a str,
    /// The value as a number, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<i64>,
}

/// What a signal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// How well somebody is.
    Health,
    /// How much there is of something.
    Resource,
    /// How much time there is or has passed.
    Timer,
    /// Something to look out for.
    Warning,
    /// Anything else.
    Status,
}

/// Something that a host may draw over frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Overlay<'a> {
    /// Which; an overlay replaces the one with its id.
    pub id: &'a str,
    /// What it is.
    pub shape: Shape,
    /// Its left edge in pixels of a frame.
    pub x: i32,
    /// Its upper edge in pixels of a frame.
    pub y: i32,
    /// Its width in pixels of a frame; 0 for a text of any width.
    pub width: u32,
    /// Its height in pixels of a frame; 0 for a text of any height.
    pub height: u32,
    /// Its text; of a rectangle, it may be empty.
    pub text: &'a str,
    /// Higher ones lie over lower ones.
    pub layer: i32,
}

/// What an overlay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A rectangle.
    Rectangle,
    /// A text.
    Text,
}

/// Sets a signal. An empty or too long id, a text that is too long and too many elements stop the step.
///
/// # Errors
///
/// `invalid_element` when it cannot be written as JSON.
pub fn set_signal(signal: &Signal<'_>) -> Result<(), ErrorData> {
    host::hud_signal(&json(signal)?);
    Ok(())
}

/// Sets an overlay. What stops the step is as for [`set_signal`].
///
/// # Errors
///
/// `invalid_element` when it cannot be written as JSON.
pub fn set_overlay(overlay: &Overlay<'_>) -> Result<(), ErrorData> {
    host::hud_overlay(&json(overlay)?);
    Ok(())
}

/// Removes the signal and the overlay of an id; returns how many there were.
pub fn remove(id: &str) -> u32 {
    host::hud_remove(id.as_bytes())
}

fn json(element: &impl Serialize) -> Result<Vec<u8>, ErrorData> {
    serde_json::to_vec(element).map_err(|error| ErrorData::from_error("invalid_element", &error))
}
