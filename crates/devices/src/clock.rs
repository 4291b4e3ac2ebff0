//! The clock of a process: virtual monotonic and wall time, and sleeping.
//!
//! ```text
//! clock_now() -> i64                     virtual time in nanoseconds, unsigned; never goes backwards
//! clock_wall() -> i64                    the same time as nanoseconds since 1970-01-01T00:00:00Z, unsigned
//! sleep_until(deadline: i64) -> i64      moves the process's own time to the deadline at once, if that is ahead; the time after
//! ```
//!
//! Nothing waits: a sleep only moves the process's own time, and whatever was due until then (timers, input) arrives in
//! its queue. Time moves only between steps and in a sleep. A sleep costs 32 fuel (the bytes of a record) for each
//! timer and packet that comes due.
//!
//! On the host's side the clock runs as the host says: [`Context::set_clock`] tells the host's virtual time, of which
//! the process sees as much as its scale and its pauses let through. Where a process has slept ahead of that, its clock
//! stands until the host's time has caught up. A paused clock does not keep a process from sleeping: a frozen process
//! would else wait forever.

use serde::{Deserialize, Serialize};

use crate::{
    Call, Context, DeviceEvent, HostFunction, Stop, ValueType::I64, own::function, queue::RECORD_BYTES,
};

/// The table.
pub(crate) const FUNCTIONS: &[HostFunction] = &[
    function("clock_now", &[], Some(I64), |call, _| Ok(call.context.clock_now())),
    function("clock_wall", &[], Some(I64), |call, _| Ok(call.context.clock_wall())),
    function("sleep_until", &[I64], Some(I64), sleep_until),
];

/// `sleep_until(deadline)`.
fn sleep_until(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let deadline = arguments.first().copied().unwrap_or_default();
    let due = call.context.due(deadline);
    call.pay(due.saturating_mul(RECORD_BYTES as u64))?;
    Ok(call.context.sleep_until(deadline))
}

/// How fast a process's clock runs: virtual nanoseconds of the process for those of the host, as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClockScale {
    numerator: u32,
    denominator: u32,
}

impl ClockScale {
    /// As fast as the host's.
    pub const REAL: Self = Self { numerator: 1, denominator: 1 };
    /// Not at all.
    pub const FROZEN: Self = Self { numerator: 0, denominator: 1 };

    /// `numerator` nanoseconds for every `denominator` of the host; none when `denominator` is 0.
    pub const fn new(numerator: u32, denominator: u32) -> Option<Self> {
        if denominator == 0 { None } else { Some(Self { numerator, denominator }) }
    }

    /// Numerator and denominator, as they were given.
    pub const fn fraction(self) -> (u32, u32) {
        (self.numerator, self.denominator)
    }
}

/// The state of the clock. Times are virtual nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clock {
    /// What the process reads.
    pub(crate) now: u64,
    /// Where the clock would stand had the process never slept; at most `now`.
    running: u64,
    /// The host's time when it was told last.
    host: u64,
    /// Parts of a nanosecond, in units of the scale's denominator, that are still to be given.
    carry: u32,
    scale: ClockScale,
    paused: bool,
    /// The wall time at virtual time 0, in nanoseconds since 1970-01-01T00:00:00Z.
    epoch: u64,
}

impl Clock {
    pub(crate) const fn new(nanoseconds: u64) -> Self {
        Self {
            now: nanoseconds,
            running: nanoseconds,
            host: nanoseconds,
            carry: 0,
            scale: ClockScale::REAL,
            paused: false,
            epoch: 0,
        }
    }

    /// What a saved clock cannot be, if it is that.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if self.scale.denominator == 0 {
            Some("the clock's scale divides by zero")
        } else if self.carry >= self.scale.denominator {
            Some("the clock owes more than a nanosecond")
        } else if self.running > self.now {
            Some("the clock is behind where it ran to")
        } else {
            None
        }
    }

    /// Lets host time pass.
    fn pass(&mut self, nanoseconds: u64) {
        if self.paused {
            return;
        }
        if self.scale == ClockScale::REAL {
            self.running = self.running.saturating_add(nanoseconds);
        } else {
            let denominator = u128::from(self.scale.denominator);
            let parts = u128::from(nanoseconds) * u128::from(self.scale.numerator) + u128::from(self.carry);
            let passed = u64::try_from(parts / denominator).unwrap_or(u64::MAX);
            self.running = self.running.saturating_add(passed);
            self.carry = (parts % denominator) as u32;
        }
        self.now = self.now.max(self.running);
    }
}

impl Context {
    /// Tells the host's virtual time in nanoseconds. The process's clock runs on by what has passed since it was told
    /// last, scaled, unless it is paused. A time before that lets none pass: time does not go backwards.
    pub fn set_clock(&mut self, nanoseconds: u64) {
        let passed = nanoseconds.saturating_sub(self.clock.host);
        if passed > 0 {
            self.clock.host = nanoseconds;
            self.clock.pass(passed);
            self.deliver();
        }
    }

    /// Says where the host's virtual time stands without letting any pass: for a process that moves to another host.
    pub fn rebase_clock(&mut self, nanoseconds: u64) {
        self.clock.host = nanoseconds;
    }

    /// Lets `nanoseconds` of host time pass for this process alone: scaled, and not at all when its clock is paused.
    pub fn advance_clock(&mut self, nanoseconds: u64) {
        let from = self.clock.now;
        self.clock.pass(nanoseconds);
        self.clock_moved(from);
    }

    /// Stops the clock: host time that passes from now on is lost to the process.
    pub fn pause_clock(&mut self) {
        self.clock.paused = true;
    }

