//! Entries below the typed `async` level: functions that the guest exports itself, as the host calls them.
//!
//! - [`host_args`], [`return_ok`], [`return_err`]: typed arguments and results, without the executor.
//! - [`raw`]: the bytes and the envelope.
//!
//! ```
//! use glasshouse_guest::{host_args, return_err, return_ok};
//!
//! #[unsafe(no_mangle)]
//! extern "C" fn double(pointer: u32, length: u32) -> u64 {
//!     match host_args::<i32>(pointer, length) {
//!         Ok(number) => match number.checked_mul(2) {
//!             Some(twice) => return_ok(&twice),
//!             None => return_err("the number is too large"),
//!         },
//!         Err(error) => return_err(error),
//!     }
//! }
//!
//! # use glasshouse_guest::testing;
//! assert_eq!(testing::call_function(double, &21.into()), Ok(42.into()));
//! ```
//!
//! Such an entry is one step: it cannot wait for a service. Each returns what one of the functions here gives it, once.

use std::error::Error;

use glasshouse_envelope::Flags;
use glasshouse_protocol::ErrorData;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    buffers,
    executor::{self, Message},
};

/// The arguments of the call: what the host wrote at the entry's two parameters, read from JSON.
///
/// # Errors
///
/// `malformed_envelope` when it is no envelope with arguments, `invalid_arguments` when they are not a `T`.
pub fn host_args<T: DeserializeOwned>(pointer: u32, length: u32) -> Result<T, ErrorData> {
    buffers::with_input(pointer, length, executor::arguments)
}

/// Ends the call with a result, of any size that an envelope takes. The value is what the entry returns.
pub fn return_ok<T: Serialize + ?Sized>(result: &T) -> u64 {
    let message = match serde_json::to_vec(result) {
        Ok(payload) => Message { flags: Flags::NONE, payload },
        Err(error) => Message::error(&ErrorData::from_error("invalid_result", &error)),
    };
    buffers::leave(message.encode())
}

/// Ends the call with an error. The value is what the entry returns.
///
/// An [`ErrorData`] stays what it is. Any other error, or a text, gets the code `guest_error`, its message, and the
/// messages of its sources.
pub fn return_err(error: impl Into<Box<dyn Error>>) -> u64 {
    let error = match error.into().downcast::<ErrorData>() {
        Ok(error) => *error,
        Err(other) => ErrorData::from_error("guest_error", &*other),
    };
    buffers::leave(Message::error(&error).encode())
}

/// The lowest level: the bytes that the host wrote, and an envelope, or any bytes, in return.
pub mod raw {
    use glasshouse_envelope::{Envelope, EnvelopeError, Flags};

    use crate::{buffers, executor::Message};

    /// Shows the bytes that the host wrote for this step. They are an envelope if the host keeps to the contract.
    ///
    /// The place is that of the entry's parameters. It is only compared with where the host was told to write: for any
    /// other there are no bytes.
    pub fn with_bytes<R>(pointer: u32, length: u32, read: impl FnOnce(&[u8]) -> R) -> R {
        buffers::with_input(pointer, length, read)
    }

    /// Shows the envelope that the host wrote for this step, where it lies.
    pub fn with_envelope<R>(
        pointer: u32,
        length: u32,
        read: impl FnOnce(Result<Envelope<'_>, EnvelopeError>) -> R,
    ) -> R {
        buffers::with_input(pointer, length, |bytes| read(Envelope::decode(bytes)))
    }

    /// Ends the step with an envelope of these flags and this payload. The value is what the entry returns. A payload
    /// that is too large for an envelope becomes the error `result_too_large`, flags of storage `malformed_envelope`.
    pub fn return_envelope(flags: Flags, payload: Vec<u8>) -> u64 {
        buffers::leave(Message { flags, payload }.encode())
    }

    /// Ends the step with these bytes, whatever they are. The value is what the entry returns.
    pub fn return_bytes(bytes: Vec<u8>) -> u64 {
        buffers::leave(bytes)
    }
}
