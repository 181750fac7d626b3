//! Elementwise update expressions: an optimizer's step as data.
//!
//! An optimizer states its update once, as a short list of instructions over (parameter, gradient,
//! states, scalars). The CPU evaluates it in blocks; a GPU generates one kernel from it. Every
//! instruction is one IEEE operation, so the bits are the same everywhere.

/// A value computed by an instruction of the same expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(pub u16);

/// One elementwise instruction. Its result is the register of its position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Instr {
    /// The parameter before the step.
    Param,
    /// The gradient, already scaled by the clip coefficient where the run clips.
    Grad,
    /// State `i` before the step.
    State(u8),
    /// Host scalar `i` of this step (computed in f64, rounded once).
    Scalar(u8),
    /// A constant.
    Const(f32),
    /// a + b
    Add(Reg, Reg),
    /// a − b
    Sub(Reg, Reg),
    /// a · b
    Mul(Reg, Reg),
    /// a / b, IEEE
    Div(Reg, Reg),
    /// a · b + c, rounded once
    Fma(Reg, Reg, Reg),
    /// √a, IEEE
    Sqrt(Reg),
    /// −a
    Neg(Reg),
    /// |a|
    Abs(Reg),
    /// if b > a { b } else { a }
    Max(Reg, Reg),
    /// if b < a { b } else { a }
    Min(Reg, Reg),
    /// −1, 0 or 1 (0 for either zero and for NaN)
    Sign(Reg),
}

impl Instr {
    /// The registers it reads.
    pub fn operands(&self) -> impl Iterator<Item = Reg> {
        let regs = match *self {
            Self::Param | Self::Grad | Self::State(_) | Self::Scalar(_) | Self::Const(_) => [None; 3],
            Self::Sqrt(a) | Self::Neg(a) | Self::Abs(a) | Self::Sign(a) => [Some(a), None, None],
            Self::Add(a, b)
            | Self::Sub(a, b)
            | Self::Mul(a, b)
            | Self::Div(a, b)
            | Self::Max(a, b)
            | Self::Min(a, b) => [Some(a), Some(b), None],
            Self::Fma(a, b, c) => [Some(a), Some(b), Some(c)],
        };
        regs.into_iter().flatten()
    }
}

/// A complete update: instructions, and where results go.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateExpr {
    /// Number of state buffers of the parameters' length.
    pub states: usize,
    /// Names of the host scalars, in index order.
    pub scalars: Vec<&'static str>,
    /// The instructions, in evaluation order.
    pub code: Vec<Instr>,
    /// The new parameter.
    pub param: Reg,
    /// The new value of each state.
    pub new_states: Vec<Reg>,
}

/// Builds an [`UpdateExpr`].
#[derive(Default)]
pub struct UpdateBuilder {
    scalars: Vec<&'static str>,
    code: Vec<Instr>,
}

impl UpdateBuilder {
    /// An empty expression.
    pub fn new() -> Self {
        Self::default()
    }
    /// Appends an instruction.
    pub fn push(&mut self, instr: Instr) -> Reg {
        self.code.push(instr);
        Reg(u16::try_from(self.code.len() - 1).expect("an update has few instructions"))
    }
    /// The parameter before the step.
    pub fn param(&mut self) -> Reg {
        self.push(Instr::Param)
    }
    /// The (clipped) gradient.
    pub fn grad(&mut self) -> Reg {
        self.push(Instr::Grad)
    }
    /// State `i` before the step.
    pub fn state(&mut self, i: u8) -> Reg {
        self.push(Instr::State(i))
    }
    /// The host scalar `name`, declared at its first use; values are passed in the order of declaration.
    pub fn scalar(&mut self, name: &'static str) -> Reg {
        let i = self.scalars.iter().position(|s| *s == name).unwrap_or_else(|| {
            self.scalars.push(name);
            self.scalars.len() - 1
        });
        self.push(Instr::Scalar(u8::try_from(i).expect("an update has few scalars")))
    }
    /// A constant.
    pub fn constant(&mut self, x: f32) -> Reg {
        self.push(Instr::Const(x))
    }
    /// a + b
    pub fn add(&mut self, a: Reg, b: Reg) -> Reg {
        self.push(Instr::Add(a, b))
    }
    /// a − b
    pub fn sub(&mut self, a: Reg, b: Reg) -> Reg {
        self.push(Instr::Sub(a, b))
    }
    /// a · b
    pub fn mul(&mut self, a: Reg, b: Reg) -> Reg {
        self.push(Instr::Mul(a, b))
    }
    /// a / b
    pub fn div(&mut self, a: Reg, b: Reg) -> Reg {
        self.push(Instr::Div(a, b))
    }
    /// a · b + c
    pub fn fma(&mut self, a: Reg, b: Reg, c: Reg) -> Reg {
        self.push(Instr::Fma(a, b, c))
    }
    /// √a
    pub fn sqrt(&mut self, a: Reg) -> Reg {
        self.push(Instr::Sqrt(a))
    }
    /// −a
    pub fn neg(&mut self, a: Reg) -> Reg {
        self.push(Instr::Neg(a))
    }
    /// if b > a { b } else { a }
    pub fn max(&mut self, a: Reg, b: Reg) -> Reg {
        self.push(Instr::Max(a, b))
    }
    /// if b < a { b } else { a }
    pub fn min(&mut self, a: Reg, b: Reg) -> Reg {
        self.push(Instr::Min(a, b))
    }
    /// −1, 0 or 1
    pub fn sign(&mut self, a: Reg) -> Reg {
        self.push(Instr::Sign(a))
    }
    /// The finished expression.
    pub fn finish(self, param: Reg, new_states: Vec<Reg>) -> UpdateExpr {
        UpdateExpr { states: new_states.len(), scalars: self.scalars, code: self.code, param, new_states }
    }
}
