//! The head-up display of a process: signals and overlays that a host may show. Data only, nothing is drawn.
//!
//! ```text
//! hud_signal(pointer: i32, length: i32)             sets a signal
//! hud_overlay(pointer: i32, length: i32)            sets an overlay
//! hud_remove(pointer: i32, length: i32) -> i32      removes the signal and the overlay of an id, UTF-8; how many there were
//! ```
//!
//! Signals and overlays are JSON objects in UTF-8. An id is 1 to 64 bytes, other texts at most
//! [`crate::ContextLimits::hud_text_bytes`]; a signal replaces the signal with its id, an overlay the overlay. Unknown
//! fields are refused.
//!
//! ```text
//! signal   {"id": text, "kind": "health"|"resource"|"timer"|"warning"|"status", "value": text, "number": whole number, optional}
//! overlay  {"id": text, "shape": "rectangle", "x", "y", "width", "height": frame pixels, "text": optional, "layer": optional}
//!          {"id": text, "shape": "text", "x", "y": frame pixels, "text": text, "width", "height", "layer": optional}
//! ```
//!
//! `number` has 64 bits with sign, `x`, `y` and `layer` 32 bits with sign, `width` and `height` 32 bits without; what
//! is optional is 0 or empty. Higher layers lie over lower ones, and in a layer later ones over earlier ones. Each byte
//! costs 1 fuel. A misuse stops the step and names the field; so does one element more than
//! [`crate::ContextLimits::hud_elements`].

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    Call, Context, ContextLimits, DeviceError, DeviceEvent, HostFunction, HudChange, Stop,
    ValueType::I32,
    json::{FieldError, Fields, required},
    own::{function, words},
};

/// The table.
pub(crate) const FUNCTIONS: &[HostFunction] = &[
    function("hud_signal", &[I32, I32], None, hud_signal),
    function("hud_overlay", &[I32, I32], None, hud_overlay),
    function("hud_remove", &[I32, I32], Some(I32), hud_remove),
];

/// Bytes of JSON of one element: its texts, escaped, and then some.
const JSON_BYTES_MAXIMUM: u32 = 16 << 10;

/// Bytes of an id: it stands in reports, which must stay small.
pub(crate) const ID_BYTES_MAXIMUM: u32 = 64;

/// A value that a host may show.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HudSignal {
    /// Which.
    pub id: String,
    /// What it is about.
    pub kind: HudKind,
    /// The value as text.
    pub value: String,
    /// The value as a number, if it is one.
    pub number: Option<i64>,
}

/// What a signal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HudKind {
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
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HudOverlay {
    /// Which.
    pub id: String,
    /// What it is.
    pub shape: HudShape,
    /// Its left edge in frame pixels.
    pub x: i32,
    /// Its upper edge in frame pixels.
    pub y: i32,
    /// Its width in frame pixels.
    pub width: u32,
    /// Its height in frame pixels.
    pub height: u32,
    /// Its text.
    pub text: String,
    /// Higher ones lie over lower ones.
    pub layer: i32,
}

/// What an overlay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HudShape {
    /// A rectangle.
    Rectangle,
    /// A text.
    Text,
}

/// The names of [`HudKind`].
const KINDS: &[(&str, HudKind)] = &[
    ("health", HudKind::Health),
    ("resource", HudKind::Resource),
    ("timer", HudKind::Timer),
    ("warning", HudKind::Warning),
    ("status", HudKind::Status),
];

/// The names of [`HudShape`].
const SHAPES: &[(&str, HudShape)] = &[("rectangle", HudShape::Rectangle), ("text", HudShape::Text)];

/// The elements, in the order in which their ids were first set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hud {
    signals: Vec<HudSignal>,
    overlays: Vec<HudOverlay>,
}

/// `hud_signal(pointer, length)`.
fn hud_signal(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let json = read_json(call, arguments)?;
    let signal = HudSignal::parse(&json, &call.context.limits).map_err(DeviceError::Hud)?;
    let hud = call.context.hud.get_or_insert_default();
    let known = hud.signals.iter_mut().find(|known| known.id == signal.id);
    let change = if known.is_some() { HudChange::SignalReplaced } else { HudChange::SignalAdded };
    let id = signal.id.clone();
    match known {
        Some(known) => *known = signal,
        None => {
            hud.check_room(&call.context.limits)?;
            hud.signals.push(signal);
        }
    }
    call.context.note(DeviceEvent::HudChanged { id, change });
    Ok(0)
}

