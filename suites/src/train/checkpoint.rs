//! The bytes of a checkpoint: a JSON head (what was measured so far) and the raw buffers, lengths checked.

use crate::record::{Outcome, Point};
use crate::run::RunId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const MAGIC: &[u8; 8] = b"PHCKPT01";
/// No run has as many, so that counts of steps can be added.
const MAX_STEPS: u64 = 1 << 53;

/// What a checkpoint says before its buffers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) run: RunId,
    pub(super) step: u64,
    /// Steps that the optimizer had done before the run's first.
    #[serde(default)]
    pub(super) optimizer_steps: u64,
    pub(super) outcome: Option<Outcome>,
    pub(super) curves: BTreeMap<String, Vec<Point>>,
    pub(super) metrics: BTreeMap<String, f64>,
    /// Elements of each buffer that follows.
    pub(super) buffers: Vec<usize>,
}

/// The head's bytes; the buffers follow by [`push_buffer`].
pub(super) fn encode(head: &Head) -> Vec<u8> {
    let json = serde_json::to_vec(head).expect("a head has only finite numbers and strings");
    let mut out = MAGIC.to_vec();
    out.extend((json.len() as u64).to_le_bytes());
    out.extend(json);
    out
}

/// Appends the next buffer.
pub(super) fn push_buffer(out: &mut Vec<u8>, buffer: &[f32]) {
    out.extend(buffer.iter().flat_map(|x| x.to_le_bytes()));
}

/// The head and the buffers' bytes. Refuses anything that is not whole.
pub(super) fn decode(bytes: &[u8]) -> Result<(Head, &[u8]), String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("not a checkpoint of this version")?;
    let (len, rest) = rest.split_first_chunk::<8>().ok_or("a truncated checkpoint")?;
    let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| "a truncated checkpoint")?;
    let (json, rest) = rest.split_at_checked(len).ok_or("a truncated checkpoint")?;
    let head: Head = serde_json::from_slice(json).map_err(|e| format!("a checkpoint with a broken head: {e}"))?;
    if head.step.max(head.optimizer_steps) > MAX_STEPS {
        return Err("a checkpoint of more steps than there can be".into());
    }
    let needed = head.buffers.iter().try_fold(0usize, |sum, n| sum.checked_add(n.checked_mul(4)?));
    if needed != Some(rest.len()) {
        return Err("a truncated checkpoint".into());
    }
    Ok((head, rest))
}

/// The next buffer, of `len` elements, and the bytes after it.
pub(super) fn take_buffer(bytes: &[u8], len: usize) -> Result<(Vec<f32>, &[u8]), String> {
    let (head, rest) = bytes.split_at_checked(len * 4).ok_or("a checkpoint of another model")?;
    let values = head.chunks_exact(4).map(|chunk| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]));
    Ok((values.collect(), rest))
}
