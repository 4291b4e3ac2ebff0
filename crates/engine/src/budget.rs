//! A step's fuel and when it is looked after: what the module has on its account, and what the host still holds.
//!
//! - [`StepLimits`]: what a step is given.
//! - [`Interrupt`]: what can stop it before its fuel is used up; [`Interruption`]: why.
//! - [`Budget`]: hands the fuel out in slices, at checkpoints.
//!
//! A module pays from the account `gh_fuel`. Wherever that is tested, at a *checkpoint*, and is below zero, the host is
//! asked, and hands out the next slice of what it holds in reserve. So the cost of watching for deadlines and for
//! Ctrl-C is one call in millions of operators.
//!
//! **Invariant: slices cannot be seen.** Let `total` be the account and the reserve together. It depends on what was
//! paid alone, since handing out moves fuel from one to the other. A step is out of fuel at the first checkpoint where
//! `total` is below zero. The reserve is never below zero, so there the account is below zero too, and the host is asked
//! there: nothing is missed. And where `total` is not below zero the host, if it is asked, hands out enough for the
//! account not to be, and the step goes on: nothing is early.
//!
//! **Invariant: an interruption can be repeated.** It happens at a checkpoint, and is reported with the fuel used there.
//! No earlier checkpoint has seen as much fuel used: it would have been asked there, and have got fuel, and nothing is
//! paid in between. So "the first checkpoint where so much fuel is used" is the same place in a repetition, in which no
//! more than one less than that is handed out.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use glasshouse_devices::TrapKind;

use crate::trap::{GuestTrap, StepTrap};

/// Fuel between two looks at what may interrupt a step: a few milliseconds of work.
pub const SLICE: u64 = 10_000_000;

/// What a step is given.
#[derive(Debug, Clone)]
pub struct StepLimits {
    /// Fuel; at most [`i64::MAX`] is counted.
    pub fuel: u64,
    /// Fuel between two looks at `interrupt`. The report does not depend on it.
    pub slice: u64,
    /// What can stop the step before its fuel is used up.
    pub interrupt: Interrupt,
}

impl StepLimits {
    /// So much fuel, and nothing that interrupts.
    pub fn new(fuel: u64) -> Self {
        Self { fuel, slice: SLICE, interrupt: Interrupt::Never }
    }

    /// The same, stopped by `interrupt`.
    pub fn interrupted_by(self, interrupt: Interrupt) -> Self {
        Self { interrupt, ..self }
    }
}

impl From<u64> for StepLimits {
    fn from(fuel: u64) -> Self {
        Self::new(fuel)
    }
}

/// Why a step is stopped before its fuel is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// Somebody asked for it: the step traps with [`TrapKind::Interrupted`].
    Asked,
    /// Its time is over: the step traps with [`TrapKind::Deadline`].
    Deadline,
}

/// What can stop a step before its fuel is used up. It is looked at when the step starts and at checkpoints.
#[derive(Clone, Default)]
pub enum Interrupt {
    /// Nothing.
    #[default]
    Never,
    /// Whatever this function finds: that another thread has asked for it, or that the time is over.
    When(Arc<dyn Fn() -> Option<Interruption> + Send + Sync>),
    /// What stopped the step when it was recorded: it stops at the first checkpoint where so much fuel is used. Given
    /// the fuel that an interrupted step has reported, it stops in the same place.
    At(u64, Interruption),
}

impl Interrupt {
    /// When another thread sets this.
    pub fn flag(flag: Arc<AtomicBool>) -> Self {
        Self::When(Arc::new(move || flag.load(Ordering::Relaxed).then_some(Interruption::Asked)))
    }

    fn due(&self, used: i64) -> Option<Interruption> {
        match self {
            Self::Never => None,
            Self::When(due) => due(),
            Self::At(fuel, interruption) => (used as u64 >= *fuel).then_some(*interruption),
        }
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("Never"),
            Self::When(_) => f.write_str("When"),
            Self::At(fuel, interruption) => f.debug_tuple("At").field(fuel).field(interruption).finish(),
        }
    }
}

impl From<Interruption> for StepTrap {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::Asked => Self::new(TrapKind::Interrupted, "the step was interrupted"),
            Interruption::Deadline => {
                Self::new(TrapKind::Deadline, "the step was interrupted because its time was over")
            }
        }
    }
}

/// The fuel of one step. Amounts are not below zero unless said otherwise.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    given: i64,
    /// What was not handed out yet.
    reserve: i64,
    slice: i64,
    interrupt: Interrupt,
}

impl Budget {
    pub(crate) fn new(limits: &StepLimits) -> Self {
        let count = |fuel: u64| i64::try_from(fuel).unwrap_or(i64::MAX);
        let given = count(limits.fuel);
        Self { given, reserve: given, slice: count(limits.slice).max(1), interrupt: limits.interrupt.clone() }
    }

