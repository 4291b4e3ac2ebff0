//! The version of the contract between a module and its host, which a module may name.

use crate::{ModuleError, abi};

/// Checks a section [`abi::VERSION_SECTION`], whose contents lie at `offset`.
pub(super) fn check(contents: &[u8], offset: u64, seen: bool) -> Result<(), ModuleError> {
    let refused = |reason: &str| Err(ModuleError::Refused { reason: reason.into(), offset });
    if seen {
        return refused("it has several sections `glasshouse.abi`; a module has one version");
    }
    let Ok(version) = contents.try_into().map(u32::from_le_bytes) else {
        return refused("its section `glasshouse.abi` is not a version of four bytes");
    };
    if version == abi::VERSION {
        return Ok(());
    }
    Err(ModuleError::UnknownAbi { version, offset })
}
