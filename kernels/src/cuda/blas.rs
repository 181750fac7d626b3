//! cuBLAS and cuBLASLt, called directly as the run-time compiler is: nothing is asked of a library before every function
//! that will be called was found in it.
//!
//! Strided batches go through cuBLASLt, whose algorithm is chosen once and told; listed ones, the heads of attention,
//! through `cublasGemmBatchedEx`, whose algorithm the library chooses for each shape (`multiplier.rs`).

use super::CudaError;
use super::library;
use super::probe::Absent;
use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::PathBuf;

/// cuBLASLt's library.
pub const LT_LIBRARY: &str = "libcublasLt.so.13";
/// cuBLAS's library, which needs the other.
pub const LIBRARY: &str = "libcublas.so.13";
/// Bytes of the workspace that every call of a stream may use, as NVIDIA recommends for its newer GPUs.
pub const WORKSPACE_BYTES: usize = 32 << 20;

pub(super) type Opaque = *mut c_void;
pub(super) type Status = c_int;
pub(super) type Free = unsafe extern "C" fn(Opaque) -> Status;
pub(super) type SetAttribute = unsafe extern "C" fn(Opaque, c_int, *const c_void, usize) -> Status;

/// cublasLtMatmulAlgo_t.
pub(super) type Algorithm = [u64; 8];

/// cublasLtMatmulHeuristicResult_t.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Heuristic {
    pub(super) algorithm: Algorithm,
    workspace_bytes: usize,
    pub(super) state: Status,
    waves: f32,
    reserved: [c_int; 4],
}

/// The libraries, opened.
#[derive(Clone, Copy)]
pub struct Blas {
    pub(super) lt: Lt,
    pub(super) classic: Classic,
    version: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Lt {
    pub(super) create: unsafe extern "C" fn(*mut Opaque) -> Status,
    pub(super) destroy: Free,
    pub(super) desc: (Create2, Free, SetAttribute),
    pub(super) layout: (unsafe extern "C" fn(*mut Opaque, c_int, u64, u64, i64) -> Status, Free, SetAttribute),
    pub(super) preference: (unsafe extern "C" fn(*mut Opaque) -> Status, Free, SetAttribute),
    pub(super) heuristic: unsafe extern "C" fn(
        Opaque,
        Opaque,
        Opaque,
        Opaque,
        Opaque,
        Opaque,
        Opaque,
        c_int,
        *mut Heuristic,
        *mut c_int,
    ) -> Status,
    pub(super) algorithm: unsafe extern "C" fn(*const Algorithm, c_int, *mut c_void, usize, *mut usize) -> Status,
    pub(super) matmul: unsafe extern "C" fn(
        Opaque,
        Opaque,
        *const f32,
        u64,
        Opaque,
        u64,
        Opaque,
        *const f32,
        u64,
        Opaque,
        u64,
        Opaque,
        *const Algorithm,
        u64,
        usize,
        Opaque,
    ) -> Status,
    pub(super) explain: unsafe extern "C" fn(Status) -> *const c_char,
}

pub(super) type Create2 = unsafe extern "C" fn(*mut Opaque, c_int, c_int) -> Status;

#[derive(Clone, Copy)]
pub(super) struct Classic {
    pub(super) create: unsafe extern "C" fn(*mut Opaque) -> Status,
    pub(super) destroy: Free,
    pub(super) set_stream: unsafe extern "C" fn(Opaque, Opaque) -> Status,
    pub(super) set_workspace: unsafe extern "C" fn(Opaque, u64, usize) -> Status,
    pub(super) batched: unsafe extern "C" fn(
        Opaque,
        c_int,
        c_int,
        c_int,
        c_int,
        c_int,
        *const f32,
        u64,
        c_int,
        c_int,
        u64,
        c_int,
        c_int,
        *const f32,
        u64,
        c_int,
        c_int,
        c_int,
        c_int,
        c_int,
    ) -> Status,
}

impl Blas {
    /// Opens both libraries: `folders` first, then the loader's places.
    ///
    /// # Errors
    /// One is not there, or lacks a function.
    pub fn open(folders: &[PathBuf]) -> Result<Self, Absent> {
        let lt = library::open(LT_LIBRARY, folders).ok_or(Absent::Blas(LT_LIBRARY))?;
        let classic = library::open(LIBRARY, folders).ok_or(Absent::Blas(LIBRARY))?;
        // SAFETY: the C types of cublasLt.h and cublas_api.h.
        unsafe {
            let version: unsafe extern "C" fn() -> usize = symbol(lt, "cublasLtGetVersion")?;
            let of = |create, destroy, set| Ok::<_, Absent>((create, symbol::<Free>(lt, destroy)?, symbol(lt, set)?));
            let desc: Create2 = symbol(lt, "cublasLtMatmulDescCreate")?;
            let (d, f, s) = of(desc, "cublasLtMatmulDescDestroy", "cublasLtMatmulDescSetAttribute")?;
            Ok(Self {
                version: version(),
                lt: Lt {
                    create: symbol(lt, "cublasLtCreate")?,
                    destroy: symbol(lt, "cublasLtDestroy")?,
                    desc: (d, f, s),
                    layout: (
                        symbol(lt, "cublasLtMatrixLayoutCreate")?,
                        symbol(lt, "cublasLtMatrixLayoutDestroy")?,
                        symbol(lt, "cublasLtMatrixLayoutSetAttribute")?,
                    ),
                    preference: (
                        symbol(lt, "cublasLtMatmulPreferenceCreate")?,
                        symbol(lt, "cublasLtMatmulPreferenceDestroy")?,
                        symbol(lt, "cublasLtMatmulPreferenceSetAttribute")?,
                    ),
                    heuristic: symbol(lt, "cublasLtMatmulAlgoGetHeuristic")?,
                    algorithm: symbol(lt, "cublasLtMatmulAlgoConfigGetAttribute")?,
                    matmul: symbol(lt, "cublasLtMatmul")?,
                    explain: symbol(lt, "cublasLtGetStatusString")?,
                },
                classic: Classic {
                    create: symbol(classic, "cublasCreate_v2")?,
                    destroy: symbol(classic, "cublasDestroy_v2")?,
                    set_stream: symbol(classic, "cublasSetStream_v2")?,
                    set_workspace: symbol(classic, "cublasSetWorkspace_v2")?,
                    batched: symbol(classic, "cublasGemmBatchedEx")?,
                },
            })
        }
    }

    /// cuBLASLt's version as it counts: 10000·major + 100·minor + patch.
    pub const fn version(&self) -> usize {
        self.version
    }

    pub(super) fn said(&self, call: &'static str, status: Status) -> Result<(), CudaError> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: a text that lives as long as the library.
        let words = unsafe { CStr::from_ptr((self.lt.explain)(status)) }.to_string_lossy().into_owned();
        Err(CudaError::Call { call, what: words })
    }
}

unsafe fn symbol<F: Copy>(library: &'static Library, name: &'static str) -> Result<F, Absent> {
    // SAFETY: the caller's.
    unsafe { library::function(library, name) }.ok_or(Absent::BlasSymbol(name))
}
