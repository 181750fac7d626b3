//! CUDA's run-time compiler: source to machine code (CUBIN) for one architecture. It needs no GPU and no driver.
//!
//! PTX is never loaded: a driver refuses that of a newer compiler, and a CUBIN of the right architecture it takes.

use super::library;
use super::probe::Absent;
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::PathBuf;
use std::ptr;

/// The compiler's library.
pub const LIBRARY: &str = "libnvrtc.so.13";

/// The options of exact math. Only the first differs from the compiler's defaults; the others say what the bits need.
pub const EXACT: [&str; 4] = ["--fmad=false", "--prec-div=true", "--prec-sqrt=true", "--ftz=false"];

type Program = *mut std::ffi::c_void;
type Status = c_int;
type OfProgram<T> = unsafe extern "C" fn(Program, *mut T) -> Status;
type Text = unsafe extern "C" fn(Program, *mut c_char) -> Status;

/// The compiler, opened.
#[derive(Clone, Copy, Debug)]
pub struct Nvrtc {
    version: (i32, i32),
    architectures: (unsafe extern "C" fn(*mut c_int) -> Status, unsafe extern "C" fn(*mut c_int) -> Status),
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> Status,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> Status,
    destroy: unsafe extern "C" fn(*mut Program) -> Status,
    log: (OfProgram<usize>, Text),
    ptx: (OfProgram<usize>, Text),
    cubin: (OfProgram<usize>, Text),
    explain: unsafe extern "C" fn(Status) -> *const c_char,
}

/// What became of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// Machine code for the architecture that was asked for.
    pub cubin: Vec<u8>,
    /// The code before register allocation, for the reader.
    pub ptx: String,
    /// Warnings, and what `--ptxas-options=-v` reports.
    pub log: String,
}

/// A source that does not compile: the compiler's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} does not compile for {arch}: {log}")]
pub struct CompileError {
    /// The source's name.
    pub name: String,
    /// The architecture, such as `sm_90`.
    pub arch: String,
    /// The compiler's words.
    pub log: String,
}

impl Nvrtc {
    /// Opens the compiler: `folders` first, then the loader's places.
    ///
    /// # Errors
    /// It is not there, or lacks a function.
    pub fn open(folders: &[PathBuf]) -> Result<Self, Absent> {
        let library = library::open(LIBRARY, folders).ok_or(Absent::Compiler)?;
        type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status;
        // SAFETY: the C types of nvrtc.h.
        unsafe {
            let get_version: Version = symbol(library, "nvrtcVersion")?;
            let mut version = (0, 0);
            get_version(&raw mut version.0, &raw mut version.1);
            // What it opens by itself when it compiles, from the loader's places. In a folder that the loader does not
            // know it would not find it.
            let builtins = format!("libnvrtc-builtins.so.{}.{}", version.0, version.1);
            folders.iter().find_map(|folder| library::open_at(&folder.join(&builtins)));
            Ok(Self {
                version,
                architectures: (
                    symbol(library, "nvrtcGetNumSupportedArchs")?,
                    symbol(library, "nvrtcGetSupportedArchs")?,
                ),
                create: symbol(library, "nvrtcCreateProgram")?,
                compile: symbol(library, "nvrtcCompileProgram")?,
                destroy: symbol(library, "nvrtcDestroyProgram")?,
                log: (symbol(library, "nvrtcGetProgramLogSize")?, symbol(library, "nvrtcGetProgramLog")?),
                ptx: (symbol(library, "nvrtcGetPTXSize")?, symbol(library, "nvrtcGetPTX")?),
                cubin: (symbol(library, "nvrtcGetCUBINSize")?, symbol(library, "nvrtcGetCUBIN")?),
                explain: symbol(library, "nvrtcGetErrorString")?,
            })
        }
    }

    /// Major and minor version.
    pub const fn version(&self) -> (i32, i32) {
        self.version
    }

    /// The architectures that it compiles for, such as 90; none where it does not say.
    pub fn architectures(&self) -> Vec<u32> {
        let (count, list) = self.architectures;
        let mut len = 0;
        // SAFETY: an out-parameter that lives.
        if unsafe { count(&raw mut len) } != 0 {
            return Vec::new();
        }
        let mut all: Vec<c_int> = vec![0; usize::try_from(len).unwrap_or(0)];
        // SAFETY: room for as many as it says there are.
        let status = unsafe { list(all.as_mut_ptr()) };
        all.into_iter().filter(|_| status == 0).filter_map(|sm| u32::try_from(sm).ok()).collect()
    }

    /// Compiles `source`, called `name` in messages, for the architecture `sm` (90 for `sm_90`) with exact math and
    /// `more` options.
    ///
    /// # Errors
    /// The compiler's log.
    ///
    /// # Panics
    /// A zero byte in the source.
    pub fn compile(&self, name: &str, source: &str, sm: u32, more: &[&str]) -> Result<Compiled, CompileError> {
        let arch = format!("sm_{sm}");
        let c = |text: &str| CString::new(text).expect("no zero byte");
        let options: Vec<CString> =
            [format!("--gpu-architecture={arch}").as_str()].iter().chain(&EXACT).chain(more).map(|o| c(o)).collect();
        let options: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        let (c_name, c_source) = (c(name), c(source));
        let fail = |log: String| CompileError { name: name.into(), arch: arch.clone(), log };
        let mut program: Program = ptr::null_mut();
        // SAFETY: strings that end with zero and live; no headers.
        let made =
            unsafe { (self.create)(&raw mut program, c_source.as_ptr(), c_name.as_ptr(), 0, ptr::null(), ptr::null()) };
        if made != 0 {
            return Err(fail(self.words(made)));
        }
        // SAFETY: a program that was just made; as many options as are counted.
        let status = unsafe { (self.compile)(program, options.len() as c_int, options.as_ptr()) };
        let text = |of| String::from_utf8_lossy(&self.bytes(program, of)).trim_end_matches('\0').trim().to_string();
        let log = text(self.log);
        let done = if status == 0 {
            Ok(Compiled { cubin: self.bytes(program, self.cubin), ptx: text(self.ptx), log })
        } else {
            Err(fail(format!("{}\n{log}", self.words(status))))
        };
        // SAFETY: made above, and used no more.
        unsafe { (self.destroy)(&raw mut program) };
        done
    }

    /// One of the program's results; empty where the compiler has none.
    fn bytes(&self, program: Program, (size, get): (OfProgram<usize>, Text)) -> Vec<u8> {
        let mut len = 0;
        // SAFETY: a live program and an out-parameter that lives.
        if unsafe { size(program, &raw mut len) } != 0 || len == 0 {
            return Vec::new();
        }
        let mut bytes = vec![0_u8; len];
        // SAFETY: room for as many bytes as the compiler asked for.
        let status = unsafe { get(program, bytes.as_mut_ptr().cast()) };
        if status == 0 { bytes } else { Vec::new() }
    }

    fn words(&self, status: Status) -> String {
        // SAFETY: a text that lives as long as the library.
        unsafe { CStr::from_ptr((self.explain)(status)) }.to_string_lossy().into_owned()
    }
}

unsafe fn symbol<F: Copy>(library: &'static Library, name: &'static str) -> Result<F, Absent> {
    // SAFETY: the caller's.
    unsafe { library::function(library, name) }.ok_or(Absent::CompilerSymbol(name))
}
