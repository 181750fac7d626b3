//! Files of tokens, read with distrust: the bytes decide, a header is only believed where it agrees with them.
//!
//! | format  | bytes |
//! |---------|-------|
//! | llmc    | 256 × i32 little-endian (magic, version, tokens, zeros), then the tokens: magic 20240520 with version 1 holds u16, 20240801 with version 7 holds u32 (llm.c, `dev/data`; modded-nanogpt takes the first too) |
//! | nanogpt | u16 little-endian, nothing else (nanoGPT's `train.bin`) |
//! | text    | UTF-8, a byte a token |
//!
//! Tokens stay in the file's own bytes: reading reserves nothing.

use crate::registry::Invalid;
use std::ops::Range;

/// What `format` may be.
pub const FORMATS: &[&str] = &["auto", "llmc", "nanogpt", "text"];
/// Largest vocabulary: what is counted by token has this many entries at most.
pub const MAX_VOCAB: usize = 1 << 20;

/// Bytes of llm.c's header.
const HEADER: usize = 1024;
/// llm.c's magic, the version that goes with it, and bytes a token.
const MAGICS: [(i32, i32, usize); 2] = [(20_240_520, 1, 2), (20_240_801, 7, 4)];
/// llm.c's files of multiple-choice questions, which are no stream of tokens.
const EVAL_MAGIC: i32 = 20_240_522;

/// A file's tokens, in the bytes that they came in.
#[derive(Debug)]
pub struct Tokens {
    bytes: Vec<u8>,
    /// Where the tokens begin, in bytes.
    start: usize,
    /// Bytes a token: 1, 2 or 4.
    width: usize,
    format: &'static str,
}

impl Tokens {
    /// The tokens of a file. `format` is one of [`FORMATS`]; `auto` knows llm.c's magic, then goes by the name's end:
    /// `.bin` or `.txt`.
    ///
    /// # Errors
    /// What is wrong with the file, under the key `path` or `format`.
    pub fn read(path: &str, bytes: Vec<u8>, format: &str) -> Result<Self, Invalid> {
        let wrong = |what: String| Invalid::new("path", format!("{path}: {what}"));
        if bytes.is_empty() {
            return Err(wrong("is empty".into()));
        }
        let format = match format {
            "auto" => guess(path, &bytes)?,
            other => FORMATS.iter().copied().find(|f| *f == other).expect("the registry lets only these through"),
        };
        let (start, width) = match format {
            "llmc" => (HEADER, llmc(&bytes).map_err(wrong)?),
            "nanogpt" => (0, nanogpt(&bytes).map_err(wrong)?),
            _ => match std::str::from_utf8(&bytes) {
                Ok(_) => (0, 1),
                Err(fault) => return Err(wrong(format!("not UTF-8 at byte {}", fault.valid_up_to()))),
            },
        };
        Ok(Self { bytes, start, width, format })
    }

    /// How many.
    pub fn len(&self) -> usize {
        (self.bytes.len() - self.start) / self.width
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The format that they were read in, `auto` resolved.
    pub fn format(&self) -> &'static str {
        self.format
    }
    /// Bytes a token: 1, 2 or 4.
    pub fn width(&self) -> usize {
        self.width
    }
    /// The largest token.
    pub fn largest(&self) -> Option<u32> {
        self.iter(0..self.len()).max()
    }

    /// The tokens at these places, counted from 0.
    pub fn iter(&self, places: Range<usize>) -> impl Iterator<Item = u32> {
        let at = |place: usize| self.start + place * self.width;
        // An array of zeros filled from the left is the value, little-endian.
        self.bytes[at(places.start)..at(places.end)].chunks_exact(self.width).map(|bytes| {
            let mut value = [0; 4];
            value[..bytes.len()].copy_from_slice(bytes);
            u32::from_le_bytes(value)
        })
    }

