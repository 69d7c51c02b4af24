//! The route of those who wrote none: `receivers` in alertd.yaml without an Alertmanager's file.
//! Severity decides: critical at once, warnings within the hour, the rest in the digest alone.

use std::time::Duration;

use crate::model::matcher::{MatchOp, Matcher};
use crate::route::receiver::Receiver;
use crate::route::receiver::additions::Additions;
use crate::route::tree::{GroupBy, Route, Timing, Tree};

/// A receiver without integrations.
pub(super) const NOBODY: &str = "nobody";
/// What alerts are that can wait for the digest; the dead man's switch is among them.
const INFO: &str = "(?i:info|information|notice|none|debug)";
const WARNING: &str = "(?i:warning|warn|minor)";

const HOUR: Duration = Duration::from_secs(3600);
const CRITICAL: Timing = Timing {
    group_wait: Duration::ZERO,
    group_interval: Duration::from_secs(60),
    repeat_interval: HOUR.saturating_mul(4),
};
/// Whatever comes while a group is known waits half an hour at most.
const LATER: Timing = Timing {
    group_wait: Duration::from_secs(300),
    group_interval: Duration::from_secs(1800),
    repeat_interval: HOUR.saturating_mul(24),
};
const HEARTBEAT: Timing = Timing {
    group_wait: Duration::ZERO,
    group_interval: Duration::from_secs(60),
    repeat_interval: Duration::from_secs(60),
};

/// Every receiver is told of every alert, by its severity; an unknown one counts as critical. The
/// alert `Watchdog` goes to heartbeats alone.
pub(super) fn bundled(receivers: Vec<Receiver>) -> (Tree, Vec<Receiver>) {
    let mut tree = Tree { routes: vec![route(NOBODY, &[], Vec::new(), LATER, false)] };
    let mut known = vec![Receiver { name: NOBODY.to_owned(), ..Receiver::default() }];
    let watchdog = || Matcher::equal("alertname", "Watchdog");
    for mut receiver in receivers {
        let name = receiver.name.clone();
        let heartbeat = receiver.additions.heartbeat.take();
        if heartbeat.is_some() {
            let additions = Additions { heartbeat, ..Additions::default() };
            let own = format!("{name}/heartbeat");
            add(&mut tree, route(&own, &["alertname"], vec![watchdog()], HEARTBEAT, true));
            known.push(Receiver { name: own, additions, ..Receiver::default() });
        }
        let matchers = |texts: &[(MatchOp, &str, &str)]| -> Vec<Matcher> {
            let made = texts.iter().map(|(op, name, value)| Matcher::new(*op, *name, *value));
            made.collect::<Result<_, _>>().expect("the tests compile them")
        };
        let urgent = matchers(&[
            (MatchOp::NotEqual, "alertname", "Watchdog"),
            (MatchOp::NotRegex, "severity", INFO),
            (MatchOp::NotRegex, "severity", WARNING),
        ]);
        let later = matchers(&[
            (MatchOp::NotEqual, "alertname", "Watchdog"),
            (MatchOp::Regex, "severity", WARNING),
        ]);
        add(&mut tree, route(&name, &["alertname", "instance"], urgent, CRITICAL, true));
        add(&mut tree, route(&name, &["alertname"], later, LATER, true));
        known.push(receiver);
    }
    (tree, known)
}

fn add(tree: &mut Tree, route: Route) {
    let at = tree.routes.len();
    tree.routes.push(route);
    if let Some(root) = tree.routes.first_mut() {
        root.children.push(at);
    }
}

fn route(
    receiver: &str,
    group_by: &[&str],
    matchers: Vec<Matcher>,
    timing: Timing,
    go_on: bool,
) -> Route {
    let text: Vec<_> = matchers.iter().map(ToString::to_string).collect();
    let key = match text.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{}}/{{{}}}", text.join(",")),
    };
    Route {
        key,
        receiver: receiver.to_owned(),
        matchers,
        go_on,
        group_by: GroupBy::Labels(group_by.iter().map(|name| (*name).to_owned()).collect()),
        timing,
        mute_time_intervals: Vec::new(),
        active_time_intervals: Vec::new(),
        children: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;

    #[test]
    fn severity_decides() {
        let named = |name: &str| Receiver { name: name.to_owned(), ..Receiver::default() };
        let (tree, known) = bundled(vec![named("team"), named("audit")]);
        assert_eq!(known.len(), 3);
        for (labels, want, wait) in [
            (vec![("severity", "critical")], "team audit", 0),
            (vec![("severity", "page")], "team audit", 0),
            (vec![], "team audit", 0),
            (vec![("severity", "Warning")], "team audit", 300),
            (vec![("severity", "info")], "nobody", 300),
            (vec![("severity", "none"), ("alertname", "Watchdog")], "nobody", 300),
            (vec![("alertname", "Watchdog")], "nobody", 300),
        ] {
            let labels = Labels::from_pairs(labels);
            let routes: Vec<_> =
                tree.matching(&labels).into_iter().map(|at| &tree.routes[at]).collect();
            let told: Vec<_> = routes.iter().map(|route| route.receiver.as_str()).collect();
            assert_eq!(told.join(" "), want, "{labels}");
            assert_eq!(routes[0].timing.group_wait.as_secs(), wait, "{labels}");
        }
        let longest = LATER.group_wait.max(LATER.group_interval);
        assert!(longest <= HOUR, "a warning is told within the hour");
    }
}
