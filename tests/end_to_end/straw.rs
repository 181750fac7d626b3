//! `--device cuda` on a GPU of straw, whose kernels do nothing: how a bench meets a device that is lost under it.

use crate::support::{Lab, Said, said, tiny};
use std::fs;
use std::process::Command;

/// A GPU of straw with CUDA's libraries in `lab`; false without gcc.
fn gpu(lab: &Lab) -> bool {
    fs::create_dir_all(lab.path("straw")).expect("a folder");
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/tests/driver/");
    // `cudarc` asks for this name first, so that a real driver stays out of this.
    let libraries = [
        ("fake.c", "libcuda.so.1", "libcuda.so"),
        ("compiler.c", "libnvrtc.so.13", "libnvrtc.so.13"),
        ("blas.c", "libcublasLt.so.13", "libcublasLt.so.13"),
        ("blas.c", "libcublas.so.13", "libcublas.so.13"),
    ];
    libraries.into_iter().all(|(source, name, soname)| {
        let mut gcc = Command::new("gcc");
        gcc.args(["-std=c11", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o"]).arg(lab.path("straw").join(name));
        gcc.arg(format!("-Wl,-soname,{soname}")).arg(format!("{sources}{source}"));
        gcc.status().is_ok_and(|status| status.success())
    })
}

/// A bench on the GPU of straw. `replays`: a kernel's fault comes after so many replays of recorded steps.
fn bench(lab: &Lab, store: &str, replays: i32, more: &[&str]) -> Said {
    bench_with(lab, store, ("STRAW_SOUND_REPLAYS", &replays.to_string()), more)
}

/// The same, with a word of the environment for the straw.
fn bench_with(lab: &Lab, store: &str, (name, value): (&str, &str), more: &[&str]) -> Said {
    let mut command = lab.bench_command(store, &[&["--device", "cuda", "--cohort", "2"], more].concat());
    command.env("PREHEAT_CUDA", lab.path("straw")).env("STRAW_FREE_BYTES", "100000000").env(name, value);
    said(command)
}

#[test]
fn a_lost_gpu_is_told_once_and_the_same_line_goes_on() {
    // Two arms of three runs, two together at most: four cohorts, each with more than 20 replays.
    let lab = Lab::with(&tiny(40));
    if !gpu(&lab) {
        return preheat::skip("a_lost_gpu_is_told_once_and_the_same_line_goes_on", "gcc");
    }
    for (store, words) in [
        ("exact", &["--math", "exact"][..]),
        ("fast", &["--math", "tf32"]),
        ("two", &["--math", "tf32", "--jobs", "2"]),
    ] {
        let lost = bench(&lab, store, 60, words);
        lost.exits(5).says(&["tiny/training/", "seed", "the GPU is lost: CUDA_ERROR_ILLEGAL_ADDRESS", "(seen by cu"]);
        lost.says(&["finished runs are kept; go on with: ", "bench", "--device cuda", words[1]]);
        let told = lost.stderr.matches("the GPU is lost").count();
        assert_eq!((told, lost.stderr.contains("each half is tried alone")), (1, false), "{lost:#?}");
        // Two workers may both be on their way.
        let least = u32::from(!words.contains(&"--jobs"));
        assert!(!lost.stderr.contains("failed:") && (least..6).contains(&lost.trained()), "{lost:#?}");
        let rest = bench(&lab, store, -1, words);
        // There is no golden.
        rest.exits(3);
        assert_eq!(rest.trained() + lost.trained(), 6, "what was finished is not trained again: {rest:#?}");
    }
    let json = bench(&lab, "json", 60, &["--math", "exact", "--format", "json"]);
    json.exits(5);
    let error = json.json()["error"].as_str().map(String::from);
    assert!(error.is_some_and(|why| why.contains("the GPU is lost: ")), "{json:#?}");
    let verified = bench_with(&lab, "verified", ("STRAW_BROKEN", "719"), &["--math", "exact", "--verify"]);
    assert_eq!(verified.exits(5).stderr.matches("the GPU is lost").count(), 1, "{verified:#?}");
}
