//! Fast math on the host: the work of a program as a GPU with cuBLAS would do it, kernels in the emulator and products by
//! a plain routine. Whole steps are compared with the CPU's.

use crate::emulator::{Emulator, Order};
use crate::model::{Model, Shape, on_cpu};
use crate::products::multiply;
use crate::session::PRE_LN;
use preheat_kernels::cuda::gemm::{Batch, Gemm};
use preheat_kernels::cuda::{CudaError, CudaSession, DeviceAddress, Exec, Sources};
use preheat_kernels::ops::Activation;
use std::ffi::c_void;
use std::sync::Arc;

/// The emulator, and products beside it.
struct Multiplying {
    kernels: Emulator,
    round: fn(f32) -> f32,
    /// Products so far: in strides, and in lists.
    products: [usize; 2],
}

impl Exec for Multiplying {
    fn alloc(&mut self, bytes: usize) -> Result<DeviceAddress, CudaError> {
        self.kernels.alloc(bytes)
    }
    fn free(&mut self, address: DeviceAddress) {
        self.kernels.free(address);
    }
    fn upload(&mut self, to: DeviceAddress, bytes: &[u8]) -> Result<(), CudaError> {
        self.kernels.upload(to, bytes)
    }
    fn download(&mut self, from: DeviceAddress, bytes: &mut [u8]) -> Result<(), CudaError> {
        self.kernels.download(from, bytes)
    }
    unsafe fn launch(
        &mut self,
        kernel: &str,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        args: &mut [*mut c_void],
    ) -> Result<(), CudaError> {
        assert!(!kernel.starts_with("matmul"), "{kernel}: every product is cuBLAS's");
        // SAFETY: the caller's.
        unsafe { self.kernels.launch(kernel, grid, block, shared_bytes, args) }
    }
    fn multiplies(&self) -> bool {
        true
    }
    unsafe fn product(&mut self, gemm: &Gemm) -> Result<(), CudaError> {
        self.products[usize::from(matches!(gemm.batch, Batch::Listed(_)))] += 1;
        // SAFETY: the caller's; an emulated device's memory is the process's.
        unsafe { multiply(gemm, self.round) };
        Ok(())
    }
    fn synchronize(&mut self) -> Result<(), CudaError> {
        self.kernels.synchronize()
    }
}

fn fast(model: &Model, round: fn(f32) -> f32) -> CudaSession<Multiplying> {
    let kernels = Emulator::new(&Sources::of(&model.program), Order::Shuffled).unwrap_or_else(|e| panic!("{e}"));
    let exec = Multiplying { kernels, round, products: [0; 2] };
    CudaSession::new(Arc::clone(&model.program), exec).unwrap_or_else(|e| panic!("{e}"))
}

/// bf16 by cutting off, the crudest that an input can be rounded.
fn crude(x: f32) -> f32 {
    f32::from_bits(x.to_bits() & 0xffff_0000)
}

/// The largest difference of two buffers over the largest number of the second.
fn distance(got: &[f32], expect: &[f32]) -> f32 {
    assert_eq!(got.len(), expect.len());
    let largest = expect.iter().fold(1e-6_f32, |m, x| m.max(x.abs()));
    let of = |(g, e): (&f32, &f32)| if g.is_finite() { (g - e).abs() / largest } else { f32::INFINITY };
    got.iter().zip(expect).map(of).fold(0.0, f32::max)
}

/// The largest distance of what `steps` steps leave from what they leave on a CPU, and the products of each kind.
fn after(shape: Shape, seeds: &[u64], steps: u32, round: fn(f32) -> f32) -> (f32, [usize; 2]) {
    let model = Model::new(shape);
    let (mut cpu, mut cuda) = (on_cpu(&model), fast(&model, round));
    for (r, &seed) in seeds.iter().enumerate() {
        model.begin(&mut cpu, r, seed);
        model.begin(&mut cuda, r, seed);
    }
    let mut worst = 0.0_f32;
    for step in 0..steps {
        model.train(&mut cpu, seeds, step);
        model.train(&mut cuda, seeds, step);
        for r in 0..seeds.len() {
            let pairs = model.outcome(&mut cuda, r).into_iter().zip(model.outcome(&mut cpu, r));
            worst = pairs.map(|(got, expect)| distance(&got, &expect)).fold(worst, f32::max);
        }
        let pairs = model.evaluate(&mut cuda).into_iter().zip(model.evaluate(&mut cpu));
        worst = pairs.map(|(got, expect)| distance(&got, &expect)).fold(worst, f32::max);
    }
    (worst, cuda.exec().products)
}

tests! {
    steps_in_f32_are_the_cpus_but_for_rounding {
        let shapes = [
            (PRE_LN, vec![5]),
            (Shape { runs: 3, ..PRE_LN }, vec![5, 9, 12]),
            (Shape { runs: 2, causal: false, heads: 3, head_dim: 4, seq: 7, ..PRE_LN }, vec![4, 8]),
            (Shape { batch: 1, heads: 1, head_dim: 8, seq: 33, pre_ln: false, activation: Activation::Relu, ..PRE_LN }, vec![6]),
        ];
        for (shape, seeds) in shapes {
            let (worst, products) = after(shape, &seeds, 2, |x| x);
            // One step of Adam divides a gradient by its own size, so a small one's rounding shows.
            assert!(worst < 2e-3, "{shape:?}: {worst:e}");
            assert!(products[0] > 0, "{shape:?}");
            let one_head = shape.heads == 1 && shape.batch == 1 && shape.runs == 1;
            assert_eq!(products[1] == 0, one_head, "{shape:?}: heads are listed: {products:?}");
        }
    }
    rounded_inputs_are_near_and_not_nearer {
        let exact = after(PRE_LN, &[5], 1, |x| x).0;
        let (worst, _) = after(PRE_LN, &[5], 1, crude);
        assert!(worst > 10.0 * exact && worst.is_finite(), "{worst:e} {exact:e}");
    }
    an_idle_run_keeps_what_is_its_own {
        let seeds = [5, 9, 12];
        let model = Model::new(Shape { runs: 3, ..PRE_LN });
        let mut cuda = fast(&model, |x| x);
        for (r, &seed) in seeds.iter().enumerate() {
            model.begin(&mut cuda, r, seed);
        }
        model.train(&mut cuda, &seeds, 0);
        cuda.set_active(1, false).expect("it is told");
        let own = |cuda: &mut CudaSession<Multiplying>| {
            let params: Vec<_> = model.params.iter().map(|p| cuda.get(*p, 1).expect("it is there")).collect();
            let states: Vec<_> = (0..2).map(|s| cuda.optimizer_state(s, 1).expect("it is there")).collect();
            (params, states, cuda.get(model.running, 1).expect("it is there"))
        };
        let before = own(&mut cuda);
        model.train(&mut cuda, &seeds, 1);
        assert!(own(&mut cuda) == before, "parameters, moments and running sums");
    }
}
