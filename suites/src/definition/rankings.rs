//! Rankings against experiments: every arm, axis and metric that a ranking reads is there in each of its tiers.

use super::claims::{Reads, at, over_axis, selects};
use super::error::{DefinitionError, Place, quoted};
use super::measured;
use super::node::{Node, Value};
use super::suite::Suite;
use std::collections::BTreeSet;

type Result<T> = std::result::Result<T, DefinitionError>;

/// Checks all rankings. The tree gives the places; `suite.rankings` are the same rankings, read.
pub(crate) fn check(root: &Node, suite: &Suite) -> Result<()> {
    let Some(Value::List(nodes)) = root.get("rankings").map(|n| &n.value) else { return Ok(()) };
    let mut ids = BTreeSet::new();
    for (i, (node, ranking)) in nodes.iter().zip(&suite.rankings).enumerate() {
        let key = format!("rankings[{i}]");
        let child = |name: &str| node.get(name).unwrap_or(node);
        if !ids.insert(&ranking.id) {
            let message = format!("{} is the id of an earlier ranking too", quoted(&ranking.id));
            return Err(at(child("id"), &format!("{key}.id"), message).allowed("each id once"));
        }
        if ranking.tiers.is_empty() {
            return Err(
                at(child("tiers"), &format!("{key}.tiers"), "is empty".into()).allowed("smoke, quick, full, paper")
            );
        }
        if ranking.rows.is_empty() {
            return Err(at(child("rows"), &format!("{key}.rows"), "is empty".into()).allowed("at least one row"));
        }
        if !(ranking.margin >= 0.0 && ranking.margin.is_finite()) {
            let message = format!("is {}", ranking.margin);
            return Err(at(child("margin"), &format!("{key}.margin"), message).allowed("0 and above"));
        }
        let Value::List(rows) = &child("rows").value else { continue };
        for (j, (row, read)) in rows.iter().zip(&ranking.rows).enumerate() {
            let key = format!("{key}.rows[{j}]");
            selects(row, &key, suite, Reads { tiers: &ranking.tiers, every_arm: false })?;
            for (side, select) in [("warmup", &read.warmup), ("none", &read.none)] {
                let of = row.get(side).and_then(|side| side.get("experiment"));
                if let (Some(of), Some(over)) = (of, node.get("over")) {
                    over_axis(of, over, &format!("rankings[{i}].over"), suite, &ranking.tiers)?;
                }
                for &tier in &ranking.tiers {
                    let setup = suite.experiment(&select.experiment).and_then(|e| e.setups.get(&tier));
                    let Some(arm) = setup.and_then(|s| s.arms.iter().find(|a| a.name == select.arm)) else { continue };
                    let metric = child("metric");
                    let place =
                        Place { line: metric.line, column: metric.column, key: format!("rankings[{i}].metric") };
                    measured::metric(&ranking.metric, arm, &select.experiment, tier, &place)?;
                }
            }
        }
    }
    Ok(())
}
