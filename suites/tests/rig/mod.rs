//! Parameters of given shapes under an optimizer, and gradients that the test writes.

use preheat_kernels::graph::{Graph, Program, Role, Session, TensorId};
use preheat_kernels::ops::Ops;
use preheat_kernels::real::Real;
use preheat_suites::optimizers::Optimizer;
use std::sync::Arc;

/// A parameter's name and shape. One whose name begins with `hidden` is the weight of a linear layer.
pub(crate) type Shape<'s> = (&'s str, &'s [usize]);

pub(crate) struct Rig<T: Real, K: Ops<T>> {
    session: Session<T, K>,
    program: Arc<Program>,
    optimizer: Box<dyn Optimizer>,
    params: Vec<TensorId>,
}

impl<T: Real, K: Ops<T>> Rig<T, K> {
    /// `initial` holds the elements of all parameters, one after the other.
    pub(crate) fn new(
        optimizer: Box<dyn Optimizer>,
        shapes: &[Shape<'_>],
        clip: Option<f64>,
        ops: K,
        initial: &[T],
    ) -> Self {
        let mut graph = Graph::new();
        for (name, shape) in shapes {
            let param = graph.param(name, shape);
            if name.starts_with("hidden") {
                let x = graph.input("x", &[1, shape[0]]);
                graph.linear(x, param, None, None).expect("shapes fit");
            }
        }
        let norm = graph.grad_norm();
        let done = graph.update(norm, optimizer.update(), clip);
        let program = Arc::new(graph.compile(1, &[("train", &[norm, done])]));
        let session = Session::new(Arc::clone(&program), ops);
        let params = program.graph().params().collect();
        let mut rig = Self { session, program, optimizer, params };
        rig.fill(initial, |_, param| param);
        rig
    }

    fn fill(&mut self, mut values: &[T], place: impl Fn(&Graph, TensorId) -> TensorId) {
        for param in self.params.clone() {
            let target = self.session.get_mut(place(self.program.graph(), param), 0);
            let (now, later) = values.split_at(target.len());
            target.copy_from_slice(now);
            values = later;
        }
        assert!(values.is_empty(), "a value for each element");
    }

    /// One step, counted from 1, with these gradients of all parameters.
    pub(crate) fn step(&mut self, step: u64, lr: f64, grads: &[T]) {
        self.fill(grads, |graph, param| graph.grad_of(param).expect("a gradient"));
        self.session.set_scalars(0, self.optimizer.scalars(step, lr).into_iter().map(T::from_f64));
        self.session.run(self.program.entry("train").expect("an entry"));
    }

    /// The elements of all parameters.
    pub(crate) fn values(&self) -> Vec<T> {
        self.params.iter().flat_map(|p| self.session.get(*p, 0).to_vec()).collect()
    }

    /// All that the optimizer keeps.
    pub(crate) fn kept(&self) -> Vec<T> {
        let flat = (0..self.program.optimizer_states()).map(|s| self.session.optimizer_state(s, 0));
        let moments = self.program.graph().tensors_with(Role::Moment).into_iter().map(|m| self.session.get(m, 0));
        flat.chain(moments).flatten().copied().collect()
    }
}
