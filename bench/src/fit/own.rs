//! Our own runs as a table: a store's records, or a golden result. Runs of the probe `isoflop` state their losses by tokens
//! and their sizes under every count of FLOPs, computed from their model.

use super::table::{COUNTING, Rows, Table, Words};
use crate::results::SuiteResult;
use crate::store::envelope::unseal;
use crate::store::parse_record;
use preheat_suites::fits::accounting::Convention;
use preheat_suites::fits::curve::Point;
use preheat_suites::fits::published::Group;
use preheat_suites::fits::reading::isoflop_points;
use preheat_suites::record::{Outcome, Record};
use preheat_suites::registry::Scalar;
use preheat_suites::train::metrics::{size_metric, tokens_of};
use std::collections::BTreeMap;
use std::path::Path;

/// An axis of runs that answer for one budget each.
const PER_BUDGET: &str = "train.budget_flops";
/// Sizes that the smallest budget must have.
const FEWEST_SIZES: usize = 3;

/// A size of a group: its final metrics' means over seeds, and whether its schedule ends with the run.
struct Size {
    metrics: BTreeMap<String, Vec<f64>>,
    last_only: bool,
}

impl Size {
    fn mean(&self, metric: &str) -> Option<f64> {
        let values = self.metrics.get(metric)?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        mean.is_finite().then_some(mean)
    }

    /// Tokens and losses of every seed.
    fn losses(&self) -> Vec<[f64; 2]> {
        let most = self.metrics.values().map(Vec::len).max().unwrap_or(0);
        let whole = self.metrics.iter().filter(|(_, values)| values.len() == most);
        let mut known: Vec<[f64; 2]> =
            whole.filter_map(|(name, _)| Some([tokens_of(name)? as f64, self.mean(name)?])).collect();
        known.sort_by(|a, b| a[0].total_cmp(&b[0]));
        if self.last_only { known.split_off(known.len().saturating_sub(1)) } else { known }
    }
}

/// Sizes by group.
type Groups = BTreeMap<Group, Vec<Size>>;

/// The golden result in `bytes`: a group for each experiment and point of its grid, its arms being sizes.
///
/// # Errors
/// One line.
pub fn golden(file: &str, bytes: &[u8], words: &Words) -> Result<Table, String> {
    let result: SuiteResult =
        serde_json::from_slice(bytes).map_err(|e| format!("{file}: no result of a suite: {e}"))?;
    let (mut groups, mut others) = (Groups::new(), 0);
    for cell in &result.cells {
        let metrics: BTreeMap<String, Vec<f64>> = cell
            .metrics
            .iter()
            .filter_map(|(name, x)| Some((name.clone(), x.values.iter().copied().collect::<Option<Vec<f64>>>()?)))
            .collect();
        if !metrics.contains_key(&size_metric(Convention::Standard)) {
            others += 1;
            continue;
        }
        let open = cell.axes.iter().filter(|(axis, _)| *axis != PER_BUDGET);
        let mut group: Group = open.map(|(axis, value)| (axis.clone(), value.to_string())).collect();
        group.insert("experiment".into(), cell.experiment.clone());
        let last_only = cell.axes.contains_key(PER_BUDGET);
        groups.entry(group).or_default().push(Size { metrics, last_only });
    }
    table(file, groups, others, words)
}

/// The records below `root`: a group for each task, optimizer, schedule and batch. A warm-up of as many tokens as the
/// model has parameters is one group over all sizes.
///
/// # Errors
/// One line.
pub fn store(root: &Path, words: &Words) -> Result<Table, String> {
    let folder = root.join("records");
    let file = root.display().to_string();
    let entries = std::fs::read_dir(&folder).map_err(|_| {
        format!("{file}: is a directory without records; a CSV table, a golden result or a store is needed")
    })?;
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    let mut sizes: BTreeMap<(Group, String), Size> = BTreeMap::new();
    let mut others = 0;
    for path in paths {
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        // What does not prove itself is the bench's to set aside.
        let record = unseal("record", &bytes).ok().and_then(|body| parse_record(body).ok());
        let Some((_, record)) = record else { continue };
        let measured = &record.measured;
        let finished = measured.outcome == Outcome::Finished;
        if !finished || !measured.metrics.contains_key(&size_metric(Convention::Standard)) {
            others += 1;
            continue;
        }
        let (group, last_only) = group_of(&record);
        // Runs that end with their schedule have a length each.
        let length = if last_only { record.run.recipe.train.int("steps") } else { 0 };
        let size = sizes.entry((group, format!("{} {length}", record.run.recipe.model)));
        let size = size.or_insert_with(|| Size { metrics: BTreeMap::new(), last_only });
        for (name, value) in &measured.metrics {
            size.metrics.entry(name.clone()).or_default().push(*value);
        }
    }
    let mut groups = Groups::new();
    for ((group, _), size) in sizes {
        groups.entry(group).or_default().push(size);
    }
    table(&file, groups, others, words)
}

