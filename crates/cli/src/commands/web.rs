//! `glasshouse web`: serves the page in which the agent runs inside a browser's tab, on this machine alone.

use std::{
    env, fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::SystemTime,
};

use anyhow::{Context, Result, anyhow, bail};
use axum::{
    Router,
    http::{HeaderName, HeaderValue, StatusCode, header},
};
use tokio::net::TcpListener;
use tower_http::{services::ServeDir, set_header::SetResponseHeaderLayer};

use crate::arguments::WebArguments;

/// What every answer carries: the page is isolated from other sites, loads nothing from elsewhere, and is asked for
/// anew by browsers unless it is unchanged.
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-embedder-policy"), HeaderValue::from_static("require-corp")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; \
             style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
];

/// Runs the command: serves until it is stopped.
pub fn run(arguments: WebArguments) -> Result<ExitCode> {
    let directory = match arguments.directory {
        Some(directory) => given(directory)?,
        None => find()?,
    };
    // Ending at once is right: a served file is only read, and a browser that was cut off asks again.
    ctrlc::set_handler(|| std::process::exit(0)).context("Ctrl-C cannot be handled")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the server cannot be started")?;
    runtime.block_on(serve(&directory, arguments.port))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(directory: &Path, port: u16) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "port {port} is in use by another program; stop that one, or choose another port with --port, or any that \
             is free with --port 0"
        ),
        ErrorKind::PermissionDenied => {
            anyhow!("this user may not serve on port {port}; choose one above 1023 with --port")
        }
        _ => anyhow!("the server cannot listen on port {port}: {error}"),
    })?;
    let address = listener.local_addr().context("the server's address cannot be found out")?;
    anstream::println!("http://{address}/");
    anstream::eprintln!("serving {}; Ctrl-C stops it", directory.display());
    axum::serve(listener, router(directory)).await.context("the server failed")
}

/// The files of the directory, compressed where there is a compressed one beside it and the browser takes it.
fn router(directory: &Path) -> Router {
    let missing =
        axum::routing::any(|| async { (StatusCode::NOT_FOUND, "There is nothing at this address.\n") });
    let files = ServeDir::new(directory).precompressed_br().precompressed_gzip().fallback(missing);
    HEADERS.into_iter().fold(Router::new().fallback_service(files), |router, (name, value)| {
        router.layer(SetResponseHeaderLayer::overriding(name, value))
    })
}

fn given(directory: PathBuf) -> Result<PathBuf> {
    if !is_page(&directory) {
        bail!(
            "there is no page in {}; `cargo xtask web` builds one in web/dist of a source checkout",
            directory.display()
        );
    }
    Ok(directory)
}

/// The page beside this program, or that of the source checkout in which the current directory lies.
fn find() -> Result<PathBuf> {
    let program = env::current_exe().context("this program's place cannot be found out")?;
    let beside = program.with_file_name("web");
    if is_page(&beside) {
        return Ok(beside);
    }
    let current = env::current_dir().context("the current directory cannot be found out")?;
    let Some(checkout) = current.ancestors().find(|directory| is_checkout(directory)) else {
        bail!(
            "the page is not installed: there is no {}; give its directory with --directory, or run this inside a \
             source checkout",
            beside.display()
        );
    };
    let built = checkout.join("web").join("dist");
    if !is_page(&built) {
        build(checkout)?;
    } else if is_outdated(checkout, &built) {
        anstream::eprintln!("note: web/dist is older than the source; `cargo xtask web` builds it again");
    }
    if !is_page(&built) {
        bail!("`cargo xtask web` made no page in {}", built.display());
    }
    Ok(built)
}

fn is_page(directory: &Path) -> bool {
    directory.join("index.html").is_file()
}

fn is_checkout(directory: &Path) -> bool {
    ["Cargo.toml", "xtask/Cargo.toml", "web/package.json"].iter().all(|file| directory.join(file).is_file())
}

/// Builds the page; its output is this command's, since it takes minutes.
fn build(checkout: &Path) -> Result<()> {
    anstream::eprintln!("the page is not built yet; running `cargo xtask web`, which takes some minutes");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["xtask", "web"])
        .current_dir(checkout)
        .status()
        .context("cargo could not be started to build the page")?;
    if !status.success() {
        bail!("the page could not be built; the reason is above");
    }
    Ok(())
}

/// Whether something that the page is made of is younger than the page.
fn is_outdated(checkout: &Path, page: &Path) -> bool {
    let Some(built) = modified(&page.join("index.html")) else { return true };
    let sources = ["crates", "guests", "models/pocket/pocket.gguf", "web/bindings", "web/src", "Cargo.lock"];
    sources.iter().any(|source| newest(&checkout.join(source)).is_some_and(|newest| newest > built))
}

/// When the youngest file beneath this place was changed.
fn newest(path: &Path) -> Option<SystemTime> {
    if !path.is_dir() {
        return modified(path);
    }
    fs::read_dir(path).ok()?.flatten().filter_map(|entry| newest(&entry.path())).max()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
