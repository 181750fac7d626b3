//! The code that speaks to the driver, with a driver and a compiler of straw that are built here with gcc: what it
//! asks for, in which order, and that nothing is left behind. No number is computed.
#![cfg(target_os = "linux")]

#[expect(unreachable_pub, reason = "it is also a crate")]
#[path = "../../../tests/support/lib.rs"]
mod support;

use preheat_kernels::cuda::blas::{Blas, LT_LIBRARY};
use preheat_kernels::cuda::gemm::{Batch, Gemm, MathMode, Matrix};
use preheat_kernels::cuda::gpu::{Algorithms, Cache, Footprint, Gpu, GpuExec};
use preheat_kernels::cuda::probe::{self, Absent, SYMBOLS};
use preheat_kernels::cuda::{CudaError, DeviceAddress, Exec, Launch, Sources, Unit, Work};
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};

/// Compiles one file of this folder into `name`; false where there is no gcc.
fn build(source: &str, name: &str, soname: &str) -> bool {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/driver/");
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-shared", "-fPIC", "-o"]).arg(folder().join(name));
    gcc.arg(format!("-Wl,-soname,{soname}")).arg(format!("{here}{source}"));
    match gcc.output() {
        Err(_) => false,
        Ok(out) => {
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            true
        }
    }
}

fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("straw");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// The driver of straw, for one test at a time: it counts for the whole process. `None` without gcc.
fn straw(test: &str) -> Option<(MutexGuard<'static, ()>, Vec<PathBuf>)> {
    static ONE: Mutex<Option<bool>> = Mutex::new(None);
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    let mut built = ONE.lock().unwrap_or_else(|e| e.into_inner());
    // The name that `cudarc` asks for first, so that a real driver stays out of this.
    let there = *built.get_or_insert_with(|| {
        build("fake.c", "libcuda.so.1", "libcuda.so")
            && ["libnvrtc.so.13", "libcublasLt.so.13", "libcublas.so.13"]
                .into_iter()
                .all(|name| build(if name.contains("blas") { "blas.c" } else { "compiler.c" }, name, name))
    });
    if !there {
        support::skip(test, "gcc");
        return None;
    }
    fake(0, "fake_fail_launch", -1);
    fake(0, "fake_break", 0);
    fake(0, "fake_take", 0);
    fake(0, "fake_major", 9);
    Some((turn, vec![folder()]))
}

/// Calls one of the straw's own functions.
fn fake(library: usize, name: &str, value: c_int) -> c_int {
    let path = folder().join(["libcuda.so.1", "libnvrtc.so.13", "libcublasLt.so.13", "libcublas.so.13"][library]);
    // SAFETY: built above; each takes an int or nothing, which the C calling convention does not tell apart.
    unsafe {
        let library = libloading::Library::new(path).expect("a library");
        let function = library.get::<unsafe extern "C" fn(c_int) -> c_int>(name.as_bytes()).expect("a function");
        let answer = function(value);
        std::mem::forget(library);
        answer
    }
}

const LAUNCHED: c_int = 0;
const RECORDED: c_int = 1;
const REPLAYED: c_int = 2;
const LIVE: c_int = 3;

fn count(which: c_int) -> c_int {
    fake(0, "fake_count", which)
}

/// Remembers.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Cache for Memory {
    fn get(&self, text: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(text).cloned()
    }
    fn put(&self, text: &str, bytes: &[u8]) {
        self.0.lock().unwrap().insert(text.into(), bytes.into());
    }
}

fn sources(text: &str) -> Sources {
    let text = text.to_string();
    Sources { units: vec![Unit { name: "straw.cu".into(), text }] }
}

const TWO: &str = "extern \"C\" __global__ void one(A a) {}\nextern \"C\" __global__ void two(A a) {}";

fn launch(kernel: &str, shared_bytes: u32) -> Work {
    Launch { kernel: kernel.into(), grid: [2, 1, 1], block: [32, 1, 1], shared_bytes, args: Box::new([1, 2]) }.into()
}

