//! A browser's worker: the page fetches the model, there are no paths, and the clock is JavaScript's.

/// None: the page fetches the pocket model like any other, so that it is kept once.
pub(crate) const BUILT_IN_MODEL: Option<&[u8]> = None;

/// The wall clock, in milliseconds since the Unix epoch.
pub(crate) fn unix_milliseconds() -> i64 {
    js_sys::Date::now() as i64
}
