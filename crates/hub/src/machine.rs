//! What this machine has free: memory and disk.

use std::path::Path;

/// Bytes of memory that programs can take without pushing others out; only Linux tells (`MemAvailable`), and what a
/// container may use is less.
pub fn available_memory() -> Option<u64> {
    let information = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = information.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let machine = kibibytes.checked_mul(1024)?;
    Some(container_memory().map_or(machine, |container| container.min(machine)))
}

/// What is left of a container's limit (control groups, version 2).
fn container_memory() -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse().ok()
    };
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

/// Bytes that this user can still write to the disk of `folder`; `None` where the system does not tell.
#[cfg(unix)]
pub fn available_disk(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// Bytes that this user can still write to the disk of `folder`; `None` where the system does not tell.
#[cfg(not(unix))]
pub fn available_disk(_folder: &Path) -> Option<u64> {
    None
}
