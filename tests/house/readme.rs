//! The commands that README shows are the ones that the gate runs.

use super::files;

/// The lines of the first fenced block after `heading`.
fn block_after<'a>(heading: &str, text: &'a str) -> Vec<&'a str> {
    let after = text.lines().skip_while(|line| *line != heading);
    after.skip_while(|line| !line.starts_with("```")).skip(1).take_while(|line| !line.starts_with("```")).collect()
}

#[test]
fn the_two_commands_of_the_quick_start_are_what_the_gate_runs() {
    let readme = files::read("README.md");
    let commands: Vec<_> = block_after("## Quick start", &readme)
        .into_iter()
        .map(|line| line.split(" #").next().expect("at least one part").trim())
        .collect();
    assert_eq!(commands, ["cargo xtask bench", "cargo test --workspace"]);
    let gate = files::read(".ci/run");
    for command in commands {
        let runs = |line: &str| line == command || line == format!("{command} --locked");
        assert!(gate.lines().any(|line| runs(line.trim())), "`{command}` is not a line of .ci/run");
    }
}

#[test]
fn the_tables_have_a_place() {
    for (file, name) in [("README.md", "summary"), ("RESULTS.md", "results")] {
        let text = files::read(file);
        let line = |marker: String| {
            let mut at = text.lines().enumerate().filter(|(_, line)| *line == marker).map(|(i, _)| i);
            let first = at.next().unwrap_or_else(|| panic!("{file}: no line `{marker}`"));
            assert_eq!(at.next(), None, "{file}: `{marker}` stands there twice");
            first
        };
        assert!(line(format!("<!-- preheat:{name} -->")) < line(format!("<!-- /preheat:{name} -->")), "{file}");
    }
}
