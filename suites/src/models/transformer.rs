//! Decoder Transformer with the layer norms after (post-ln) or before (pre-ln) the sublayers
//! (Vaswani et al. 2017; Xiong et al. 2020, §3.1 and Table 1).

use super::{Built, Counted, Init, Model, Network, Shape};
use crate::fits::accounting::{FeedForward, openlm_width};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use crate::tasks::Asks;
use preheat_kernels::graph::{Graph, ShapeError, TensorId};
use preheat_kernels::ops::{Activation, Attention};

const SIZE: ParamKind = ParamKind::Int { min: 1, max: 65_536 };
const SPREAD: ParamKind = ParamKind::Real { min: 0.0, max: 100.0 };

const fn def(name: &'static str, doc: &'static str, kind: ParamKind, default: Preset) -> ParamDef {
    ParamDef { name, doc, kind, default }
}

pub(super) const ENTRY: Entry<Box<dyn Model>> = Entry {
    name: "transformer",
    doc: "decoder Transformer",
    params: &[
        def("layers", "L", ParamKind::Int { min: 1, max: 1024 }, Preset::Required),
        def("width", "C, divisible by heads", SIZE, Preset::Required),
        def("heads", "H", SIZE, Preset::Int(1)),
        def(
            "ffn_ratio",
            "F/C, of which swiglu takes two thirds for each of its three matrices",
            ParamKind::Int { min: 1, max: 64 },
            Preset::Int(4),
        ),
        def("norm", "where the layer norms stand", ParamKind::Choice(&["pre-ln", "post-ln"]), Preset::Text("pre-ln")),
        def(
            "activation",
            "of the feed-forward branch; swiglu-256 rounds its width up to a multiple of 256",
            ParamKind::Choice(&["relu", "gelu-tanh", "gelu-erf", "swiglu", "swiglu-256"]),
            Preset::Text("relu"),
        ),
        def(
            "positions",
            "position embeddings",
            ParamKind::Choice(&["learned", "sinusoidal", "none"]),
            Preset::Text("learned"),
        ),
        def("tied", "the head shares the token embeddings", ParamKind::Flag, Preset::Flag(false)),
        def("attention", "which positions are seen", ParamKind::Choice(&["causal", "full"]), Preset::Text("causal")),
        def("out_projection", "attention has an output projection", ParamKind::Flag, Preset::Flag(true)),
        def(
            "uniform_attention",
            "query and key weights start at zero (Xiong 2020's theory)",
            ParamKind::Flag,
            Preset::Flag(false),
        ),
        def("dropout", "rate, on both branches", ParamKind::Real { min: 0.0, max: 0.95 }, Preset::Real(0.0)),
        def("embedding_std", "of token embeddings at initialisation", SPREAD, Preset::Real(1.0)),
        def("position_std", "of learned positions at initialisation", SPREAD, Preset::Real(0.3)),
        def("head_std", "of the head at initialisation, times 1/sqrt(width)", SPREAD, Preset::Real(0.5)),
    ],
    build: |p: &Params| Ok(Box::new(Transformer::new(p)?)),
};

/// Added to variances by every layer norm.
const EPS: f64 = 1e-5;

