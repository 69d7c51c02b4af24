//! Names that people and machines make up without end, brought down to the few that mean something.

use std::collections::BTreeSet;

use crate::config::glob;
use crate::workflows::event::Run;
use crate::workflows::state::Settings;

/// Longest label value, in bytes.
const LONGEST: usize = 100;
/// Labels of one job that are looked at.
pub(super) const MAX_LABELS: usize = 32;
/// What stands where a name had a number of its own.
const MASK: &str = "*";
/// Words of an ephemeral runner's name have at least this many characters.
const RANDOM: usize = 5;

/// Value of a label for everything beyond a cap or outside of an allow-list.
pub const OTHER: &str = "other";

/// As a label's value: printable, at most 100 bytes.
pub fn text(value: &str) -> String {
    let end = value.floor_char_boundary(LONGEST);
    let cut = value.get(..end).unwrap_or_default();
    cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// A job's name without what a matrix adds: `build (ubuntu, 3.12)` is `build`, and
/// `call (a) / build (b)` is `call / build`; numbers and hashes of its own become `*`.
pub fn job(name: &str) -> String {
    let mut plain = String::with_capacity(name.len().min(2 * LONGEST));
    let mut depth = 0_usize;
    for c in text(name).chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    let parts: Vec<String> = plain.split('/').map(|part| mask(part.trim())).collect();
    let name = parts.join(" / ");
    if name.is_empty() { OTHER.to_owned() } else { name }
}

/// A workflow's name; as it is, but for numbers and hashes of its own.
pub fn workflow(name: &str) -> String {
    let name = mask(&text(name));
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

/// What `runs-on` asks for as one value: lower case, sorted, each once, joined by commas; numbers
/// that are made up for one job become `*`.
pub fn labels(labels: &[String]) -> String {
    let each = labels.iter().take(MAX_LABELS).map(|label| mask(&text(label)).to_lowercase());
    let set: BTreeSet<String> = each.filter(|label| !label.is_empty()).collect();
    if set.is_empty() {
        return "none".to_owned();
    }
    text(&set.into_iter().collect::<Vec<_>>().join(","))
}

/// The pool of a runner that lives for one job, from its name: `arc-x7k2p-runner-9qv8d` is `arc`,
/// `GitHub Actions 12` is `GitHub Actions`. A name without such an ending is its own pool.
pub fn pool(name: &str) -> String {
    let name = text(name);
    let mut words: Vec<&str> = name.split([' ', '-', '_', '.']).collect();
    let whole = words.len();
    while words.len() > 1 && words.last().is_some_and(|word| is_made_up(word)) {
        words.pop();
    }
    if words.len() < whole && words.len() > 1 && words.last() == Some(&"runner") {
        words.pop();
        while words.len() > 1 && words.last().is_some_and(|word| is_made_up(word)) {
            words.pop();
        }
    }
    let kept: usize = words.iter().map(|word| word.len() + 1).sum::<usize>().saturating_sub(1);
    name.get(..kept).unwrap_or(&name).to_owned()
}

/// `default`, `release`, `pull_request`, `merge_queue` or `other`.
pub fn branch_class(run: &Run, settings: &Settings) -> &'static str {
    let branch = run.branch.as_deref().unwrap_or_default();
    let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch);
    let is_default = match &run.default_branch {
        Some(default) => default == branch,
        None => settings.default_branches.iter().any(|default| default == branch),
    };
    let fits = |pattern: &String| glob::matches(pattern, branch);
    match run.event.as_str() {
        "merge_group" => "merge_queue",
        _ if branch.starts_with("gh-readonly-queue/") => "merge_queue",
        event if event.starts_with("pull_request") => "pull_request",
        _ if branch.starts_with("refs/pull/") => "pull_request",
        _ if is_default => "default",
        _ if settings.release_branches.iter().any(fits) => "release",
        _ => OTHER,
    }
}

/// One of GitHub's conclusions, or `other`.
pub fn conclusion(word: Option<&str>) -> &'static str {
    const KNOWN: [&str; 9] = [
        "success",
        "failure",
        "cancelled",
        "skipped",
        "timed_out",
        "neutral",
        "action_required",
        "stale",
        "startup_failure",
    ];
    KNOWN.into_iter().find(|known| Some(*known) == word).unwrap_or(OTHER)
}

