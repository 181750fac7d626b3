//! Opening a shared library: in the folders that the caller found, then by the system's loader.

use libloading::Library;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The library called `name`. Its symbols serve the libraries that are opened later, so that a library in a folder
/// unknown to the loader finds its neighbours, and another `open` of the same name gets this one.
///
/// It stays open to the end of the process: CUDA's libraries start threads.
pub(super) fn open(name: &str, folders: &[PathBuf]) -> Option<&'static Library> {
    let mut places = folders.iter().map(|folder| folder.join(name));
    let library = places.find_map(|path| load(&path)).or_else(|| load(Path::new(name)))?;
    Some(Box::leak(Box::new(library)))
}

/// The library at this very place.
pub(super) fn open_at(path: &Path) -> Option<&'static Library> {
    Some(Box::leak(Box::new(load(path)?)))
}

#[cfg(unix)]
fn load(name: &Path) -> Option<Library> {
    use libloading::os::unix;
    let name: &OsStr = name.as_os_str();
    // SAFETY: the initialisers are those that every CUDA program runs.
    let opened = unsafe { unix::Library::open(Some(name), unix::RTLD_NOW | unix::RTLD_GLOBAL) };
    opened.ok().map(Library::from)
}

#[cfg(not(unix))]
fn load(name: &Path) -> Option<Library> {
    let name: &OsStr = name.as_os_str();
    // SAFETY: as above.
    unsafe { Library::new(name) }.ok()
}

/// Whether `library` has `symbol`.
pub(super) fn has(library: &Library, symbol: &str) -> bool {
    // SAFETY: the address is not used.
    unsafe { library.get::<*const ()>(symbol.as_bytes()) }.is_ok()
}

/// The function `symbol` of `library`.
///
/// # Safety
/// `F` is the function's C type.
pub(super) unsafe fn function<F: Copy>(library: &'static Library, symbol: &'static str) -> Option<F> {
    // SAFETY: the caller's.
    unsafe { library.get::<F>(symbol.as_bytes()) }.ok().map(|found| *found)
}