/// `hud_overlay(pointer, length)`.
fn hud_overlay(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let json = read_json(call, arguments)?;
    let overlay = HudOverlay::parse(&json, &call.context.limits).map_err(DeviceError::Hud)?;
    let hud = call.context.hud.get_or_insert_default();
    let known = hud.overlays.iter_mut().find(|known| known.id == overlay.id);
    let change = if known.is_some() { HudChange::OverlayReplaced } else { HudChange::OverlayAdded };
    let id = overlay.id.clone();
    match known {
        Some(known) => *known = overlay,
        None => {
            hud.check_room(&call.context.limits)?;
            hud.overlays.push(overlay);
        }
    }
    call.context.note(DeviceEvent::HudChanged { id, change });
    Ok(0)
}

/// `hud_remove(pointer, length)`.
fn hud_remove(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [pointer, length] = words(arguments);
    // No id is longer; the byte more keeps a longer one from being taken for its start.
    let id = call.read_up_to(pointer, length, ID_BYTES_MAXIMUM + 1)?;
    let Some(hud) = &mut call.context.hud else { return Ok(0) };
    let Ok(id) = String::from_utf8(id) else { return Ok(0) };
    let (signals, overlays) = (hud.signals.len(), hud.overlays.len());
    hud.signals.retain(|signal| signal.id != id);
    hud.overlays.retain(|overlay| overlay.id != id);
    let signals = signals - hud.signals.len();
    let overlays = overlays - hud.overlays.len();
    for change in [(signals, HudChange::SignalRemoved), (overlays, HudChange::OverlayRemoved)] {
        if let (1.., change) = change {
            call.context.note(DeviceEvent::HudChanged { id: id.clone(), change });
        }
    }
    Ok((signals + overlays) as u64)
}

fn read_json(call: &mut Call<'_>, arguments: &[u64]) -> Result<Vec<u8>, Stop> {
    let [pointer, length] = words(arguments);
    call.check(pointer, length)?;
    if length > JSON_BYTES_MAXIMUM {
        return Err(DeviceError::HudBytes { length, limit: JSON_BYTES_MAXIMUM }.into());
    }
    call.read(pointer, length)
}

impl HudSignal {
    fn parse(json: &[u8], limits: &ContextLimits) -> Result<Self, FieldError> {
        let mut fields = Fields::parse(json)?;
        let signal = Self {
            id: id(&mut fields)?,
            kind: required(
                "kind",
                fields.one_of("kind", KINDS, "health, resource, timer, warning or status")?,
            )?,
            value: required("value", fields.short_text("value", limits.hud_text_bytes)?)?,
            number: fields.number("number", "a whole number of 64 bits")?,
        };
        fields.finish()?;
        Ok(signal)
    }
}

impl HudOverlay {
    fn parse(json: &[u8], limits: &ContextLimits) -> Result<Self, FieldError> {
        const PLACE: &str = "a whole number of 32 bits";
        const SIZE: &str = "a whole number of 32 bits without sign";
        let mut fields = Fields::parse(json)?;
        let id = id(&mut fields)?;
        let shape = required("shape", fields.one_of("shape", SHAPES, "rectangle or text")?)?;
        let x = required("x", fields.number("x", PLACE)?)?;
        let y = required("y", fields.number("y", PLACE)?)?;
        let mut width = fields.number("width", SIZE)?;
        let mut height = fields.number("height", SIZE)?;
        let mut text = fields.short_text("text", limits.hud_text_bytes)?;
        match shape {
            HudShape::Rectangle => text = text.or_else(|| Some(String::new())),
            HudShape::Text => (width, height) = (width.or(Some(0)), height.or(Some(0))),
        }
        let overlay = Self {
            id,
            shape,
            x,
            y,
            width: required("width", width)?,
            height: required("height", height)?,
            text: required("text", text)?,
            layer: fields.number("layer", PLACE)?.unwrap_or(0),
        };
        fields.finish()?;
        Ok(overlay)
    }
}

