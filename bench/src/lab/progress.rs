//! What the user sees while runs are trained, always on stderr: bars on a terminal, else a plain line
//! every ten seconds.

use crate::say::tell;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Hears of what the workers do.
pub trait Progress: Sync {
    /// `runs` runs of `flops` FLOPs in all are to be trained, `reused` come from the store.
    fn begin(&self, runs: usize, flops: f64, reused: usize);
    /// These FLOPs were trained.
    fn advanced(&self, flops: f64);
    /// A run goes on from its checkpoint at `step`: these FLOPs need not be trained.
    fn resumed(&self, label: &str, step: u64, flops: f64);
    /// A run is over.
    fn finished(&self);
    /// A line that the user must see.
    fn warn(&self, line: &str);
    /// All runs are over.
    fn end(&self);
}

/// Bars on a terminal, plain lines elsewhere.
pub fn on_stderr() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() && std::env::var_os("CI").is_none() {
        Box::new(Bars::new())
    } else {
        Box::new(Lines::default())
    }
}

/// FLOPs of one tick of the bar.
const TICK: f64 = 1e6;

struct Bars {
    bar: ProgressBar,
    runs: Mutex<(usize, usize)>,
    /// FLOPs that do not make a whole tick yet.
    rest: Mutex<f64>,
}

impl Bars {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
        // indicatif leaves colours out where NO_COLOR is set.
        let template = "{msg} {bar:30.cyan} {percent:>3} %  {elapsed} gone, about {eta} left";
        bar.set_style(ProgressStyle::with_template(template).expect("a constant template"));
        Self { bar, runs: Mutex::new((0, 0)), rest: Mutex::new(0.0) }
    }

    fn message(&self, finished: usize, runs: usize) {
        self.bar.set_message(format!("{finished}/{runs} runs"));
    }
}

impl Progress for Bars {
    fn begin(&self, runs: usize, flops: f64, _reused: usize) {
        *self.runs.lock().expect("never poisoned") = (0, runs);
        if runs > 0 {
            self.message(0, runs);
            self.bar.set_length((flops / TICK) as u64);
            self.bar.reset();
            self.bar.enable_steady_tick(Duration::from_millis(500));
        }
    }
    fn advanced(&self, flops: f64) {
        let mut rest = self.rest.lock().expect("never poisoned");
        *rest += flops / TICK;
        let whole = rest.floor();
        *rest -= whole;
        drop(rest);
        self.bar.inc(whole as u64);
    }
    fn resumed(&self, label: &str, step: u64, flops: f64) {
        self.warn(&format!("{label}: goes on from step {step}"));
        // A shorter bar instead of a jump: a jump would look like speed to the ETA.
        let length = self.bar.length().unwrap_or(0);
        self.bar.set_length(length.saturating_sub((flops / TICK) as u64));
    }
    fn finished(&self) {
        let mut runs = self.runs.lock().expect("never poisoned");
        runs.0 += 1;
        self.message(runs.0, runs.1);
    }
    fn warn(&self, line: &str) {
        self.bar.suspend(|| tell!("{line}"));
    }
    fn end(&self) {
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }
}

/// Wall time between plain lines.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Lines {
    state: Mutex<Option<State>>,
}

struct State {
    begun: Instant,
    said: Instant,
    runs: usize,
    finished: usize,
    flops: f64,
    done: f64,
}

impl State {
    fn line(&self) -> String {
        let share = if self.flops > 0.0 { self.done / self.flops } else { 1.0 };
        let gone = self.begun.elapsed().as_secs_f64();
        let left = if share > 0.0 { seconds(gone / share - gone) } else { "?".into() };
        format!("{}/{} runs, {:.0} % of the work, about {left} left", self.finished, self.runs, 100.0 * share)
    }
}

/// A duration for people: `41 s`, `3 min 20 s`, `2 h 5 min`.
pub fn seconds(x: f64) -> String {
    let s = x.max(0.0).ceil() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

impl Lines {
    fn with(&self, f: impl FnOnce(&mut State)) {
        if let Some(state) = self.state.lock().expect("never poisoned").as_mut() {
            f(state);
        }
    }
}

impl Progress for Lines {
    fn begin(&self, runs: usize, flops: f64, reused: usize) {
        if runs > 0 {
            tell!("{runs} runs to train, {reused} in the store");
        }
        let now = Instant::now();
        *self.state.lock().expect("never poisoned") =
            Some(State { begun: now, said: now, runs, finished: 0, flops, done: 0.0 });
    }
    fn advanced(&self, flops: f64) {
        self.with(|state| {
            state.done += flops;
            if state.said.elapsed() >= EVERY {
                state.said = Instant::now();
                tell!("{}", state.line());
            }
        });
    }
    fn resumed(&self, label: &str, step: u64, flops: f64) {
        self.warn(&format!("{label}: goes on from step {step}"));
        self.with(|state| state.flops -= flops);
    }
    fn finished(&self) {
        self.with(|state| state.finished += 1);
    }
    fn warn(&self, line: &str) {
        tell!("{line}");
    }
    fn end(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_for_people() {
        assert_eq!(["0 s", "41 s", "3 min 20 s", "2 h 5 min"], [-1.0, 40.2, 200.0, 7500.0].map(seconds));
    }
}
