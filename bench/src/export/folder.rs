//! The folder of an export: files that appear whole or not at all.

use super::{Origin, Tensor};
use crate::exit::Failure;
use crate::store::envelope::write_atomic;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A folder that may be written.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Creates `path`, or takes it where it is empty or an export already.
    ///
    /// # Errors
    /// It holds something else (2); it cannot be read or made (5).
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |e: io::Error| Failure::failed(format!("{}: {e}", path.display()));
        if path.exists() {
            let empty = fs::read_dir(path).map_err(failed)?.next().is_none();
            if !empty && !is_export(path) {
                return Err(Failure::usage(format!(
                    "--out {}: holds files and is no export; allowed: a new or empty folder, or an earlier export",
                    path.display()
                )));
            }
        }
        fs::create_dir_all(path).map_err(failed)?;
        Ok(Self(path.to_path_buf()))
    }

    pub(super) fn json(&self, name: &str, content: &impl Serialize) -> Result<(), String> {
        let mut text = serde_json::to_vec_pretty(content).map_err(|e| format!("{name}: {e}"))?;
        text.push(b'\n');
        self.write(name, &text)
    }

    pub(super) fn tensors(&self, name: &str, origin: &Origin, tensors: &[Tensor]) -> Result<(), String> {
        let views: Result<Vec<_>, String> = tensors.iter().map(|t| Ok((t.name.as_str(), t.view()?))).collect();
        // One entry, so that the file's bytes do not depend on a map's order.
        let origin = serde_json::to_string(origin).map_err(|e| format!("{name}: {e}"))?;
        let metadata = [("preheat".to_string(), origin)].into();
        let bytes = safetensors::serialize(views?, Some(metadata)).map_err(|e| format!("{name}: {e}"))?;
        self.write(name, &bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let path = self.0.join(name);
        write_atomic(&path, bytes).map_err(|e| format!("{}: {e}", path.display()))
    }
}

/// Whether `recipe.json` there is an export's.
fn is_export(folder: &Path) -> bool {
    let recipe = fs::read(folder.join("recipe.json")).ok();
    let recipe = recipe.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    recipe.is_some_and(|recipe| recipe["preheat_export"].is_u64())
}
