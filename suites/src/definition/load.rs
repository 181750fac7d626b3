//! From the wire to a [`Suite`]: merges recipe, tier, arm and grid, resolves each combination once.

use super::draw;
use super::error::{DefinitionError, Place, nearest_first, quoted};
use super::links::{self, Axes, tier_name};
use super::reader::Placed;
use super::section::PatchWire;
use super::show;
use super::suite::{Arm, Experiment, GridPoint, Seeds, Setup, Suite, Take, value_mut};
use super::tables::Registry;
use super::untuned::is_untuned;
use super::wire::{Axis, ExperimentWire, Named, SeedsWire, SuiteWire, TakeWire, TierWire};
use crate::claims::Tier;
use crate::registry::Scalar;
use std::collections::{BTreeMap, BTreeSet};

type Result<T> = std::result::Result<T, DefinitionError>;

const SECTIONS: [&str; 5] = ["model", "task", "optimizer", "schedule", "train"];
/// More cells (arms × grid × seeds) than this in one experiment and tier is a slip of the pen; so are more seeds.
const MAX_CELLS: u64 = 100_000;
pub(crate) const MAX_SEEDS: u64 = 1_000;
/// Seeds stay exact in every reader of JSON.
const MAX_SEED: u64 = 1 << 53;

/// Resolves everything. `stem` is the file's name without its extension.
pub(crate) fn suite(wire: SuiteWire, registry: &Registry, stem: &str) -> Result<Suite> {
    word(&wire.suite)?;
    if wire.suite.value != stem {
        let message = format!("is {}, not the file's name", quoted(&wire.suite.value));
        return Err(DefinitionError::at(&wire.suite.place, message).allowed(stem));
    }
    let experiments = &wire.experiments.value;
    if experiments.is_empty() {
        return Err(DefinitionError::at(&wire.experiments.place, "is empty").allowed("at least one experiment"));
    }
    unique(experiments.iter().map(|e| &e.id))?;
    let mut done: Vec<Option<Experiment>> = experiments.iter().map(|_| None).collect();
    for index in links::order(experiments)? {
        let sources = |id: &str| done.iter().flatten().find(|e| e.id == id);
        done[index] = Some(experiment(&experiments[index], registry, &sources)?);
    }
    let claims = wire.claims.into_iter().map(|c| c.value).collect();
    let rankings = wire.rankings.into_iter().map(|r| r.value).collect();
    let fits = wire.fits.into_iter().map(|f| f.value).collect();
    let SuiteWire { suite, title, paper, prose, .. } = wire;
    let experiments = done.into_iter().flatten().collect();
    Ok(Suite { name: suite.value, title, paper, prose, experiments, claims, rankings, fits })
}

/// What an id is made of: ids end up in file names, filters and tables.
pub(super) const WORD: &str = "ASCII letters, digits, `-`, `_` and `.`";

/// Whether an id has that form.
pub(super) fn is_word(id: &str) -> bool {
    !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn word(id: &Placed<String>) -> Result<()> {
    if is_word(&id.value) {
        return Ok(());
    }
    Err(DefinitionError::at(&id.place, format!("is {}", quoted(&id.value))).allowed(WORD))
}

fn unique<'w>(ids: impl Iterator<Item = &'w Placed<String>>) -> Result<()> {
    let mut seen = BTreeMap::new();
    for id in ids {
        word(id)?;
        if let Some(line) = seen.insert(&id.value, id.place.line) {
            let message = format!("{} is the id of line {line} too", quoted(&id.value));
            return Err(DefinitionError::at(&id.place, message).allowed("each id once"));
        }
    }
    Ok(())
}

type Sources<'s> = dyn Fn(&str) -> Option<&'s Experiment> + 's;

fn experiment<'s>(wire: &ExperimentWire, registry: &Registry, sources: &Sources<'s>) -> Result<Experiment> {
    if wire.arms.value.0.is_empty() {
        return Err(DefinitionError::at(&wire.arms.place, "is empty").allowed("at least one arm"));
    }
    unique(wire.arms.value.0.iter().map(|(name, _)| name))?;
    if wire.tiers.value.is_empty() {
        return Err(DefinitionError::at(&wire.tiers.place, "is empty").allowed("smoke, quick, full, paper"));
    }
    let takes = wire.take.0.iter().map(|(path, take)| {
        let TakeWire::BestOf { experiment, arm, metric } = &take.value;
        let (experiment, arm) = (experiment.value.clone(), arm.as_ref().map(|arm| arm.value.clone()));
        Take { path: path.value.clone(), experiment, arm, metric: metric.value.clone() }
    });
    registry.written(&wire.recipe.value)?;
    for (_, arm) in &wire.arms.value.0 {
        registry.written(&PatchWire::from(arm))?;
    }
    let mut setups = BTreeMap::new();
    for (&tier, patch) in &wire.tiers.value {
        let setup = setup(wire, tier, patch, registry, sources)?;
        setups.insert(tier, setup);
    }
    for (name, _) in &wire.arms.value.0 {
        if !setups.values().any(|s: &Setup| s.arms.iter().any(|a| a.name == name.value)) {
            return Err(DefinitionError::at(&name.place, "is kept by no tier").allowed("arms that some tier runs"));
        }
    }
    let stage = links::sources(wire).filter_map(|id| sources(&id.value)).map(|source| source.stage + 1).max();
    Ok(Experiment {
        id: wire.id.value.clone(),
        about: wire.about.clone(),
        show: show::columns(wire, setups.values())?,
        draw: draw::drawing(wire, setups.values())?,
        setups,
        takes: takes.collect(),
        stage: stage.unwrap_or(0),
    })
}

