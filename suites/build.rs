//! Embeds every `suites/*.yaml`, so that a suite needs no registration.

use std::env;
use std::fs;
use std::path::Path;

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::rerun-if-changed={root}");
    let mut names: Vec<String> = fs::read_dir(&root)
        .expect("the package's folder can be read")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_suffix(".yaml")?.to_string()))
        .collect();
    names.sort();
    let lines = names.iter().map(|name| {
        format!("    ({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?}))),\n", format!("/{name}.yaml"))
    });
    let text = format!("&[\n{}]\n", lines.collect::<String>());
    let out = env::var("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("builtin.rs"), text).expect("the build's folder can be written");
}
