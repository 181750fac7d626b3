//! A store on a full disk: a small file system in memory, mounted in a namespace of its own.

use crate::support::{Lab, preheat, said, tiny};
use std::fs;

/// `$PREHEAT` on a full `store/`, then again with room made. What it prints and the records go where there is room.
const SCRIPT: &str = r#"
mkdir -p store seen && mount -t tmpfs -o size=1m none store || exit 9
bench() {
    "$PREHEAT" bench --tier smoke --suites suites --store store --format json --checkpoint-every 0 "$@" >out 2>err
    echo $? >code
    mv out err code "seen/$phase/"
    find store -type f ! -name ballast | sort >"seen/$phase/files"
}
for phase in full freed; do mkdir -p "seen/$phase"; done
# Room for a few pages: some records, then no more.
head -c $((1048576 - ROOM)) /dev/zero >store/ballast || exit 9
phase=full bench
cp -r store/records seen/records
rm store/ballast
phase=freed bench
"#;

/// Whether a file system can be mounted here, as root or in a user namespace.
fn can_mount() -> bool {
    let lab = Lab::new();
    let words = ["-rm", "sh", "-c", "mkdir m && mount -t tmpfs -o size=64k none m"];
    let mut unshare = lab.command_of("unshare".as_ref(), &words);
    unshare.status().is_ok_and(|status| status.success())
}

#[test]
fn a_full_store_is_5_and_goes_on_once_there_is_room() {
    if !can_mount() {
        return preheat::skip("a_full_store_is_5_and_goes_on_once_there_is_room", "unshare -rm");
    }
    let steps = 30;
    let undisturbed = Lab::with(&tiny(steps)).bench(&["--format", "json"]);
    let mut some_kept = false;
    // No page at all, and some records of six.
    for (room, jobs) in [(0, 1), (64 << 10, 1), (72 << 10, 2)] {
        let lab = Lab::with(&tiny(steps));
        let script = SCRIPT.replace("ROOM", &room.to_string()).replace("\"$@\"", &format!("--jobs {jobs}"));
        let mut shell = lab.command_of("unshare".as_ref(), &["-rm", "sh", "-c", &script]);
        shell.env("PREHEAT", preheat());
        said(shell).exits(0);
        let seen = |phase: &str, what: &str| lab.read(&format!("seen/{phase}/{what}"));

        assert_eq!(seen("full", "code"), "5\n", "{room}: {}", seen("full", "err"));
        let err = seen("full", "err");
        let lines: Vec<&str> = err.lines().filter(|line| line.contains("No space left on device")).collect();
        assert_eq!(lines.len(), 1, "{room}: one line says it: {err}");
        assert!(lines[0].contains("store/"), "{room}: it says where: {err}");
        let document: serde_json::Value = serde_json::from_str(&seen("full", "out")).expect("JSON");
        assert!(document["exit"] == 5 && document["error"].as_str().is_some_and(|e| e.contains("No space left")));
        // Whatever is there as a record is whole: the next bench takes it as it is.
        let kept = fs::read_dir(lab.path("seen/records")).expect("a folder").count();
        some_kept |= kept > 0;
        let again = seen("freed", "err");
        assert_eq!(seen("freed", "code"), "3\n", "{room}: {again}");
        assert!(again.contains(&format!("{} runs trained, {kept} from the store", 6 - kept)), "{room}: {again}");
        assert!(!again.contains("trained again"), "{room}: {again}");
        assert_eq!(seen("freed", "out"), undisturbed.stdout, "{room}");
        let left = seen("freed", "files");
        let left: Vec<&str> =
            left.lines().filter(|file| !file.ends_with(".record") && !file.contains("through")).collect();
        assert_eq!(left, Vec::<&str>::new(), "{room}");
    }
    assert!(some_kept, "one of the rooms holds some records");
}