#[test]
fn a_whole_driver_passes() {
    let Some((_turn, folders)) = straw("a_whole_driver_passes") else { return };
    let found = probe::probe(&folders).expect("all is there");
    assert_eq!((found.driver, found.devices, found.nvrtc.version()), (13_000, 1, (13, 0)));
    let mut sorted = SYMBOLS.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted, SYMBOLS, "the list is sorted, each once");
}

#[test]
fn memory_comes_zeroed_goes_both_ways_and_is_given_back() {
    let Some((_turn, folders)) = straw("memory") else { return };
    let before = count(LIVE);
    let gpu = Gpu::open(&folders, Box::new(Memory::default())).expect("a GPU");
    assert_eq!((gpu.about.name.as_str(), gpu.about.sm, gpu.about.multiprocessors), ("a GPU of straw", 90, 132));
    let mut exec = GpuExec::new(Arc::clone(&gpu), &sources(TWO), true).expect("an exec");
    let (a, b) = (exec.alloc(16).unwrap(), exec.alloc(0).unwrap());
    assert!(a != b && a != DeviceAddress::NONE);
    let mut bytes = [7; 16];
    exec.download(a, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 16]);
    let mut source = [1, 2, 3];
    exec.upload(a.offset(4), &source).unwrap();
    // The driver of straw reads late, as a device may.
    source.fill(9);
    exec.download(a.offset(3), &mut bytes[..5]).unwrap();
    assert_eq!((source, &bytes[..5]), ([9; 3], &[0, 1, 2, 3, 0][..]));
    exec.free(a);
    let asked = usize::try_from(gpu.free_bytes().unwrap()).unwrap() + 1;
    let refused = exec.alloc(asked).unwrap_err();
    assert_eq!(refused, CudaError::OutOfMemory { asked_bytes: asked as u64, free_bytes: asked as u64 - 1 });
    let footprint = Footprint { registers: 64, local_bytes: 0 };
    assert_eq!(exec.footprints().unwrap(), BTreeMap::from([("one".into(), footprint), ("two".into(), footprint)]));
    // `b` is still held: the end gives it back.
    drop(exec);
    drop(gpu);
    assert_eq!(count(LIVE), before, "context, stream, modules and memory are given back");
}

#[test]
fn a_list_is_recorded_once_and_replayed() {
    let Some((_turn, folders)) = straw("a_list_is_recorded_once_and_replayed") else { return };
    let before = [LAUNCHED, RECORDED, REPLAYED, LIVE].map(count);
    let since = || {
        let now = [LAUNCHED, RECORDED, REPLAYED].map(count);
        [now[0] - before[0], now[1] - before[1], now[2] - before[2]]
    };
    let gpu = Gpu::open(&folders, Box::new(Memory::default())).expect("a GPU");
    let list = [launch("one", 0), launch("two", 64 * 1024), launch("one", 16)];
    let mut exec = GpuExec::new(Arc::clone(&gpu), &sources(TWO), true).unwrap();
    for id in [4, 4, 9, 4, 9] {
        // SAFETY: straw.
        unsafe { exec.replay(id, &list) }.unwrap();
    }
    assert_eq!(since(), [6, 6, 3], "two lists: each ran one by one, was then recorded, and replayed");
    let mut eager = GpuExec::new(Arc::clone(&gpu), &sources(TWO), false).unwrap();
    // SAFETY: straw.
    unsafe { eager.replay(4, &list) }.unwrap();
    assert_eq!(since(), [9, 6, 3], "one by one where nothing is recorded");
    drop((exec, eager, gpu));
    assert_eq!(count(LIVE), before[3]);
}