/// The model's hyper-parameters.
#[derive(Clone, Debug)]
pub struct Transformer {
    layers: usize,
    width: usize,
    heads: usize,
    ffn: usize,
    pre_ln: bool,
    activation: Activation,
    /// SwiGLU: (silu(x·W_gate) ⊙ x·W_in)·W_out without biases (Shazeer 2020, eq. 6).
    gated: bool,
    positions: Positions,
    tied: bool,
    causal: bool,
    out_projection: bool,
    uniform_attention: bool,
    dropout: f64,
    embedding_std: f64,
    position_std: f64,
    head_std: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Positions {
    Learned,
    Sinusoidal,
    None,
}

impl Transformer {
    /// Reads complete parameters; `width` must be divisible by `heads`.
    pub fn new(p: &Params) -> Result<Self, Invalid> {
        let (width, heads) = (p.size("width"), p.size("heads"));
        if width % heads != 0 {
            let wrong = format!("{width} is not divisible by heads {heads}; allowed: multiples of {heads}");
            return Err(Invalid::new("width", wrong));
        }
        let plain = p.size("ffn_ratio") * width;
        let (activation, gated, ffn) = match p.text("activation") {
            "relu" => (Activation::Relu, false, plain),
            "gelu-tanh" => (Activation::GeluTanh, false, plain),
            "gelu-erf" => (Activation::GeluErf, false, plain),
            "swiglu" => (Activation::Silu, true, (2 * plain / 3).max(1)),
            _ => (Activation::Silu, true, openlm_width(plain.max(2) as u64) as usize),
        };
        Ok(Self {
            layers: p.size("layers"),
            width,
            heads,
            ffn,
            pre_ln: p.text("norm") == "pre-ln",
            activation,
            gated,
            positions: match p.text("positions") {
                "learned" => Positions::Learned,
                "sinusoidal" => Positions::Sinusoidal,
                _ => Positions::None,
            },
            tied: p.flag("tied"),
            causal: p.text("attention") == "causal",
            out_projection: p.flag("out_projection"),
            uniform_attention: p.flag("uniform_attention"),
            dropout: p.real("dropout"),
            embedding_std: p.real("embedding_std"),
            position_std: p.real("position_std"),
            head_std: p.real("head_std"),
        })
    }

    /// Weights of one layer's matrices.
    fn layer_weights(&self) -> usize {
        let out = if self.out_projection { self.width } else { 0 };
        self.width * (3 * self.width + out + if self.gated { 3 } else { 2 } * self.ffn)
    }
}

impl Model for Transformer {
    fn parameters(&self, vocab: usize, seq: usize) -> u64 {
        let (c, f) = (self.width, self.ffn);
        let out_bias = if self.out_projection { c } else { 0 };
        let ffn_biases = if self.gated { 0 } else { f + c };
        let layer = self.layer_weights() + 3 * c + out_bias + ffn_biases + 4 * c;
        let positions = if self.positions == Positions::Learned { seq * c } else { 0 };
        let head = if self.tied { 0 } else { c * vocab };
        let last_norm = if self.pre_ln { 2 * c } else { 0 };
        (vocab * c + positions + self.layers * layer + last_norm + head) as u64
    }

    fn step_flops(&self, batch: usize, vocab: usize, seq: usize) -> f64 {
        let rows = (batch * seq) as f64;
        let terms = if self.causal { seq * (seq + 1) / 2 } else { seq * seq } as f64;
        let attention = 12.0 * (batch * self.width * self.layers) as f64 * terms;
        6.0 * rows * (self.layers * self.layer_weights() + self.width * vocab) as f64 + attention
    }

    fn counted(&self, vocab: usize, seq: usize) -> Option<Counted> {
        let [width, layers, seq, vocab, heads] = [self.width, self.layers, seq, vocab, self.heads].map(|x| x as u64);
        let ffn = self.ffn as u64;
        let feed_forward =
            if self.gated { FeedForward::SwiGlu { width: ffn } } else { FeedForward::Plain { width: ffn } };
        // The counts speak of a causal decoder with its four attention matrices.
        (self.causal && self.out_projection).then_some(Counted { width, layers, seq, vocab, heads, feed_forward })
    }

    fn answers(&self) -> Option<Asks> {
        Some(Asks::Tokens)
    }

    fn build(&self, shape: &Shape) -> Result<Built, ShapeError> {
        if shape.targets != shape.seq {
            return Err(ShapeError("a transformer predicts a token at each position; allowed: tasks of tokens".into()));
        }
        Builder::new(self, *shape).network().map(|n| Built::Network(Box::new(n)))
    }
}

struct Builder<'m> {
    model: &'m Transformer,
    shape: Shape,
    graph: Graph,
    init: Vec<(TensorId, Init)>,
    dropouts: u32,
}

impl<'m> Builder<'m> {
    fn new(model: &'m Transformer, shape: Shape) -> Self {
        Self { model, shape, graph: Graph::new(), init: Vec::new(), dropouts: 0 }
    }

    fn param(&mut self, name: &str, shape: &[usize], init: Init) -> TensorId {
        let id = self.graph.param(name, shape);
        self.init.push((id, init));
        id
    }