    /// Lets a paused clock run on.
    pub fn resume_clock(&mut self) {
        self.clock.paused = false;
    }

    /// Whether the clock is paused.
    pub fn clock_paused(&self) -> bool {
        self.clock.paused
    }

    /// Sets how fast the clock runs from now on.
    pub fn set_clock_scale(&mut self, scale: ClockScale) {
        if scale != self.clock.scale {
            self.clock.scale = scale;
            self.clock.carry = 0;
        }
    }

    /// How fast the clock runs.
    pub fn clock_scale(&self) -> ClockScale {
        self.clock.scale
    }

    /// Sets the wall time at virtual time 0, in nanoseconds since 1970-01-01T00:00:00Z.
    pub fn set_clock_epoch(&mut self, nanoseconds: u64) {
        self.clock.epoch = nanoseconds;
    }

    /// The process's virtual time in nanoseconds.
    pub fn clock_now(&self) -> u64 {
        self.clock.now
    }

    /// The process's wall time in nanoseconds since 1970-01-01T00:00:00Z.
    pub fn clock_wall(&self) -> u64 {
        self.clock.epoch.saturating_add(self.clock.now)
    }

    /// Moves the process's time to `deadline`, if that is ahead: the time after.
    pub fn sleep_until(&mut self, deadline: u64) -> u64 {
        let from = self.clock.now;
        self.clock.now = from.max(deadline);
        self.clock_moved(from);
        self.clock.now
    }

    fn clock_moved(&mut self, from: u64) {
        let to = self.clock.now;
        if to > from {
            self.note(DeviceEvent::ClockAdvanced { from, to });
            self.deliver();
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::Machine;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_clock_reads_what_was_set() {
        let mut machine = Machine::new();
        assert_eq!(machine.call("clock_now", &[]), Ok(0));
        machine.context.set_clock(17);
        assert_eq!(machine.call("clock_now", &[]), Ok(17));
        assert_eq!(machine.call("clock_now", &[]), Ok(17));
    }

    #[test]
    fn time_does_not_go_backwards() {
        let mut context = Context::new(100, [0; 32]);
        context.set_clock(40);
        assert_eq!(context.clock_now(), 100);
        context.set_clock(101);
        assert_eq!(context.clock_now(), 101);
    }

    #[test]
    fn a_scale_stretches_time_and_a_pause_loses_it() {
        let mut context = Context::new(0, [0; 32]);
        context.set_clock_scale(ClockScale::new(2, 1).unwrap());
        context.advance_clock(SECOND);
        context.pause_clock();
        context.advance_clock(SECOND);
        assert!(context.clock_paused());
        context.resume_clock();
        assert_eq!(context.clock_now(), 2 * SECOND);
        context.set_clock_scale(ClockScale::FROZEN);
        context.set_clock(SECOND);
        assert_eq!(context.clock_now(), 2 * SECOND);
    }

    #[test]
    fn a_fraction_of_a_nanosecond_is_not_lost() {
        let mut context = Context::new(0, [0; 32]);
        context.set_clock_scale(ClockScale::new(1, 3).unwrap());
        for host in 1..=3_000 {
            context.set_clock(host);
        }
        assert_eq!(context.clock_now(), 1_000);
        assert_eq!(ClockScale::new(1, 0), None);
    }

    #[test]
    fn wall_time_is_virtual_time_after_the_epoch_that_was_set() {
        let mut machine = Machine::new();
        machine.context.set_clock_epoch(1_700_000_000 * SECOND);
        machine.context.set_clock(5);
        assert_eq!(machine.call("clock_wall", &[]), Ok(1_700_000_000 * SECOND + 5));
        machine.context.sleep_until(u64::MAX);
        assert_eq!(machine.call("clock_wall", &[]), Ok(u64::MAX));
    }

    #[test]
    fn a_sleep_takes_no_time_of_the_host_which_catches_up() {
        let mut machine = Machine::new();
        assert_eq!(machine.call("sleep_until", &[10]), Ok(10));
        assert_eq!(machine.call("sleep_until", &[4]), Ok(10));
        machine.context.set_clock(7);
        assert_eq!(machine.context.clock_now(), 10);
        machine.context.set_clock(12);
        assert_eq!(machine.context.clock_now(), 12);
        let events = machine.context.take_report().events;
        assert_eq!(events, vec![DeviceEvent::ClockAdvanced { from: 0, to: 10 }]);
    }

    #[test]
    fn a_process_on_another_host_keeps_its_time_and_runs_on() {
        let mut context = Context::new(SECOND, [0; 32]);
        context.rebase_clock(3);
        assert_eq!(context.clock_now(), SECOND);
        context.set_clock(5);
        assert_eq!(context.clock_now(), SECOND + 2);
    }

    proptest! {
        #[test]
        fn no_sequence_of_operations_turns_time_back(
            operations in prop::collection::vec((0..6u8, any::<u64>(), any::<(u32, u32)>()), 0..40),
        ) {
            let mut context = Context::new(0, [0; 32]);
            let mut last = 0;
            for (operation, number, (numerator, denominator)) in operations {
                match operation {
                    0 => context.set_clock(number),
                    1 => context.advance_clock(number >> 32),
                    2 => context.pause_clock(),
                    3 => context.resume_clock(),
                    4 => { context.sleep_until(number >> 8); }
                    _ => context.set_clock_scale(ClockScale::new(numerator, denominator.max(1)).unwrap()),
                }
                prop_assert!(context.clock_now() >= last);
                prop_assert_eq!(context.clock.fault(), None);
                last = context.clock_now();
            }
        }
    }
}
