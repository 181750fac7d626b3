//! `--device cuda` where it cannot be: one line that says what is missing and how to go on, and exit 5. Drivers of straw
//! are built here with gcc; none of them has a GPU.

use crate::support::{Lab, Said, preheat, said};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// Compiles `source` as the library `name` of `lab`; false without gcc.
fn library(lab: &Lab, name: &str, source: &str) -> bool {
    lab.write("straw.c", source);
    fs::create_dir_all(lab.path("straw")).expect("a folder");
    let out = lab.path("straw").join(name);
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so", "-o"]).arg(out).arg(lab.path("straw.c"));
    gcc.status().is_ok_and(|status| status.success())
}

/// Every function that is called, each without effect; `instead` replaces some.
fn driver(instead: &[(&str, &str)]) -> String {
    let symbols = preheat_kernels::cuda::probe::SYMBOLS;
    let left = symbols.iter().filter(|symbol| !instead.iter().any(|(name, _)| name == *symbol));
    let mut source: String = left.map(|symbol| format!("int {symbol}(void) {{ return 0; }}\n")).collect();
    source.extend(instead.iter().map(|(_, text)| format!("{text}\n")));
    source
}

const NEW: (&str, &str) = ("cuDriverGetVersion", "int cuDriverGetVersion(int* v) { *v = 13000; return 0; }");
const ONE: (&str, &str) = ("cuDeviceGetCount", "int cuDeviceGetCount(int* n) { *n = 1; return 0; }");

fn on_cuda(lab: &Lab, more: &[&str]) -> Said {
    let mut command = lab.bench_command("store", &[&["--device", "cuda"], more].concat());
    command.env("PREHEAT_CUDA", lab.path("straw"));
    // No Python's packages.
    command.env("PATH", "/usr/bin:/bin").env_remove("VIRTUAL_ENV").env_remove("CONDA_PREFIX");
    said(command)
}

/// One line that begins so, on stderr alone.
#[track_caller]
fn refuses(done: &Said, reason: &str) {
    done.exits(5);
    let line = done.stderr.strip_prefix(&format!("preheat: --device cuda: {reason}"));
    let whole = line.is_some_and(|rest| rest.lines().count() == 1 && rest.ends_with("; or use --device cpu\n"));
    assert!(whole && done.stdout.is_empty(), "{reason}\n{done:#?}");
}

#[test]
fn without_a_driver() {
    let lab = Lab::new();
    if loads("libcuda.so.1") {
        return preheat::skip("without_a_driver", "a machine without a GPU");
    }
    refuses(&on_cuda(&lab, &[]), "the NVIDIA driver is missing (libcuda.so.1 is not found); install");
    assert!(!lab.path("store").exists(), "nothing is written");
    let json = on_cuda(&lab, &["--format", "json"]);
    json.exits(5);
    let document: Value = json.json();
    assert_eq!((&document["device"], &document["exit"]), (&Value::from("cuda"), &Value::from(5)));
    assert!(document["error"].as_str().is_some_and(|why| why.contains("driver is missing")), "{document}");
}

/// Whether this machine's loader finds a library.
fn loads(name: &str) -> bool {
    let script = format!("import ctypes; ctypes.CDLL('{name}')");
    Command::new("python3").args(["-c", &script]).output().is_ok_and(|out| out.status.success())
}

#[test]
fn with_a_driver_that_cannot_be_used() {
    let cases: [(String, &str); 6] = [
        (driver(&[NEW, ("cuInit", "int cuInit(int f) { return 100; }")]), "the NVIDIA driver sees no GPU; look"),
        (
            driver(&[NEW, ("cuDeviceGetCount", "int cuDeviceGetCount(int* n) { *n = 0; return 0; }")]),
            "the NVIDIA driver sees no GPU; look",
        ),
        (
            // It lacks nearly everything too; its age is the reason that helps.
            "int cuInit(int f) { return 0; } int cuDeviceGetCount(int* n) { return 0; }
             int cuDriverGetVersion(int* v) { *v = 12080; return 0; }"
                .into(),
            "the NVIDIA driver is too old: it offers CUDA 12.8, and CUDA 13.0 is needed; install",
        ),
        (driver(&[NEW, ("cuGraphLaunch", "")]), "the NVIDIA driver lacks cuGraphLaunch; install"),
        (
            driver(&[NEW, ("cuInit", "int cuInit(int f) { return 803; }")]),
            "the NVIDIA driver does not start: error 803,",
        ),
        ("int nothing;".into(), "the NVIDIA driver lacks cuDriverGetVersion; install"),
    ];
    let lab = Lab::new();
    for (source, reason) in cases {
        if !library(&lab, "libcuda.so.1", &source) {
            return preheat::skip("with_a_driver_that_cannot_be_used", "gcc");
        }
        refuses(&on_cuda(&lab, &[]), reason);
    }
    // A driver with a GPU, and a compiler that is not one.
    let there = library(&lab, "libcuda.so.1", &driver(&[NEW, ONE]));
    assert!(there && library(&lab, "libnvrtc.so.13", "int nothing;"));
    refuses(&on_cuda(&lab, &[]), "CUDA's run-time compiler lacks nvrtcVersion; install CUDA 13");
}

