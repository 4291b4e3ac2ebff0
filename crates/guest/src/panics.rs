//! Panics, as the structured errors that the host receives.
//!
//! The report is written into a fixed buffer, since the allocator may be what has failed. A second panic while the
//! message is being formatted ends the step without a report: the standard library aborts.

use std::{
    fmt::{self, Write},
    panic::PanicHookInfo,
};

/// Stable code of the error.
pub(crate) const CODE: &str = "guest_panic";
/// Bytes of the JSON at most: a message that a person reads, not a dump.
const CAPACITY: usize = 4 << 10;
/// Bytes of the JSON before the text of the location.
const MESSAGE_END: usize = CAPACITY - 600;
/// Bytes of the JSON before its closing characters.
const LOCATION_END: usize = CAPACITY - 8;
/// Stands for what did not fit.
const CUT: &str = "…";

/// The JSON of an [`ErrorData`](crate::ErrorData).
pub(crate) struct Report {
    bytes: [u8; CAPACITY],
    length: usize,
}

impl Report {
    /// What the host is told of a panic.
    pub(crate) fn of(panic: &PanicHookInfo<'_>) -> Self {
        let mut report = Self { bytes: [0; CAPACITY], length: 0 };
        report.raw("{\"code\":\"");
        report.raw(CODE);
        report.raw("\",\"message\":\"");
        // Writing into the buffer cannot fail: what does not fit is cut off.
        let _ = report.until(MESSAGE_END).write_str(
            panic.payload_as_str().unwrap_or("the guest panicked with a value that is not a text"),
        );
        report.raw("\",\"sources\":[]");
        if let Some(place) = panic.location() {
            report.raw(",\"location\":\"");
            let mut text = report.until(LOCATION_END);
            let _ = write!(text, "{}:{}:{}", relative(place.file()), place.line(), place.column());
            report.raw("\"");
        }
        report.raw("}");
        report
    }

    pub(crate) fn json(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Appends text that needs no escape and for which there is room.
    fn raw(&mut self, text: &str) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + text.len()) {
            room.copy_from_slice(text.as_bytes());
            self.length += text.len();
        }
    }

    /// Appends the content of a JSON string, as far as it fits before `end`.
    fn until(&mut self, end: usize) -> Escaped<'_> {
        Escaped { report: self, end, cut: false }
    }
}

struct Escaped<'a> {
    report: &'a mut Report,
    end: usize,
    cut: bool,
}

impl Escaped<'_> {
    fn push(&mut self, text: &str) {
        if self.cut {
            return;
        }
        if self.report.length + text.len() + CUT.len() > self.end {
            self.cut = true;
            self.report.raw(CUT);
        } else {
            self.report.raw(text);
        }
    }
}

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '"' => self.push("\\\""),
                '\\' => self.push("\\\\"),
                '\n' => self.push("\\n"),
                '\t' => self.push("\\t"),
                '\0'..='\x1f' => {
                    let code = character as u8;
                    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 15)];
                    let escape = [b'\\', b'u', b'0', b'0', digit(code >> 4), digit(code)];
                    self.push(std::str::from_utf8(&escape).unwrap_or_default());
                }
                other => self.push(other.encode_utf8(&mut [0; 4])),
            }
        }
        Ok(())
    }
}

/// The part of a source file's path that says the same on every machine: from the package's folder on.
fn relative(file: &str) -> &str {
    let separator = |character: char| character == '/' || character == '\\';
    let bytes = file.as_bytes();
    if !file.starts_with(separator) && bytes.get(1) != Some(&b':') {
        return file;
    }
    let name_from = |end: usize| file[..end].rfind(separator).map_or(0, |at| at + 1);
    match file.rfind("/src/").or_else(|| file.rfind("\\src\\")) {
        Some(source) => &file[name_from(source)..],
        None => &file[name_from(file.len())..],
    }
}

/// Makes every panic of this module a report to the host.
#[cfg(target_arch = "wasm32")]
pub(crate) fn install() {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| crate::devices::fail(Report::of(panic).json())));
    });
}

/// Native tests panic as the test harness expects, except within `testing::failure_of`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn install() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_starts_with_the_package() {
        for (file, expected) in [
            ("guests/probe/src/lib.rs", "guests/probe/src/lib.rs"),
            ("src/lib.rs", "src/lib.rs"),
            ("/home/somebody/.cargo/registry/src/index-1234/serde-1.0.0/src/de.rs", "serde-1.0.0/src/de.rs"),
            ("/rustc/0123456789abcdef/library/core/src/option.rs", "core/src/option.rs"),
            ("C:\\work\\game\\src\\main.rs", "game\\src\\main.rs"),
            ("/build/generated.rs", "generated.rs"),
            ("/some/src/lib.rs", "some/src/lib.rs"),
            ("", ""),
        ] {
            assert_eq!(relative(file), expected);
        }
    }
}