#[test]
fn a_launch_that_fails_while_recording_leaves_the_stream_usable() {
    let Some((_turn, folders)) = straw("a_launch_that_fails_while_recording_leaves_the_stream_usable") else { return };
    let before = count(LIVE);
    let gpu = Gpu::open(&folders, Box::new(Memory::default())).expect("a GPU");
    let mut exec = GpuExec::new(Arc::clone(&gpu), &sources(TWO), true).unwrap();
    let list = [launch("one", 0), launch("two", 0)];
    // SAFETY: straw.
    unsafe { exec.replay(0, &list) }.unwrap();
    let recorded = count(RECORDED);
    fake(0, "fake_fail_launch", 1);
    // SAFETY: straw.
    let failed = unsafe { exec.replay(0, &list) }.unwrap_err();
    assert_eq!(count(RECORDED) - recorded, 1, "it failed while it was recorded");
    let CudaError::Launch { kernel, what } = &failed else { panic!("{failed}") };
    assert!(kernel == "two" && what.starts_with("CUDA_ERROR_INVALID_VALUE: invalid argument (grid"), "{failed}");
    fake(0, "fake_fail_launch", -1);
    // SAFETY: straw.
    let missing = unsafe { exec.replay(1, &[launch("three", 0)]) }.unwrap_err();
    assert!(missing.to_string().contains("kernel three: there is no such kernel"), "{missing}");
    // SAFETY: straw.
    let greedy = unsafe { exec.replay(2, &[launch("one", 1 << 20)]) }.unwrap_err();
    assert!(greedy.to_string().contains("1048576 bytes of shared memory"), "{greedy}");
    // The straw ends the process where the stream still records.
    exec.synchronize().unwrap();
    // SAFETY: straw.
    unsafe { exec.replay(0, &list) }.unwrap();
    drop((exec, gpu));
    assert_eq!(count(LIVE), before, "what was half recorded is given back");
}

#[test]
fn uploads_of_any_length_arrive_whole_and_in_order() {
    let Some((_turn, folders)) = straw("uploads_of_any_length_arrive_whole_and_in_order") else { return };
    let before = count(LIVE);
    fake(0, "fake_free_bytes", 128 << 20);
    let gpu = Gpu::open(&folders, Box::new(Memory::default())).expect("a GPU");
    let mut exec = GpuExec::new(gpu, &sources(TWO), true).unwrap();
    // More than the pinned memory holds at once, and no multiple of it.
    let mut long: Vec<u8> = (0..(32 << 20) + 12_345).map(|i: usize| (i % 251) as u8).collect();
    let at = exec.alloc(long.len()).unwrap();
    exec.upload(at.offset(5), &[1]).unwrap();
    exec.upload(at, &long).unwrap();
    exec.upload(at.offset(7), &[255, 254]).unwrap();
    exec.upload(at, &[]).unwrap();
    let mut back = vec![0; long.len()];
    exec.download(at, &mut back).unwrap();
    long[7..9].copy_from_slice(&[255, 254]);
    assert!(back == long, "the last upload to a place stands");
    // Steps' worth of small ones fill it too.
    for i in 0..80_u8 {
        exec.upload(at, &vec![i; 1 << 20]).unwrap();
    }
    exec.download(at, &mut back[..1 << 20]).unwrap();
    assert!(back[..1 << 20].iter().all(|byte| *byte == 79));
    drop(exec);
    fake(0, "fake_free_bytes", 1 << 20);
    assert_eq!(count(LIVE), before, "pinned memory is given back too");
}

#[test]
fn a_gpu_is_used_from_several_threads() {
    let Some((_turn, folders)) = straw("a_gpu_is_used_from_several_threads") else { return };
    let before = count(LIVE);
    let gpu = Gpu::open(&folders, Box::new(Memory::default())).expect("a GPU");
    for _ in 0..2 {
        let (gpu, sources) = (Arc::clone(&gpu), sources(TWO));
        // The straw ends the process where a thread speaks of memory or streams before it entered the context.
        let worker = std::thread::spawn(move || {
            assert!(gpu.free_bytes().unwrap() > 0);
            let mut exec = GpuExec::new(gpu, &sources, true).unwrap();
            let at = exec.alloc(64).unwrap();
            exec.upload(at, &[1; 64]).unwrap();
            for _ in 0..3 {
                // SAFETY: straw.
                unsafe { exec.replay(0, &[launch("one", 0)]) }.unwrap();
            }
            exec.synchronize().unwrap();
        });
        worker.join().expect("it ends well");
    }
    drop(gpu);
    assert_eq!(count(LIVE), before);
}

