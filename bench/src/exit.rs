//! Exit codes and the one error type of the lab: a line for the reader and the code that follows from it.

use std::fmt::Display;

/// How the command ends. DESIGN's table; [`Exit::worst`] holds the precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: all as golden.
    Golden,
    /// 1: a regression, or a stale page.
    Regression,
    /// 2: the command or a definition is wrong.
    Usage,
    /// 3: the comparison itself was impossible.
    Incomparable,
    /// 4: nothing selected.
    Nothing,
    /// 5: a run could not be carried out.
    Failed,
    /// 75: interrupted with a checkpoint.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Golden => 0,
            Self::Regression => 1,
            Self::Usage => 2,
            Self::Incomparable => 3,
            Self::Nothing => 4,
            Self::Failed => 5,
            Self::Interrupted => 75,
        }
    }

    /// The one of two that the process reports: 2 > 75 > 5 > 1 > 3 > 4 > 0.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        const ORDER: [Exit; 7] = [
            Exit::Golden,
            Exit::Nothing,
            Exit::Incomparable,
            Exit::Regression,
            Exit::Failed,
            Exit::Interrupted,
            Exit::Usage,
        ];
        let rank = |x: Self| ORDER.iter().position(|y| *y == x);
        if rank(other) > rank(self) { other } else { self }
    }
}

/// An error that ends the command: one line and an exit code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// One line.
    pub message: String,
}

impl Failure {
    /// The command or a definition is wrong.
    pub fn usage(message: impl Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }
    /// Something could not be carried out.
    pub fn failed(message: impl Display) -> Self {
        Self { exit: Exit::Failed, message: message.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::Exit::{self, *};

    #[test]
    fn precedence_is_2_75_5_1_3_4_0() {
        let order = [Usage, Interrupted, Failed, Regression, Incomparable, Nothing, Golden];
        for (i, high) in order.iter().enumerate() {
            for low in &order[i..] {
                assert_eq!(high.worst(*low), *high);
                assert_eq!(low.worst(*high), *high);
            }
        }
        assert_eq!(order.map(Exit::code), [2, 75, 5, 1, 3, 4, 0]);
    }
}
