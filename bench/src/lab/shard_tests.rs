//! How runs are dealt.

use super::*;
use crate::testing::{Staircase, suite_of};

fn suites(names: &[&'static str]) -> Vec<Suite> {
    names.iter().map(|name| suite_of(name, Staircase { suite: name, runs: 9 })).collect()
}

/// Which shard of `of` has each cell of both stages.
fn dealt(suites: &[Suite], of: usize) -> BTreeMap<Place, usize> {
    let deal = Deal::new(suites, of, &steps).unwrap();
    let total: usize = (1..=of).map(|index| deal.runs(Shard { index, of })).sum();
    let ids: std::collections::BTreeSet<_> = deal.places.values().map(|(_, id)| id).collect();
    assert_eq!(total, ids.len(), "each run is dealt once");
    deal.places.iter().map(|(place, (shard, _))| (place.clone(), *shard)).collect()
}

fn steps(run: &Run) -> f64 {
    run.recipe.train.int("steps") as f64
}

#[test]
fn every_cell_has_one_shard_whatever_the_order_of_suites() {
    for of in [1, 2, 3, 7, 40] {
        let all = dealt(&suites(&["a", "b"]), of);
        assert_eq!(all, dealt(&suites(&["b", "a"]), of));
        assert_eq!(all.len(), 2 * (9 + 1));
        assert!(all.values().all(|shard| *shard < of));
    }
}

#[test]
fn equal_runs_of_two_suites_are_dealt_once() {
    let twice =
        [suite_of("a", Staircase { suite: "same", runs: 9 }), suite_of("b", Staircase { suite: "same", runs: 9 })];
    let all = dealt(&twice, 3);
    for ((suite, cell, seed, selection), shard) in &all {
        let other = if suite == "a" { "b" } else { "a" };
        assert_eq!(all[&(other.to_string(), cell.clone(), *seed, *selection)], *shard);
    }
}

#[test]
fn the_longest_go_first_so_that_shards_are_even() {
    // Steps 1 to 9: 45 in all, 15 a shard; the longest alone has 9.
    let suites = suites(&["a"]);
    let deal = Deal::new(&suites, 3, &steps).unwrap();
    let mut load = [0.0; 3];
    for planned in suites[0].plan.draft(0).unwrap() {
        let (shard, _) = deal.places[&place("a", &planned.cells[0])];
        load[shard] += steps(&planned.run);
    }
    assert_eq!(load.iter().sum::<f64>(), 45.0);
    assert!(load.iter().all(|x| (14.0..=16.0).contains(x)), "{load:?}");
}

#[test]
fn words_are_read_and_wrong_ones_refused_in_one_line() {
    assert_eq!("2/3".parse(), Ok(Shard { index: 2, of: 3 }));
    assert_eq!("1/1".parse::<Shard>().unwrap().to_string(), "1/1");
    for bad in ["0/3", "4/3", "x", "1", "1/", "/3", "-1/3", "1/0", "1/2/3", "1.5/3", "1/10001", " 1/3", ""] {
        let why = bad.parse::<Shard>().unwrap_err();
        assert!(why.starts_with(&format!("--shard {bad}: allowed: ")) && why.lines().count() == 1, "{why}");
    }
}
