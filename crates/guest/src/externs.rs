//! Functions that the embedder of the host adds for its guests: imports of the module `host`.

use std::fmt::Display;

use glasshouse_envelope::Flags;
use glasshouse_protocol::ErrorData;
use serde::{Serialize, de::DeserializeOwned};

use crate::{devices, executor};

/// The body of a function that [`host_externs!`](crate::host_externs!) declares. `import` hands the argument's envelope
/// to the host and gives the length of its answer.
pub fn call_host<Argument: Serialize, Answer: DeserializeOwned>(
    name: &str,
    argument: &Argument,
    import: impl FnOnce(&[u8]) -> i64,
) -> Result<Answer, ErrorData> {
    let payload =
        serde_json::to_vec(argument).map_err(|error| ErrorData::from_error("invalid_argument", &error))?;
    let request = executor::encode(Flags::NONE, &payload)
        .map_err(|error| ErrorData::from_error("invalid_argument", &error))?;
    let length = usize::try_from(import(&request))
        .map_err(|_| malformed(name, &"the length of its answer is no length"))?;
    let mut envelope = Vec::new();
    envelope.try_reserve_exact(length).map_err(|error| malformed(name, &error))?;
    envelope.resize(length, 0);
    devices::take_answer(&mut envelope);
    let answer = executor::answer(&envelope)??;
    serde_json::from_slice(&answer).map_err(|error| malformed(name, &error))
}

fn malformed(name: &str, reason: &dyn Display) -> ErrorData {
    ErrorData::new(
        "malformed_answer",
        format!("the host function `{name}` answered what does not fit: {reason}"),
    )
}
