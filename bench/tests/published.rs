//! Every published table in `golden/` is the one that its accepted result renders to.

use preheat_bench::golden::Golden;
use preheat_bench::table::{Style, suite};
use std::path::Path;

#[test]
fn published_tables_are_rendered_from_accepted_results() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("bench lies in the workspace").join("golden");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root.join("exact"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for result in Golden::new(&root).all().expect("golden is readable") {
            insta::assert_snapshot!(result.stem(), suite(&result, Style::Plain));
        }
    });
}
