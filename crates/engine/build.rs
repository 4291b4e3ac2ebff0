//! Tells which version of the rewriting pass this is: a hash of its source. What was compiled from another pass's modules
//! is not to be used.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

fn main() {
    let mut files = BTreeSet::new();
    collect(Path::new("src/rewrite"), &mut files);
    files.insert("src/abi.rs".into());
    println!("cargo::rerun-if-changed=src/abi.rs");
    let mut hasher = DefaultHasher::new();
    for path in &files {
        path.hash(&mut hasher);
        fs::read(path).unwrap_or_default().hash(&mut hasher);
    }
    println!("cargo::rustc-env=GLASSHOUSE_PASS={:016x}", hasher.finish());
}

fn collect(path: &Path, files: &mut BTreeSet<PathBuf>) {
    println!("cargo::rerun-if-changed={}", path.display());
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.insert(path);
        }
    }
}