fn id(fields: &mut Fields) -> Result<String, FieldError> {
    let id = required("id", fields.short_text("id", ID_BYTES_MAXIMUM)?)?;
    if id.is_empty() {
        Err(FieldError::Wrong { field: "id", expected: "a text of characters" })
    } else {
        Ok(id)
    }
}

impl Hud {
    fn check_room(&self, limits: &ContextLimits) -> Result<(), DeviceError> {
        let limit = limits.hud_elements;
        let elements = self.signals.len() as u64 + self.overlays.len() as u64;
        if elements >= limit.into() { Err(DeviceError::TooManyHudElements { limit }) } else { Ok(()) }
    }

    /// What saved elements cannot be, if they are that.
    pub(crate) fn fault(&self, limits: &ContextLimits) -> Option<&'static str> {
        let Self { signals, overlays } = self;
        let over = |text: &String, limit: u32| text.len() as u64 > u64::from(limit);
        let signal_over = |signal: &HudSignal| {
            over(&signal.id, ID_BYTES_MAXIMUM) || over(&signal.value, limits.hud_text_bytes)
        };
        let overlay_over = |overlay: &HudOverlay| {
            over(&overlay.id, ID_BYTES_MAXIMUM) || over(&overlay.text, limits.hud_text_bytes)
        };
        if signals.len() as u64 + overlays.len() as u64 > u64::from(limits.hud_elements) {
            Some("more elements of the head-up display than its limits allow")
        } else if signals.iter().any(signal_over) || overlays.iter().any(overlay_over) {
            Some("longer texts of the head-up display than its limits allow")
        } else if doubled(signals.iter().map(|signal| &signal.id))
            || doubled(overlays.iter().map(|overlay| &overlay.id))
        {
            Some("two elements of the head-up display with one id")
        } else {
            None
        }
    }
}

fn doubled<'a>(ids: impl Iterator<Item = &'a String>) -> bool {
    let mut ids: Vec<&String> = ids.collect();
    ids.sort_unstable();
    ids.first().is_some_and(|id| id.is_empty()) || !ids.is_sorted_by(|a, b| a < b)
}

impl Context {
    /// The signals of the head-up display, in the order in which their ids were first set.
    pub fn hud_signals(&self) -> &[HudSignal] {
        self.hud.as_ref().map_or(&[], |hud| &hud.signals)
    }