    /// Glorot & Bengio 2010: N(0, 2/(n_in + n_out)).
    fn weight(&mut self, name: &str, rows: usize, columns: usize) -> TensorId {
        let std = (2.0 / (rows + columns) as f64).sqrt();
        self.param(name, &[rows, columns], Init::Normal(std))
    }

    fn bias(&mut self, name: &str, len: usize) -> TensorId {
        self.param(name, &[len], Init::Constant(0.0))
    }

    fn norm(&mut self, name: &str, x: TensorId) -> Result<TensorId, ShapeError> {
        let c = self.model.width;
        let gamma = self.param(&format!("{name}.gamma"), &[c], Init::Constant(1.0));
        let beta = self.bias(&format!("{name}.beta"), c);
        self.graph.layer_norm(x, gamma, beta, EPS)
    }

    fn network(mut self) -> Result<Network, ShapeError> {
        let (m, shape) = (self.model, self.shape);
        let (inputs, targets) = (self.graph.tokens("inputs", shape.rows()), self.graph.tokens("targets", shape.rows()));
        let table = self.param("tok_emb", &[shape.vocab, m.width], Init::Normal(m.embedding_std));
        let positions = self.positions();
        let mut x = self.graph.embedding(inputs, table, positions)?;
        let (mut hidden, mut ffn_out) = (Vec::new(), Vec::new());
        for layer in 0..m.layers {
            let (next, sum, weight) = self.block(&format!("block.{layer}"), x)?;
            hidden.push(sum);
            ffn_out.push(weight);
            x = next;
        }
        if m.pre_ln {
            x = self.norm("final_ln", x)?;
        }
        let logits = if m.tied {
            self.graph.linear_tied(x, table)?
        } else {
            let std = m.head_std / (m.width as f64).sqrt();
            let head = self.param("head.w", &[m.width, shape.vocab], Init::Normal(std));
            self.graph.linear(x, head, None, None)?
        };
        let (loss, _) = self.graph.cross_entropy(logits, targets, shape.label_smoothing)?;
        let (eval_loss, _) = self.graph.cross_entropy(logits, targets, 0.0)?;
        let Self { graph, init, .. } = self;
        let (states, measured) = (Vec::new(), Vec::new());
        Ok(Network { graph, inputs, targets, loss, eval_loss, hidden, ffn_out, init, states, measured })
    }

    fn positions(&mut self) -> Option<TensorId> {
        let (t, c) = (self.shape.seq, self.model.width);
        match self.model.positions {
            Positions::Learned => Some(self.param("pos_emb", &[t, c], Init::Normal(self.model.position_std))),
            Positions::Sinusoidal => {
                let id = self.graph.input("pos_emb", &[t, c]);
                self.init.push((id, Init::Given(sinusoids(t, c))));
                Some(id)
            }
            Positions::None => None,
        }
    }

    /// One layer: its output, the sum after the feed-forward branch, and the branch's output weight.
    fn block(&mut self, name: &str, x: TensorId) -> Result<(TensorId, TensorId, TensorId), ShapeError> {
        if self.model.pre_ln {
            let normed = self.norm(&format!("{name}.ln1"), x)?;
            let x = self.attention(name, normed, x)?;
            let normed = self.norm(&format!("{name}.ln2"), x)?;
            let (sum, weight) = self.feed_forward(name, normed, x)?;
            Ok((sum, sum, weight))
        } else {
            let sum = self.attention(name, x, x)?;
            let x = self.norm(&format!("{name}.ln1"), sum)?;
            let (sum, weight) = self.feed_forward(name, x, x)?;
            let out = self.norm(&format!("{name}.ln2"), sum)?;
            Ok((out, sum, weight))
        }
    }