fn group_of(record: &Record) -> (Group, bool) {
    let recipe = &record.run.recipe;
    let batch = recipe.train.int("batch");
    let mut schedule = recipe.schedule.clone();
    if let Some(Scalar::Int(steps)) = schedule.params.0.get("warmup_steps").cloned() {
        let a_step = batch as f64 * recipe.task.params.0.get("seq").and_then(Scalar::number).unwrap_or(f64::NAN);
        let params = record.measured.metrics[&size_metric(Convention::Standard)];
        let own = steps as f64 == (params / a_step).ceil();
        let word = if own { "N tokens".to_string() } else { steps.to_string() };
        schedule.params.0.insert("warmup_steps".into(), Scalar::Text(word));
    }
    let words = [
        ("task", recipe.task.to_string()),
        ("optimizer", recipe.optimizer.to_string()),
        ("schedule", schedule.to_string()),
        ("batch", batch.to_string()),
    ];
    let group = words.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    (group, recipe.schedule.name != "constant")
}

/// Every group under every count, or under the one that is asked for.
fn table(file: &str, groups: Groups, others: usize, words: &Words) -> Result<Table, String> {
    let counts = words.counting.map_or(Convention::ALL.to_vec(), |one| vec![one]);
    let mut warnings = Vec::new();
    if others > 0 {
        warnings.push(format!("{file}: {others} without losses by tokens are left out (probe: isoflop)"));
    }
    let mut all = Vec::new();
    for (group, sizes) in groups {
        for &convention in &counts {
            let points = points(&sizes, convention);
            if points.is_empty() {
                continue;
            }
            let mut group = group.clone();
            group.insert(COUNTING.into(), convention.name().into());
            all.push(Rows { group, convention, points, sizes: counted(&sizes, convention) });
        }
    }
    if all.is_empty() {
        return Err(format!("{file}: no runs with the probe isoflop at three sizes"));
    }
    Ok(Table { groups: all, warnings })
}

/// Sizes under the standard count and another one, rising.
fn counted(sizes: &[Size], convention: Convention) -> Vec<[f64; 2]> {
    let both =
        |size: &Size| Some([size.mean(&size_metric(Convention::Standard))?, size.mean(&size_metric(convention))?]);
    let mut all: Vec<[f64; 2]> = sizes.iter().filter_map(both).collect();
    all.sort_by(|a, b| a[0].total_cmp(&b[0]));
    all.dedup();
    all
}

