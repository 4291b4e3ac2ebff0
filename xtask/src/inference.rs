//! `cargo xtask bench-inference`: our engine beside others, in one run, in turns, on the same files.
//!
//! Peers are benchmark programs that somebody built elsewhere, given by path. They are called as llama.cpp's `llama-bench` is
//! (`-m FILE -t THREADS -p TOKENS -n TOKENS -r 1 -o json`), and print a list of objects with `n_prompt`, `n_gen` and `avg_ts`;
//! or they print one object with `prefill_tps` and `decode_tps`, as `glasshouse model bench --json` does.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    check::generated_model,
    shell::{cargo, run, target_directory},
};

/// What `cargo xtask bench-inference` takes.
pub const USAGE: &str = "\
Usage: cargo xtask bench-inference [OPTION]...

  --model MODEL[,PEER=FILE]...  a GGUF file, or a preset of `glasshouse model generate`; peers take the same file unless
                                another is named for them; may be repeated
  --peer NAME=PROGRAM[,ARG]...  a peer's benchmark program, called as llama-bench is; may be repeated
  --threads N[,N]...            [default: 1,2]
  --prefill N                   tokens of the prompt [default: 512]
  --decode N                    tokens decoded [default: 64]
  --rounds N                    turns of each program; medians are reported [default: 5]
";

/// Presets that are measured if no model is named.
const MODELS: [&str; 6] = [
    "llama-1b-q4_0",
    "llama-1b-q8_0",
    "llama-1b-q4_k_m",
    "llama-1b-iq4_nl",
    "bitnet-2b-tq2_0",
    "bitnet-2b-tq1_0",
];

struct Peer {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
}

struct Model {
    name: String,
    file: PathBuf,
    /// Files of peers that do not take the same one.
    others: BTreeMap<String, PathBuf>,
}

struct Plan {
    models: Vec<Model>,
    peers: Vec<Peer>,
    threads: Vec<usize>,
    prefill: usize,
    decode: usize,
    rounds: usize,
}

/// One run of one program.
#[derive(Clone, Copy)]
struct Speed {
    prefill: f64,
    decode: f64,
}

/// What only our program tells.
#[derive(Clone, Copy)]
struct Details {
    bandwidth: f64,
    share: f64,
    load: f64,
    peak: f64,
}

/// Runs the whole comparison and prints it as Markdown tables.
pub fn bench(options: &[&str]) -> Result<()> {
    if matches!(options, ["help" | "--help" | "-h"]) {
        print!("{USAGE}");
        return Ok(());
    }
    run(&mut cargo(&["build", "--release", "--locked"]))?;
    let plan = plan(options)?;
    println!("{}", machine());
    for model in &plan.models {
        for &threads in &plan.threads {
            compare(&plan, model, threads)?;
        }
    }
    Ok(())
}

fn plan(options: &[&str]) -> Result<Plan> {
    let mut plan =
        Plan { models: vec![], peers: vec![], threads: vec![1, 2], prefill: 512, decode: 64, rounds: 5 };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let value = options.next().with_context(|| format!("{option} needs a value\n\n{USAGE}"))?;
        let number = || value.parse().with_context(|| format!("{option} takes a number, not `{value}`"));
        match *option {
            "--model" => plan.models.push(model(value)?),
            "--peer" => plan.peers.push(peer(value)?),
            "--threads" => {
                let numbers = value.split(',').map(str::parse).collect::<Result<_, _>>();
                plan.threads = numbers.with_context(|| format!("{option} takes numbers, not `{value}`"))?;
            }
            "--prefill" => plan.prefill = number()?,
            "--decode" => plan.decode = number()?,
            "--rounds" => plan.rounds = number()?.max(1),
            other => bail!("unknown option: {other}\n\n{USAGE}"),
        }
    }
    if plan.models.is_empty() {
        plan.models = MODELS.into_iter().map(model).collect::<Result<_>>()?;
    }
    for model in &plan.models {
        if let Some(name) = model.others.keys().find(|name| plan.peers.iter().all(|peer| peer.name != **name))
        {
            bail!("the model {} names a file for `{name}`, but there is no such peer", model.name);
        }
    }
    Ok(plan)
}

fn model(value: &str) -> Result<Model> {
    let mut parts = value.split(',');
    let name = parts.next().unwrap_or_default();
    let file = if Path::new(name).is_file() { PathBuf::from(name) } else { generated_model(name)? };
    let others = parts.map(|part| {
        let (peer, file) = part.split_once('=').with_context(|| format!("`{part}` should be PEER=FILE"))?;
        Ok((peer.to_owned(), PathBuf::from(file)))
    });
    let stem = file.file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy());
    Ok(Model { name: stem.into_owned(), others: others.collect::<Result<_>>()?, file })
}

