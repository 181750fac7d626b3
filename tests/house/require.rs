//! A lack skips with a word, or fails under `PREHEAT_REQUIRE`.

use preheat::{skip, skipped};

#[test]
fn all_and_a_name_require_and_nothing_else_does() {
    for require in ["all", "avx512", "g++, avx512", "g++,all", "all,-g++", "-avx512,avx512"] {
        let why = skipped(require, "bits", "avx512").expect_err(require);
        assert_eq!(why, format!("bits: avx512 is missing here, and PREHEAT_REQUIRE={require}"));
    }
    for require in ["", "g++", "avx51", "avx512x", "ALL", ",", "all,-avx512", "-avx512, all", "-all"] {
        let word = skipped(require, "bits", "avx512").expect(require);
        assert_eq!(word, "skipped: bits: avx512 is missing here");
    }
}

#[test]
fn a_skip_reads_the_variable_of_its_process() {
    // Another process is asked, so that the variable of this one stays as it is.
    const ASKED: &str = "PREHEAT_TEST_OF_SKIPS";
    if std::env::var_os(ASKED).is_some() {
        return skip("a test", "a tool");
    }
    for (require, passes) in [("all", false), ("a tool", false), ("another", true), ("", true)] {
        let this = std::env::current_exe().expect("this test's own path");
        let mut asked = std::process::Command::new(this);
        asked.args(["--exact", "require::a_skip_reads_the_variable_of_its_process"]);
        let asked = asked.env(ASKED, "1").env(preheat::REQUIRE_VARIABLE, require).output().expect("it starts");
        assert_eq!(asked.status.success(), passes, "{require}: {asked:?}");
        let said = String::from_utf8_lossy(&asked.stderr).contains("skipped: a test: a tool is missing here");
        assert_eq!(said, passes, "{require}: {asked:?}");
    }
}