/// Replaces long numbers, hashes and UUIDs by `*`.
fn mask(name: &str) -> String {
    let mut masked = String::with_capacity(name.len());
    let mut word = String::new();
    let end = |word: &mut String, masked: &mut String| {
        match is_own_number(word) {
            true => masked.push_str(MASK),
            false => masked.push_str(word),
        }
        word.clear();
    };
    for c in name.chars() {
        if c.is_alphanumeric() {
            word.push(c);
        } else {
            end(&mut word, &mut masked);
            masked.push(c);
        }
    }
    end(&mut word, &mut masked);
    while masked.contains("*-*") {
        masked = masked.replace("*-*", MASK);
    }
    masked
}

/// Five digits or more, or seven and more hexadecimal digits of both kinds.
fn is_own_number(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let all_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
    (digits == word.len() && digits >= 5) || (all_hex && word.len() >= 7 && digits > 0)
}

/// Whether a word of a runner's name was drawn by a machine: a number, or letters and digits mixed.
fn is_made_up(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let letters = word.bytes().filter(u8::is_ascii_lowercase).count();
    let number = digits == word.len() && digits > 0;
    let vowels = word.bytes().filter(|byte| b"aeiou".contains(byte)).count();
    // Kubernetes draws its suffixes from letters without vowels.
    let drawn = word.len() == RANDOM && digits + letters == word.len() && vowels == 0;
    number || drawn || is_own_number(word) || (digits > 0 && letters > 0 && word.len() >= 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_makes_no_series_of_its_own() {
        for (name, want) in [
            ("build (ubuntu, 3.12)", "build"),
            ("build", "build"),
            ("test (a(b), c) extra", "test  extra"),
            ("call (x) / build (linux, arm64)", "call / build"),
            ("shard 12345", "shard *"),
            ("deploy 3f786850e387550fdab836ed7e6dc881de23001b", "deploy *"),
            ("pr-1", "pr-1"),
            ("(only, matrix)", "other"),
            ("", "other"),
            ("a\nb", "a b"),
            ("run 8c5dd3a0-5f9b-4d1e-9f2c-000000000001", "run *-5f9b-4d1e-9f2c-*"),
        ] {
            assert_eq!(job(name), want, "{name}");
        }
        assert!(job(&"é".repeat(500)).len() <= LONGEST);
        assert!(text(&"x\u{10ffff}".repeat(500)).len() <= LONGEST);
    }

    #[test]
    fn label_sets_are_equal_whatever_their_order_and_case() {
        let of = |list: &[&str]| {
            labels(&list.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(of(&["self-hosted", "Linux", "X64"]), "linux,self-hosted,x64");
        assert_eq!(of(&["x64", "LINUX", "self-hosted", "linux"]), "linux,self-hosted,x64");
        assert_eq!(of(&[]), "none");
        assert_eq!(of(&["runs-on=18739662665/runner=1cpu"]), "runs-on=*/runner=1cpu");
        let many: Vec<String> = (0..1000).map(|at| format!("label-{at}")).collect();
        assert!(labels(&many).len() <= LONGEST);
    }

    #[test]
    fn an_ephemeral_runner_counts_as_its_pool() {
        for (name, want) in [
            ("arc-x7k2p-runner-9qv8d", "arc"),
            ("big-pool-7xk2m-runner-bcdfg", "big-pool"),
            ("GitHub Actions 12", "GitHub Actions"),
            ("ip-10-0-1-2", "ip"),
            ("i-0abc123def4567890", "i"),
            ("dell-r640-01-runner", "dell-r640-01-runner"),
            ("garm-1qaz2wsx3edc", "garm"),
            ("runner", "runner"),
            ("12345", "12345"),
            ("", ""),
        ] {
            assert_eq!(pool(name), want, "{name}");
        }
    }

    #[test]
    fn branches_fall_into_five_classes() {
        let settings = Settings::default();
        for (event, branch, default, want) in [
            ("push", "main", None, "default"),
            ("push", "main", Some("develop"), "other"),
            ("push", "develop", Some("develop"), "default"),
            ("schedule", "master", None, "default"),
            ("push", "release/1.2", None, "release"),
            ("push", "v1.2", None, "release"),
            ("push", "feature/x", None, "other"),
            ("pull_request", "main", None, "pull_request"),
            ("pull_request_target", "x", None, "pull_request"),
            ("workflow_dispatch", "refs/pull/12/merge", None, "pull_request"),
            ("merge_group", "x", None, "merge_queue"),
            ("push", "gh-readonly-queue/main/pr-1-0a", None, "merge_queue"),
        ] {
            let run = Run {
                event: event.into(),
                branch: Some(branch.into()),
                default_branch: default.map(Into::into),
                ..Run::default()
            };
            assert_eq!(branch_class(&run, &settings), want, "{event} {branch}");
        }
    }
}
