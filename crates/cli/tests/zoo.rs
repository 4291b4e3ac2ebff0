//! The zoo of hostile modules: each ends as its file says, and the host stays as it was.

use std::{fs, path::PathBuf, process::Command};

/// The folder of the modules. Asked for at run time: checkouts may share a folder for what is built.
fn zoo() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    PathBuf::from(package).join("../../guests/examples/zoo")
}

#[test]
fn every_hostile_module_ends_as_its_file_says() {
    let mut modules: Vec<PathBuf> = fs::read_dir(zoo())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .collect();
    modules.sort();
    assert!(modules.len() > 40, "{}", modules.len());
    let mut wrong = Vec::new();
    for path in &modules {
        let source = fs::read_to_string(path).unwrap();
        let expected =
            source.lines().nth(1).and_then(|line| line.strip_prefix(";; ends with exit code ")).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_glasshouse"))
            .args(["run", "--json", "--fuel", "100000000", "--seed", "1"])
            .arg(path)
            .env("GLASSHOUSE_CACHE", "off")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        let json: serde_json::Value = serde_json::from_str(printed.trim()).unwrap_or_default();
        let code = json["error"]["code"].as_str().unwrap_or("none");
        let found = format!("{}: {code}", output.status.code().unwrap_or(-1));
        if found != expected || said.contains("panicked") {
            wrong.push(format!("{}: {found}, not {expected}\n{printed}{said}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
