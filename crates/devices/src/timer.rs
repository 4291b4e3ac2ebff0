//! Timers: a process is told when its virtual time has reached a point, through its queue.
//!
//! ```text
//! timer_set(id: i32, time: i64, interval: i64)       sets a timer, in the place of one with its number
//! timer_cancel(id: i32) -> i32                       removes a timer; 1 if it was set, else 0
//! ```
//!
//! `time` is virtual time in nanoseconds, unsigned; a timer whose time is past is due now. `interval` is nanoseconds,
//! unsigned: 0 for a timer that is due once, else it is due again and again. When time leaps over several of a timer's
//! times, one record says how many (see [`crate::input`]). A process has at most [`crate::ContextLimits::timers`]
//! timers; one more stops the step. Setting a timer costs 32 fuel, the bytes of its record.

use crate::{
    Call, Context, DeviceError, HostFunction, Stop,
    ValueType::{I32, I64},
    own::{function, words},
    queue::RECORD_BYTES,
};

/// The table.
pub(crate) const FUNCTIONS: &[HostFunction] = &[
    function("timer_set", &[I32, I64, I64], None, timer_set),
    function("timer_cancel", &[I32], Some(I32), timer_cancel),
];

/// `timer_set(id, time, interval)`.
fn timer_set(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [id] = words(arguments);
    let number = |index: usize| arguments.get(index).copied().unwrap_or_default();
    call.pay(RECORD_BYTES as u64)?;
    call.context.set_timer(id, number(1), number(2))?;
    Ok(0)
}

/// `timer_cancel(id)`.
fn timer_cancel(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [id] = words(arguments);
    let queue = call.context.queue.as_mut();
    Ok(queue.is_some_and(|queue| queue.cancel_timer(id)).into())
}

impl Context {
    /// Sets a timer of the process, in the place of one with its number. Times are virtual nanoseconds; an interval of 0
    /// is none.
    ///
    /// # Errors
    /// [`DeviceError::TooManyTimers`].
    pub fn set_timer(&mut self, id: u32, time: u64, interval: u64) -> Result<(), DeviceError> {
        let limit = self.limits.timers;
        let time = time.max(self.clock.now);
        if !self.queue.get_or_insert_default().set_timer(id, time, interval, limit) {
            return Err(DeviceError::TooManyTimers { limit });
        }
        self.deliver();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;
    use crate::{DeviceEvent, Input, InputPacket, testing::Machine};

    /// Time, number and count of every timer's record in the queue.
    fn fired(machine: &mut Machine) -> Vec<(u64, u32, u64)> {
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let record = |record: Vec<u8>| {
            assert_eq!(record[8..12], [8, 0, 0, 0]);
            let id = u32::from_le_bytes(record[12..16].try_into().unwrap());
            (word(&record[..8]), id, word(&record[16..24]))
        };
        machine.records().into_iter().map(record).collect()
    }

    #[test]
    fn a_timer_is_due_once_when_its_time_has_come() {
        let mut machine = Machine::new();
        machine.call("timer_set", &[7, 10, 0]).unwrap();
        machine.context.set_clock(9);
        assert_eq!(fired(&mut machine), []);
        machine.context.set_clock(11);
        machine.context.set_clock(50);
        assert_eq!(fired(&mut machine), [(10, 7, 1)]);
        let event = DeviceEvent::TimerFired { id: 7, time: 10, expirations: 1 };
        assert_eq!(machine.context.take_report().events, [event]);
    }

    #[test]
    fn timers_are_due_in_order_of_time_then_number() {
        let mut machine = Machine::new();
        for (id, time) in [(3, 5), (1, 5), (2, 4)] {
            machine.call("timer_set", &[id, time, 0]).unwrap();
        }
        machine.call("sleep_until", &[5]).unwrap();
        assert_eq!(fired(&mut machine), [(4, 2, 1), (5, 1, 1), (5, 3, 1)]);
    }

    #[test]
    fn input_arrives_before_a_timer_of_the_same_time() {
        let mut machine = Machine::new();
        machine.call("timer_set", &[1, 5, 0]).unwrap();
        let input = Input::PointerWheel { x: 0, y: 120 };
        machine.context.send_input(InputPacket { time: 5, input }).unwrap();
        machine.call("sleep_until", &[5]).unwrap();
        let kinds: Vec<_> = machine.records().iter().map(|record| record[8]).collect();
        assert_eq!(kinds, [5, 8]);
    }

    #[test]
    fn a_leap_over_many_times_of_a_timer_is_one_record_with_their_count() {
        let mut machine = Machine::new();
        machine.call("timer_set", &[1, 10, 5]).unwrap();
        machine.call("sleep_until", &[27]).unwrap();
        assert_eq!(machine.context.next_due(), Some(30));
        machine.call("sleep_until", &[30]).unwrap();
        assert_eq!(fired(&mut machine), [(10, 1, 4), (30, 1, 1)]);
        machine.call("sleep_until", &[u64::MAX]).unwrap();
        assert_eq!(machine.context.next_due(), None);
    }

    #[test]
    fn a_timer_can_be_set_anew_and_cancelled() {
        let mut machine = Machine::new();
        machine.call("timer_set", &[1, 10, 0]).unwrap();
        machine.call("timer_set", &[1, 20, 0]).unwrap();
        machine.call("timer_set", &[2, 15, 0]).unwrap();
        assert_eq!(machine.call("timer_cancel", &[2]), Ok(1));
        assert_eq!(machine.call("timer_cancel", &[2]), Ok(0));
        machine.call("sleep_until", &[99]).unwrap();
        assert_eq!(fired(&mut machine), [(20, 1, 1)]);
    }

    #[test]
    fn one_timer_too_many_stops_the_step_and_setting_one_anew_does_not() {
        let mut machine = Machine::new();
        let limit = machine.context.limits.timers;
        for id in 0..limit {
            machine.call("timer_set", &[id.into(), 10, 0]).unwrap();
        }
        machine.call("timer_set", &[0, 11, 0]).unwrap();
        let stop = machine.call("timer_set", &[limit.into(), 10, 0]);
        assert_eq!(stop, Err(DeviceError::TooManyTimers { limit }.into()));
    }

    #[test]
    fn a_sleep_pays_for_what_comes_due() {
        let mut machine = Machine::new();
        machine.call("timer_set", &[1, 10, 1]).unwrap();
        machine.call("timer_set", &[2, 11, 1]).unwrap();
        let paid = machine.paid;
        machine.call("sleep_until", &[9]).unwrap();
        assert_eq!(machine.paid - paid, 0);
        machine.call("sleep_until", &[10]).unwrap();
        assert_eq!(machine.paid - paid, 32);
    }

    proptest! {
        #[test]
        fn an_interval_is_counted_exactly_however_time_moves(
            first in 0..1_000u64,
            interval in 1..50u64,
            moves in prop::collection::vec(0..500u64, 1..30),
        ) {
            let mut machine = Machine::new();
            machine.call("timer_set", &[1, first, interval]).unwrap();
            let (mut now, mut counted) = (0, vec![]);
            for step in moves {
                now += step;
                machine.call("sleep_until", &[now]).unwrap();
                counted.extend(fired(&mut machine));
            }
            let expected = if now < first { 0 } else { (now - first) / interval + 1 };
            prop_assert_eq!(counted.iter().map(|(_, _, count)| count).sum::<u64>(), expected);
        }
    }
}
