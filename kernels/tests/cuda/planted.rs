//! Bugs planted into small kernels: the emulator must find each.

use crate::device::Device;
use crate::emulator::{Emulator, Order};
use crate::support::Inputs;
use preheat_kernels::cuda::{CudaError, DeviceAddress, Exec, Sources, Unit};
use preheat_kernels::ops::{MatMul, Ops, Start};
use preheat_kernels::reference::Reference;
use std::ffi::c_void;

/// Sums the 64 numbers of each block of 64 threads by shuffles and shared memory.
const SUM: &str = r#"
extern "C" __global__ void sum(const float* x, float* out) {
    SHARED(half);
    unsigned i = threadIdx.x;
    float v = x[blockIdx.x * 64 + i];
    for (int lanes = 16; lanes > 0; lanes /= 2) v = __fadd_rn(v, __shfl_xor_sync(0xffffffffu, v, lanes));
    if (i % 32 == 0) half[i / 32] = v;
    __syncthreads();
    if (i == 0) out[blockIdx.x] = __fadd_rn(half[0], half[1]);
}
"#;

/// What a run of a variant of [`SUM`] over three blocks gave: an error, or whether the sums are right.
fn run(text: &str, order: Order) -> Result<bool, CudaError> {
    let unit = Unit { name: "planted.cu".into(), text: text.into() };
    let mut device = Emulator::new(&Sources { units: vec![unit] }, order)?;
    let x: Vec<f32> = (0..192).map(|i| i as f32).collect();
    let (at, out) = (device.alloc(768)?, device.alloc(12)?);
    let bytes: Vec<u8> = x.iter().flat_map(|v| v.to_le_bytes()).collect();
    device.upload(at, &bytes)?;
    let (mut first, mut second) = (at, out);
    let mut args = [(&raw mut first).cast::<c_void>(), (&raw mut second).cast::<c_void>()];
    // SAFETY: the kernel takes two addresses.
    unsafe { device.launch("sum", [3, 1, 1], [64, 1, 1], 16, &mut args)? };
    let mut sums = [0; 12];
    device.download(out, &mut sums)?;
    let expect: Vec<u8> = x.chunks(64).flat_map(|block| block.iter().sum::<f32>().to_le_bytes()).collect();
    device.free(at);
    Ok(expect == sums)
}

/// The variant with `from` replaced, which must stand in the kernel once.
fn planted(from: &str, to: &str) -> String {
    assert_eq!(SUM.matches(from).count(), 1, "{from}");
    SUM.replace(from, to)
}

/// Each order must end with an error that says `what`.
#[track_caller]
fn check_error(text: &str, what: &str) {
    for order in Order::ALL {
        let error = run(text, order).expect_err("the bug is found").to_string();
        assert!(error.contains(what), "{order:?}: {error}");
    }
}

/// Some order must give wrong sums.
#[track_caller]
fn check_wrong(text: &str) {
    let right: Vec<_> = Order::ALL.into_iter().map(|order| run(text, order)).collect();
    assert!(right.contains(&Ok(false)), "{right:?}");
}

/// The unit with occurrence `nth` of `from` in its own file replaced, and only the kernels up to `last`.
fn planted_in(unit: &Unit, from: &str, nth: usize, last: &str) -> Unit {
    let own = unit.text.rfind("#line 1 ").expect("a unit names its file");
    let end = unit.text.find(&format!("{last}(")).expect("the kernel is there");
    let end = unit.text[end..].find("\nextern").map_or(unit.text.len(), |more| end + more);
    let (head, body) = (&unit.text[..own], &unit.text[own..end]);
    let at = body.match_indices(from).nth(nth).expect("the text occurs").0;
    Unit { name: unit.name.clone(), text: format!("{head}{}{}", &body[..at], &body[at + from.len()..]) }
}

