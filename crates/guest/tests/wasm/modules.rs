//! Guests of this repository, built when they are first needed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// The root of the repository. Asked when the tests run: checkouts that share a target directory share this program, too.
pub fn root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&package).join("../..")
}

/// The folder of the modules in Rust.
static MODULES: LazyLock<PathBuf> = LazyLock::new(|| {
    build("guests", &["probe", "react", "calculate", "clock", "files", "memory", "levels", "snake"], &[])
});

/// That of the example that compresses and encrypts.
static CODING: LazyLock<PathBuf> =
    LazyLock::new(|| build("guests-coding", &["levels"], &["--features", "levels/lz4,levels/aead"]));

/// A module in Rust, by the name of its package.
pub fn module(name: &str) -> Vec<u8> {
    read(&MODULES, name)
}

/// A module in Rust that compresses what it says, and can encrypt it.
pub fn coding_module(name: &str) -> Vec<u8> {
    read(&CODING, name)
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name).with_extension("wasm")).expect("the guest build made the module")
}

fn build(folder: &str, packages: &[&str], options: &[&str]) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--profile", "guest", "--locked", "--quiet", "--target", "wasm32-unknown-unknown"])
        .args(options)
        .arg("--target-dir")
        .arg(&target)
        // Sources have relative names where cargo is called in the workspace's root.
        .current_dir(root());
    for package in packages {
        cargo.args(["--package", package]);
    }
    // What applies to the host build must not leak into this one.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    assert!(cargo.status().expect("cargo starts").success(), "the guests do not build");
    target.join("wasm32-unknown-unknown/guest")
}

/// A module in C, by its file in `guests/examples/c`.
pub fn c_module(file: &str) -> Vec<u8> {
    compile_c(&root().join("guests/examples/c").join(file))
}

/// Compiles a source in C by the command of `glasshouse.h`, with warnings.
pub fn compile_c(source: &Path) -> Vec<u8> {
    let name = source.file_stem().expect("a source has a name");
    let module = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).with_extension("c.wasm");
    let output = Command::new(clang())
        .args(["--target=wasm32", "-O2", "-mbulk-memory", "-nostdlib", "-Wl,--no-entry"])
        .args(["-Wall", "-Wextra", "-Werror", "-I"])
        .arg(root().join("guests/examples/c"))
        .arg("-o")
        .arg(&module)
        .arg(source)
        .output()
        .unwrap_or_else(|error| {
            panic!("clang cannot be started ({error}); on Debian, apt-get install clang-19 lld-19")
        });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(module).expect("clang made the module")
}

/// The C compiler: named by `GLASSHOUSE_CLANG`, or the first that starts.
fn clang() -> PathBuf {
    let names = ["clang-19", "clang", "clang-22", "clang-21", "clang-20", "clang-18", "clang-17", "clang-16"];
    let starts = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let named = env::var_os("GLASSHOUSE_CLANG").map(PathBuf::from);
    named.unwrap_or_else(|| names.into_iter().find(starts).unwrap_or(names[0]).into())
}

/// A module in the text format, by its file in `guests/examples/wat`.
pub fn wat_module(file: &str) -> Vec<u8> {
    wat::parse_file(root().join("guests/examples/wat").join(file))
        .expect("the example is WebAssembly's text format")
}
