//! A kernel for each rule that breaks it and no other.

use crate::{check, compiler};

/// A kernel with `body`, which may use x, y, i and n.
fn kernel(body: &str) -> String {
    format!("extern \"C\" __global__ void planted(float* x, float* y, int* n) {{\n int i = threadIdx.x;\n {body}\n}}\n")
}

#[test]
fn each_rule_finds_its_kernel() {
    let Some(nvrtc) = compiler("each_rule_finds_its_kernel") else { return };
    let faults = |body: &str| check(nvrtc, "planted.cu", &kernel(body), 90).1;
    assert_eq!(faults("y[i] = __fmaf_rn(x[i], x[i], sqrtf(x[i] / y[i]));"), Vec::<String>::new(), "sound");
    let planted = [
        ("y[i] = rsqrtf(x[i]);", "approx"),
        ("asm(\"add.rn.ftz.f32 %0, %1, %2;\" : \"=f\"(y[i]) : \"f\"(x[i]), \"f\"(y[i]));", "ftz"),
        ("y[i] = atomicAdd(&x[0], 1.0f);", "atom"),
        ("asm(\"red.global.add.u32 [%0], %1;\" :: \"l\"(n), \"r\"(i));", "red: an atomic"),
        ("y[i] = exp2f(x[i]);", "ex2"),
        ("y[i] = __log2f(x[i]);", "lg2"),
        ("y[i] = __sinf(x[i]);", "sin"),
        ("y[i] = __cosf(x[i]);", "cos"),
        ("asm(\"tanh.approx.f32 %0, %1;\" : \"=f\"(y[i]) : \"f\"(x[i]));", "tanh"),
        (
            "unsigned d0, d1, a = i; asm(\"mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%2}, {%0, %1};\" \
             : \"+d\"(*(double*)x), \"+d\"(*(double*)y) : \"d\"(*(double*)x)); n[i] = d0 + d1 + a;",
            "mma",
        ),
        ("asm(\"add.f32 %0, %1, %2;\" : \"=f\"(y[i]) : \"f\"(x[i]), \"f\"(y[i]));", "add without .rn"),
        ("y[i] = __fadd_rz(x[i], y[i]);", "add without .rn"),
        ("y[i] = __fmaf_rz(x[i], y[i], x[0]);", "fma without .rn"),
        ("y[i] = fmaxf(x[i], y[i]);", "max: compare and select"),
        ("float a[16]; for (int k = 0; k < 16; k++) a[k] = x[k]; y[i] = a[n[i]];", "local"),
    ];
    for (body, word) in planted {
        let found = faults(body);
        assert!(found.iter().any(|fault| fault.contains(word)), "{body}: {found:?}");
    }
}

#[test]
fn a_kernel_that_spills_is_found() {
    let Some(nvrtc) = compiler("a_kernel_that_spills_is_found") else { return };
    let values: String = (0..100).map(|k| format!(" float v{k} = x[{k} * 1024 + i];")).collect();
    let uses: String = (0..100).map(|k| format!(" y[{k} * 1024 + i] = v{k} / v{};", (k * 37 + 11) % 100)).collect();
    // 1,024 threads have 64 registers each, and 100 values must be held over the barrier.
    let text = kernel(&format!("{values} __syncthreads();{uses}")).replace("void", "void __launch_bounds__(1024)");
    let (reports, faults) = check(nvrtc, "spills.cu", &text, 90);
    assert!(faults.iter().any(|f| f.contains("spilled")), "{reports:?} {faults:?}");
}

#[test]
fn what_does_not_compile_is_a_fault() {
    let Some(nvrtc) = compiler("what_does_not_compile_is_a_fault") else { return };
    let (_, faults) = check(nvrtc, "broken.cu", "extern \"C\" __global__ void broken(float* x) { y; }", 90);
    assert!(faults.len() == 1 && faults[0].contains("broken.cu(1)"), "{faults:?}");
}
