//! The main job end to end, with the real programs: what `make demo` shows is true.

use std::time::Duration;

use pitcrew_alertd::rules::file;
use pitcrew_tests::demo::{Pace, play, stage};
use pitcrew_tests::programs;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_primary_is_noticed_told_failed_over_and_failed_back() {
    let seconds = Duration::from_secs;
    let pace = Pace { calm: seconds(4), away: seconds(2), patience: seconds(120) };
    let mut story = String::new();
    let mut tell = |line: &str| {
        story.push_str(line);
        story.push('\n');
    };
    let played = play(pace, &mut tell).await;
    let figures = played.unwrap_or_else(|error| panic!("{error:#}\n{story}"));
    figures.check().unwrap_or_else(|error| panic!("{error:#}\n{story}"));
}

#[test]
fn the_stage_changes_nothing_but_for() {
    let mut compared = 0;
    for entry in std::fs::read_dir(programs::workspace().join("rules")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let bundled = file::parse(&path, &text).unwrap();
        let shortened = file::parse(&path, &stage::shortened(&text)).unwrap();
        assert_eq!(bundled.len(), shortened.len());
        for (a, b) in bundled.iter().zip(&shortened) {
            assert_eq!((&a.name, a.rules.len()), (&b.name, b.rules.len()));
            for (a, b) in a.rules.iter().zip(&b.rules) {
                assert_eq!((&a.name, a.expr.to_string()), (&b.name, b.expr.to_string()));
                compared += 1;
            }
        }
    }
    assert!(compared >= 5, "only {compared} rules compared");
}
