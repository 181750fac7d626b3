//! `preheat data`: the lines that pin a file, and whether the files that suites pin are there.

use crate::exit::{Exit, Failure};
use crate::lab::{data, load};
use crate::say::{out, tell};
use clap::{Args, Subcommand};
use preheat_suites::definition::Suite;
use preheat_suites::registry::{Invalid, Spec};
use preheat_suites::tasks::token_file::{FORMATS, MAX_VOCAB, Tokens};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// `preheat data`.
#[derive(Clone, Debug, Args)]
pub struct DataArgs {
    /// What is done.
    #[command(subcommand)]
    pub command: DataCommand,
}

/// What can be done with data.
#[derive(Clone, Debug, Subcommand)]
pub enum DataCommand {
    /// Print the YAML that pins each file: path, format, sha256, vocabulary.
    Pin {
        /// Files of tokens: llm.c or modded-nanogpt shards, nanoGPT's .bin, UTF-8 text.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<String>,
        /// How they are read; auto goes by magic, then by .bin or .txt.
        #[arg(long, value_name = "FORMAT", value_parser = FORMATS.to_vec(), default_value = "auto")]
        format: String,
    },
    /// Open every file that suites name: its hash, its tokens, its length.
    Check {
        /// Suites by name; all of them where none is named.
        #[arg(value_name = "SUITE")]
        suites: Vec<String>,
        /// Read suites from the YAML files of this folder instead of the built-in ones.
        #[arg(long = "suites", value_name = "DIR")]
        suites_dir: Option<PathBuf>,
    },
}

/// Carries out `preheat data`.
///
/// # Errors
/// A wrong definition, or a file that is not as it should be; every file is told (2).
pub fn run(args: &DataArgs) -> Result<Exit, Failure> {
    let lines = match &args.command {
        DataCommand::Pin { files, format } => files.iter().map(|file| pin(file, format)).collect(),
        DataCommand::Check { suites, suites_dir } => {
            let suites = load::definitions(suites, suites_dir.as_deref())?;
            let lines: Vec<_> = suites.iter().flat_map(|(_, suite)| check(suite)).collect();
            if lines.is_empty() {
                out("no suite here names a file\n");
            }
            lines
        }
    };
    Ok(told(lines))
}

/// Prints what is good on stdout and what is wrong on stderr.
fn told(lines: Vec<Result<String, String>>) -> Exit {
    let mut exit = Exit::Golden;
    for line in lines {
        match line {
            Ok(line) => out(&format!("{line}\n")),
            Err(why) => {
                tell!("{why}");
                exit = exit.worst(Exit::Usage);
            }
        }
    }
    exit
}

/// The YAML that pins one file, and in a comment what it holds.
fn pin(path: &str, format: &str) -> Result<String, String> {
    let bytes = data::read(path).map_err(|e| e.message)?;
    let sha256 = data::sha256(&bytes);
    let tokens = Tokens::read(path, bytes, format).map_err(|e| match e.key.as_str() {
        "format" => format!("--format {}", e.message),
        _ => e.message,
    })?;
    let largest = tokens.largest().ok_or_else(|| format!("{path}: holds no tokens"))?;
    let vocab = tokens.vocab(path, 0).map_err(|e| e.message)?;
    // A JSON string is a YAML string.
    let quoted = serde_json::to_string(path).map_err(|e| e.to_string())?;
    let (count, format) = (tokens.len(), tokens.format());
    Ok(format!(
        "# {count} tokens, the largest {largest}; a tokenizer's own vocabulary may be larger, to {MAX_VOCAB}\n\
         task: {{tokens: {{path: {quoted}, format: {format}, sha256: \"{sha256}\", vocab: {vocab}}}}}"
    ))
}

/// One line for each file that a suite names, in the order of its experiments.
fn check(suite: &Suite) -> Vec<Result<String, String>> {
    let mut seen = BTreeSet::new();
    let mut lines = Vec::new();
    let setups = suite.experiments.iter().flat_map(|e| e.setups.values());
    for point in setups.flat_map(|s| &s.arms).flat_map(|a| &a.points) {
        let (task, sequences) = (&point.recipe.task, point.recipe.train.size("eval_sequences"));
        let Some(path) = data::path(task) else { continue };
        if seen.insert(format!("{task} {sequences}")) {
            lines.push(opened(&suite.name, task, sequences, &path));
        }
    }
    lines
}

fn opened(suite: &str, task: &Spec, sequences: usize, path: &str) -> Result<String, String> {
    let wrong = |e: Invalid| format!("{suite}: task.{e}");
    let opened = data::open(task, sequences).map_err(wrong)?;
    let (hash, vocab, seq) = (data::data_hash(task), opened.vocab(), opened.seq());
    Ok(format!("{suite}: {path} has {hash}, vocabulary {vocab}, {sequences} validation sequences of {seq}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use preheat_suites::definition::{Registry, parse_task};
    use std::fs;

    #[test]
    fn what_pin_prints_is_a_task_that_opens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a \"b\".bin");
        let tokens: Vec<u8> = (0..2000_u16).flat_map(|i| (i % 777).to_le_bytes()).collect();
        fs::write(&path, tokens).unwrap();
        let pinned = pin(path.to_str().unwrap(), "auto").unwrap();
        assert!(pinned.starts_with("# 2000 tokens, the largest 776;"), "{pinned}");
        let yaml = pinned.lines().nth(1).and_then(|line| line.strip_prefix("task: ")).unwrap();
        let task = parse_task("pinned", yaml, &Registry::builtin()).unwrap();
        assert_eq!(data::open(&task, 1).unwrap().vocab(), 777);
        fs::write(&path, [0, 0]).unwrap();
        assert_eq!(data::open(&task, 1).err().unwrap().key, "sha256");
        assert!(pin(dir.path().to_str().unwrap(), "auto").unwrap_err().ends_with("is a directory"));
    }
}