    /// Copies the tokens from `place` on into `target` \[T\].
    pub fn copy(&self, place: usize, target: &mut [u32]) {
        let places = place..place + target.len();
        for (t, token) in target.iter_mut().zip(self.iter(places)) {
            *t = token;
        }
    }

    /// The vocabulary: `stated`, or where that is 0 what the file needs, which is 256 for text.
    ///
    /// # Errors
    /// The first token that is not below it, under the key `vocab`.
    pub fn vocab(&self, path: &str, stated: usize) -> Result<usize, Invalid> {
        let needed = match (stated, self.format) {
            (0, "text") => return Ok(256),
            _ => self.largest().map_or(0, |t| (t as usize).saturating_add(1)),
        };
        let vocab = if stated == 0 { needed.min(MAX_VOCAB) } else { stated };
        if needed <= vocab {
            return Ok(vocab.max(1));
        }
        let (place, token) = self
            .iter(0..self.len())
            .enumerate()
            .find(|(_, token)| *token as usize >= vocab)
            .expect("the largest token is one");
        let allowed = if needed > MAX_VOCAB {
            format!("tokens below {MAX_VOCAB}")
        } else {
            format!("{needed} to {MAX_VOCAB}, or 0 for what the file needs")
        };
        let message = format!(
            "{path}: token {token} at position {place} is not below the vocabulary {vocab}; allowed: {allowed}"
        );
        Err(Invalid::new("vocab", message))
    }
}

/// Number `index` of the header.
fn number(bytes: &[u8], index: usize) -> Option<i32> {
    bytes.get(index * 4..)?.first_chunk().map(|four| i32::from_le_bytes(*four))
}

fn guess(path: &str, bytes: &[u8]) -> Result<&'static str, Invalid> {
    let magic = number(bytes, 0);
    if MAGICS.iter().any(|(m, ..)| magic == Some(*m)) || magic == Some(EVAL_MAGIC) {
        return Ok("llmc");
    }
    let end = path.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    match end.as_deref() {
        Some("bin") => Ok("nanogpt"),
        Some("txt") => Ok("text"),
        _ => {
            let message = format!("auto knows no format for {path}; allowed: {}", FORMATS[1..].join(", "));
            Err(Invalid::new("format", message))
        }
    }
}

/// Bytes a token of an llm.c file whose header is true.
fn llmc(bytes: &[u8]) -> Result<usize, String> {
    let header = |index| number(bytes, index).filter(|_| bytes.len() >= HEADER);
    let (Some(magic), Some(version), Some(stated)) = (header(0), header(1), header(2)) else {
        return Err(format!("{} bytes, llm.c's header alone has {HEADER}", bytes.len()));
    };
    if magic == EVAL_MAGIC {
        return Err(format!("magic {magic} is llm.c's evaluation file, which holds questions and no stream of tokens"));
    }
    let Some((_, wanted, width)) = MAGICS.iter().find(|(m, ..)| *m == magic) else {
        return Err(format!("magic {magic} is unknown; allowed: {} (u16), {} (u32)", MAGICS[0].0, MAGICS[1].0));
    };
    if version != *wanted {
        return Err(format!("version {version} of magic {magic} is unknown; allowed: {wanted}"));
    }
    let found = bytes.len() - HEADER;
    if usize::try_from(stated).ok().and_then(|n| n.checked_mul(*width)) != Some(found) {
        let whole = if found.is_multiple_of(*width) { "" } else { " and a part of one" };
        return Err(format!("the header states {stated} tokens, the file holds {}{whole}", found / width));
    }
    Ok(*width)
}

/// Bytes a token of a nanoGPT file.
fn nanogpt(bytes: &[u8]) -> Result<usize, String> {
    if !bytes.len().is_multiple_of(2) {
        return Err(format!("{} bytes, an odd number; nanoGPT's tokens take two each", bytes.len()));
    }
    if llmc(bytes).is_ok() {
        return Err("has llm.c's header, which would be read as tokens; allowed: format llmc, auto".into());
    }
    Ok(2)
}

#[cfg(test)]
mod tests;