    pub(crate) fn given(&self) -> i64 {
        self.given
    }

    /// What is left when the module's account shows `account`, below zero when more was paid than there is.
    pub(crate) fn total(&self, account: i64) -> i64 {
        account.saturating_add(self.reserve)
    }

    /// What the hook does that a module calls when its fuel or stack is below zero.
    pub(crate) fn hook(&mut self, account: &mut i64, stack: i64) -> Result<(), StepTrap> {
        if stack < 0 && self.total(*account) >= 0 {
            return Err(GuestTrap::StackOverflow.into());
        }
        self.pay(account, 0)
    }

    /// Charges for what a function of the host does, before it is done. This is a checkpoint, too.
    pub(crate) fn pay(&mut self, account: &mut i64, fuel: u64) -> Result<(), StepTrap> {
        *account = account.saturating_sub_unsigned(fuel);
        if *account < 0 {
            *account = self.checkpoint(*account)?;
        }
        Ok(())
    }

    /// At a checkpoint where the account shows `account`: what it is to show.
    pub(crate) fn checkpoint(&mut self, account: i64) -> Result<i64, StepTrap> {
        let total = self.total(account);
        if total < 0 {
            return Err(StepTrap::out_of_fuel());
        }
        let used = self.given - total;
        if let Some(interruption) = self.interrupt.due(used) {
            return Err(interruption.into());
        }
        // What was paid and not handed out yet is at most the reserve, since the total is not below zero.
        let mut amount = self.slice.max(account.saturating_neg()).min(self.reserve);
        if let Interrupt::At(fuel, _) = self.interrupt {
            // More than `used` and at most `fuel - 1` in all: what is handed out covers what was paid.
            let last = i64::try_from(fuel).unwrap_or(i64::MAX) - 1;
            amount = amount.min(last - (self.given - self.reserve));
        }
        self.reserve -= amount;
        Ok(account + amount)
    }
}

#[cfg(test)]
mod tests {
    use glasshouse_devices::StepOutcome;

    use super::*;

    /// Pays these amounts, a checkpoint behind each, with this slice. Answers at which one it was stopped, why, and
    /// how much was used.
    fn pay(costs: &[u64], fuel: u64, slice: u64, interrupt: Interrupt) -> Option<(usize, TrapKind, i64)> {
        let mut budget = Budget::new(&StepLimits { fuel, slice, interrupt });
        let mut account = 0;
        for (index, cost) in costs.iter().enumerate() {
            account -= *cost as i64;
            if account < 0 {
                match budget.checkpoint(account) {
                    Ok(more) => account = more,
                    Err(StepTrap(outcome)) => {
                        let StepOutcome::Trapped { kind, .. } = *outcome else { panic!("{outcome:?}") };
                        return Some((index, kind, budget.given() - budget.total(account).max(0)));
                    }
                }
            }
            assert!(account >= 0);
        }
        None
    }

    #[test]
    fn every_slice_runs_out_of_fuel_in_the_same_place() {
        let costs = [3, 0, 1, 40, 0, 0, 7, 1, 1, 1, 1_000, 0, 1, 5];
        for fuel in 0..1_100 {
            let expected = pay(&costs, fuel, u64::MAX, Interrupt::Never);
            for slice in [0, 1, 2, 3, 7, 40, 41, 999, 1_000, 1_001] {
                assert_eq!(pay(&costs, fuel, slice, Interrupt::Never), expected, "{fuel} {slice}");
            }
        }
        assert_eq!(pay(&costs, 43, 10, Interrupt::Never), Some((3, TrapKind::OutOfFuel, 43)));
        assert_eq!(pay(&costs, 2_000, 10, Interrupt::Never), None);
    }

    #[test]
    fn an_interruption_is_repeated_in_the_same_place() {
        use std::sync::atomic::AtomicU32;
        let costs = [3, 0, 1, 40, 0, 0, 7, 1, 1, 1, 1_000, 0, 1, 5];
        let mut found = std::collections::BTreeSet::new();
        for slice in [1, 2, 3, 7, 40, 41, 999] {
            for looks in 0..20 {
                let left = AtomicU32::new(looks);
                let is_due = move || left.fetch_sub(1, Ordering::Relaxed) == 0;
                let when = Interrupt::When(Arc::new(move || is_due().then_some(Interruption::Deadline)));
                let Some((index, kind, used)) = pay(&costs, 2_000, slice, when) else { continue };
                assert_eq!(kind, TrapKind::Deadline);
                found.insert(index);
                for other in [1, 5, 1_000, u64::MAX] {
                    let again = pay(&costs, 2_000, other, Interrupt::At(used as u64, Interruption::Deadline));
                    assert_eq!(again, Some((index, kind, used)), "{slice} {looks} {other}");
                }
            }
        }
        assert!(found.len() > 4, "{found:?}");
    }
}