    /// The overlays of the head-up display, in the order in which their ids were first set.
    pub fn hud_overlays(&self) -> &[HudOverlay] {
        self.hud.as_ref().map_or(&[], |hud| &hud.overlays)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::testing::{Machine, misuse};

    #[test]
    fn a_signal_is_set_replaced_in_its_place_and_removed() {
        let mut machine = Machine::new();
        for json in [
            r#"{"id":"hp","kind":"health","value":"100 %","number":100}"#,
            r#"{"id":"clock","kind":"timer","value":"1:30"}"#,
            r#"{"id":"hp","kind":"health","value":"90 %","number":-9223372036854775808}"#,
        ] {
            machine.call_with("hud_signal", json.as_bytes()).unwrap();
        }
        let signal = |id: &str, kind, value: &str, number| HudSignal {
            id: id.into(),
            kind,
            value: value.into(),
            number,
        };
        let clock = signal("clock", HudKind::Timer, "1:30", None);
        let health = signal("hp", HudKind::Health, "90 %", Some(i64::MIN));
        assert_eq!(machine.context.hud_signals(), [health, clock.clone()]);
        assert_eq!(machine.call_with("hud_remove", b"hp"), Ok(1));
        assert_eq!(machine.call_with("hud_remove", b"hp"), Ok(0));
        assert_eq!(machine.call_with("hud_remove", b"\xff"), Ok(0));
        assert_eq!(machine.context.hud_signals(), [clock]);
        let changes = machine.context.take_report().events.into_iter().map(|event| match event {
            DeviceEvent::HudChanged { id, change } => (id, change),
            event => panic!("{event:?}"),
        });
        let expected = [
            ("hp", HudChange::SignalAdded),
            ("clock", HudChange::SignalAdded),
            ("hp", HudChange::SignalReplaced),
            ("hp", HudChange::SignalRemoved),
        ];
        assert!(changes.eq(expected.map(|(id, change)| (id.into(), change))));
    }

    #[test]
    fn an_overlay_is_data_with_what_is_optional_filled_in() {
        let mut machine = Machine::new();
        let rectangle = br#"{"id":"box","shape":"rectangle","x":-1,"y":2,"width":3,"height":4,"layer":-5}"#;
        machine.call_with("hud_overlay", rectangle).unwrap();
        machine
            .call_with("hud_overlay", br#"{"id":"a","shape":"text","x":0,"y":0,"text":"\u00e9"}"#)
            .unwrap();
        let overlays = machine.context.hud_overlays();
        assert_eq!((overlays[0].x, overlays[0].height, overlays[0].layer), (-1, 4, -5));
        assert_eq!((overlays[0].shape, overlays[0].text.as_str()), (HudShape::Rectangle, ""));
        assert_eq!((overlays[1].width, overlays[1].text.as_str()), (0, "\u{e9}"));
        machine.call_with("hud_signal", br#"{"id":"a","kind":"status","value":""}"#).unwrap();
        assert_eq!(machine.call_with("hud_remove", b"a"), Ok(2));
    }

    #[test]
    fn what_is_wrong_with_an_element_is_said_by_field() {
        let mut machine = Machine::new();
        let long = format!(r#"{{"id":"a","kind":"status","value":"{}"}}"#, "x".repeat(1_025));
        for (json, message) in [
            ("[]", "not a JSON object"),
            (r#"{"id":"a","kind":"health"}"#, "the field `value` is missing"),
            (r#"{"id":"","kind":"health","value":""}"#, "the field `id` is not a text of characters"),
            (r#"{"id":7,"kind":"health","value":""}"#, "the field `id` is not a text"),
            (
                r#"{"id":"a","kind":"ammo","value":""}"#,
                "the field `kind` is not health, resource, timer, warning or status",
            ),
            (
                r#"{"id":"a","kind":"health","value":"","number":0.5}"#,
                "the field `number` is not a whole number of 64 bits",
            ),
            (r#"{"id":"a","kind":"health","value":"","z":1,"b":2}"#, "the field `b` does not belong there"),
            (&long, "the field `value` has more than 1024 bytes"),
        ] {
            let said = misuse(machine.call_with("hud_signal", json.as_bytes()));
            assert_eq!(said, format!("head-up display: {message}"), "{json}");
        }
        for (json, field) in [
            (r#"{"id":"a","shape":"circle","x":0,"y":0}"#, "`shape`"),
            (r#"{"id":"a","shape":"text","x":0,"y":0}"#, "`text`"),
            (r#"{"id":"a","shape":"rectangle","x":0,"y":0,"height":1}"#, "`width`"),
            (r#"{"id":"a","shape":"text","x":2147483648,"y":0,"text":""}"#, "`x`"),
            (r#"{"id":"a","shape":"text","x":0,"y":0,"text":"","width":-1}"#, "`width`"),
        ] {
            assert!(misuse(machine.call_with("hud_overlay", json.as_bytes())).contains(field), "{json}");
        }
        assert!(misuse(machine.call_with("hud_signal", b"{\xff}")).contains("not JSON"));
        assert!(misuse(machine.call_with("hud_signal", &[b' '; 16_385])).contains("16385 bytes of JSON"));
        assert!(misuse(machine.call("hud_signal", &[0, 0x1_0001])).contains("outside of the memory"));
        assert!(machine.context.hud_signals().is_empty() && machine.context.hud_overlays().is_empty());
    }

    #[test]
    fn one_element_too_many_stops_the_step_and_one_that_is_replaced_does_not() {
        let mut machine = Machine::new();
        let signal = |id| format!(r#"{{"id":"{id}","kind":"status","value":""}}"#);
        for id in 0..256 {
            machine.call_with("hud_signal", signal(id).as_bytes()).unwrap();
        }
        machine.call_with("hud_signal", signal(0).as_bytes()).unwrap();
        let stop = machine.call_with("hud_signal", signal(256).as_bytes());
        assert_eq!(stop, Err(DeviceError::TooManyHudElements { limit: 256 }.into()));
    }
}
