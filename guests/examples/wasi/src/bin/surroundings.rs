//! Prints what a program sees of the world: arguments, environment, time before and after a sleep, random numbers, many
//! files; then ends as its first argument says.

use std::{
    collections::hash_map::RandomState,
    env, fs,
    hash::{BuildHasher, Hasher},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    println!("arguments {arguments:?}");
    let mut variables: Vec<(String, String)> =
        env::vars().filter(|(name, _)| name.starts_with("GH_")).collect();
    variables.sort();
    println!("environment {variables:?}");
    let began = Instant::now();
    thread::sleep(Duration::from_millis(1_500));
    println!("slept {}", began.elapsed() >= Duration::from_millis(1_500));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    eprintln!("now {}", now.as_nanos());
    // The standard library seeds its hash maps from the system's random bytes.
    eprintln!("random {:016x}", RandomState::new().build_hasher().finish());
    if let Some(directory) = arguments.get(1) {
        many_files(directory);
    }
    match arguments.first().map(String::as_str) {
        Some("panic") => panic!("as asked"),
        Some("overflow") => std::process::exit(300),
        Some("abort") => std::process::abort(),
        Some(code) => std::process::exit(code.parse().unwrap_or(99)),
        None => {}
    }
}

/// Makes 1,000 files, deletes every second one while listing them, and counts.
fn many_files(directory: &str) {
    for number in 0..1_000 {
        fs::write(format!("{directory}/{number:04}"), number.to_string()).expect("a file can be written");
    }
    let mut seen = 0;
    for entry in fs::read_dir(directory).expect("the directory can be listed") {
        let entry = entry.expect("an entry can be read");
        let number: u32 = fs::read_to_string(entry.path())
            .expect("the file can be read")
            .parse()
            .expect("the file holds its number");
        if number.is_multiple_of(2) {
            fs::remove_file(entry.path()).expect("the file can be deleted");
        }
        seen += 1;
    }
    let left = fs::read_dir(directory).expect("the directory can be listed").count();
    println!("files {seen}, then {left}");
}