#[test]
fn threads_record_while_others_allocate_load_and_end() {
    let Some((_turn, folders)) = straw("threads_record_while_others_allocate_load_and_end") else { return };
    let live = || [count(LIVE), fake(LT, "fake_blas", 0), fake(CLASSIC, "fake_blas", 0)];
    let before = live();
    fake(0, "fake_free_bytes", 64 << 20);
    let gpu = Gpu::open(&folders, Box::new(Memory::default())).expect("a GPU");
    let blas = Blas::open(&folders).expect("both libraries");
    std::thread::scope(|scope| {
        for of in 1..=3_u8 {
            let gpu = &gpu;
            scope.spawn(move || {
                for round in 0..20_u8 {
                    let mut exec = GpuExec::new(Arc::clone(gpu), &sources(TWO), true).unwrap();
                    if of > 1 {
                        exec = exec.multiplying(blas, MathMode::Tf32, Algorithms::default()).unwrap();
                    }
                    let (at, mut back) = (exec.alloc(4096).unwrap(), [0; 4096]);
                    let mut work = vec![launch("one", 0), launch("two", 0)];
                    if of > 1 {
                        work.push(Work::Product(gemm(at, Batch::Strided(2), false)));
                    }
                    for step in 0..4_u8 {
                        exec.upload(at, &[of + round + step; 4096]).unwrap();
                        // SAFETY: straw.
                        unsafe { exec.replay(0, &work) }.unwrap();
                    }
                    exec.download(at, &mut back).unwrap();
                    assert_eq!(back, [of + round + 3; 4096]);
                }
            });
        }
    });
    drop(gpu);
    fake(0, "fake_free_bytes", 1 << 20);
    assert_eq!(live(), before);
}

#[test]
fn a_grid_beyond_the_device_s_is_refused_with_its_size() {
    let Some((_turn, folders)) = straw("a_grid_beyond_the_device_s_is_refused_with_its_size") else { return };
    let gpu = Gpu::open(&folders, Box::new(Memory::default())).expect("a GPU");
    let mut exec = GpuExec::new(gpu, &sources(TWO), true).unwrap();
    let wide = |grid| Launch { kernel: "one".into(), grid, block: [32, 1, 1], shared_bytes: 0, args: Box::new([1]) };
    // SAFETY: straw.
    unsafe { exec.replay(0, &[wide([1 << 30, 65_535, 65_535]).into()]) }.expect("as large as it gets");
    // SAFETY: straw.
    let refused = unsafe { exec.replay(1, &[wide([1, 65_536, 1]).into()]) }.unwrap_err().to_string();
    assert!(refused.contains("(grid [1, 65536, 1], block"), "{refused}");
}

#[test]
fn a_kernel_s_fault_loses_the_gpu_and_whoever_meets_it_says_so() {
    let Some((_turn, folders)) = straw("a_kernel_s_fault_loses_the_gpu_and_whoever_meets_it_says_so") else { return };
    let live = count(LIVE);
    // A fault, a hardware error, a context that is gone, and one that is none of these.
    for (code, ends) in [(700, true), (214, true), (709, true), (719, true), (999, true), (1, false), (701, false)] {
        let gpu = Gpu::open(&folders, Box::new(Memory::default())).expect("a GPU");
        let mut exec = GpuExec::new(Arc::clone(&gpu), &sources(TWO), true).unwrap();
        let at = exec.alloc(64).unwrap();
        // SAFETY: straw.
        unsafe { exec.replay(0, &[launch("one", 0)]) }.unwrap();
        fake(0, "fake_break", code);
        let lost = |e: CudaError, call: &str| match e {
            CudaError::Lost { what } => ends && what.ends_with(&format!("(seen by {call})")),
            _ => !ends,
        };
        assert!(lost(exec.download(at, &mut [0; 4]).unwrap_err(), "cuMemcpyDtoHAsync"), "{code}");
        assert!(lost(exec.alloc(4).unwrap_err(), "cuMemAlloc"), "{code}");
        // SAFETY: straw.
        let replays = [0, 1].map(|id| unsafe { exec.replay(id, &[launch("one", 0)]) }.unwrap_err());
        let [recording, launching] = replays;
        assert!(lost(recording, "cuStreamBeginCapture") && lost(launching, "cuLaunchKernel"), "{code}");
        // Everything after says the same, and giving back neither hangs nor panics.
        let after = GpuExec::new(gpu, &sources(TWO), true).map(drop).unwrap_err();
        assert!(lost(after, "cuStreamCreate"), "{code}");
        drop(exec);
        fake(0, "fake_break", 0);
    }
    assert_eq!(count(LIVE), live);
}

