//! Any UTF-8 text, by bytes: the vocabulary is 256. The rest is as for [`super::tokens`].

use super::TaskBuilder;
use super::tokens::{self, PATH, SEQ, SHA256, VALIDATION};
use crate::registry::{Entry, Invalid, Params};

pub(super) const ENTRY: Entry<Box<dyn TaskBuilder>> = Entry {
    name: "text",
    doc: "next-byte prediction on a UTF-8 text",
    params: &[PATH, SHA256, SEQ, VALIDATION],
    build,
};

fn build(params: &Params) -> Result<Box<dyn TaskBuilder>, Invalid> {
    tokens::builder(params, "text", 0)
}
