//! What is built in on every host: the default agent and its tools.

/// The default agent, `guests/react`, and the name it is known by.
pub const REACT: (&str, &[u8]) = ("react", include_bytes!(env!("GLASSHOUSE_GUEST_REACT")));

/// The tool modules, in the order in which their tools are offered to a model, with the name each is known by.
pub const TOOLS: [(&str, &[u8]); 4] = [
    ("calculate", include_bytes!(env!("GLASSHOUSE_GUEST_CALCULATE"))),
    ("clock", include_bytes!(env!("GLASSHOUSE_GUEST_CLOCK"))),
    ("files", include_bytes!(env!("GLASSHOUSE_GUEST_FILES"))),
    ("memory", include_bytes!(env!("GLASSHOUSE_GUEST_MEMORY"))),
];