    /// residual + attention(x).
    fn attention(&mut self, name: &str, x: TensorId, residual: TensorId) -> Result<TensorId, ShapeError> {
        let (m, c) = (self.model, self.model.width);
        // Queries, keys and values are three C×C matrices side by side, each with its own fan.
        let std = (1.0 / c as f64).sqrt();
        let init = if m.uniform_attention {
            Init::NormalWithZeroColumns { std, width: 3 * c, zero_columns: 2 * c }
        } else {
            Init::Normal(std)
        };
        let w_qkv = self.param(&format!("{name}.attn.w_qkv"), &[c, 3 * c], init);
        let b_qkv = self.bias(&format!("{name}.attn.b_qkv"), 3 * c);
        let qkv = self.graph.linear(x, w_qkv, Some(b_qkv), None)?;
        let shape = Attention {
            batch: self.shape.batch,
            seq: self.shape.seq,
            heads: m.heads,
            head_dim: c / m.heads,
            causal: m.causal,
        };
        let mixed = self.graph.attention(qkv, shape)?;
        if m.out_projection {
            let w_out = self.weight(&format!("{name}.attn.w_out"), c, c);
            let b_out = self.bias(&format!("{name}.attn.b_out"), c);
            self.branch(mixed, w_out, Some(b_out), residual)
        } else {
            let mixed = self.dropped(mixed);
            self.graph.add(residual, mixed)
        }
    }

    /// residual + feed-forward(x), and its output weight.
    fn feed_forward(
        &mut self,
        name: &str,
        x: TensorId,
        residual: TensorId,
    ) -> Result<(TensorId, TensorId), ShapeError> {
        let (c, f) = (self.model.width, self.model.ffn);
        if self.model.gated {
            return self.swiglu(name, x, residual);
        }
        let w_in = self.weight(&format!("{name}.ffn.w_in"), c, f);
        let b_in = self.bias(&format!("{name}.ffn.b_in"), f);
        let h = self.graph.linear(x, w_in, Some(b_in), None)?;
        let h = self.graph.activation(self.model.activation, h);
        let w_out = self.weight(&format!("{name}.ffn.w_out"), f, c);
        let b_out = self.bias(&format!("{name}.ffn.b_out"), c);
        Ok((self.branch(h, w_out, Some(b_out), residual)?, w_out))
    }

    fn swiglu(&mut self, name: &str, x: TensorId, residual: TensorId) -> Result<(TensorId, TensorId), ShapeError> {
        let (c, f) = (self.model.width, self.model.ffn);
        let w_gate = self.weight(&format!("{name}.ffn.w_gate"), c, f);
        let w_in = self.weight(&format!("{name}.ffn.w_in"), c, f);
        let gate = self.graph.linear(x, w_gate, None, None)?;
        let gate = self.graph.activation(self.model.activation, gate);
        let h = self.graph.linear(x, w_in, None, None)?;
        let h = self.graph.mul(gate, h)?;
        let w_out = self.weight(&format!("{name}.ffn.w_out"), f, c);
        Ok((self.branch(h, w_out, None, residual)?, w_out))
    }

    /// residual + dropout(x·w + b); without dropout the residual is added by the product itself.
    fn branch(
        &mut self,
        x: TensorId,
        w: TensorId,
        b: Option<TensorId>,
        residual: TensorId,
    ) -> Result<TensorId, ShapeError> {
        if self.model.dropout == 0.0 {
            return self.graph.linear(x, w, b, Some(residual));
        }
        let y = self.graph.linear(x, w, b, None)?;
        let y = self.dropped(y);
        self.graph.add(residual, y)
    }

    fn dropped(&mut self, x: TensorId) -> TensorId {
        if self.model.dropout == 0.0 {
            return x;
        }
        self.dropouts += 1;
        self.graph.dropout(x, self.model.dropout, DROPOUT_STREAM + self.dropouts)
    }
}

/// Streams of dropout masks start here, above those of initial values.
const DROPOUT_STREAM: u32 = 1 << 20;

/// Sines and cosines of Vaswani et al. 2017, §3.5.
fn sinusoids(seq: usize, width: usize) -> Vec<f32> {
    let mut out = vec![0.0; seq * width];
    for (t, row) in out.chunks_exact_mut(width).enumerate() {
        for (j, x) in row.iter_mut().enumerate() {
            let angle = t as f64 / libm::pow(10_000.0, (j - j % 2) as f64 / width as f64);
            *x = if j % 2 == 0 { libm::sin(angle) } else { libm::cos(angle) } as f32;
        }
    }
    out
}
