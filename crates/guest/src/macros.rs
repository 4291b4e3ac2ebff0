//! The macros that a guest crate is made of.

/// Exports `async fn(Arguments) -> Result<Output, ErrorData>` functions of the same module as entries, each under its
/// own name. `Arguments` is read from JSON, `Output` written as JSON.
#[macro_export]
macro_rules! entry {
    ($($handler:ident),+ $(,)?) => {
        $(
            #[cfg(target_arch = "wasm32")]
            const _: () = {
                #[unsafe(no_mangle)]
                extern "C" fn $handler(pointer: u32, length: u32) -> u64 {
                    // `self::` is the handler of the module, not this export of the same name.
                    $crate::internal::begin(pointer, length, self::$handler)
                }
            };
            #[cfg(not(target_arch = "wasm32"))]
            const _: () = {
                let _ = self::$handler;
            };
        )+
    };
}

/// Exports functions as tools: as entries, and as descriptions in the custom section `glasshouse.tool`.
///
/// `TOOLS` becomes the section's content: a JSON array of [`ToolDescription`](crate::protocol::ToolDescription)s.
/// `description` must be plain text without `"` and `\`, `parameters` the JSON schema of an object, `services` the
/// services that the tool asks for. Use it once per module: sections of the same name are concatenated.
#[macro_export]
macro_rules! tools {
    ($first:ident $first_body:tt $($rest:ident $rest_body:tt)*) => {
        $crate::entry!($first $(, $rest)*);

        /// The descriptions of this module's tools: a JSON array.
        pub const TOOLS: &str = concat!(
            "[",
            $crate::tool_description!($first $first_body)
            $(, ",", $crate::tool_description!($rest $rest_body))*,
            "]"
        );

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "glasshouse.tool")]
            static SECTION: [u8; TOOLS.len()] = match TOOLS.as_bytes().first_chunk() {
                Some(bytes) => *bytes,
                None => unreachable!(),
            };
        };
    };
}

/// One element of the array that [`tools!`] makes.
#[doc(hidden)]
#[macro_export]
macro_rules! tool_description {
    ($name:ident {
        description: $description:literal,
        parameters: $parameters:literal,
        services: [$($first:literal $(, $rest:literal)*)?] $(,)?
    }) => {
        concat!(
            "{\"name\":\"", stringify!($name),
            "\",\"description\":\"", $description,
            "\",\"parameters\":", $parameters,
            ",\"entry\":\"", stringify!($name),
            "\",\"services\":[" $(, "\"", $first, "\"" $(, ",\"", $rest, "\"")*)?, "]}"
        )
    };
}

/// Declares functions that the embedder of the host adds for its guests, and makes them functions of Rust.
///
/// ```
/// use glasshouse_guest::{host_externs, testing};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize)]
/// struct Query {
///     word: String,
/// }
///
/// #[derive(Deserialize)]
/// struct Answer {
///     meaning: String,
/// }
///
/// host_externs! {
///     /// Looks a word up.
///     fn lookup(Query) -> Result<Answer>;
///     /// How many words there are.
///     fn words() -> Result<u32>;
/// }
///
/// testing::host_function("words", |_| Ok(7.into()));
/// assert_eq!(words(), Ok(7));
/// assert_eq!(lookup(Query { word: "glass".into() }).err().unwrap().code, "unknown_host_function");
/// ```
///
/// Each is an import of the module `host` under its own name. It answers at once, within the step; the argument and the
/// answer are JSON. The error is an [`ErrorData`](crate::ErrorData): the host function's own, `unknown_host_function` when
/// the embedder has none of this name, `invalid_argument` and `malformed_answer` when what is said is not of its type.
#[macro_export]
macro_rules! host_externs {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident($($argument:ty)?) -> Result<$answer:ty>;
    )+) => {
        $($crate::host_extern! {
            $(#[$attribute])*
            $visibility fn $name($($argument)?) -> Result<$answer>;
        })+
    };
}

/// One function of [`host_externs!`].
#[doc(hidden)]
#[macro_export]
macro_rules! host_extern {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident() -> Result<$answer:ty>;) => {
        $(#[$attribute])*
        $visibility fn $name() -> ::core::result::Result<$answer, $crate::ErrorData> {
            $crate::host_call!($name, &())
        }
    };
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident($argument:ty) -> Result<$answer:ty>;) => {
        $(#[$attribute])*
        $visibility fn $name(argument: $argument) -> ::core::result::Result<$answer, $crate::ErrorData> {
            $crate::host_call!($name, &argument)
        }
    };
}

/// The call of an import of the module `host`, in a function of the same name.
#[doc(hidden)]
#[macro_export]
macro_rules! host_call {
    ($name:ident, $argument:expr) => {{
        #[cfg(target_arch = "wasm32")]
        let import = {
            #[link(wasm_import_module = "host")]
            unsafe extern "C" {
                fn $name(pointer: *const u8, length: usize) -> i64;
            }
            // SAFETY: the host only reads the bytes, which are borrowed for the call.
            |envelope: &[u8]| unsafe { $name(envelope.as_ptr(), envelope.len()) }
        };
        #[cfg(not(target_arch = "wasm32"))]
        let import = |envelope: &[u8]| $crate::testing::answer_call(stringify!($name), envelope);
        $crate::internal::call_host(stringify!($name), $argument, import)
    }};
}

/// Logs a failure, formatted as by `format!`.
#[macro_export]
macro_rules! error {
    ($($argument:tt)+) => { $crate::log($crate::Level::Error, &::std::format!($($argument)+)) };
}

/// Logs a warning, formatted as by `format!`.
#[macro_export]
macro_rules! warn {
    ($($argument:tt)+) => { $crate::log($crate::Level::Warn, &::std::format!($($argument)+)) };
}

/// Logs what a person watching wants to know, formatted as by `format!`.
#[macro_export]
macro_rules! info {
    ($($argument:tt)+) => { $crate::log($crate::Level::Info, &::std::format!($($argument)+)) };
}

/// Logs what a developer wants to know, formatted as by `format!`.
#[macro_export]
macro_rules! debug {
    ($($argument:tt)+) => { $crate::log($crate::Level::Debug, &::std::format!($($argument)+)) };
}

/// Logs everything else, formatted as by `format!`.
#[macro_export]
macro_rules! trace {
    ($($argument:tt)+) => { $crate::log($crate::Level::Trace, &::std::format!($($argument)+)) };
}
