//! Compiled code in the on-disk cache.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    os::fd::AsRawFd as _,
    path::Path,
};

use pintle_core::digest::Digest;
use wasmtime::{Engine, component::Component};

use crate::disk::SealedFolder;

/// The folder in which open files have paths. A sandbox may not have it.
pub(super) const DESCRIPTORS: &str = "/proc/self/fd";

/// Writes compiled code under a key.
pub(super) fn write(disk: &SealedFolder, key: Digest, component: &Component) -> io::Result<()> {
    let native = component.serialize().map_err(io::Error::other)?;
    disk.write_mapped(key, &native)
}

/// Loads what was written under a key, if it exists and is intact. Code that does not load is deleted.
pub(super) fn read(
    disk: &SealedFolder,
    engine: &Engine,
    key: Digest,
    descriptors: &Path,
) -> Option<Component> {
    let file = disk.mapped(key)?;
    match load(engine, file, descriptors) {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "cached code does not load, and is compiled again"
            );
            disk.forget_mapped(key);
            None
        }
    }
}

/// Loads the file that was checked, rather than whatever is at its path by now. The file is mapped through its descriptor, or
/// read where descriptors have no path.
#[expect(
    unsafe_code,
    reason = "loading native code is unsafe because the engine runs whatever it is given. What it is given here \
              was compiled by this account: the file belongs to it and nobody else can write it, its seal is \
              the digest over the key (component, engine, versions) and every byte, and the file system says \
              that nothing was changed since it was written or last compared with that. It is the very file \
              that was checked, whatever is at its path by now. Whoever can change it, now or while it is \
              mapped, is this account already, and could as well replace the agent. Code never comes from a \
              registry"
)]
fn load(engine: &Engine, mut file: File, descriptors: &Path) -> wasmtime::Result<Component> {
    let path = descriptors.join(file.as_raw_fd().to_string());
    if File::open(&path).is_ok() {
        // SAFETY: the file is what `Component::serialize` of a compatible engine returned, as argued above.
        return unsafe { Component::deserialize_file(engine, &path) };
    }
    // This takes more memory, but no compiler.
    let mut native = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut native)?;
    // SAFETY: the bytes are those of the same file.
    unsafe { Component::deserialize(engine, &native) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// An empty component.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn code_is_loaded_where_open_files_have_no_paths_too() {
        let root = tempfile::tempdir().unwrap();
        let disk = SealedFolder::open(&root.path().join("a"), 1 << 20).unwrap();
        let engine = Engine::default();
        let key = Digest::of("k");
        let component = Component::from_binary(&engine, EMPTY).unwrap();
        write(&disk, key, &component).unwrap();
        for descriptors in [DESCRIPTORS, "/none"] {
            let loaded = read(&disk, &engine, key, Path::new(descriptors));
            assert!(loaded.is_some(), "{descriptors}");
            assert!(disk.mapped(key).is_some(), "{descriptors}");
        }
    }

    #[test]
    fn a_file_is_loaded_as_a_whole_though_it_was_read_for_a_check() {
        let root = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let component = Component::from_binary(&engine, EMPTY).unwrap();
        let path = root.path().join("native");
        fs::write(&path, component.serialize().unwrap()).unwrap();
        let mut file = File::open(&path).unwrap();
        file.read_to_end(&mut Vec::new()).unwrap();
        load(&engine, file, Path::new("/none")).unwrap();
    }

    #[test]
    fn what_does_not_load_is_deleted() {
        let root = tempfile::tempdir().unwrap();
        let disk = SealedFolder::open(&root.path().join("a"), 1 << 20).unwrap();
        let key = Digest::of("k");
        disk.write_mapped(key, b"no code").unwrap();
        let loaded = read(&disk, &Engine::default(), key, Path::new(DESCRIPTORS));
        assert!(loaded.is_none());
        assert!(disk.mapped(key).is_none());
    }
}
