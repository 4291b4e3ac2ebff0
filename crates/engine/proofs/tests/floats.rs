//! Programs full of NaNs end with the same memory everywhere.

use glasshouse_engine_proofs::{effort, floats::program, oracle::Oracle};

/// Programs, without further effort.
const PROGRAMS: u64 = 300;

#[test]
fn programs_full_of_nans_end_with_the_same_memory_on_every_engine_and_settled_by_the_compiler() {
    let mut oracle = Oracle::new();
    let mut wrong = Vec::new();
    for seed in effort::seeds(PROGRAMS) {
        let program = program(seed);
        oracle.counts.modules += 1;
        if let Err(difference) = oracle.same_as_plain(&program, seed) {
            println!("seed {seed}: {difference}");
            wrong.push(seed);
        }
    }
    println!("{:?}", oracle.counts);
    assert!(wrong.is_empty(), "something differs for the seeds {wrong:?}");
}

#[test]
fn most_programs_show_how_their_nans_are_settled() {
    let mut oracle = Oracle::new();
    let showing = (0..100).filter(|seed| oracle.shows_nans(&program(*seed), *seed)).count();
    assert!(showing > 50, "only {showing} of 100 programs end differently when nothing settles their NaNs");
}
