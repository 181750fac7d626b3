//! What a crate must know nothing of does not occur in its sources.

use super::files;

/// (folder, words that its code must not hold, why). Test modules are free.
const ABSENT: &[(&str, &[&str], &str)] = &[
    (
        "kernels/src",
        &["std::fs", "std::net", "std::process", "std::time", "std::collections::Hash"],
        "kernels compute: no files, no clocks",
    ),
    (
        "suites/src",
        &["std::fs", "std::net", "std::process", "std::thread", "std::time", "std::collections::Hash", "std::arch"],
        "suites are pure: no files, no threads, no clocks, no device's insides",
    ),
    ("bench/src", &["SystemTime"], "the time of day decides nothing, and nothing that is kept holds it"),
    ("xtask/src", &["preheat_kernels", "preheat_suites", "preheat_bench"], "xtask is the door: no tensors"),
];

/// The code before the first test module, comment lines left out.
fn code(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let body = source.lines().enumerate().take_while(|(_, line)| !line.trim_start().starts_with("#[cfg(test)]"));
    body.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(i, line)| (i + 1, line))
}

fn is_test_module(path: &std::path::Path) -> bool {
    path.components().any(|c| c.as_os_str() == "tests" || c.as_os_str() == "tests.rs")
}

#[test]
fn each_crate_keeps_to_its_subject() {
    let mut wrong = Vec::new();
    for (folder, words, why) in ABSENT {
        for path in files::with_extension(folder, &["rs"]) {
            if is_test_module(&path) {
                continue;
            }
            for (number, line) in code(&files::read(&path)) {
                for word in words.iter().filter(|word| line.contains(**word)) {
                    wrong.push(format!("{}:{number}: {word} ({why})", path.display()));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn code_ends_where_tests_begin() {
    let source = "//! std::fs\nuse a;\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
    assert_eq!(code(source).collect::<Vec<_>>(), [(2, "use a;")]);
}
