//! Two clocks at once: the wall's, and the time that this thread had a core.
//!
//! On a shared machine the two differ by what the thread waited, which says how far a wall time can be trusted.

use std::ops::Add;
use std::time::{Duration, Instant};

/// A stretch of time, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Span {
    /// By the wall.
    pub wall: f64,
    /// On a core; equal to `wall` where the system does not tell.
    pub cpu: f64,
}

impl Span {
    /// The share of the wall time in which the thread had no core.
    pub fn waited(&self) -> f64 {
        (1.0 - self.cpu / self.wall).max(0.0)
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, cpu: self.cpu + other.cpu }
    }
}

/// Both clocks at one moment of this thread.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    wall: Instant,
    cpu: Option<Duration>,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self { wall: Instant::now(), cpu: thread_time() }
    }

    /// What has passed since, on the same thread.
    pub fn elapsed(&self) -> Span {
        Self::now().since(self)
    }

    /// What had passed since `then`, on the same thread.
    pub fn since(&self, then: &Self) -> Span {
        let wall = (self.wall - then.wall).as_secs_f64();
        let cpu = self.cpu.zip(then.cpu).map_or(wall, |(now, then)| now.saturating_sub(then).as_secs_f64());
        Span { wall, cpu }
    }
}

/// Time that this thread has had a core.
#[cfg(unix)]
fn thread_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(not(unix))]
fn thread_time() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_says_what_share_it_waited() {
        let sum = Span { wall: 1.0, cpu: 1.0 } + Span { wall: 3.0, cpu: 2.0 };
        assert_eq!((sum, sum.waited()), (Span { wall: 4.0, cpu: 3.0 }, 0.25));
        // The two clocks are read one after the other, so a core's time can seem the longer one.
        assert_eq!(Span { wall: 1.0, cpu: 1.001 }.waited(), 0.0);
    }
}
