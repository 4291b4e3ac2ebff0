//! `bindgen INPUT.wasm OUTDIR [--name NAME]`: writes `NAME.js`, `NAME.d.ts` and `NAME_bg.wasm` into `OUTDIR`.
//!
//! A program of our own on wasm-bindgen's library instead of its command line: its version is pinned by this
//! workspace's lock file, so that the tool and the library in the module can never differ.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

const USAGE: &str = "usage: bindgen INPUT.wasm OUTDIR [--name NAME]";

fn main() -> Result<()> {
    let (mut places, mut name) = (Vec::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--name" => name = Some(arguments.next().context(USAGE)?),
            option if option.starts_with('-') => bail!("unknown option {option}\n{USAGE}"),
            _ => places.push(PathBuf::from(argument)),
        }
    }
    let [input, directory] = places.as_slice() else { bail!("{USAGE}") };
    let mut bindgen = Bindgen::new();
    // The glue gets the compiled module or its address from whoever starts it, and so needs no address of its own.
    bindgen.input_path(input).web(true)?.typescript(true).omit_default_module_path(true);
    if let Some(name) = &name {
        bindgen.out_name(name);
    }
    bindgen.generate(directory).with_context(|| format!("{} cannot be bound", input.display()))
}