/// A run-time compiler that is never asked to compile.
fn compiler() -> String {
    let names = ["CreateProgram", "CompileProgram", "DestroyProgram", "GetErrorString", "GetNumSupportedArchs"];
    let names = names.into_iter().chain(["GetSupportedArchs"]);
    let pairs = ["ProgramLog", "PTX", "CUBIN"].iter().flat_map(|of| [format!("Get{of}Size"), format!("Get{of}")]);
    let all = names.map(String::from).chain(pairs);
    let empty: String = all.map(|name| format!("int nvrtc{name}(void) {{ return 0; }}\n")).collect();
    empty + "int nvrtcVersion(int* a, int* b) { *a = 13; *b = 0; return 0; }\n"
}

#[test]
fn fast_math_needs_cublas_and_says_so_in_one_line() {
    let lab = Lab::new();
    if !library(&lab, "libcuda.so.1", &driver(&[NEW, ONE])) {
        return preheat::skip("fast_math_needs_cublas_and_says_so_in_one_line", "gcc");
    }
    if loads("libcublasLt.so.13") {
        return preheat::skip("fast_math_needs_cublas_and_says_so_in_one_line", "a machine without cuBLAS");
    }
    assert!(library(&lab, "libnvrtc.so.13", &compiler()));
    let missing = |done: &Said, word: &str, reason: &str| {
        done.exits(5);
        let line = done.stderr.strip_prefix(&format!("preheat: --math {word}: {reason}; install CUDA 13 or"));
        let whole = line.is_some_and(|rest| rest.lines().count() == 1 && rest.ends_with("; or use --math exact\n"));
        assert!(whole && done.stdout.is_empty(), "{done:#?}");
    };
    // Where nobody says which, math on a GPU is fast.
    missing(&on_cuda(&lab, &[]), "fast", "cuBLAS is missing (libcublasLt.so.13 is not found)");
    missing(&on_cuda(&lab, &["--math", "bf16"]), "bf16", "cuBLAS is missing (libcublasLt.so.13 is not found)");
    assert!(library(&lab, "libcublasLt.so.13", "int nothing;"));
    missing(&on_cuda(&lab, &[]), "fast", "cuBLAS is missing (libcublas.so.13 is not found)");
    assert!(library(&lab, "libcublas.so.13", "int nothing;"));
    missing(&on_cuda(&lab, &[]), "fast", "cuBLAS lacks cublasLtGetVersion");
    let cpu = said(lab.bench_command("store", &["--math", "fast"]));
    cpu.exits(2);
    assert_eq!(cpu.stderr, "preheat: --math fast: the cpu device computes in exact math only; use --math exact\n");
}

#[test]
fn the_program_names_no_library_of_cuda() {
    let Ok(needed) = Command::new("ldd").arg(preheat()).output() else {
        return preheat::skip("the_program_names_no_library_of_cuda", "ldd");
    };
    let needed = String::from_utf8_lossy(&needed.stdout).to_lowercase();
    assert!(needed.contains("libc.so"), "{needed}");
    assert!(!["cuda", "cublas", "nvrtc", "nvidia"].iter().any(|word| needed.contains(word)), "{needed}");
}

#[test]
fn cohorts_on_a_cpu_have_golden_bits() {
    let lab = Lab::new();
    let golden = format!("{}/golden", env!("CARGO_MANIFEST_DIR"));
    for cohort in ["3", "64"] {
        let store = format!("store-{cohort}");
        let words =
            ["bench", "layernorm", "--tier", "smoke", "--cohort", cohort, "--store", &store, "--golden", &golden];
        let done = said(lab.command(&words));
        done.exits(0).says(&["as golden"]);
        assert!(done.trained() > 20, "{done:#?}");
    }
}

#[test]
fn doctor_asks_a_device_or_says_what_is_missing() {
    let lab = Lab::new();
    let doctor = |words: &[&str]| {
        let mut command = lab.command(&[&["doctor"], words].concat());
        command.env("PREHEAT_CUDA", lab.path("straw"));
        said(command)
    };
    if !library(&lab, "libcuda.so.1", &driver(&[NEW, ("cuInit", "int cuInit(int f) { return 100; }")])) {
        return preheat::skip("doctor_asks_a_device_or_says_what_is_missing", "gcc");
    }
    refuses(&doctor(&["--device", "cuda"]), "the NVIDIA driver sees no GPU; look");
    doctor(&["--device", "cpu"]).exits(2).says(&["doctor --device cpu", "allowed: cuda"]);
    let report = doctor(&["--format", "json"]).json();
    let finding = report["findings"].as_array().expect("findings").iter().find(|f| f["part"] == "gpu");
    let found = finding.expect("a finding")["found"].as_str().expect("a text");
    assert!(found.starts_with("the NVIDIA driver sees no GPU; look"), "{found}");
}