#[test]
fn cublas_says_little_of_a_lost_gpu_and_the_driver_is_asked() {
    let Some((_turn, folders)) = straw("cublas_says_little_of_a_lost_gpu_and_the_driver_is_asked") else { return };
    let (mut exec, _) = multiplying(&folders, MathMode::Tf32, true);
    let at = exec.alloc(4096).expect("memory");
    let place = |i: u64| [at.offset(64 * i), at.offset(1024 + 64 * i), at.offset(2048 + 64 * i)];
    let listed = gemm(at, Batch::Listed((0..2).map(place).collect()), false);
    let lists = [listed, gemm(at, Batch::Strided(2), true)].map(|gemm| [Work::Product(gemm)]);
    for (id, list) in lists.iter().enumerate() {
        // SAFETY: straw.
        unsafe { exec.replay(id, list) }.expect("it runs");
    }
    fake(0, "fake_break", 700);
    let told = "the GPU is lost: CUDA_ERROR_ILLEGAL_ADDRESS: else (seen by";
    for (id, list) in lists.iter().enumerate() {
        // SAFETY: straw.
        let met = unsafe { exec.replay(id, list) }.unwrap_err().to_string();
        assert!(met.starts_with(told), "{met}");
    }
    let Work::Product(alone) = &lists[1][0] else { unreachable!() };
    // SAFETY: straw.
    let met = unsafe { exec.product(alone) }.unwrap_err().to_string();
    assert!(met.starts_with(told), "{met}");
    drop(exec);
    fake(0, "fake_break", 0);
    fake(0, "fake_free_bytes", 1 << 20);
}

#[test]
fn a_gpu_that_is_taken_or_unknown_to_the_compiler_is_refused_at_once() {
    let Some((_turn, folders)) = straw("a_gpu_that_is_taken_or_unknown_to_the_compiler_is_refused_at_once") else {
        return;
    };
    let live = count(LIVE);
    let refused = || Gpu::open(&folders, Box::new(Memory::default())).map(drop).unwrap_err().to_string();
    fake(0, "fake_take", 1);
    assert!(refused().contains("does not give the GPU to this process"), "{}", refused());
    fake(0, "fake_take", 0);
    for (major, sm, helps) in [(7, 70, "CUDA 13 has left it behind"), (15, 150, "install a newer one")] {
        fake(0, "fake_major", major);
        let words = "CUDA's run-time compiler 13.0 compiles for sm_75 to sm_90";
        assert!(refused().starts_with(&format!("a GPU of straw is sm_{sm}, and {words}; {helps}")), "{}", refused());
    }
    fake(0, "fake_major", 9);
    Gpu::open(&folders, Box::new(Memory::default())).expect("a GPU");
    assert_eq!(count(LIVE), live, "the context is given back");
}

#[test]
fn a_unit_is_compiled_once_and_an_edited_one_again() {
    let Some((_turn, folders)) = straw("a_unit_is_compiled_once_and_an_edited_one_again") else { return };
    let kept = Memory::default();
    let compiled = |text: &str| {
        let before = fake(1, "fake_compiled", 0);
        let gpu = Gpu::open(&folders, Box::new(kept.clone())).expect("a GPU");
        GpuExec::new(gpu, &sources(text), true).expect("an exec");
        fake(1, "fake_compiled", 0) - before
    };
    assert_eq!([compiled(TWO), compiled(TWO), compiled(&TWO.replace("two", "due")), compiled(TWO)], [1, 0, 1, 0]);
    assert!(kept.0.lock().unwrap().keys().all(|text| text.contains("sm_90") && text.contains("nvrtc 13.0")));
}

