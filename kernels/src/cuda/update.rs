//! Update expressions as CUDA kernels: a thread four elements, one statement an instruction.

use super::constants::literal;
use crate::update::{Instr, Reg, UpdateExpr};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The kernel of an expression. Its name follows from its code, so equal expressions share a kernel.
pub(super) fn kernel_name(expr: &UpdateExpr) -> String {
    let mut hasher = DefaultHasher::new();
    body(expr).hash(&mut hasher);
    format!("update_{:016x}", hasher.finish())
}

/// The kernel's source.
pub(super) fn kernel(expr: &UpdateExpr) -> String {
    let mut text = format!("extern \"C\" __global__ void __launch_bounds__(256) {}(Update k) {{\n", kernel_name(expr));
    text.push_str("    u32 run, i;\n    if (!has_elements(k.active, k.count, run, i)) return;\n");
    text + &body(expr) + "}\n"
}

fn body(expr: &UpdateExpr) -> String {
    let mut text = String::from(
        "    Four params = four(of(k.param, run), i, k.count), grads = four(of(k.grad, run), i, k.count);
    float norm = k.clips ? *of(k.norm, run) : 0.0f;\n",
    );
    for s in 0..expr.states {
        writeln!(text, "    Four states{s} = four(of(k.states.at[{s}], run), i, k.count);").expect("a string grows");
    }
    text.push_str(
        "#pragma unroll
    for (u32 e = 0; e < 4; e++) {
        float grad = grads.at[e];
        if (k.clips && norm > k.clip) grad = mul(grad, quotient(k.clip, norm));\n",
    );
    for (at, instr) in expr.code.iter().enumerate() {
        writeln!(text, "        float r{at} = {};", value(instr)).expect("a string grows");
    }
    writeln!(text, "        params.at[e] = {};", name(expr.param)).expect("a string grows");
    for (s, reg) in expr.new_states.iter().enumerate() {
        writeln!(text, "        states{s}.at[e] = {};", name(*reg)).expect("a string grows");
    }
    text.push_str("    }\n    put(of(k.param, run), i, k.count, params);\n");
    for s in 0..expr.new_states.len() {
        writeln!(text, "    put(of(k.states.at[{s}], run), i, k.count, states{s});").expect("a string grows");
    }
    text
}

fn name(reg: Reg) -> String {
    format!("r{}", reg.0)
}

fn value(instr: &Instr) -> String {
    let two = |f: &str, a: Reg, b: Reg| format!("{f}({}, {})", name(a), name(b));
    match *instr {
        Instr::Param => "params.at[e]".into(),
        Instr::Grad => "grad".into(),
        Instr::State(s) => format!("states{s}.at[e]"),
        Instr::Scalar(s) => format!("scalar(k.scalars.at[{s}], run)"),
        Instr::Const(x) => literal(x),
        Instr::Add(a, b) => two("add", a, b),
        Instr::Sub(a, b) => two("sub", a, b),
        Instr::Mul(a, b) => two("mul", a, b),
        Instr::Div(a, b) => two("quotient", a, b),
        Instr::Fma(a, b, c) => format!("fused({}, {}, {})", name(a), name(b), name(c)),
        Instr::Sqrt(a) => format!("root({})", name(a)),
        Instr::Neg(a) => format!("-{}", name(a)),
        Instr::Abs(a) => format!("magnitude({})", name(a)),
        Instr::Max(a, b) => two("larger", a, b),
        Instr::Min(a, b) => two("smaller", a, b),
        Instr::Sign(a) => format!("sign({})", name(a)),
    }
}
