//! Products on one stream through cuBLAS: each is made ready once, so that it can be recorded, and runs without a choice
//! or an allocation.

use super::blas::{Algorithm, Blas, Heuristic, Opaque, SetAttribute, WORKSPACE_BYTES};
use super::gemm::{Batch, Gemm, MathMode, Matrix};
use super::gpu::Algorithms;
use super::{CudaError, DeviceAddress, Work};
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::ptr;
use std::sync::PoisonError;

// cublas_api.h and cublasLt.h of CUDA 13.
const R_32F: c_int = 0;
const GEMM_DEFAULT: c_int = -1;
const DESC_TRANS_A: c_int = 3;
const DESC_TRANS_B: c_int = 4;
const DESC_EPILOGUE: c_int = 7;
const DESC_BIAS_POINTER: c_int = 8;
const DESC_BIAS_BATCH_STRIDE: c_int = 10;
const EPILOGUE_BIAS: c_int = 4;
const LAYOUT_BATCH_COUNT: c_int = 5;
const LAYOUT_BATCH_OFFSET: c_int = 6;
const PREFERENCE_WORKSPACE: c_int = 1;
const PREFERENCE_ALIGNMENT: [c_int; 4] = [5, 6, 7, 8];
const ALGORITHM_ID: c_int = 0;
const ALGORITHM_TILE: c_int = 1;
const ALGORITHM_SPLIT: c_int = 2;
const ALGORITHM_STAGES: c_int = 6;

/// Sums and products in f32, tensor cores left to the library: what is taken where a mode has no algorithm for a shape.
const COMPUTE_F32: c_int = 68;

/// The compute type that a mode asks for.
const fn compute(mode: MathMode) -> c_int {
    match mode {
        MathMode::F32 => 69,
        MathMode::Tf32 => 77,
        MathMode::Bf16 => 75,
    }
}

/// Both libraries on one stream, with a workspace of its own. What is made by it is given back before it.
pub(super) struct Handles {
    blas: Blas,
    mode: MathMode,
    lt: Opaque,
    classic: Opaque,
    stream: Opaque,
    workspace: DeviceAddress,
}

/// A product made ready: nothing is chosen or allocated when it runs, so it can be recorded.
pub(super) enum Prepared {
    Strided {
        /// Description, then layouts of A, B, C and D.
        desc: Opaque,
        layouts: [Opaque; 4],
        algorithm: Algorithm,
        at: [DeviceAddress; 4],
        beta: f32,
    },
    Listed {
        gemm: Gemm,
        /// Addresses of A, of B and of D, one array after the other on the device.
        lists: [DeviceAddress; 3],
        count: c_int,
        compute: c_int,
    },
    /// One after the other.
    Each(Vec<Prepared>),
}

impl Handles {
    /// On `stream`, whose context is current; `workspace` has [`WORKSPACE_BYTES`].
    pub(super) fn new(blas: Blas, mode: MathMode, stream: Opaque, workspace: DeviceAddress) -> Result<Self, CudaError> {
        let mut handles = Self { blas, mode, lt: ptr::null_mut(), classic: ptr::null_mut(), stream, workspace };
        // SAFETY: out-parameters that live; the stream and the workspace outlive the handles. The workspace is set after
        // the stream, which would reset it.
        unsafe {
            blas.said("cublasLtCreate", (blas.lt.create)(&raw mut handles.lt))?;
            blas.said("cublasCreate", (blas.classic.create)(&raw mut handles.classic))?;
            blas.said("cublasSetStream", (blas.classic.set_stream)(handles.classic, stream))?;
            let set = (blas.classic.set_workspace)(handles.classic, workspace.0, WORKSPACE_BYTES);
            blas.said("cublasSetWorkspace", set)?;
        }
        Ok(handles)
    }

