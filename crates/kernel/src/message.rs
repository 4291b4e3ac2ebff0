//! What a step returned means, and how an answer is written: the envelopes between the kernel and a guest.

use glasshouse_devices::{StepOutcome, TrapKind};
use glasshouse_envelope::{Decoder, Envelope, EnvelopeError, Flags};
use glasshouse_protocol::ErrorData;
use serde::{Deserialize, de::IgnoredAny};

use crate::{Bytes, ExitReason, Fuel, MAX_MESSAGE_BYTES, MAX_NAME_BYTES};

/// What a step came to.
pub(crate) enum Verdict {
    /// The process asks for something: the JSON of its request.
    Asks(Vec<u8>),
    /// The process has a result.
    Finished(Vec<u8>),
    /// The call has failed: the process says so.
    Refused(ErrorData),
    /// The process ended itself.
    Exited,
    /// The process is over, without one.
    Failed(ExitReason, ErrorData),
}

/// Reads the outcome of a step of a process with this fuel limit, which may put out so many bytes more.
pub(crate) fn judge(outcome: StepOutcome, fuel_limit: Fuel, output_left: Bytes) -> Verdict {
    match outcome {
        StepOutcome::Returned(bytes) => read_envelope(&bytes, output_left),
        StepOutcome::Trapped { kind: TrapKind::OutOfFuel, .. } => {
            Verdict::Failed(ExitReason::OutOfFuel, out_of_fuel(fuel_limit))
        }
        StepOutcome::Exited { code: 0 } => Verdict::Exited,
        StepOutcome::Exited { code } => Verdict::Failed(
            ExitReason::Exited(code.cast_signed()),
            ErrorData::new("exit_code", format!("the process exited with code {code}")),
        ),
        StepOutcome::Failed { error } => Verdict::Failed(
            ExitReason::Failed,
            serde_json::from_slice(&error).unwrap_or_else(|_| {
                let text = String::from_utf8_lossy(&error).into_owned();
                ErrorData::new("guest_failed", text)
            }),
        ),
        StepOutcome::Trapped { kind, message } => {
            Verdict::Failed(ExitReason::of_trap(kind), ErrorData::new(kind.code(), message))
        }
    }
}

pub(crate) fn out_of_fuel(limit: Fuel) -> ErrorData {
    ErrorData::new(
        "out_of_fuel",
        format!("the process used up its {limit} units of fuel; give it a larger limit"),
    )
}

fn read_envelope(bytes: &[u8], output_left: Bytes) -> Verdict {
    let failed =
        |code: &str, message: String| Verdict::Failed(ExitReason::Failed, ErrorData::new(code, message));
    // The bytes themselves are counted already; what they are compressed from must not be more than is left.
    let limit = usize::try_from(output_left.0).unwrap_or(usize::MAX).max(bytes.len());
    let message = match Decoder::new().limit(limit).decode(bytes) {
        Ok(message) => message,
        Err(EnvelopeError::ContentTooLarge { length, .. }) => {
            return failed(
                "output_limit",
                format!("the process returned {length} compressed bytes, and {output_left} are left to it"),
            );
        }
        Err(error) => {
            return failed(
                "malformed_envelope",
                format!("the process returned a malformed envelope: {error}"),
            );
        }
    };
    match (message.flags.expects_response(), message.flags.is_error()) {
        (true, false) => Verdict::Asks(message.content.into_owned()),
        (false, false) => match check_json(&message.content) {
            Ok(()) => Verdict::Finished(message.content.into_owned()),
            Err(error) => failed("malformed_result", format!("the process's result is not JSON: {error}")),
        },
        (false, true) => match serde_json::from_slice::<ErrorData>(&message.content) {
            Ok(error) => Verdict::Refused(error),
            Err(error) => {
                failed("malformed_error", format!("the process returned a malformed error: {error}"))
            }
        },
        (true, true) => failed(
            "malformed_envelope",
            "the process returned an envelope that is both a request and an error".to_owned(),
        ),
    }
}

fn check_json(bytes: &[u8]) -> Result<(), String> {
    let text = core::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|error| error.to_string())
}

/// The field that every request has.
#[derive(Deserialize)]
struct Head {
    service: String,
}

/// The `service` of a request, which has a name and an operation with a dot between.
pub(crate) fn requested_service(payload: &[u8]) -> Result<String, ErrorData> {
    let head: Head = serde_json::from_slice(payload).map_err(|error| bad_request(&error.to_string()))?;
    if head.service.len() > MAX_NAME_BYTES {
        return Err(bad_request(&format!("the name of a service has at most {MAX_NAME_BYTES} bytes")));
    }
    match head.service.split_once('.') {
        Some((name, operation)) if !name.is_empty() && !operation.is_empty() => Ok(head.service),
        _ => Err(bad_request(&format!("{:?} does not name a service and an operation", head.service))),
    }
}

pub(crate) fn bad_request(reason: &str) -> ErrorData {
    ErrorData::new("bad_request", format!("the request is malformed: {reason}"))
}

/// The envelope of an input, whose length has been checked against [`MAX_MESSAGE_BYTES`].
pub(crate) fn input_envelope(payload: &[u8]) -> Vec<u8> {
    encode(Flags::NONE, payload)
}

/// The envelope of an answer. One that is too long becomes an error of its own.
pub(crate) fn answer_envelope(answer: &Result<Vec<u8>, ErrorData>) -> Vec<u8> {
    match answer {
        Ok(payload) if payload.len() <= MAX_MESSAGE_BYTES => encode(Flags::NONE, payload),
        Ok(payload) => encode(Flags::ERROR, &error_json(&too_large(payload.len()))),
        Err(error) => {
            let payload = error_json(error);
            if payload.len() <= MAX_MESSAGE_BYTES {
                encode(Flags::ERROR, &payload)
            } else {
                encode(Flags::ERROR, &error_json(&too_large(payload.len())))
            }
        }
    }
}

fn too_large(length: usize) -> ErrorData {
    ErrorData::new(
        "answer_too_large",
        format!(
            "the answer has {length} bytes, more than the {MAX_MESSAGE_BYTES} that a process can be given"
        ),
    )
}

/// Strings alone cannot fail to serialize; an empty payload would be refused by the guest.
fn error_json(error: &ErrorData) -> Vec<u8> {
    serde_json::to_vec(error).unwrap_or_default()
}

/// Payloads are far below the envelope's own limit here; an empty envelope would be refused by the guest.
fn encode(flags: Flags, payload: &[u8]) -> Vec<u8> {
    Envelope::new(flags, payload).encode().unwrap_or_default()
}
