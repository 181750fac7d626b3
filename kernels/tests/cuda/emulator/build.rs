//! Units compiled by g++ into `target/tmp`, each under the hash of what it was made of, and loaded.

use preheat_kernels::cuda::{CudaError, Unit};
use std::ffi::{CString, c_void};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::NonNull;
use std::sync::OnceLock;

const HEADER: &str = include_str!("emulator.hpp");

/// Nothing may be contracted; a fault handler needs the frames as they are written.
const FLAGS: &[&str] =
    &["-std=c++17", "-O2", "-funroll-loops", "-ffp-contract=off", "-fPIC", "-shared", "-fno-exceptions", "-fno-rtti"];

/// What g++ says of its version, where there is one.
fn compiler() -> Option<&'static str> {
    static VERSION: OnceLock<Option<String>> = OnceLock::new();
    let ask = || {
        let out = Command::new("g++").arg("--version").output().ok().filter(|out| out.status.success())?;
        Some(String::from_utf8_lossy(&out.stdout).into_owned())
    };
    VERSION.get_or_init(ask).as_deref()
}

/// Whether kernels can be compiled here.
pub(crate) fn has_compiler() -> bool {
    compiler().is_some()
}

/// The hardware's fused multiply-add where it has one; the C library's has the same bits and is slow.
fn machine_flags() -> &'static [&'static str] {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("fma") {
        return &["-mfma"];
    }
    &[]
}

/// A loaded unit. It stays loaded as long as the process lives.
pub(super) struct Library(NonNull<c_void>);

// SAFETY: a handle belongs to the process.
unsafe impl Send for Library {}

impl Library {
    /// Compiles the unit unless that was done before.
    pub(super) fn of(unit: &Unit) -> Result<Self, CudaError> {
        let text = translation_unit(unit);
        let mut hasher = DefaultHasher::new();
        (&text, FLAGS, machine_flags(), compiler()).hash(&mut hasher);
        let stem = unit.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{stem}-{:016x}.so", hasher.finish()));
        if !path.exists() {
            compile(&unit.name, &text, &path)?;
        }
        Ok(Self::load(&path))
    }

    fn load(path: &Path) -> Self {
        let name = CString::new(path.as_os_str().as_encoded_bytes()).expect("a path holds no zero");
        // SAFETY: the library was just built from our header and has no initialisers.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        Self(NonNull::new(handle).unwrap_or_else(|| panic!("{} cannot be loaded", path.display())))
    }

    /// The address of a function.
    pub(super) fn symbol(&self, name: &str) -> *mut c_void {
        let c = CString::new(name).expect("a name holds no zero");
        // SAFETY: the handle is open and the name ends with a zero.
        let found = unsafe { libc::dlsym(self.0.as_ptr(), c.as_ptr()) };
        assert!(!found.is_null(), "{name} is in no library");
        found
    }
}

/// The header, the unit, and a C function for each kernel that unpacks its arguments.
fn translation_unit(unit: &Unit) -> String {
    let mut text = format!("#line 1 \"emulator.hpp\"\n{HEADER}\n#line 1 \"{}\"\n{}\n", unit.name, unit.text);
    for kernel in unit.kernels() {
        let call = format!("{{ emulator::call(&{kernel}, arguments); }}");
        writeln!(text, "extern \"C\" void emulator_call_{kernel}(void** arguments) {call}").expect("a string grows");
    }
    text
}

/// Writes under names of this process first, so that two tests may compile the same unit.
fn compile(name: &str, text: &str, to: &Path) -> Result<(), CudaError> {
    let own = |extension: &str| -> PathBuf {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        to.with_extension(format!("{}.{count}.{extension}", std::process::id()))
    };
    let (source, library) = (own("cpp"), own("so"));
    std::fs::write(&source, text).expect("target/tmp can be written");
    let out = Command::new("g++").args(FLAGS).args(machine_flags()).arg("-o").arg(&library).arg(&source).output();
    let out = out.expect("g++ runs");
    drop(std::fs::remove_file(&source));
    if !out.status.success() {
        let log = String::from_utf8_lossy(&out.stderr).into_owned();
        return Err(CudaError::Compile { unit: name.into(), log });
    }
    std::fs::rename(&library, to).expect("the library can be renamed");
    Ok(())
}