    /// Makes a product ready, and says how it will be computed. `list` puts addresses on the device.
    pub(super) fn prepare(
        &self,
        gemm: &Gemm,
        list: impl FnOnce(&[u64]) -> Result<DeviceAddress, CudaError>,
    ) -> Result<(Prepared, String), CudaError> {
        let name = format!("{}×{}×{}", gemm.m, gemm.n, gemm.k);
        match &gemm.batch {
            Batch::Strided(count) => {
                let (prepared, algorithm) = self.strided(gemm, *count)?;
                Ok((prepared, format!("{name} ×{count}: {algorithm}")))
            }
            Batch::Listed(places) => {
                let column = |i: usize| places.iter().map(move |at| at[i].0);
                let all: Vec<u64> = column(0).chain(column(1)).chain(column(2)).collect();
                let at = list(&all)?;
                let lists = [0, 1, 2].map(|i| at.offset(8 * (i * places.len()) as u64));
                // On tensor cores the library loads 16 bytes at a time wherever k would allow it, and looks at no address.
                let even = self.mode == MathMode::F32 || all.iter().all(|at| at.is_multiple_of(16));
                let compute = if even { compute(self.mode) } else { COMPUTE_F32 };
                let prepared = Prepared::Listed { gemm: gemm.clone(), lists, count: int(places.len()), compute };
                let odd = if even { "" } else { ", in f32: 16 does not divide each address" };
                Ok((prepared, format!("{name} ×{}: batched, the library's choice{odd}", places.len())))
            }
        }
    }

    /// As one batch in the mode, else in plain f32; else each alone, in the mode or in plain f32.
    fn strided(&self, gemm: &Gemm, count: usize) -> Result<(Prepared, String), CudaError> {
        const F32: &str = ", in f32: the mode has none";
        let mode = compute(self.mode);
        let whole = self
            .strided_as(gemm, count, mode)
            .or_else(|_| self.strided_as(gemm, count, COMPUTE_F32).map(|(made, words)| (made, words + F32)));
        if whole.is_ok() || count == 1 {
            return whole;
        }
        const ALONE: &str = ", each alone: the batch has none";
        self.each(gemm, count, mode)
            .map(|(made, words)| (made, words + ALONE))
            .or_else(|_| self.each(gemm, count, COMPUTE_F32).map(|(made, words)| (made, words + ALONE + F32)))
    }

    /// The matrices of a batch as products of their own, and the first one's algorithm.
    fn each(&self, gemm: &Gemm, count: usize, compute: c_int) -> Result<(Prepared, String), CudaError> {
        let (mut all, mut first) = (Vec::with_capacity(count), String::new());
        for i in 0..count {
            match self.strided_as(&alone(gemm, i as u64), 1, compute) {
                Ok((made, words)) => {
                    all.push(made);
                    first = if i == 0 { words } else { first };
                }
                Err(e) => {
                    self.free(&Prepared::Each(all));
                    return Err(e);
                }
            }
        }
        Ok((Prepared::Each(all), first))
    }

    fn strided_as(&self, gemm: &Gemm, count: usize, compute: c_int) -> Result<(Prepared, String), CudaError> {
        let (desc, mut layouts) = (self.description(gemm, compute)?, [ptr::null_mut(); 4]);
        let c = gemm.c.unwrap_or(gemm.d);
        let shapes =
            [(&gemm.a, gemm.m, gemm.k), (&gemm.b, gemm.k, gemm.n), (&c, gemm.m, gemm.n), (&gemm.d, gemm.m, gemm.n)];
        let at = shapes.map(|(matrix, ..)| matrix.at);
        let mut made =
            Prepared::Strided { desc, layouts, algorithm: [0; 8], at, beta: f32::from(u8::from(gemm.c.is_some())) };
        let chosen = (|| {
            for (layout, (matrix, rows, columns)) in layouts.iter_mut().zip(shapes) {
                *layout = self.layout(matrix, rows, columns, count)?;
            }
            let mut alignments = shapes.map(|(matrix, ..)| alignment(matrix, count));
            if let Some((at, stride)) = gemm.bias {
                // The library loads a bias in the steps in which it stores D.
                let bias = alignment(&Matrix { at, stride, ..gemm.d }, count);
                alignments[3] = alignments[3].min(bias);
            }
            self.choose(desc, &layouts, alignments)
        })();
        if let Prepared::Strided { layouts: kept, .. } = &mut made {
            *kept = layouts;
        }
        match chosen {
            Ok(found) => {
                if let Prepared::Strided { algorithm, .. } = &mut made {
                    *algorithm = found;
                }
                Ok((made, self.words(&found)))
            }
            Err(e) => {
                self.free(&made);
                Err(e)
            }
        }
    }

