//! Shared helpers of the end-to-end tests: what happens where a test lacks a tool.

use std::io::Write;

/// The environment variable under which a lack fails: `all`, or the names of lacks divided by commas; `-name` excepts
/// one from `all`.
pub const REQUIRE_VARIABLE: &str = "PREHEAT_REQUIRE";

/// For a test that cannot run, or not in full, because `what` is missing, such as `avx512` or `g++`. Says so on
/// stderr, also where the tests' output is captured.
///
/// # Panics
/// Where [`REQUIRE_VARIABLE`] is `all` or names `what`: there a skip is a failure.
pub fn skip(test: &str, what: &str) {
    let require = std::env::var(REQUIRE_VARIABLE).unwrap_or_default();
    match skipped(&require, test, what) {
        // Not `eprintln!`, which is swallowed where a test passes.
        Ok(word) => drop(writeln!(std::io::stderr(), "{word}")),
        Err(why) => panic!("{why}"),
    }
}

/// The word of a skip under the value `require` of [`REQUIRE_VARIABLE`].
///
/// # Errors
/// The skip is a failure; why.
pub fn skipped(require: &str, test: &str, what: &str) -> Result<String, String> {
    let words = || require.split(',').map(str::trim);
    let excepted = words().any(|word| word.strip_prefix('-') == Some(what));
    if words().any(|word| word == what || word == "all" && !excepted) {
        return Err(format!("{test}: {what} is missing here, and {REQUIRE_VARIABLE}={require}"));
    }
    Ok(format!("skipped: {test}: {what} is missing here"))
}