fn peer(value: &str) -> Result<Peer> {
    let (name, rest) = value.split_once('=').with_context(|| format!("`{value}` should be NAME=PROGRAM"))?;
    let mut words = rest.split(',');
    let program = PathBuf::from(words.next().unwrap_or_default());
    if !program.is_file() {
        bail!("there is no program at {}", program.display());
    }
    Ok(Peer { name: name.to_owned(), program, arguments: words.map(str::to_owned).collect() })
}

/// What it was measured on: the processor's name, if the system tells it, and its number of cores.
fn machine() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{} ({} {}), {cores} cores\n",
        name.map_or("processor", |(_, name)| name),
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}

fn compare(plan: &Plan, model: &Model, threads: usize) -> Result<()> {
    let mut ours = Vec::new();
    let mut details = Vec::new();
    let mut theirs: Vec<Vec<Speed>> = plan.peers.iter().map(|_| Vec::new()).collect();
    for _ in 0..plan.rounds {
        let (speed, detail) = our_turn(plan, &model.file, threads)?;
        ours.push(speed);
        details.push(detail);
        for (peer, speeds) in plan.peers.iter().zip(&mut theirs) {
            let file = model.others.get(&peer.name).unwrap_or(&model.file);
            speeds.push(peer_turn(plan, peer, file, threads)?);
        }
    }
    let plural = if threads == 1 { "" } else { "s" };
    println!("\n### {}, {threads} thread{plural}\n", model.name);
    println!("| | prefill {} | decode {} |", plan.prefill, plan.decode);
    println!("|---|---|---|");
    let row = |name: &str, speeds: &[Speed]| {
        println!(
            "| {name} | {:.1} | {:.2} |",
            median(speeds.iter().map(|speed| speed.prefill)),
            median(speeds.iter().map(|speed| speed.decode))
        );
    };
    row("ours, tokens/s", &ours);
    for (peer, speeds) in plan.peers.iter().zip(&theirs) {
        row(&format!("{}, tokens/s", peer.name), speeds);
        // Each turn is compared with its neighbour, so that a machine that slows down slows both.
        let ratios: Vec<Speed> = ours
            .iter()
            .zip(speeds)
            .map(|(ours, theirs)| Speed {
                prefill: ours.prefill / theirs.prefill,
                decode: ours.decode / theirs.decode,
            })
            .collect();
        row(&format!("ratio to {}", peer.name), &ratios);
    }
    println!(
        "\nDecoding uses {:.0} % of the {:.1} GB/s that {threads} thread{plural} read here; ready after {:.3} s; peak memory {:.0} \
         MiB for a file of {:.0} MiB.",
        100.0 * median(details.iter().map(|details| details.share)),
        median(details.iter().map(|details| details.bandwidth)),
        median(details.iter().map(|details| details.load)),
        median(details.iter().map(|details| details.peak)) / f64::from(1 << 20),
        std::fs::metadata(&model.file)?.len() as f64 / f64::from(1 << 20)
    );
    Ok(())
}

fn our_turn(plan: &Plan, file: &Path, threads: usize) -> Result<(Speed, Details)> {
    let mut command = Command::new(target_directory().join("release").join("glasshouse"));
    command.args(["model", "bench", "--json", "--repeat", "1"]).arg(file);
    command.args(["--threads", &threads.to_string(), "--prefill", &plan.prefill.to_string()]);
    command.args(["--decode", &plan.decode.to_string()]);
    let report = output(&mut command)?;
    let number = |field: &str| report[field].as_f64().with_context(|| format!("no {field} in {report}"));
    let details = Details {
        bandwidth: number("bandwidth_gbps")?,
        share: number("bandwidth_share")?,
        load: number("load_s")?,
        peak: number("peak_rss_bytes").unwrap_or(f64::NAN),
    };
    Ok((Speed { prefill: number("prefill_tps")?, decode: number("decode_tps")? }, details))
}

fn peer_turn(plan: &Plan, peer: &Peer, file: &Path, threads: usize) -> Result<Speed> {
    let mut command = Command::new(&peer.program);
    command.arg("-m").arg(file).args(["-t", &threads.to_string(), "-r", "1", "-o", "json"]);
    command.args(["-p", &plan.prefill.to_string(), "-n", &plan.decode.to_string()]).args(&peer.arguments);
    let report = output(&mut command)?;
    let speed = |field: &str, test: &str| {
        let listed = report.as_array().into_iter().flatten().find(|row| row[test].as_u64() > Some(0));
        listed
            .and_then(|row| row["avg_ts"].as_f64())
            .or_else(|| report[field].as_f64())
            .with_context(|| format!("{} does not say its {field}: {report}", peer.name))
    };
    Ok(Speed { prefill: speed("prefill_tps", "n_prompt")?, decode: speed("decode_tps", "n_gen")? })
}

/// What a program prints, as JSON.
fn output(command: &mut Command) -> Result<Value> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{name} could not be started"))?;
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{name} printed no JSON: {}", String::from_utf8_lossy(&output.stdout)))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
