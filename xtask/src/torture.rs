//! `cargo xtask torture`: benches are killed with SIGKILL at random moments, again and again, and nothing may be lost.
//!
//! A breach is: a result that differs in a byte from that of an undisturbed bench, a record that is lost, damaged or
//! written twice, a run counted wrong, a file left behind.

mod ledger;

use crate::door;
use anyhow::{Context, Result, bail, ensure};
use ledger::{Ledger, leftovers, records};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SUITE: &str = include_str!("torture/suite.yaml");

/// What was asked for.
#[derive(Debug, PartialEq)]
struct Words {
    kills: u64,
    seed: u64,
    /// A built `preheat` instead of one that is built now.
    preheat: Option<PathBuf>,
}

/// What happened.
#[derive(Debug, Default)]
struct Counts {
    kills: u64,
    /// By what the store held: no record, some, all.
    phases: [u64; 3],
    /// Kills that left another bench at work on the same store.
    crowded: u64,
    completions: u64,
    resumed: u64,
}

/// Kills benches as the words say.
pub(crate) fn run(words: &[OsString]) -> Result<ExitCode> {
    let words = match parse(words) {
        Ok(words) => words,
        Err(e) => {
            eprintln!("xtask: torture: {e:#}");
            return Ok(ExitCode::from(2));
        }
    };
    let preheat = words.preheat.clone().map_or_else(|| door::build(""), Ok)?;
    let dir = folder()?;
    let begun = Instant::now();
    let (counts, breaches) = Torture::new(preheat, dir.path(), &words)?.until_enough(words.kills)?;
    let Counts { kills, phases: [none, some, all], crowded, completions, resumed } = counts;
    for breach in &breaches {
        println!("torture: breach: {breach}");
    }
    println!(
        "torture: {kills} kills ({none} before the first record, {some} between, {all} after the last; {crowded} beside \
         another bench), {completions} completions, {resumed} runs went on from a checkpoint, {} breaches, seed {}, {:.0} s",
        breaches.len(),
        words.seed,
        begun.elapsed().as_secs_f64()
    );
    if breaches.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("torture: the store is kept in {}", dir.keep().display());
    Ok(ExitCode::from(1))
}

fn parse(words: &[OsString]) -> Result<Words> {
    let mut parsed = Words { kills: 100, seed: 1, preheat: None };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let word = word.to_string_lossy();
        let value = rest.next().with_context(|| format!("{word} needs a value"))?;
        let number = || {
            let text = value.to_string_lossy();
            text.parse::<u64>().with_context(|| format!("{word} {text}: allowed: a whole number"))
        };
        match &*word {
            "--kills" => parsed.kills = number()?,
            "--seed" => parsed.seed = number()?,
            "--preheat" => parsed.preheat = Some(PathBuf::from(value)),
            _ => bail!("{word} is unknown; allowed: --kills N, --seed S, --preheat FILE"),
        }
    }
    Ok(parsed)
}

/// A folder of its own, in memory where there is such a place: a killed process loses nothing that it wrote, and
/// syncs are many.
fn folder() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let named = |builder: &mut tempfile::Builder<'_, '_>| {
        let here = std::env::var_os("TMPDIR").is_none() && memory.is_dir();
        if here { builder.tempdir_in(memory).or_else(|_| builder.tempdir()) } else { builder.tempdir() }
    };
    named(tempfile::Builder::new().prefix("preheat-torture-")).context("a temporary folder")
}

/// A bench at work.
struct Bench {
    child: Child,
    /// Its streams go to files: a full pipe would stop it.
    streams: [PathBuf; 2],
}

/// What a bench that came to its end said.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Bench {
    fn end(mut self) -> Result<Said> {
        let code = self.child.wait()?.code();
        let [stdout, stderr] = self.streams.map(|path| fs::read_to_string(path).unwrap_or_default());
        Ok(Said { code, stdout, stderr })
    }

    /// Kills it after `delay`. Whether it still lived then.
    fn killed_after(&mut self, delay: Duration) -> Result<bool> {
        let begun = Instant::now();
        while let Some(left) = delay.checked_sub(begun.elapsed()) {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            sleep(left.min(Duration::from_millis(1)));
        }
        if self.child.try_wait()?.is_some() {
            return Ok(false);
        }
        // SIGKILL, on Unix.
        self.child.kill()?;
        Ok(self.child.wait()?.code().is_none())
    }
}

