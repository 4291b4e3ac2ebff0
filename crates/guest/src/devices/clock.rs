//! The process's own time, which is virtual, and its timers.
//!
//! Nothing waits: a sleep moves the process's time, and what was due until then lies in the queue of
//! [`input`](super::input). During a step, time moves in no other way.

use std::time::Duration;

use super::host;

/// Virtual time. It never goes backwards.
pub fn now() -> Duration {
    Duration::from_nanos(host::clock_now())
}

/// The same time, as what has passed since 1970-01-01T00:00:00Z by the clock that the host gave the process. What the
/// host's own clock says is asked of the service [`clock::now`](crate::clock::now).
pub fn wall() -> Duration {
    Duration::from_nanos(host::clock_wall())
}

/// Moves the process's time to `deadline`, if that is ahead; returns the time after.
pub fn sleep_until(deadline: Duration) -> Duration {
    Duration::from_nanos(host::sleep_until(nanoseconds(deadline)))
}

/// Moves the process's time by `duration`; returns the time after.
pub fn sleep(duration: Duration) -> Duration {
    sleep_until(now().saturating_add(duration))
}

/// Sets a timer, in the place of one with its number: at `time` it comes to the queue of input, and again after each
/// `interval`, if there is one. One timer more than a process may have stops the step.
pub fn set_timer(id: u32, time: Duration, interval: Option<Duration>) {
    host::timer_set(id, nanoseconds(time), interval.map_or(0, nanoseconds));
}

/// Removes a timer; whether there was one.
pub fn cancel_timer(id: u32) -> bool {
    host::timer_cancel(id) != 0
}

/// What is longer than 584 years is as long as that.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        devices::input::{self, Event},
        testing,
    };

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_sleep_moves_the_clock_and_only_forward() {
        assert_eq!(sleep(SECOND), SECOND);
        assert_eq!(sleep_until(Duration::from_millis(500)), SECOND);
        testing::set_wall_clock(7);
        assert_eq!((now(), wall()), (SECOND, SECOND + Duration::from_nanos(7)));
        assert_eq!(sleep_until(Duration::MAX), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn timers_come_to_the_queue_when_they_are_due() {
        set_timer(1, SECOND, None);
        set_timer(2, SECOND, Some(SECOND));
        set_timer(3, SECOND, None);
        assert!(cancel_timer(3) && !cancel_timer(3));
        assert_eq!(input::next(), None);
        sleep_until(SECOND * 3);
        let fired = || input::next().map(|record| (record.time, record.event));
        assert_eq!(fired(), Some((SECOND, Event::Timer { id: 1, expirations: 1 })));
        assert_eq!(fired(), Some((SECOND, Event::Timer { id: 2, expirations: 3 })));
        assert_eq!(fired(), None);
        sleep_until(SECOND * 4);
        assert_eq!(fired(), Some((SECOND * 4, Event::Timer { id: 2, expirations: 1 })));
    }
}
