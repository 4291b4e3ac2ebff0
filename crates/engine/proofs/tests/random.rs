//! Random modules do the same rewritten and plain, and use the same fuel on every engine.

use glasshouse_engine_proofs::{
    effort,
    modules::{Termination, module},
    oracle::Oracle,
};

/// Modules of each test, without further effort.
const MODULES: u64 = 150;

/// Fuel for modules that do not end by themselves.
const FUEL: i64 = 50_000;

/// Judges modules; complains about the first seeds for which something differs.
fn judge(
    termination: Termination,
    mut judge: impl FnMut(&mut Oracle, &[u8], u64) -> Result<(), String>,
) -> Oracle {
    let mut oracle = Oracle::new();
    let mut wrong = Vec::new();
    let seeds = effort::seeds(MODULES);
    let tried = seeds.end - seeds.start;
    for seed in seeds {
        let Some(module) = module(seed, termination) else { continue };
        oracle.counts.modules += 1;
        if let Err(difference) = judge(&mut oracle, &module, seed) {
            println!("seed {seed}: {difference}");
            wrong.push(seed);
        }
    }
    println!("{:?}", oracle.counts);
    assert!(wrong.is_empty(), "something differs for the seeds {wrong:?}");
    assert!(
        oracle.counts.modules >= tried / 2,
        "only {} of {tried} modules could be made",
        oracle.counts.modules
    );
    oracle
}

#[test]
fn random_modules_compute_the_same_rewritten() {
    judge(Termination::Ensured, |oracle, module, seed| oracle.same_as_plain(module, seed));
}

#[test]
fn random_modules_that_only_fuel_stops_end_alike_on_every_engine() {
    let oracle =
        judge(Termination::ByFuel, |oracle, module, seed| oracle.same_on_all_engines(module, FUEL, seed));
    assert!(oracle.counts.ends.contains_key("OutOfFuel"));
}

#[test]
fn random_modules_that_are_cut_short_end_alike_on_every_engine() {
    let oracle = judge(Termination::Ensured, |oracle, module, seed| oracle.cut_short(module, seed));
    for end in ["OutOfFuel", "StackOverflow", "Unreachable", "returned"] {
        assert!(oracle.counts.ends.contains_key(end), "no call ended so: {end}");
    }
}