/// Points at budgets that halve from the largest one down, as far as three sizes reach.
fn points(sizes: &[Size], convention: Convention) -> Vec<Point> {
    let mut known: BTreeMap<u64, Vec<[f64; 2]>> = BTreeMap::new();
    for size in sizes {
        if let Some(params) = size.mean(&size_metric(convention)) {
            known.entry(params.to_bits()).or_default().extend(size.losses());
        }
    }
    let of = |ends: fn(f64, f64) -> f64, start: f64| -> Vec<f64> {
        let compute = |(bits, losses): (&u64, &Vec<[f64; 2]>)| {
            losses.iter().map(|[tokens, _]| 6.0 * f64::from_bits(*bits) * tokens).fold(start, ends)
        };
        let mut all: Vec<f64> = known.iter().map(compute).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let (starts, ends) = (of(f64::min, f64::INFINITY), of(f64::max, 0.0));
    let (Some(third), Some(most)) = (starts.get(FEWEST_SIZES - 1), ends.iter().rev().nth(FEWEST_SIZES - 1)) else {
        return Vec::new();
    };
    // Rounded to whole steps, ends of one budget differ a little; the third largest has three sizes.
    let mut least = *most;
    while 0.5 * least >= *third {
        least *= 0.5;
    }
    known.iter().flat_map(|(bits, losses)| isoflop_points(f64::from_bits(*bits), losses, least)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::key::Key;
    use crate::store::key::tests::conditions;
    use crate::testing::{result, run};
    use preheat_suites::record::{Measured, Observation};
    use preheat_suites::registry::Params;
    use preheat_suites::run::{Run, RunId};

    const WIDTHS: [i64; 7] = [4, 6, 8, 12, 16, 24, 32];

    /// Sizes and losses of L = 2 + 60/N^0.4 + 60/D^0.4: a = 1/2, N* = D*.
    fn measured(width: i64, shift: f64) -> Measured {
        let (body, head) = ((24 * width * width) as f64, 512.0 * width as f64);
        let params = body + head;
        let mut metrics: BTreeMap<String, f64> =
            Convention::ALL.map(|count| (size_metric(count), params)).into_iter().collect();
        metrics.insert(size_metric(Convention::Kaplan), body);
        for half_octave in 0..12 {
            let tokens = (1.5e9 / (6.0 * params) * libm::pow(2.0, -0.5 * f64::from(half_octave))).ceil();
            let loss = 2.0 + 60.0 * libm::pow(params, -0.4) + 60.0 * libm::pow(tokens, -0.4) + shift;
            metrics.insert(format!("loss_at.{tokens}"), loss);
        }
        Measured { outcome: Outcome::Finished, curves: BTreeMap::new(), metrics, digest: String::new() }
    }

    fn trained(width: i64, seed: u64) -> Run {
        let mut run = run("m", 10, seed);
        let params = |pairs: &[(&str, i64)]| {
            Params(pairs.iter().map(|(key, value)| (key.to_string(), Scalar::Int(*value))).collect())
        };
        run.recipe.model.params = params(&[("width", width)]);
        run.recipe.task.params = params(&[("seq", 16)]);
        run.recipe.schedule.name = "constant".into();
        let params_of = (24 * width * width + 512 * width) as f64;
        run.recipe.schedule.params = params(&[("warmup_steps", (params_of / 32.0).ceil() as i64)]);
        run.recipe.train.0.insert("batch".into(), Scalar::Int(2));
        run
    }

    fn is_the_law(table: &Table, groups: usize) {
        use preheat_suites::fits::isoflop::{Options, Procedure, fit};
        use preheat_suites::fits::noise::{Noise, Reading};
        assert_eq!(table.groups.len(), groups);
        let standard = table.groups.iter().find(|rows| rows.convention == Convention::Standard).unwrap();
        assert_eq!(standard.group[COUNTING], "standard");
        let noise = Some(Noise::constant(1e-6));
        let options =
            Options { procedure: Procedure::Local, noise, reading: Reading::Intended, bootstraps: 50, seed: 1 };
        let laws = fit(&standard.points, &options).laws.unwrap();
        assert!((laws.params.exponent - 0.5).abs() < 0.02, "{}", laws.params.exponent);
    }

    #[test]
    fn a_golden_result_is_a_table() {
        let mut seen = Vec::new();
        for width in WIDTHS {
            for seed in 1..=2 {
                let axes = BTreeMap::from([("schedule.peak_lr".to_string(), Scalar::Real(0.006))]);
                let shift = if seed == 1 { 0.01 } else { -0.01 };
                let (experiment, arm) = ("short".into(), format!("w{width}"));
                let measured = measured(width, shift);
                seen.push((
                    RunId(format!("{width}{seed}")),
                    Observation { experiment, arm, axes, seed, selection: false, measured },
                ));
            }
        }
        let bytes = serde_json::to_vec(&result(&seen)).unwrap();
        let table = golden("g.json", &bytes, &Words::default()).unwrap();
        is_the_law(&table, 4);
        assert_eq!(table.groups[0].group["experiment"], "short");
        let one = Words { counting: Some(Convention::Kaplan), ..Words::default() };
        assert_eq!(golden("g.json", &bytes, &one).unwrap().groups.len(), 1);
        assert!(golden("g.json", b"{}", &one).unwrap_err().starts_with("g.json: no result of a suite"));
        let others = serde_json::to_vec(&result(&crate::testing::observed())).unwrap();
        assert!(golden("g.json", &others, &one).unwrap_err().contains("no runs with the probe isoflop"));
    }

    #[test]
    fn a_store_is_a_table_and_a_warm_up_of_n_tokens_is_one_group() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let keep = |run: Run, measured: Measured| {
            let key = Key { run: run.id(), conditions: conditions(), data: "generated".into() };
            store.keep(&key, &Record { run, measured, environment: BTreeMap::new() }).unwrap();
        };
        for width in WIDTHS {
            keep(trained(width, 1), measured(width, 0.02));
            keep(trained(width, 2), measured(width, -0.02));
        }
        let mut other = measured(4, 0.0);
        other.metrics.clear();
        keep(trained(4, 3), other);
        let table = super::store(dir.path(), &Words::default()).unwrap();
        is_the_law(&table, 4);
        assert!(table.groups[0].group["schedule"].contains("warmup_steps=N tokens"), "{:?}", table.groups[0].group);
        assert!(table.warnings[0].contains("1 without losses by tokens"), "{:?}", table.warnings);
        let none = tempfile::tempdir().unwrap();
        assert!(super::store(none.path(), &Words::default()).unwrap_err().contains("is a directory without records"));
    }
}