    fn description(&self, gemm: &Gemm, compute: c_int) -> Result<Opaque, CudaError> {
        let (create, _, set) = self.blas.lt.desc;
        let mut desc = ptr::null_mut();
        // SAFETY: an out-parameter that lives.
        self.blas.said("cublasLtMatmulDescCreate", unsafe { create(&raw mut desc, compute, R_32F) })?;
        let put = |attribute, value| self.set(set, desc, attribute, value);
        let transposed = |matrix: &Matrix| i64::from(matrix.transposed);
        let mut all = vec![(DESC_TRANS_A, int32(transposed(&gemm.a))), (DESC_TRANS_B, int32(transposed(&gemm.b)))];
        if let Some((at, stride)) = gemm.bias {
            all.push((DESC_EPILOGUE, int32(i64::from(EPILOGUE_BIAS))));
            all.push((DESC_BIAS_POINTER, at.0.to_ne_bytes().to_vec()));
            all.push((DESC_BIAS_BATCH_STRIDE, stride.to_ne_bytes().to_vec()));
        }
        match all.iter().try_for_each(|(attribute, value)| put(*attribute, value)) {
            Ok(()) => Ok(desc),
            Err(e) => {
                // SAFETY: made above, and used no more.
                unsafe { (self.blas.lt.desc.1)(desc) };
                Err(e)
            }
        }
    }

    /// A layout as the matrix is stored: `rows` × `columns` is its shape as it is read.
    fn layout(&self, matrix: &Matrix, rows: usize, columns: usize, count: usize) -> Result<Opaque, CudaError> {
        let (create, destroy, set) = self.blas.lt.layout;
        let (rows, columns) = if matrix.transposed { (columns, rows) } else { (rows, columns) };
        let mut layout = ptr::null_mut();
        // SAFETY: an out-parameter that lives.
        let made = unsafe { create(&raw mut layout, R_32F, rows as u64, columns as u64, matrix.ld as i64) };
        self.blas.said("cublasLtMatrixLayoutCreate", made)?;
        let done = self
            .set(set, layout, LAYOUT_BATCH_COUNT, &int32(count as i64))
            .and_then(|()| self.set(set, layout, LAYOUT_BATCH_OFFSET, &(matrix.stride as i64).to_ne_bytes()));
        if done.is_err() {
            // SAFETY: made above, and used no more.
            unsafe { destroy(layout) };
        }
        done.map(|()| layout)
    }

    fn set(&self, set: SetAttribute, of: Opaque, attribute: c_int, value: &[u8]) -> Result<(), CudaError> {
        // SAFETY: a living object; as many bytes as are counted.
        self.blas.said("cublasLt…SetAttribute", unsafe { set(of, attribute, value.as_ptr().cast(), value.len()) })
    }

    /// The library's first choice for a product whose matrices lie at such multiples of bytes.
    fn choose(&self, desc: Opaque, layouts: &[Opaque; 4], alignments: [u32; 4]) -> Result<Algorithm, CudaError> {
        let (create, destroy, set) = self.blas.lt.preference;
        let mut preference = ptr::null_mut();
        // SAFETY: an out-parameter that lives.
        self.blas.said("cublasLtMatmulPreferenceCreate", unsafe { create(&raw mut preference) })?;
        let mut found = [Heuristic::default()];
        let mut count = 0;
        let asked =
            self.set(set, preference, PREFERENCE_WORKSPACE, &(WORKSPACE_BYTES as u64).to_ne_bytes()).and_then(|()| {
                for (attribute, bytes) in PREFERENCE_ALIGNMENT.into_iter().zip(alignments) {
                    self.set(set, preference, attribute, &bytes.to_ne_bytes())?;
                }
                let [a, b, c, d] = *layouts;
                // SAFETY: living objects; room for the one result that is asked for.
                let status = unsafe {
                    let (result, count) = (found.as_mut_ptr(), &raw mut count);
                    (self.blas.lt.heuristic)(self.lt, desc, a, b, c, d, preference, 1, result, count)
                };
                self.blas.said("cublasLtMatmulAlgoGetHeuristic", status)
            });
        // SAFETY: made above, and used no more.
        unsafe { destroy(preference) };
        asked?;
        if count < 1 || found[0].state != 0 {
            let what = "no algorithm for this product".to_string();
            return Err(CudaError::Call { call: "cublasLtMatmulAlgoGetHeuristic", what });
        }
        Ok(found[0].algorithm)
    }

