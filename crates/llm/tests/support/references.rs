//! References by independent implementations, and the models that they are of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use glasshouse_llm::generate_random::{self, Preset};
use glasshouse_llm::gguf::Gguf;

/// Where to leave the models for the scripts; without it they go away.
const MODELS_DIRECTORY: &str = "GLASSHOUSE_GOLDEN_MODELS";

#[derive(serde::Deserialize)]
pub struct Golden {
    /// The prompt.
    pub tokens: Vec<u32>,
    /// Prompt lengths after which results are recorded.
    pub positions: Vec<usize>,
    /// Preset → implementation → the result at each position.
    pub models: BTreeMap<String, BTreeMap<String, Vec<Vec<f32>>>>,
}

impl Golden {
    /// Reads a file in `golden`; when the test runs, since the scripts that make them need other tests.
    pub fn read(name: &str) -> Self {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
        let path = Path::new(&package).join("tests/golden").join(name);
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// Compares `result`, of a part of the prompt, with the references of the model called `name`; what is farther away than
    /// the `tolerance` of an implementation is added to `failures`.
    pub fn compare(
        &self,
        name: &str,
        result: impl Fn(&[u32]) -> Vec<f32>,
        tolerance: impl Fn(&str) -> f64,
        failures: &mut Vec<String>,
    ) {
        for (implementation, expected) in &self.models[name] {
            let limit = tolerance(implementation);
            for (&position, expected) in self.positions.iter().zip(expected) {
                let distance = distance(&result(&self.tokens[..position]), expected);
                let line = format!("{name} {implementation} {position}: {distance:.6} (limit {limit})");
                println!("{line}");
                if distance.is_nan() || distance > limit {
                    failures.push(line);
                }
            }
        }
    }
}

/// The distance of two vectors, relative to the length of the second.
fn distance(actual: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let square =
        |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = square(
        &mut actual.iter().zip(expected).map(|(actual, expected)| f64::from(*actual) - f64::from(*expected)),
    );
    difference / square(&mut expected.iter().map(|expected| f64::from(*expected)))
}

/// Writes the models of `presets` to files, for a script or only to see that it works.
pub fn write_models(presets: impl IntoIterator<Item = Preset>) {
    let kept = std::env::var_os(MODELS_DIRECTORY).map(PathBuf::from);
    let temporary = tempfile::tempdir().unwrap();
    let directory = kept.as_deref().unwrap_or(temporary.path());
    for preset in presets {
        let path = directory.join(format!("{}.gguf", preset.name()));
        generate_random::write(&path, preset).unwrap();
        assert_eq!(
            Gguf::open(&path).unwrap().string("general.name").unwrap(),
            format!("random {}", preset.name())
        );
    }
}