#[test]
fn what_does_not_compile_or_lacks_a_kernel_is_said() {
    let Some((_turn, folders)) = straw("what_does_not_compile_or_lacks_a_kernel_is_said") else { return };
    let before = count(LIVE);
    let gpu = Gpu::open(&folders, Box::new(Memory::default())).expect("a GPU");
    let refused = |text: &str| GpuExec::new(Arc::clone(&gpu), &sources(text), true).map(drop).unwrap_err();
    let error = refused("#error no");
    let CudaError::Compile { unit, log } = &error else { panic!("{error}") };
    assert!(unit == "straw.cu" && log.contains("NVRTC_ERROR_COMPILATION") && log.contains("line 1: refused"), "{log}");
    let error = refused("extern \"C\" __global__ void absent(A a) {}");
    assert!(matches!(error, CudaError::Call { call: "cuModuleGetFunction", .. }), "{error}");
    drop(gpu);
    assert_eq!(count(LIVE), before, "what was half made is given back");
}

const LT: usize = 2;
const CLASSIC: usize = 3;
const CHOSEN: c_int = 1;
const STRIDED: c_int = 2;
const LISTED: c_int = 3;
const COMPUTE: c_int = 4;
const BATCH: c_int = 5;
const BIASED: c_int = 6;

/// A product of 2×3 and 3×4 matrices at `at`.
fn gemm(at: DeviceAddress, batch: Batch, bias: bool) -> Gemm {
    let matrix = |offset: u64, ld| Matrix { at: at.offset(offset), ld, transposed: false, stride: 64 };
    let (a, b, d) = (matrix(0, 2), matrix(256, 3), matrix(512, 2));
    let bias = bias.then_some((at.offset(768), 64));
    Gemm { m: 2, n: 4, k: 3, a, b, c: None, d, bias, batch }
}

/// A GPU of straw in fast math, with memory for products.
fn multiplying(folders: &[PathBuf], mode: MathMode, records: bool) -> (GpuExec, Algorithms) {
    fake(0, "fake_free_bytes", 64 << 20);
    let gpu = Gpu::open(folders, Box::new(Memory::default())).expect("a GPU");
    let blas = Blas::open(folders).expect("both libraries");
    assert_eq!(blas.version(), 130_002);
    let algorithms = Algorithms::default();
    let exec = GpuExec::new(gpu, &sources(TWO), records).expect("an exec");
    (exec.multiplying(blas, mode, Arc::clone(&algorithms)).expect("handles"), algorithms)
}

#[test]
fn products_are_made_ready_once_and_recorded_among_kernels() {
    let Some((_turn, folders)) = straw("products_are_made_ready_once_and_recorded_among_kernels") else { return };
    let live = [count(LIVE), fake(LT, "fake_blas", 0), fake(CLASSIC, "fake_blas", 0)];
    for (mode, compute) in [(MathMode::F32, 69), (MathMode::Tf32, 77), (MathMode::Bf16, 75)] {
        let before = [CHOSEN, STRIDED, BIASED].map(|which| fake(LT, "fake_blas", which));
        let (mut exec, algorithms) = multiplying(&folders, mode, true);
        assert!(exec.multiplies());
        let at = exec.alloc(4096).expect("memory");
        let work = [launch("one", 0), Work::Product(gemm(at, Batch::Strided(5), true)), launch("two", 0)];
        for _ in 0..3 {
            // SAFETY: straw.
            unsafe { exec.replay(1, &work) }.expect("it is recorded and replayed");
        }
        let after = [CHOSEN, STRIDED, BIASED].map(|which| fake(LT, "fake_blas", which));
        assert_eq!([0, 1, 2].map(|i| after[i] - before[i]), [1, 2, 1], "chosen once, run once, recorded once");
        assert_eq!([COMPUTE, BATCH].map(|which| fake(LT, "fake_blas", which)), [compute, 5]);
        let words: Vec<String> = algorithms.lock().unwrap().iter().cloned().collect();
        assert_eq!(words, ["2×4×3 ×5: algorithm 60, tile 61, stages 66, split 62"]);
        drop(exec);
    }
    fake(0, "fake_free_bytes", 1 << 20);
    assert_eq!(live, [count(LIVE), fake(LT, "fake_blas", 0), fake(CLASSIC, "fake_blas", 0)], "all is given back");
}