    /// An algorithm in words.
    fn words(&self, algorithm: &Algorithm) -> String {
        let number = |attribute| {
            let (mut value, mut written) = (0_u32, 0);
            // SAFETY: a whole algorithm, and room for four bytes.
            let status = unsafe {
                let value = (&raw mut value).cast();
                (self.blas.lt.algorithm)(algorithm, attribute, value, 4, &raw mut written)
            };
            if status == 0 { value.to_string() } else { "?".into() }
        };
        let [id, tile, split, stages] = [ALGORITHM_ID, ALGORITHM_TILE, ALGORITHM_SPLIT, ALGORITHM_STAGES].map(number);
        format!("algorithm {id}, tile {tile}, stages {stages}, split {split}")
    }

    /// Computes a product that was made ready.
    ///
    /// # Safety
    /// Its matrices are memory of this device that is large enough.
    pub(super) unsafe fn run(&self, prepared: &Prepared) -> Result<(), CudaError> {
        let one = 1.0_f32;
        match prepared {
            Prepared::Strided { desc, layouts: [a, b, c, d], algorithm, at, beta } => {
                // SAFETY: the caller's; descriptions that were made for these matrices.
                let status = unsafe {
                    (self.blas.lt.matmul)(
                        self.lt,
                        *desc,
                        &raw const one,
                        at[0].0,
                        *a,
                        at[1].0,
                        *b,
                        beta,
                        at[2].0,
                        *c,
                        at[3].0,
                        *d,
                        algorithm,
                        self.workspace.0,
                        WORKSPACE_BYTES,
                        self.stream,
                    )
                };
                self.blas.said("cublasLtMatmul", status)
            }
            Prepared::Each(all) => {
                // SAFETY: the caller's.
                all.iter().try_for_each(|one| unsafe { self.run(one) })
            }
            Prepared::Listed { gemm, lists, count, compute } => {
                let transposed = |matrix: &Matrix| c_int::from(matrix.transposed);
                let zero = 0.0_f32;
                // SAFETY: the caller's; as many addresses as are counted.
                let status = unsafe {
                    (self.blas.classic.batched)(
                        self.classic,
                        transposed(&gemm.a),
                        transposed(&gemm.b),
                        int(gemm.m),
                        int(gemm.n),
                        int(gemm.k),
                        &raw const one,
                        lists[0].0,
                        R_32F,
                        int(gemm.a.ld),
                        lists[1].0,
                        R_32F,
                        int(gemm.b.ld),
                        &raw const zero,
                        lists[2].0,
                        R_32F,
                        int(gemm.d.ld),
                        *count,
                        *compute,
                        GEMM_DEFAULT,
                    )
                };
                self.blas.said("cublasGemmBatchedEx", status)
            }
        }
    }

    /// Gives back what was made ready.
    pub(super) fn free(&self, prepared: &Prepared) {
        match prepared {
            // SAFETY: made by this, and used no more.
            Prepared::Strided { desc, layouts, .. } => unsafe {
                layouts.iter().filter(|layout| !layout.is_null()).for_each(|layout| {
                    (self.blas.lt.layout.1)(*layout);
                });
                (self.blas.lt.desc.1)(*desc);
            },
            Prepared::Each(all) => all.iter().for_each(|one| self.free(one)),
            Prepared::Listed { .. } => {}
        }
    }
}

/// cuBLAS on one stream, with the products of every list made ready.
pub(super) struct Multiplier {
    handles: Handles,
    ready: BTreeMap<usize, Vec<Prepared>>,
    algorithms: Algorithms,
}