fn setup<'s>(
    wire: &ExperimentWire,
    tier: Tier,
    patch: &TierWire,
    registry: &Registry,
    sources: &Sources<'s>,
) -> Result<Setup> {
    registry.written(&PatchWire::from(patch))?;
    let grid = merged_grid(&wire.grid, &patch.grid)?;
    let (seeds, selection_seeds) = both_seeds(wire, patch)?;
    let kept = kept_arms(wire, patch)?;
    let sizes = grid.iter().map(|(_, axis)| axis.value.len() as u64);
    let all_seeds = seeds.count + selection_seeds.map_or(0, |s| s.count);
    let cells = sizes.chain([kept.len() as u64, all_seeds]).fold(1, u64::saturating_mul);
    if cells > MAX_CELLS {
        let message = format!("has {cells} cells (arms × grid × seeds) in tier {}", tier_name(tier));
        return Err(DefinitionError::at(&wire.id.place, message).allowed(format!("at most {MAX_CELLS}")));
    }
    for (path, _) in &wire.take.0 {
        if grid.iter().any(|(axis, _)| axis.value == path.value) {
            return Err(DefinitionError::at(&path.place, "is an axis of the grid too").allowed("one of the two"));
        }
    }
    let mut base = wire.recipe.value.clone();
    base.patch(&PatchWire::from(patch));
    let mut arms = Vec::new();
    for (name, change) in &wire.arms.value.0 {
        if !kept.contains(&name.value) {
            continue;
        }
        let mut merged = base.clone();
        merged.patch(&PatchWire::from(change));
        let mut points = Vec::new();
        for values in crossed(&grid) {
            let point = point(wire, (tier, name), &merged, &values, registry, sources);
            points.push(point.map_err(|e| e.context(&format!("arm {} of tier {}", name.value, tier_name(tier))))?);
        }
        let all_seeds = selection_seeds.into_iter().chain([seeds]).flat_map(Seeds::iter);
        let start = links::start(wire, links::start_of(wire, patch, change), tier, &points, all_seeds, sources)?;
        arms.push(Arm { name: name.value.clone(), start, points });
    }
    let axes = grid.iter().map(|(path, _)| path.value.clone()).collect();
    Ok(Setup { arms, axes, seeds, selection_seeds })
}

/// Resolves one grid point, with every candidate of every value that is taken from earlier runs.
fn point<'s>(
    wire: &ExperimentWire,
    (tier, arm): (Tier, &Placed<String>),
    merged: &PatchWire,
    values: &[(&Placed<String>, &Placed<Scalar>)],
    registry: &Registry,
    sources: &Sources<'s>,
) -> Result<GridPoint> {
    let mut merged = merged.clone();
    let mut paths = Vec::new();
    for (path, value) in values {
        set(&mut merged, path, (*value).clone())?;
        paths.push(path.value.clone());
    }
    let axes: Axes = values.iter().map(|(path, value)| (path.value.clone(), value.value.clone())).collect();
    let mut candidates = Vec::new();
    for (path, take) in &wire.take.0 {
        let found = links::candidates(path, take, arm, &axes, tier, sources)?;
        set(&mut merged, path, Placed { value: found[0].clone(), place: path.place.clone() })?;
        candidates.push((path, found));
    }
    let (mut recipe, budget) = registry.recipe(&merged, &wire.recipe.place)?;
    for (path, found) in candidates {
        for value in found {
            let mut tried = merged.clone();
            set(&mut tried, path, Placed { value, place: path.place.clone() })?;
            // What is taken replaces one parameter of a resolved recipe, so no other may follow from it.
            if registry.recipe(&tried, &wire.recipe.place)?.0.schedule != recipe.schedule
                && path.value.starts_with("optimizer.")
            {
                let message = "changes the untuned warm-up of the schedule";
                return Err(DefinitionError::at(&path.place, message).allowed("a number of warm-up steps"));
            }
        }
    }
    let mut axes = BTreeMap::new();
    for ((_, written), path) in values.iter().zip(paths) {
        // A budget is settled into steps; the axis keeps the word.
        let value = value_mut(&mut recipe, &path).map_or_else(|| written.value.clone(), |value| value.clone());
        axes.insert(path, value);
    }
    let named = registry.named(&recipe);
    Ok(GridPoint { axes, recipe, named, budget })
}

