//! Which run a reader means: the beginning of its id, or its place as tables show it.

use crate::exit::Failure;
use crate::lab::carry::Suite;
use crate::lab::trainer::key;
use crate::results::place;
use crate::say::tell;
use crate::store::Store;
use crate::store::key::Conditions;
use preheat_suites::plan::{Cell, Filter};
use preheat_suites::record::Measured;
use preheat_suites::run::{Run, RunId};
use std::collections::BTreeMap;

/// What a reader typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The beginning of an id, or `SUITE/EXPERIMENT/ARM`, of which the front may be left out.
    pub name: String,
    /// `axis=value` and the like, as `bench --filter` takes them.
    pub filter: Option<Filter>,
    /// All of it again, for messages.
    said: String,
}

/// A run and the cells that it fills.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The run.
    pub run: Run,
    /// Suite and cell, in order.
    pub cells: Vec<(String, Cell)>,
}

/// All runs of some suites.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// Runs whose recipes are known.
    pub known: Vec<Candidate>,
    /// Cells of later stages whose recipes wait for records that the store does not hold, with what they wait for.
    pub waiting: Vec<(String, Cell, String)>,
}

/// The shortest beginning of an id that is taken for one.
const ID_LENGTH: usize = 4;
/// So many runs or places are named in a message.
const NAMED: usize = 5;

impl Candidates {
    /// The runs of `suites`; later stages are resolved with the records of `store`.
    pub fn of(suites: &[Suite], store: &Store, conditions: &Conditions) -> Self {
        let mut all = Self::default();
        let mut places: BTreeMap<RunId, usize> = BTreeMap::new();
        let mut measured: BTreeMap<RunId, Measured> = BTreeMap::new();
        let warn = |line: &str| tell!("{line}");
        for suite in suites {
            for stage in 0..suite.plan.stages() {
                let planned = match suite.plan.stage(stage, &measured) {
                    Ok(planned) => planned,
                    Err(why) => {
                        let cells = suite.plan.cells(stage).into_iter();
                        all.waiting.extend(cells.map(|cell| (suite.name.clone(), cell, why.clone())));
                        continue;
                    }
                };
                for planned in planned {
                    let id = planned.run.id();
                    if stage + 1 < suite.plan.stages()
                        && let Some(record) = store.record(&key(&planned.run, conditions), &warn)
                    {
                        measured.insert(id.clone(), record.measured);
                    }
                    let at = *places.entry(id).or_insert(all.known.len());
                    if at == all.known.len() {
                        all.known.push(Candidate { run: planned.run, cells: Vec::new() });
                    }
                    all.known[at].cells.extend(planned.cells.into_iter().map(|cell| (suite.name.clone(), cell)));
                }
            }
        }
        all
    }

    /// The one run that `wanted` names.
    ///
    /// # Errors
    /// None or several do (2), with those that are near; its recipe waits for records (5).
    pub fn choose(&self, wanted: &Wanted) -> Result<&Candidate, Failure> {
        let fits: Vec<&Candidate> = self.known.iter().filter(|c| wanted.names(c)).collect();
        let waits = self.waiting.iter().find(|(suite, cell, _)| wanted.names_cell(suite, cell));
        match (fits.as_slice(), waits) {
            ([one], None) => Ok(one),
            ([], Some((suite, cell, why))) => Err(Failure::failed(format!(
                "{}: its recipe is chosen by runs that are not in the store ({why}); run `bench {suite}` first",
                label(suite, cell)
            ))),
            ([], None) => Err(Failure::usage(self.unknown(wanted))),
            (several, _) => Err(Failure::usage(ambiguous(&wanted.said, several))),
        }
    }

    /// Whether any run here fits.
    pub fn knows(&self, wanted: &Wanted) -> bool {
        self.known.iter().any(|c| wanted.names(c))
            || self.waiting.iter().any(|(suite, cell, _)| wanted.names_cell(suite, cell))
    }

    /// The run with this id.
    pub fn by_id(&self, id: &RunId) -> Option<&Run> {
        self.known.iter().map(|c| &c.run).find(|run| run.id() == *id)
    }

