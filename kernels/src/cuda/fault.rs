//! What a failed call of the driver says, and which failures end a context.

use super::CudaError;
use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult as R;
use std::ffi::CStr;

/// After these no call of this process succeeds any more. cuda.h says of most that they leave the process in a state
/// that only its end mends; the others are errors of the hardware or a context that is gone.
const LOST: [R; 19] = [
    R::CUDA_ERROR_DEINITIALIZED,
    R::CUDA_ERROR_ECC_UNCORRECTABLE,
    R::CUDA_ERROR_NVLINK_UNCORRECTABLE,
    R::CUDA_ERROR_CONTAINED,
    R::CUDA_ERROR_ILLEGAL_ADDRESS,
    R::CUDA_ERROR_LAUNCH_TIMEOUT,
    R::CUDA_ERROR_CONTEXT_IS_DESTROYED,
    R::CUDA_ERROR_ASSERT,
    R::CUDA_ERROR_HARDWARE_STACK_ERROR,
    R::CUDA_ERROR_ILLEGAL_INSTRUCTION,
    R::CUDA_ERROR_MISALIGNED_ADDRESS,
    R::CUDA_ERROR_INVALID_ADDRESS_SPACE,
    R::CUDA_ERROR_INVALID_PC,
    R::CUDA_ERROR_LAUNCH_FAILED,
    R::CUDA_ERROR_TENSOR_MEMORY_LEAK,
    R::CUDA_ERROR_MPS_CLIENT_TERMINATED,
    R::CUDA_ERROR_MPS_RPC_FAILURE,
    R::CUDA_ERROR_EXTERNAL_DEVICE,
    R::CUDA_ERROR_UNKNOWN,
];

/// The driver's answer, or what `call` says.
pub(super) fn said<T>(call: &'static str, answer: Result<T, DriverError>) -> Result<T, CudaError> {
    answer.map_err(|e| failed(call, e))
}

/// What a failed call says.
pub(super) fn failed(call: &'static str, e: DriverError) -> CudaError {
    lost(call, e).unwrap_or_else(|| CudaError::Call { call, what: words(e) })
}

/// The end of the context, where that is it. A kernel's fault shows in whichever call comes next.
pub(super) fn lost(call: &'static str, e: DriverError) -> Option<CudaError> {
    LOST.contains(&e.0).then(|| CudaError::Lost { what: format!("{} (seen by {call})", words(e)) })
}

/// The driver's own words; the library is known to be there.
pub(super) fn words(e: DriverError) -> String {
    let text = |t: Result<&CStr, DriverError>| t.map_or("?".into(), |t| t.to_string_lossy().into_owned());
    format!("{}: {}", text(e.error_name()), text(e.error_string()))
}