/// Sets the parameter at a dotted path.
fn set(recipe: &mut PatchWire, path: &Placed<String>, value: Placed<Scalar>) -> Result<()> {
    let (section, parameter) = path.value.split_once('.').unwrap_or((&path.value, ""));
    if !SECTIONS.contains(&section) || parameter.is_empty() {
        return Err(DefinitionError::at(&path.place, "is no dotted path `section.parameter`")
            .allowed(nearest_first(section, SECTIONS)));
    }
    let Some(values) = recipe.values_mut(section) else {
        return Err(DefinitionError::at(&path.place, format!("the recipe has no section `{section}`")));
    };
    values.set(Placed { value: parameter.to_string(), place: path.place.clone() }, value);
    Ok(())
}

type GridAxes<'w> = Vec<(&'w Placed<String>, &'w Axis)>;

/// The experiment's axes, each replaced by the tier's where it names the same path; the tier's others follow.
fn merged_grid<'w>(base: &'w Named<Axis>, tier: &'w Named<Axis>) -> Result<GridAxes<'w>> {
    let mut grid: GridAxes<'w> = base.0.iter().map(|(path, axis)| (path, axis)).collect();
    for (path, axis) in &tier.0 {
        match grid.iter_mut().find(|(old, _)| old.value == path.value) {
            Some(old) => *old = (path, axis),
            None => grid.push((path, axis)),
        }
    }
    for (_, axis) in &grid {
        if axis.value.is_empty() {
            return Err(DefinitionError::at(&axis.place, "is an empty grid").allowed("at least one value"));
        }
        for (i, value) in axis.value.iter().enumerate() {
            if is_untuned(&value.value) {
                let message = format!("{} is no value of a grid", quoted(&value.value.to_string()));
                return Err(DefinitionError::at(&value.place, message).allowed("numbers here, the word in an arm"));
            }
            if axis.value[..i].iter().any(|earlier| earlier.value.same(&value.value)) {
                let message = format!("{} is given twice", value.value);
                return Err(DefinitionError::at(&value.place, message).allowed("each value once"));
            }
        }
    }
    Ok(grid)
}

/// All combinations, the last axis running fastest.
fn crossed<'w>(grid: &GridAxes<'w>) -> Vec<Vec<(&'w Placed<String>, &'w Placed<Scalar>)>> {
    let mut points = vec![Vec::new()];
    for (path, axis) in grid {
        points = points
            .iter()
            .flat_map(|point| {
                axis.value.iter().map(move |value| {
                    let mut longer = point.clone();
                    longer.push((*path, value));
                    longer
                })
            })
            .collect();
    }
    points
}

fn both_seeds(wire: &ExperimentWire, patch: &TierWire) -> Result<(Seeds, Option<Seeds>)> {
    let claim = seeds(patch.seeds.as_ref().unwrap_or(&wire.seeds))?;
    let Some(written) = patch.selection_seeds.as_ref().or(wire.selection_seeds.as_ref()) else {
        return Ok((claim, None));
    };
    let selection = seeds(written)?;
    if claim.meets(selection) {
        let message = format!("selection seeds {} meet the claims' seeds {}", span(selection), span(claim));
        return Err(DefinitionError::at(&written.place, message).allowed("seeds that no claim uses"));
    }
    Ok((claim, Some(selection)))
}

fn span(seeds: Seeds) -> String {
    format!("{}..={}", seeds.first, seeds.first + seeds.count - 1)
}

fn seeds(wire: &Placed<SeedsWire>) -> Result<Seeds> {
    let SeedsWire { first, count } = wire.value;
    let part = |key: &str| Place { key: format!("{}.{key}", wire.place.key), ..wire.place.clone() };
    if !(1..=MAX_SEEDS).contains(&count) {
        return Err(DefinitionError::at(&part("count"), format!("is {count}")).allowed(format!("1 to {MAX_SEEDS}")));
    }
    if first > MAX_SEED - MAX_SEEDS {
        let allowed = format!("0 to {}", MAX_SEED - MAX_SEEDS);
        return Err(DefinitionError::at(&part("first"), format!("is {first}")).allowed(allowed));
    }
    Ok(Seeds { first, count })
}

/// The names of the arms that a tier keeps.
fn kept_arms(wire: &ExperimentWire, patch: &TierWire) -> Result<BTreeSet<String>> {
    let all = || wire.arms.value.0.iter().map(|(name, _)| name.value.as_str());
    let Some(list) = &patch.arms else { return Ok(all().map(String::from).collect()) };
    if list.value.is_empty() {
        return Err(DefinitionError::at(&list.place, "is empty").allowed(all().collect::<Vec<_>>().join(", ")));
    }
    unique(list.value.iter())?;
    for name in &list.value {
        if !all().any(|arm| arm == name.value) {
            let message = format!("unknown arm {}", quoted(&name.value));
            return Err(DefinitionError::at(&name.place, message).allowed(nearest_first(&name.value, all())));
        }
    }
    Ok(list.value.iter().map(|name| name.value.clone()).collect())
}