impl Multiplier {
    /// See [`Handles::new`]; how products are computed is added to `algorithms`.
    pub(super) fn new(
        blas: Blas,
        mode: MathMode,
        stream: Opaque,
        workspace: DeviceAddress,
        algorithms: Algorithms,
    ) -> Result<Self, CudaError> {
        let handles = Handles::new(blas, mode, stream, workspace)?;
        Ok(Self { handles, ready: BTreeMap::new(), algorithms })
    }

    /// Makes the products of list `id` ready, unless they are. `list` puts addresses on the device.
    pub(super) fn prepare(
        &mut self,
        id: usize,
        work: &[Work],
        mut list: impl FnMut(&[u64]) -> Result<DeviceAddress, CudaError>,
    ) -> Result<(), CudaError> {
        if self.ready.contains_key(&id) {
            return Ok(());
        }
        let mut ready = Vec::new();
        for piece in work {
            let Work::Product(gemm) = piece else { continue };
            match self.handles.prepare(gemm, &mut list) {
                Ok((prepared, words)) => {
                    ready.push(prepared);
                    self.algorithms.lock().unwrap_or_else(PoisonError::into_inner).insert(words);
                }
                Err(e) => {
                    ready.iter().for_each(|prepared| self.handles.free(prepared));
                    return Err(e);
                }
            }
        }
        self.ready.insert(id, ready);
        Ok(())
    }

    /// Computes product `index` of list `id`.
    ///
    /// # Safety
    /// As for [`Handles::run`].
    pub(super) unsafe fn run(&self, id: usize, index: usize) -> Result<(), CudaError> {
        let ready = self.ready.get(&id).and_then(|list| list.get(index));
        let ready = ready.expect("a list is made ready before it runs, and never changes");
        // SAFETY: the caller's.
        unsafe { self.handles.run(ready) }
    }

    /// Gives back what was made ready for list `id`.
    pub(super) fn forget(&mut self, id: usize) {
        for prepared in self.ready.remove(&id).into_iter().flatten() {
            self.handles.free(&prepared);
        }
    }
}

impl Drop for Multiplier {
    fn drop(&mut self) {
        self.ready.values().flatten().for_each(|prepared| self.handles.free(prepared));
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once; null where creation failed.
        unsafe {
            if !self.classic.is_null() {
                (self.blas.classic.destroy)(self.classic);
            }
            if !self.lt.is_null() {
                (self.blas.lt.destroy)(self.lt);
            }
        }
    }
}

/// Product `i` of a strided batch.
fn alone(gemm: &Gemm, i: u64) -> Gemm {
    let at = |matrix: Matrix| Matrix { at: matrix.at.offset(4 * i * matrix.stride), ..matrix };
    Gemm {
        a: at(gemm.a),
        b: at(gemm.b),
        c: gemm.c.map(at),
        d: at(gemm.d),
        bias: gemm.bias.map(|(bias, stride)| (bias.offset(4 * i * stride), stride)),
        batch: Batch::Strided(1),
        ..*gemm
    }
}

/// The largest power of two, up to 256, at whose multiples all matrices of a batch begin, in bytes.
fn alignment(matrix: &Matrix, count: usize) -> u32 {
    let step = if count > 1 { 4 * matrix.stride } else { 0 };
    1 << (matrix.at.0 | step | 256).trailing_zeros()
}

fn int(x: usize) -> c_int {
    c_int::try_from(x).expect("a matrix has fewer than 2^31 rows, columns and neighbours")
}

fn int32(x: i64) -> Vec<u8> {
    (x as i32).to_ne_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignments_are_those_of_the_worst_matrix() {
        let at = |at, stride| Matrix { at: DeviceAddress(at), ld: 1, transposed: false, stride };
        assert_eq!(alignment(&at(4096, 64), 3), 256);
        assert_eq!(alignment(&at(4096, 16), 3), 64);
        assert_eq!(alignment(&at(4096, 3), 3), 4);
        assert_eq!(alignment(&at(4096, 3), 1), 256);
        assert_eq!(alignment(&at(4100, 16), 1), 4);
    }

    #[test]
    fn the_library_s_structures_have_the_sizes_of_its_header() {
        assert_eq!((size_of::<Algorithm>(), size_of::<Heuristic>()), (64, 64 + 8 + 4 + 4 + 16));
    }
}