#[test]
fn listed_products_take_their_addresses_from_the_device() {
    let Some((_turn, folders)) = straw("listed_products_take_their_addresses_from_the_device") else { return };
    let live = count(LIVE);
    let (mut exec, algorithms) = multiplying(&folders, MathMode::F32, true);
    let at = exec.alloc(4096).expect("memory");
    let place = |i: u64| [at.offset(64 * i), at.offset(1024 + 64 * i), at.offset(2048 + 64 * i)];
    let listed = gemm(at, Batch::Listed((0..6).map(place).collect()), false);
    let before = fake(CLASSIC, "fake_blas", LISTED);
    for _ in 0..2 {
        // SAFETY: straw.
        unsafe { exec.replay(7, &[Work::Product(listed.clone()), launch("one", 0)]) }.expect("it runs, is recorded");
    }
    // SAFETY: straw.
    unsafe { exec.product(&listed) }.expect("one alone");
    assert_eq!(fake(CLASSIC, "fake_blas", LISTED) - before, 3);
    assert!(algorithms.lock().unwrap().iter().all(|words| words.contains("×6: batched")));
    drop(exec);
    fake(0, "fake_free_bytes", 1 << 20);
    assert_eq!(count(LIVE), live, "lists of addresses are given back");
}

#[test]
fn addresses_that_16_does_not_divide_are_no_matter_of_tensor_cores() {
    let Some((_turn, folders)) = straw("addresses_that_16_does_not_divide_are_no_matter_of_tensor_cores") else {
        return;
    };
    for (mode, odd) in [(MathMode::F32, false), (MathMode::Tf32, true), (MathMode::Bf16, true)] {
        let (mut exec, algorithms) = multiplying(&folders, mode, true);
        let at = exec.alloc(4096).expect("memory");
        let place = |i: u64| [at.offset(72 * i), at.offset(1024 + 64 * i), at.offset(2048 + 64 * i)];
        // Heads of 2 columns and 4 terms.
        let listed = Gemm { k: 4, ..gemm(at, Batch::Listed((0..3).map(place).collect()), false) };
        let listed = Gemm { b: Matrix { ld: 4, ..listed.b }, ..listed };
        // SAFETY: straw.
        unsafe { exec.replay(7, &[Work::Product(listed)]) }.expect("it runs");
        let words = algorithms.lock().unwrap().iter().next().cloned().expect("words");
        assert_eq!(words.ends_with(", in f32: 16 does not divide each address"), odd, "{words}");
    }
    fake(0, "fake_free_bytes", 1 << 20);
}

#[test]
fn a_batch_without_an_algorithm_is_computed_one_by_one() {
    let Some((_turn, folders)) = straw("a_batch_without_an_algorithm_is_computed_one_by_one") else { return };
    let live = fake(LT, "fake_blas", 0);
    let (mut exec, algorithms) = multiplying(&folders, MathMode::Tf32, true);
    let at = exec.alloc(8192).expect("memory");
    let before = fake(LT, "fake_blas", STRIDED);
    fake(LT, "fake_refuse", 3);
    for _ in 0..3 {
        // SAFETY: straw.
        unsafe { exec.replay(1, &[Work::Product(gemm(at, Batch::Strided(4), true))]) }.expect("it runs, is recorded");
    }
    fake(LT, "fake_refuse", 0);
    assert_eq!(fake(LT, "fake_blas", STRIDED) - before, 8, "four run, four recorded");
    let words: Vec<String> = algorithms.lock().unwrap().iter().cloned().collect();
    let expected = "2×4×3 ×4: algorithm 60, tile 61, stages 66, split 62, each alone: the batch has none";
    assert_eq!(words, [expected]);
    drop(exec);
    fake(0, "fake_free_bytes", 1 << 20);
    assert_eq!(fake(LT, "fake_blas", 0), live, "all is given back");
}

