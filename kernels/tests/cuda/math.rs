//! exp, ln, tanh and erf of the kernels: the CPU's bits on a grid of all numbers.

use crate::emulator::{Emulator, Order};
use crate::support::compare;
use preheat_kernels::cuda::{Exec, Sources, Unit};
use preheat_kernels::math;
use std::ffi::c_void;

const ALL: &str = r#"
extern "C" __global__ void all(const float* x, float* out, unsigned count) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    out[i] = exp_of(x[i]);
    out[count + i] = ln_of(x[i]);
    out[2 * count + i] = tanh_of(x[i]);
    out[3 * count + i] = erf_of(x[i]);
}
"#;

fn on_device(x: &[f32]) -> Vec<Vec<f32>> {
    let sources = Sources { units: vec![Unit::new("all.cu", ALL)] };
    let mut device = Emulator::new(&sources, Order::Forward).unwrap_or_else(|e| panic!("{e}"));
    let fine = "the device does as it is told";
    let (mut from, mut to) = (device.alloc(4 * x.len()).expect(fine), device.alloc(16 * x.len()).expect(fine));
    device.upload(from, &x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()).expect(fine);
    let mut count = x.len() as u32;
    let mut args = [(&raw mut from).cast::<c_void>(), (&raw mut to).cast(), (&raw mut count).cast()];
    // SAFETY: the kernel takes two addresses and a count, and writes four times so many numbers.
    unsafe { device.launch("all", [count.div_ceil(256), 1, 1], [256, 1, 1], 0, &mut args).expect(fine) };
    let mut bytes = vec![0; 16 * x.len()];
    device.download(to, &mut bytes).expect(fine);
    let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    bytes.chunks_exact(4 * x.len()).map(|f| f.chunks_exact(4).map(number).collect()).collect()
}

tests! {
    functions_have_the_cpus_bits {
        let x: Vec<f32> = (0..=u32::MAX).step_by(9973).chain(1..99).map(f32::from_bits).collect();
        let functions: [fn(f32) -> f32; 4] = [math::exp, math::ln, math::tanh, math::erf];
        let expect = functions.iter().map(|f| x.iter().map(|x| f(*x)).collect()).collect();
        compare("exp, ln, tanh, erf", &on_device(&x), &expect);
    }
}
