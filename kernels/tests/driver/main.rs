//! The code that speaks to the driver, with a driver and a compiler of straw that are built here with gcc: what it
//! asks for, in which order, and that nothing is left behind. No number is computed.
#![cfg(target_os = "linux")]

#[expect(unreachable_pub, reason = "it is also a crate")]
#[path = "../../../tests/support/lib.rs"]
mod support;

use preheat_kernels::cuda::gpu::{Cache, Footprint, Gpu, GpuExec};
use preheat_kernels::cuda::probe::{self, SYMBOLS};
use preheat_kernels::cuda::{CudaError, DeviceAddress, Exec, Launch, Sources, Unit};
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
        build("fake.c", "libcuda.so.1", "libcuda.so") && build("compiler.c", "libnvrtc.so.13", "libnvrtc.so.13")
    });
    if !there {
        support::skip(test, "gcc");
        return None;
    }
    fake(0, "fake_fail_launch", -1);
    Some((turn, vec![folder()]))
}

/// Calls one of the straw's own functions.
fn fake(library: usize, name: &str, value: c_int) -> c_int {
    let path = folder().join(["libcuda.so.1", "libnvrtc.so.13"][library]);
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

fn launch(kernel: &str, shared_bytes: u32) -> Launch {
    Launch { kernel: kernel.into(), grid: [2, 1, 1], block: [32, 1, 1], shared_bytes, args: Box::new([1, 2]) }
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
    exec.upload(a.offset(4), &[1, 2, 3]).unwrap();
    exec.download(a.offset(3), &mut bytes[..5]).unwrap();
    assert_eq!(bytes[..5], [0, 1, 2, 3, 0]);
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
    for id in [4, 4, 9, 4] {
        // SAFETY: straw.
        unsafe { exec.replay(id, &list) }.unwrap();
    }
    assert_eq!(since(), [0, 6, 4], "two lists recorded, four replays");
    let mut eager = GpuExec::new(Arc::clone(&gpu), &sources(TWO), false).unwrap();
    // SAFETY: straw.
    unsafe { eager.replay(4, &list) }.unwrap();
    assert_eq!(since(), [3, 6, 4], "one by one where nothing is recorded");
    drop((exec, eager, gpu));
    assert_eq!(count(LIVE), before[3]);
}

#[test]
fn a_launch_that_fails_while_recording_leaves_the_stream_usable() {
    let Some((_turn, folders)) = straw("a_launch_that_fails_while_recording_leaves_the_stream_usable") else { return };
    let before = count(LIVE);
    let gpu = Gpu::open(&folders, Box::new(Memory::default())).expect("a GPU");
    let mut exec = GpuExec::new(Arc::clone(&gpu), &sources(TWO), true).unwrap();
    fake(0, "fake_fail_launch", 1);
    // SAFETY: straw.
    let failed = unsafe { exec.replay(0, &[launch("one", 0), launch("two", 0)]) }.unwrap_err();
    let CudaError::Launch { kernel, what } = &failed else { panic!("{failed}") };
    assert!(kernel == "two" && what.starts_with("CUDA_ERROR_INVALID_VALUE: invalid argument (grid"), "{failed}");
    fake(0, "fake_fail_launch", -1);
    // SAFETY: straw.
    let missing = unsafe { exec.replay(0, &[launch("three", 0)]) }.unwrap_err();
    assert!(missing.to_string().contains("kernel three: there is no such kernel"), "{missing}");
    // SAFETY: straw.
    let greedy = unsafe { exec.replay(0, &[launch("one", 1 << 20)]) }.unwrap_err();
    assert!(greedy.to_string().contains("1048576 bytes of shared memory"), "{greedy}");
    // The straw ends the process where the stream still records.
    exec.synchronize().unwrap();
    // SAFETY: straw.
    unsafe { exec.replay(0, &[launch("one", 0)]) }.unwrap();
    drop((exec, gpu));
    assert_eq!(count(LIVE), before, "what was half recorded is given back");
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