struct Torture {
    preheat: PathBuf,
    dir: PathBuf,
    random: SplitMix,
    /// What an undisturbed bench prints, how many records it leaves and how long it takes.
    reference: String,
    runs: usize,
    time: Duration,
    counts: Counts,
}

impl Torture {
    fn new(preheat: PathBuf, dir: &Path, words: &Words) -> Result<Self> {
        fs::create_dir(dir.join("suites"))?;
        fs::write(dir.join("suites/torture.yaml"), SUITE)?;
        let random = SplitMix(words.seed);
        let (dir, counts) = (dir.to_path_buf(), Counts::default());
        let mut new = Self { preheat, dir, random, reference: String::new(), runs: 0, time: Duration::ZERO, counts };
        let begun = Instant::now();
        let said = new.start("reference", 1, 0)?.end()?;
        new.time = begun.elapsed();
        // 3: there is no golden to compare with.
        ensure!(said.code == Some(3), "the undisturbed bench ends with {:?}: {}", said.code, said.stderr);
        let mut ledger = Ledger::default();
        ledger.look(&new.dir.join("reference"))?;
        (new.reference, new.runs) = (said.stdout, ledger.records());
        let document: serde_json::Value = serde_json::from_str(&new.reference).context("the reference's JSON")?;
        let digests = document["suites"][0]["runs"].as_array().map_or(0, Vec::len);
        ensure!(digests == new.runs && new.runs > 2, "{digests} runs in the reference, {} records", new.runs);
        Ok(new)
    }

    fn start(&self, store: &str, jobs: u64, number: u64) -> Result<Bench> {
        let streams = ["out", "err"].map(|end| self.dir.join(format!("{number}.{end}")));
        let mut command = Command::new(&self.preheat);
        command.args(["bench", "--tier", "smoke", "--suites", "suites", "--golden", "none", "--format", "json"]);
        command.args(["--checkpoint-every", "0", "--store", store, "--jobs", &jobs.to_string()]);
        command.current_dir(&self.dir).env_remove("PREHEAT_ROOT").stdin(Stdio::null());
        command.stdout(File::create(&streams[0])?).stderr(File::create(&streams[1])?);
        Ok(Bench { child: command.spawn().with_context(|| self.preheat.display().to_string())?, streams })
    }

    /// Store after store, until there were `kills` kills or the first breach.
    fn until_enough(mut self, kills: u64) -> Result<(Counts, Vec<String>)> {
        let mut number = 0;
        while self.counts.kills < kills {
            number += 1;
            let name = format!("store-{number}");
            let breaches = self.one_store(&name, kills)?;
            self.tell(kills, false);
            if !breaches.is_empty() {
                return Ok((self.counts, breaches));
            }
            fs::remove_dir_all(self.dir.join(&name)).with_context(|| name.clone())?;
        }
        self.tell(kills, true);
        Ok((self.counts, Vec::new()))
    }

    /// Benches on one store, killed until one comes to its end. After the last kill one is left in peace.
    fn one_store(&mut self, name: &str, kills: u64) -> Result<Vec<String>> {
        let store = self.dir.join(name);
        let mut ledger = Ledger::default();
        loop {
            let before = ledger.records();
            let peace = self.counts.kills >= kills;
            let (whole, crowded) = self.round(name, peace)?;
            let mut wrong = ledger.look(&store)?;
            for said in &whole {
                self.counts.completions += 1;
                self.counts.resumed += said.stderr.matches("goes on from step").count() as u64;
                wrong.extend(self.completed(said, (!crowded).then_some(before)));
            }
            if !whole.is_empty() {
                if crowded {
                    // What the killed one held when the other was done is tidied by the next bench.
                    wrong.extend(self.completed(&self.start(name, 1, 0)?.end()?, Some(self.runs)));
                    wrong.extend(ledger.look(&store)?);
                }
                wrong.extend(leftovers(&store)?);
            }
            if !whole.is_empty() || !wrong.is_empty() {
                return Ok(wrong);
            }
        }
    }

