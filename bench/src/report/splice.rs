//! Putting generated text between markers of a page that people write.

/// A pair of comments, `<!-- preheat:NAME -->` and `<!-- /preheat:NAME -->`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker(pub &'static str);

/// `page` with the text between its markers replaced.
///
/// # Errors
/// One line where a marker is missing, doubled or out of order.
pub fn splice(page: &str, marker: Marker, text: &str) -> Result<String, String> {
    let open = format!("<!-- preheat:{} -->", marker.0);
    let close = format!("<!-- /preheat:{} -->", marker.0);
    let start = only(page, &open)? + open.len();
    let end = only(page, &close)?;
    if end < start {
        return Err(format!("{close} stands before {open}"));
    }
    Ok(format!("{}\n\n{}\n\n{}", &page[..start], text.trim(), &page[end..]))
}

fn only(page: &str, word: &str) -> Result<usize, String> {
    let mut found = page.match_indices(word);
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at),
        (None, _) => Err(format!("no {word}")),
        _ => Err(format!("more than one {word}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Marker = Marker("summary");

    #[test]
    fn the_text_between_is_replaced_and_a_second_time_changes_nothing() {
        let page = "# T\n<!-- preheat:summary -->\nold\n<!-- /preheat:summary -->\ntail\n";
        let once = splice(page, MARK, "new\n").unwrap();
        assert_eq!(once, "# T\n<!-- preheat:summary -->\n\nnew\n\n<!-- /preheat:summary -->\ntail\n");
        assert_eq!(splice(&once, MARK, "new").unwrap(), once);
    }

    #[test]
    fn broken_markers_are_named() {
        let bad = ["", "<!-- preheat:summary -->", "<!-- /preheat:summary --><!-- preheat:summary -->"];
        for page in bad {
            assert!(splice(page, MARK, "x").unwrap_err().contains("preheat:summary"));
        }
        let twice = "<!-- preheat:summary --><!-- preheat:summary --><!-- /preheat:summary -->";
        assert!(splice(twice, MARK, "x").unwrap_err().contains("more than one"));
    }
}
