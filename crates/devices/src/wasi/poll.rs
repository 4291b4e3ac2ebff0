//! Waiting. A process waits in virtual time only: when nothing but a clock can end the wait, its clock moves on at once.

use alloc::vec::Vec;

use super::{
    Errno, Fault, Rights,
    descriptor::metadata,
    memory::{flags, wide_at, word_at, words},
    process::ClockId,
};
use crate::{Call, files::Object, stdio::StdinState};

const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;

/// Subscriptions of one call: more than a process may have descriptors.
const SUBSCRIPTIONS_MAXIMUM: u32 = 4096;

/// Event types.
const CLOCK: u8 = 0;
const READ: u8 = 1;
const WRITE: u8 = 2;

/// A time is a point of the clock, not a distance.
const ABSOLUTE: u16 = 1;

/// The other side has ended.
const HANGUP: u16 = 1;

/// What a subscription waits for.
#[derive(Debug, Clone, Copy)]
enum Wait {
    /// Until this much virtual time has passed.
    Clock { nanoseconds: u64 },
    /// It has happened.
    Ready { error: Option<Errno>, bytes: u64, flags: u16 },
}

struct Subscription {
    user_data: [u8; 8],
    kind: u8,
    wait: Wait,
}

/// `poll_oneoff(in, out, nsubscriptions, nevents)`.
pub(super) fn poll_oneoff(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [input, output, count, result] = words(arguments);
    if count == 0 || count > SUBSCRIPTIONS_MAXIMUM {
        return Err(Errno::Invalid.into());
    }
    call.place(output, count * EVENT_BYTES)?;
    call.place(result, 4)?;
    let records = call.load(input, count * SUBSCRIPTION_BYTES)?;
    let mut subscriptions = Vec::with_capacity(count as usize);
    for record in records.chunks_exact(SUBSCRIPTION_BYTES as usize) {
        subscriptions.push(read_subscription(call, record)?);
    }
    let is_ready = |subscription: &Subscription| match subscription.wait {
        Wait::Clock { nanoseconds } => nanoseconds == 0,
        Wait::Ready { .. } => true,
    };
    let mut passed = 0;
    if !subscriptions.iter().any(is_ready) {
        let times = subscriptions.iter().filter_map(|subscription| match subscription.wait {
            Wait::Clock { nanoseconds } => Some(nanoseconds),
            Wait::Ready { .. } => None,
        });
        passed = times.min().unwrap_or_default();
        let now = call.context.clock_now();
        call.context.sleep_until(now.saturating_add(passed));
    }
    let mut events = Vec::new();
    for subscription in &subscriptions {
        let (error, bytes, flags) = match subscription.wait {
            Wait::Clock { nanoseconds } if nanoseconds <= passed => (None, 0, 0),
            Wait::Clock { .. } => continue,
            Wait::Ready { error, bytes, flags } => (error, bytes, flags),
        };
        let mut event = [0; EVENT_BYTES as usize];
        event[..8].copy_from_slice(&subscription.user_data);
        event[8..10].copy_from_slice(&error.map_or(0, |error| error as u16).to_le_bytes());
        event[10] = subscription.kind;
        event[16..24].copy_from_slice(&bytes.to_le_bytes());
        event[24..26].copy_from_slice(&flags.to_le_bytes());
        events.extend_from_slice(&event);
    }
    call.store(output, &events)?;
    call.store_u32(result, events.len() as u32 / EVENT_BYTES)
}

fn read_subscription(call: &mut Call<'_>, record: &[u8]) -> Result<Subscription, Fault> {
    let mut user_data = [0; 8];
    user_data.copy_from_slice(&record[..8]);
    let kind = record[8];
    let wait = match kind {
        CLOCK => clock(call, record)?,
        READ | WRITE => descriptor(call, word_at(record, 16), kind)?,
        _ => return Err(Errno::Invalid.into()),
    };
    Ok(Subscription { user_data, kind, wait })
}

fn clock(call: &mut Call<'_>, record: &[u8]) -> Result<Wait, Fault> {
    let flags = flags(wide_at(record, 40, 2) as u32, ABSOLUTE)?;
    let timeout = wide_at(record, 24, 8);
    let now = match ClockId::new(word_at(record, 16)) {
        Ok(id @ (ClockId::RealTime | ClockId::Monotonic)) => id.read(call.context),
        // Nothing passes of a process's time while it waits.
        Ok(ClockId::Processor) => {
            return Ok(Wait::Ready { error: Some(Errno::NotSupported), bytes: 0, flags: 0 });
        }
        Err(error) => return Ok(Wait::Ready { error: Some(error), bytes: 0, flags: 0 }),
    };
    let nanoseconds = if flags & ABSOLUTE == 0 { timeout } else { timeout.saturating_sub(now) };
    Ok(Wait::Clock { nanoseconds })
}

/// Whether a descriptor can be read or written without waiting. All can: files always, standard input because it is
/// there, has ended, or is the host's, which is asked when it is read.
fn descriptor(call: &mut Call<'_>, fd: u32, kind: u8) -> Result<Wait, Fault> {
    let right = if kind == READ { Rights::FD_READ } else { Rights::FD_WRITE };
    let found = call.context.descriptor(fd, right | Rights::POLL_FD_READWRITE);
    let (object, position) = match found {
        Ok(descriptor) => {
            let is_stdin = matches!(descriptor.object, Object::Stdin);
            ((is_stdin, descriptor.object.target()), descriptor.position)
        }
        Err(error) => return Ok(Wait::Ready { error: Some(error), bytes: 0, flags: 0 }),
    };
    let (bytes, flags) = match (kind, object) {
        (READ, (true, _)) => match call.context.stdin_state() {
            StdinState::Queued(bytes) => (bytes, 0),
            StdinState::AtHost => (1, 0),
            StdinState::Ended => (0, HANGUP),
        },
        (READ, (false, target)) => (metadata(call.context, fd, target)?.size.saturating_sub(position), 0),
        _ => (0, 0),
    };
    Ok(Wait::Ready { error: None, bytes, flags })
}