    fn unknown(&self, wanted: &Wanted) -> String {
        let name = &wanted.name;
        let mut near: Vec<(usize, String)> = Vec::new();
        for candidate in &self.known {
            let Some((suite, cell)) = candidate.cells.first() else { continue };
            let (distance, text) = if is_id(name) {
                let id = candidate.run.id();
                (strsim::damerau_levenshtein(&id.0[..name.len().min(id.0.len())], name), labelled(candidate))
            } else {
                let path = path(suite, cell);
                // The arm alone counts as much as the whole path.
                let ends = path.match_indices('/').map(|(i, _)| &path[i + 1..]).chain([path.as_str()]);
                (ends.map(|end| strsim::damerau_levenshtein(end, name)).min().unwrap_or(usize::MAX), path.clone())
            };
            near.push((distance, text));
        }
        near.sort();
        near.dedup();
        let near: Vec<String> = near.into_iter().take(NAMED).map(|(_, text)| text).collect();
        format!("no run {}; near it: {}", wanted.said, near.join(", "))
    }
}

impl Wanted {
    /// Reads the words.
    ///
    /// # Errors
    /// A word that is neither a name nor `axis=value`.
    pub fn new(words: &[String], seed: Option<u64>) -> Result<Self, Failure> {
        let (name, terms) = words.split_first().ok_or_else(|| Failure::usage("no run is named"))?;
        if let Some(odd) = terms.iter().find(|term| !term.contains('=')) {
            return Err(Failure::usage(format!("{odd}: after the run's name only axis=value is allowed")));
        }
        let terms: Vec<String> = terms.iter().cloned().chain(seed.map(|seed| format!("seed={seed}"))).collect();
        let filter = (!terms.is_empty()).then(|| terms.join(",").parse()).transpose();
        let said = [std::slice::from_ref(name), &terms].concat().join(" ");
        Ok(Self { said, name: name.clone(), filter: filter.map_err(Failure::usage)? })
    }

    /// The suite that the name begins with, where it has all three parts.
    pub fn suite(&self) -> Option<&str> {
        let mut parts = self.name.splitn(3, '/');
        let suite = parts.next();
        parts.nth(1).and(suite)
    }

    fn names(&self, candidate: &Candidate) -> bool {
        if is_id(&self.name) && candidate.run.id().0.starts_with(&self.name) {
            return self.filter.as_ref().is_none_or(|f| candidate.cells.iter().any(|(_, cell)| f.names(cell)));
        }
        candidate.cells.iter().any(|(suite, cell)| self.names_cell(suite, cell))
    }

    fn names_cell(&self, suite: &str, cell: &Cell) -> bool {
        let path = path(suite, cell);
        let named = path.strip_suffix(&self.name).is_some_and(|front| front.is_empty() || front.ends_with('/'));
        named && self.filter.as_ref().is_none_or(|filter| filter.names(cell))
    }
}

fn is_id(name: &str) -> bool {
    name.len() >= ID_LENGTH && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn path(suite: &str, cell: &Cell) -> String {
    format!("{suite}/{}/{}", cell.experiment, cell.arm)
}

/// `suite/experiment/arm axis=value … seed=N`: what names this cell's run again.
pub fn label(suite: &str, cell: &Cell) -> String {
    format!("{suite}/{} seed={}", place(&cell.experiment, &cell.arm, &cell.axes), cell.seed)
}

fn labelled(candidate: &Candidate) -> String {
    let cell = candidate.cells.first().map(|(suite, cell)| label(suite, cell)).unwrap_or_default();
    format!("{cell} ({})", &candidate.run.id().0[..8])
}

fn ambiguous(said: &str, several: &[&Candidate]) -> String {
    let named: Vec<String> = several.iter().take(NAMED).map(|c| labelled(c)).collect();
    let rest = several.len().saturating_sub(NAMED);
    let rest = if rest > 0 { format!(", and {rest} more") } else { String::new() };
    format!("{said} names {} runs; add axis=value or --seed, or name an id: {}{rest}", several.len(), named.join(", "))
}
