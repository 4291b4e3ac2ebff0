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