#[test]
fn a_bias_is_held_to_the_alignment_of_what_is_stored() {
    let Some((_turn, folders)) = straw("a_bias_is_held_to_the_alignment_of_what_is_stored") else { return };
    let (mut exec, _) = multiplying(&folders, MathMode::Tf32, true);
    let at = exec.alloc(8192).expect("memory");
    let whole = gemm(at, Batch::Strided(2), true);
    for (offset, stride) in [(4, 64), (0, 3)] {
        let uneven = Gemm { bias: Some((at.offset(offset), stride)), ..whole.clone() };
        // SAFETY: straw, which ends the process where the library was told of a greater alignment.
        unsafe { exec.product(&uneven) }.expect("it runs");
    }
    fake(0, "fake_free_bytes", 1 << 20);
}

#[test]
fn a_product_without_an_algorithm_and_a_device_without_cublas_say_so() {
    let Some((_turn, folders)) = straw("a_product_without_an_algorithm_and_a_device_without_cublas_say_so") else {
        return;
    };
    let live = [count(LIVE), fake(LT, "fake_blas", 0)];
    let (mut exec, algorithms) = multiplying(&folders, MathMode::Bf16, true);
    let at = exec.alloc(4096).expect("memory");
    let work = [Work::Product(gemm(at, Batch::Strided(1), false))];
    fake(LT, "fake_refuse", 1);
    // SAFETY: straw.
    let refused = unsafe { exec.replay(1, &work) }.unwrap_err().to_string();
    fake(LT, "fake_refuse", 2);
    // SAFETY: straw.
    unsafe { exec.replay(2, &work) }.expect("plain f32 takes its place");
    let words: Vec<String> = algorithms.lock().unwrap().iter().cloned().collect();
    assert_eq!(words.len(), 1);
    assert!(words[0].ends_with("split 62, in f32: the mode has none"), "{words:?}");
    fake(LT, "fake_refuse", 0);
    assert_eq!(refused, "cublasLtMatmulAlgoGetHeuristic: CUBLAS_STATUS_NOT_SUPPORTED");
    // SAFETY: straw.
    unsafe { exec.replay(1, &work) }.expect("what failed is tried again");
    drop(exec);
    let gpu = Gpu::open(&folders, Box::new(Memory::default())).expect("a GPU");
    let mut plain = GpuExec::new(gpu, &sources(TWO), false).expect("an exec");
    assert!(!plain.multiplies());
    // SAFETY: straw.
    let alone = unsafe { plain.replay(1, &work) }.unwrap_err().to_string();
    assert_eq!(alone, "a product: this device multiplies by kernels alone");
    drop(plain);
    fake(0, "fake_free_bytes", 1 << 20);
    assert_eq!(live, [count(LIVE), fake(LT, "fake_blas", 0)], "what was half made is given back");
}

#[test]
fn cublas_that_is_missing_or_foreign_is_an_error() {
    let Some((_turn, _)) = straw("cublas_that_is_missing_or_foreign_is_an_error") else { return };
    let foreign = folder().join("foreign");
    std::fs::create_dir_all(&foreign).expect("a folder");
    assert!(build("compiler.c", &format!("foreign/{LT_LIBRARY}"), "foreign.so"));
    assert!(build("compiler.c", "foreign/libcublas.so.13", "foreign2.so"));
    let found = Blas::open(&[foreign]).err();
    assert_eq!(found, Some(Absent::BlasSymbol("cublasLtGetVersion")));
}
