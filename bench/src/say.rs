//! What the lab says: lines on stderr, results on stdout. A reader that went away (`| head`) is no error and ends
//! nothing; a result that could not be written is one.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

/// Why a part of stdout is lost. The first reason stays.
static LOST: OnceLock<String> = OnceLock::new();

/// A line on stderr, after the program's name. Without a reader it is not said.
pub(crate) fn line(words: Arguments<'_>) {
    let text = format!("preheat: {words}\n");
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// A line on stderr, as `format!` makes it.
macro_rules! tell {
    ($($words:tt)*) => { $crate::say::line(format_args!($($words)*)) };
}
pub(crate) use tell;

/// A result on stdout. Whether it could be written is asked at the end, by [`lost`].
pub(crate) fn out(text: &str) {
    let mut stdout = io::stdout().lock();
    if let Some(why) = failed(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())) {
        let _ = LOST.set(why);
    }
}

/// Why a result is not all there.
pub(crate) fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

fn failed(written: io::Result<()>) -> Option<String> {
    written.err().filter(|e| e.kind() != ErrorKind::BrokenPipe).map(|e| format!("stdout: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        assert_eq!(failed(Ok(())), None);
        assert_eq!(failed(Err(ErrorKind::BrokenPipe.into())), None);
        assert!(failed(Err(ErrorKind::StorageFull.into())).is_some_and(|why| why.starts_with("stdout: ")));
    }
}
