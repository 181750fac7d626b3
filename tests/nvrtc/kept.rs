//! What the compiler said of a source, kept between the tests' runs: it takes a minute for all, and kernels change
//! rarely. Only what compiled is kept, and it is judged anew each time.

use preheat_kernels::cuda::nvrtc::Nvrtc;
use serde_json::json;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// The compiler's words on one source.
pub(crate) struct Texts {
    pub(crate) ptx: String,
    pub(crate) log: String,
    /// The file of its machine code.
    pub(crate) cubin: PathBuf,
}

/// Compiles `text`, or takes what was kept of the same text, architecture and version.
pub(crate) fn compiled(nvrtc: Nvrtc, name: &str, text: &str, sm: u32) -> Result<Texts, String> {
    let source = format!("{:?} sm_{sm} {name}\n{text}", nvrtc.version());
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nvrtc");
    let path = folder.join(format!("{:016x}.json", hasher.finish()));
    let cubin = path.with_extension("cubin");
    let kept = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    if let Some(kept) = kept.filter(|kept| kept["source"] == source.as_str() && cubin.exists()) {
        let field = |key: &str| kept[key].as_str().map(String::from);
        if let (Some(ptx), Some(log)) = (field("ptx"), field("log")) {
            return Ok(Texts { ptx, log, cubin });
        }
    }
    let done = nvrtc.compile(name, text, sm, &["--ptxas-options=-v"]).map_err(|e| e.to_string())?;
    if !done.cubin.starts_with(b"\x7fELF") {
        return Err("no machine code".into());
    }
    let document = json!({"source": source, "ptx": done.ptx, "log": done.log});
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    write(&cubin, &done.cubin)?;
    write(&path, document.to_string().as_bytes())?;
    Ok(Texts { ptx: done.ptx, log: done.log, cubin })
}

/// Another test may write the same file: a whole one is renamed into place.
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let own = path.with_extension(format!("{}-{:?}", std::process::id(), std::thread::current().id()));
    let written = std::fs::write(&own, bytes).and_then(|()| std::fs::rename(&own, path));
    written.map_err(|e| format!("{}: {e}", path.display()))
}