    /// One bench, killed at some moment or left in `peace`; one in eight has another bench on the same store beside it,
    /// which nobody kills. What came to its end, and whether there were two.
    fn round(&mut self, name: &str, peace: bool) -> Result<(Vec<Said>, bool)> {
        let crowded = !peace && self.random.next().is_multiple_of(8);
        let company = crowded.then(|| self.start(name, 1, 1)).transpose()?;
        let jobs = 1 + self.random.next() % 2;
        let moment = self.time.mul_f64(self.random.unit());
        let mut bench = self.start(name, jobs, 0)?;
        let mut whole = Vec::new();
        if !peace && bench.killed_after(moment)? {
            let records = records(&self.dir.join(name))?;
            self.counts.kills += 1;
            self.counts.phases[usize::from(records > 0) + usize::from(records == self.runs)] += 1;
            self.counts.crowded += u64::from(crowded);
        } else {
            whole.push(bench.end()?);
        }
        whole.extend(company.map(Bench::end).transpose()?);
        Ok((whole, crowded))
    }

    /// What is wrong with a bench that came to its end. `before`: the records that it found, where it was alone.
    fn completed(&self, said: &Said, before: Option<usize>) -> Vec<String> {
        let mut wrong = Vec::new();
        if said.code != Some(3) {
            wrong.push(format!("a bench ended with {:?}: {}", said.code, said.stderr.trim_end()));
        }
        if said.stdout != self.reference {
            wrong.push("a result differs from that of the undisturbed bench".into());
        }
        let counted = said.stderr.lines().find_map(|line| {
            let (trained, reused) = line.strip_prefix("preheat: ")?.split_once(" runs trained, ")?;
            Some((trained.parse::<usize>().ok()?, reused.strip_suffix(" from the store")?.parse::<usize>().ok()?))
        });
        match (counted, before) {
            (Some((trained, reused)), Some(before)) if (trained, reused) != (self.runs - before, before) => wrong.push(
                format!("{trained} runs trained and {reused} reused where the store held {before} of {}", self.runs),
            ),
            (Some((trained, reused)), _) if trained + reused != self.runs => {
                wrong.push(format!("{trained} runs trained and {reused} reused; there are {}", self.runs));
            }
            (None, _) => wrong.push("a bench does not say what it trained".into()),
            _ => {}
        }
        wrong
    }

    /// The progress line: rewritten in place on a terminal, else said ten times in all.
    fn tell(&self, kills: u64, last: bool) {
        let line = format!("torture: {}/{kills} kills, {} completions", self.counts.kills, self.counts.completions);
        let mut stderr = std::io::stderr();
        // A progress line that cannot be shown is no breach.
        let _ = match (stderr.is_terminal(), last) {
            (true, false) => write!(stderr, "\r{line}").and_then(|()| stderr.flush()),
            (true, true) => writeln!(stderr, "\r{line}"),
            (false, true) => writeln!(stderr, "{line}"),
            (false, false) => Ok(()),
        };
    }
}

/// SplitMix64 (Steele et al. 2014): moments, not numbers that anyone keeps.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Words> {
        parse(&text.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_read_and_wrong_ones_refused() {
        assert_eq!(words("").unwrap(), Words { kills: 100, seed: 1, preheat: None });
        let all = Words { kills: 7, seed: 9, preheat: Some("a/b".into()) };
        assert_eq!(words("--kills 7 --seed 9 --preheat a/b").unwrap(), all);
        for bad in ["--kills", "--kills x", "--kills -1", "--seed 1.5", "--nothing 1"] {
            assert!(words(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_are_spread_and_follow_the_seed() {
        let draw = |seed| {
            let mut random = SplitMix(seed);
            (0..1000).map(|_| random.unit()).collect::<Vec<_>>()
        };
        let some = draw(1);
        assert!(some.iter().all(|x| (0.0..1.0).contains(x)));
        assert!((0..10).all(|tenth| some.iter().filter(|x| (**x * 10.0) as u32 == tenth).count() > 50));
        assert_eq!(some, draw(1));
        assert_ne!(some, draw(2));
    }
}
