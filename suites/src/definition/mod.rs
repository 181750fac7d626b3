//! Suite definitions: YAML in, a checked [`Suite`] or one line of error out.
//!
//! `bytes → Node (places) → wire types → Suite`. Nothing is read from disk here, and nothing that a later step
//! could trip over is let through: names, ranges, references and each recipe's own limits are checked at load.

mod budget;
mod claims;
mod draw;
mod error;
mod links;
mod load;
mod measured;
mod node;
mod rankings;
mod reader;
mod resolve;
mod schema;
mod section;
mod show;
mod suite;
mod tables;
mod untuned;
mod wire;

pub use budget::Budget;
pub use error::{DefinitionError, Place};
pub(crate) use links::{agree, tier_name};
pub(crate) use load::MAX_SEEDS;
pub use measured::curves_read;
pub use schema::schema;
pub(crate) use suite::value_mut;
pub use suite::{Arm, Column, Draw, Experiment, GridPoint, Paper, Seeds, Setup, StartFrom, Suite, Take};
pub use tables::Registry;

use crate::registry::Spec;
use crate::run::Recipe;
use reader::Placed;
use section::{PatchWire, Section, Task};

/// Reads the suite in `bytes`. `file` is what errors print in front, e.g. `suites/layernorm.yaml`; the suite
/// must carry its stem as name.
pub fn parse(file: &str, bytes: &[u8], registry: &Registry) -> Result<Suite, DefinitionError> {
    let stem = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let stem = stem.strip_suffix(".yaml").unwrap_or(stem);
    let checked = || {
        let root = node::parse(bytes)?;
        let suite = load::suite(reader::read(&root)?, registry, stem)?;
        claims::check(&root, &suite)?;
        rankings::check(&root, &suite)?;
        Ok(suite)
    };
    checked().map_err(|e: DefinitionError| DefinitionError { file: file.to_string(), ..e })
}

/// Reads a task given as YAML, e.g. `{language: {vocab: 64}}`. `origin` is what errors print in front.
pub fn parse_task(origin: &str, text: &str, registry: &Registry) -> Result<Spec, DefinitionError> {
    let read = || {
        let section: Section<Task> = reader::read(&node::parse(text.as_bytes())?)?;
        Ok(resolve::section(registry.tasks, &section)?.spec)
    };
    read().map_err(|e: DefinitionError| DefinitionError { file: origin.to_string(), ..e })
}

/// Reads a whole recipe given as YAML, as a suite holds it under `recipe`. `origin` is what errors print in front.
pub fn parse_recipe(origin: &str, text: &str, registry: &Registry) -> Result<Recipe, DefinitionError> {
    let read = || {
        let written: Placed<PatchWire> = reader::read(&node::parse(text.as_bytes())?)?;
        Ok(registry.recipe(&written.value, &written.place)?.0)
    };
    read().map_err(|e: DefinitionError| DefinitionError { file: origin.to_string(), ..e })
}