tests! {
    the_kernel_without_a_bug_is_right_in_every_order {
        for order in Order::ALL {
            assert_eq!(run(SUM, order), Ok(true), "{order:?}");
        }
    }
    a_missing_barrier_gives_wrong_sums {
        check_wrong(&planted("__syncthreads();", ""));
    }
    a_missing_barrier_is_not_hidden_by_what_the_block_before_left {
        // Without poison, the sums of equal blocks would be right from the second block on.
        check_wrong(&planted("if (i % 32 == 0) half[i / 32] = v;", "if (i % 32 == 0 && blockIdx.x == 0) half[i / 32] = v;"));
    }
    a_barrier_that_some_threads_skip_is_named {
        check_error(&planted("__syncthreads();", "if (i < 40) __syncthreads();"), "waits at a barrier (planted.cu:");
    }
    threads_at_two_barriers_are_named {
        let twice = "if (i < 32) __syncthreads(); else\n __syncthreads();";
        check_error(&planted("__syncthreads();", twice), "but thread (32,0,0) waits at a barrier");
    }
    a_return_before_a_shuffle_is_named {
        check_error(&planted("float v =", "if (i == 7) return; float v ="), "thread (7,0,0) has ended");
    }
    a_shuffle_in_a_branch_is_named {
        let branch = "if (i % 32 < 16) v = __shfl_xor_sync(0xffffffffu, v, 1);\n    if (i % 32 == 0)";
        check_error(&planted("if (i % 32 == 0)", branch), "waits at a shuffle");
    }
    a_partial_mask_does_not_compile {
        assert!(matches!(run(&planted("__shfl_xor_sync(0xffffffffu", "__shfl_xor_sync(0xffffu"), Order::Forward),
            Err(CudaError::Compile { .. })));
    }
    a_shuffle_from_beyond_the_warp_is_named {
        check_error(&planted("v, lanes)", "v, lanes + 32)"), "a shuffle from lane");
    }
    a_read_past_an_allocation_is_named {
        check_error(&planted("x[blockIdx.x * 64 + i]", "x[blockIdx.x * 64 + i + 1]"),
            "block (2,0,0): thread (63,0,0): bad address");
    }
    a_read_before_an_allocation_is_named {
        let before = "x[blockIdx.x * 64 + i] + (blockIdx.x == 1 && i == 5 ? x[-40000] : 0.0f)";
        check_error(&planted("x[blockIdx.x * 64 + i]", before), "block (1,0,0): thread (5,0,0): bad address");
    }
    a_write_past_shared_memory_is_named {
        check_error(&planted("half[i / 32] = v;", "half[i / 32 + 3] = v;"), "thread (32,0,0): bad address");
    }
    a_read_of_shared_memory_that_nothing_wrote_gives_wrong_sums {
        check_wrong(&planted("half[1]", "half[2]"));
    }
    an_approximation_does_not_compile {
        for name in ["rsqrtf", "expf", "__fdividef", "atomicAdd"] {
            let text = planted("half[1])", &format!("{name}(half[1]))"));
            let Err(CudaError::Compile { unit, log }) = run(&text, Order::Forward) else { panic!("{name} compiles") };
            assert!(unit == "planted.cu" && log.contains(name), "{log}");
        }
    }
    launches_that_no_device_takes_are_refused {
        let unit = Unit { name: "planted.cu".into(), text: SUM.into() };
        let mut device = Emulator::new(&Sources { units: vec![unit] }, Order::Forward).expect("it compiles");
        let mut launch = |kernel: &str, grid: [u32; 3], block: [u32; 3], shared: u32| {
            // SAFETY: no thread runs.
            unsafe { device.launch(kernel, grid, block, shared, &mut []) }.expect_err("it is refused").to_string()
        };
        assert!(launch("sum", [1; 3], [33, 1, 1], 0).contains("33 threads"));
        assert!(launch("sum", [1; 3], [2048, 1, 1], 0).contains("2048 threads"));
        assert!(launch("sum", [1, 70_000, 1], [32, 1, 1], 0).contains("grid"));
        assert!(launch("sum", [1; 3], [32, 1, 1], 300 << 10).contains("shared memory"));
        assert!(launch("total", [1; 3], [32, 1, 1], 0).contains("no such kernel"));
        assert!(device.upload(DeviceAddress(16), &[1]).is_err());
        assert!(device.alloc(8).and_then(|at| device.download(at.offset(4), &mut [0; 5])).is_err());
    }
    // The project's own kernels need each of their barriers: without it some order gives other bits.
    a_barrier_missing_from_a_kernel_is_noticed {
        let inputs = &mut Inputs::new(1);
        let (a, b) = (inputs.ordinary(33 * 72), inputs.ordinary(72 * 32));
        let product = |ops: &dyn Ops<f32>, [m, n, k]: [usize; 3]| {
            let mut c = vec![0.0; m * n];
            ops.matmul(&MatMul::nn(m, n, k), &a[..m * k], &b[..k * n], Start::Zero, None, &mut c);
            c
        };
        // One takes the common loop, the other does not.
        let (whole, ragged) =
            (|ops: &dyn Ops<f32>| product(ops, [32, 32, 72]), |ops: &dyn Ops<f32>| product(ops, [33, 31, 70]));
        let columns = |ops: &dyn Ops<f32>| {
            let mut sums = vec![0.0; 70];
            ops.column_sum(70, &a[..33 * 70], &mut sums);
            sums
        };
        let moments = |ops: &dyn Ops<f32>| {
            let (mut mean, mut var) = (vec![0.0; 35], vec![0.0; 35]);
            ops.column_moments(35, &a[..33 * 35], &mut mean, &mut var);
            [mean, var].concat()
        };
        let sources = Sources::new([]);
        let check = |file: &str, nth: usize, kernel: &str, op: &dyn Fn(&dyn Ops<f32>) -> Vec<f32>| {
            let unit = sources.units.iter().find(|u| u.name == file).expect("a unit");
            let sources = Sources { units: vec![planted_in(unit, "__syncthreads();", nth, kernel)] };
            let right = Order::ALL.map(|order| op(&Device::with(&sources, order)) == op(&Reference));
            assert!(right.contains(&false), "{kernel} without barrier {nth}: no order shows it");
        };
        check("matmul.cu", 0, "matmul_nn_32", &ragged);
        check("matmul.cu", 1, "matmul_nn_32", &whole);
        check("matmul.cu", 2, "matmul_nn_32", &ragged);
        check("sums.cu", 0, "column_sum", &columns);
        check("sums.cu", 1, "column_moments", &moments);
    }
}
