//! `preheat report`: golden's tables as pages.

use crate::cli::ReportArgs;
use crate::exit::{Exit, Failure};
use crate::golden::Golden;
use crate::report::{self, COMMAND, Marker, splice};
use crate::results::SuiteResult;
use crate::say::tell;
use crate::store::envelope::write_atomic;
use crate::table::{self, Style};
use std::fs;
use std::path::Path;

/// Writes or checks the pages.
///
/// # Errors
/// An unreadable golden, a page without its markers, a folder that cannot be written.
pub fn run(args: &ReportArgs) -> Result<Exit, Failure> {
    let results = Golden::new(&args.golden).all().map_err(Failure::usage)?;
    if results.is_empty() {
        // A folder that was mistyped must not empty the pages.
        let message = format!("{}: nothing was accepted here, so there is nothing to report", args.golden.display());
        return Err(Failure { exit: Exit::Incomparable, message });
    }
    if let Some(out) = &args.out {
        return write_out(out, &results);
    }
    let pages = [
        ("README.md", Marker("summary"), report::summary(&results)),
        ("RESULTS.md", Marker("results"), report::results(&results)),
    ];
    let mut exit = Exit::Golden;
    for (name, marker, text) in pages {
        let path = args.pages.join(name);
        let shown = path.display();
        let page = fs::read_to_string(&path).map_err(|e| Failure::usage(format!("{shown}: {e}")))?;
        let new = splice(&page, marker, &text).map_err(|e| Failure::usage(format!("{shown}: {e}")))?;
        exit = exit.worst(settle(&path, Some(&page), &new, args.check)?);
    }
    for (name, text) in report::drawings(&results) {
        let path = args.pages.join(name);
        let there = fs::read_to_string(&path).ok();
        exit = exit.worst(settle(&path, there.as_deref(), &text, args.check)?);
    }
    Ok(exit)
}

/// Writes what differs from what is there, or only says so.
fn settle(path: &Path, there: Option<&str>, text: &str, check: bool) -> Result<Exit, Failure> {
    let shown = path.display();
    if there == Some(text) {
        return Ok(Exit::Golden);
    }
    if check {
        tell!("{shown} is stale; `{COMMAND}` writes it");
        return Ok(Exit::Regression);
    }
    let failed = |e: std::io::Error| Failure::failed(format!("{shown}: {e}"));
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
    write_atomic(path, text.as_bytes()).map_err(failed)?;
    tell!("wrote {shown}");
    Ok(Exit::Golden)
}

fn write_out(out: &Path, results: &[SuiteResult]) -> Result<Exit, Failure> {
    let failed = |path: &Path, e: &dyn std::fmt::Display| Failure::failed(format!("{}: {e}", path.display()));
    fs::create_dir_all(out).map_err(|e| failed(out, &e))?;
    for result in results {
        let json = serde_json::to_string_pretty(result).map_err(|e| failed(out, &e))? + "\n";
        let texts = [
            ("md", table::suite(result, Style::Markdown)),
            ("csv", table::csv::suites(std::slice::from_ref(result))),
            ("json", json),
        ];
        for (extension, text) in texts {
            let path = out.join(format!("{}.{extension}", result.stem()));
            write_atomic(&path, text.as_bytes()).map_err(|e| failed(&path, &e))?;
        }
    }
    for (name, text) in report::drawings(results) {
        settle(&out.join(name), None, &text, false)?;
    }
    let index = out.join("index.md");
    let text = format!("{}\n{}", report::summary(results), report::results(results));
    write_atomic(&index, text.as_bytes()).map_err(|e| failed(&index, &e))?;
    tell!("wrote {}", out.display());
    Ok(Exit::Golden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{observed, result};

    fn args(root: &Path) -> ReportArgs {
        ReportArgs { check: false, out: None, golden: root.join("golden"), pages: root.to_path_buf() }
    }

    fn pages(root: &Path) {
        for (name, marker) in [("README.md", "summary"), ("RESULTS.md", "results")] {
            fs::write(root.join(name), format!("# T\n<!-- preheat:{marker} -->\n<!-- /preheat:{marker} -->\n"))
                .unwrap();
        }
    }

    #[test]
    fn stale_pages_are_seen_then_written_then_fresh() {
        let dir = tempfile::tempdir().unwrap();
        pages(dir.path());
        let golden = Golden::new(&dir.path().join("golden"));
        golden.accept(&result(&observed())).unwrap();
        let write = args(dir.path());
        let check = ReportArgs { check: true, ..write.clone() };
        assert_eq!(run(&check), Ok(Exit::Regression));
        assert_eq!(run(&write), Ok(Exit::Golden));
        assert_eq!(run(&check), Ok(Exit::Golden));
        assert!(fs::read_to_string(dir.path().join("README.md")).unwrap().contains("demo"));

        let mut moved = result(&observed());
        moved.claims[0].effect = Some(0.75);
        golden.accept(&moved).unwrap();
        assert_eq!(run(&check), Ok(Exit::Regression), "RESULTS.md shows the effect");
    }

    #[test]
    fn out_writes_every_form_and_touches_no_page() {
        let dir = tempfile::tempdir().unwrap();
        Golden::new(&dir.path().join("golden")).accept(&result(&observed())).unwrap();
        let out = dir.path().join("site");
        assert_eq!(run(&ReportArgs { out: Some(out.clone()), ..args(dir.path()) }), Ok(Exit::Golden));
        for name in ["demo.quick.md", "demo.quick.csv", "demo.quick.json", "index.md"] {
            assert!(out.join(name).exists(), "{name}");
        }
        assert!(!dir.path().join("README.md").exists());
    }

    #[test]
    fn a_page_without_markers_is_a_wrong_command() {
        let dir = tempfile::tempdir().unwrap();
        Golden::new(&dir.path().join("golden")).accept(&result(&observed())).unwrap();
        fs::write(dir.path().join("README.md"), "# T\n").unwrap();
        assert_eq!(run(&args(dir.path())).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_golden_that_holds_nothing_empties_no_page() {
        let dir = tempfile::tempdir().unwrap();
        pages(dir.path());
        let before = fs::read_to_string(dir.path().join("README.md")).unwrap();
        for out in [None, Some(dir.path().join("site"))] {
            assert_eq!(run(&ReportArgs { out, ..args(dir.path()) }).unwrap_err().exit, Exit::Incomparable);
        }
        assert_eq!(fs::read_to_string(dir.path().join("README.md")).unwrap(), before);
        assert!(!dir.path().join("site").exists());
    }
}
