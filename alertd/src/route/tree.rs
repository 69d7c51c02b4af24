//! The routing tree: an alert's labels to the routes that take it (pure).

use std::time::Duration;

use crate::model::labels::{ALERT_NAME, Labels};
use crate::model::matcher::Matcher;

/// Routes in depth-first order; the first is the root, which takes every alert.
#[derive(Debug, Clone)]
pub struct Tree {
    pub routes: Vec<Route>,
}

/// One node, with everything that it did not set taken from its parent.
#[derive(Debug, Clone)]
pub struct Route {
    /// The matchers on the way from the root, as Alertmanager writes them: `{}/{team="ci"}`.
    pub key: String,
    pub receiver: String,
    pub matchers: Vec<Matcher>,
    /// Whether routes after this one are asked too.
    pub go_on: bool,
    pub group_by: GroupBy,
    pub timing: Timing,
    /// Names of the time intervals in which it tells nobody; those of its parent mean nothing here.
    pub mute_time_intervals: Vec<String>,
    /// Names of the only ones in which it tells somebody, if there are any.
    pub active_time_intervals: Vec<String>,
    /// Places of the child routes in `Tree::routes`, in order.
    pub children: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// `...`: every label set is a group of its own.
    All,
    Labels(Vec<String>),
}

/// When a group of alerts is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From the first alert of a new group to its first notification.
    pub group_wait: Duration,
    /// Between two looks at a group for changes to tell.
    pub group_interval: Duration,
    /// After which what has not changed is told again.
    pub repeat_interval: Duration,
}

impl Tree {
    /// Places of the routes that take these labels, in order, never empty.
    pub fn matching(&self, labels: &Labels) -> Vec<usize> {
        let mut found = Vec::new();
        self.walk(0, labels, &mut found);
        found
    }

    /// Puts a route before all others that alone takes alerts of this name.
    pub fn lead(&mut self, alert: &str, receiver: &str) {
        let place = self.routes.len();
        let Some(root) = self.routes.first_mut() else { return };
        root.children.insert(0, place);
        let names = ["alertname", "receiver", "integration"].map(str::to_owned);
        let route = Route {
            key: format!("{}/{{{ALERT_NAME}={alert:?}}}", root.key),
            receiver: receiver.to_owned(),
            matchers: vec![Matcher::equal(ALERT_NAME, alert)],
            go_on: false,
            group_by: GroupBy::Labels(names.to_vec()),
            timing: Timing { group_wait: Duration::ZERO, ..root.timing },
            children: Vec::new(),
            ..root.clone()
        };
        self.routes.push(route);
    }

    fn walk(&self, at: usize, labels: &Labels, found: &mut Vec<usize>) -> bool {
        let Some(route) = self.routes.get(at) else { return false };
        if !route.matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
            return false;
        }
        let before = found.len();
        for child in &route.children {
            let took = self.walk(*child, labels, found);
            if took && !self.routes.get(*child).is_some_and(|child| child.go_on) {
                break;
            }
        }
        if found.len() == before {
            found.push(at);
        }
        true
    }
}

impl Route {
    /// The labels that name the group of an alert at this route.
    pub fn group_labels(&self, labels: &Labels) -> Labels {
        match &self.group_by {
            GroupBy::All => labels.clone(),
            GroupBy::Labels(names) => labels.retain(|name| names.iter().any(|n| n == name)),
        }
    }

    /// The group's name on the wire and in the notification log.
    pub fn group_key(&self, group: &Labels) -> String {
        format!("{}:{group}", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::matchers;

    fn tree(routes: &[(&str, &str, bool, &[usize])]) -> Tree {
        let timing = Timing {
            group_wait: Duration::ZERO,
            group_interval: Duration::ZERO,
            repeat_interval: Duration::ZERO,
        };
        let route = |(receiver, text, go_on, children): &(&str, &str, bool, &[usize])| Route {
            key: format!("{{{text}}}"),
            receiver: (*receiver).to_owned(),
            matchers: matchers::parse(text).unwrap(),
            go_on: *go_on,
            group_by: GroupBy::Labels(vec!["job".into()]),
            timing,
            mute_time_intervals: Vec::new(),
            active_time_intervals: Vec::new(),
            children: children.to_vec(),
        };
        Tree { routes: routes.iter().map(route).collect() }
    }

    #[test]
    fn first_match_wins_unless_it_goes_on() {
        let tree = tree(&[
            ("root", "", false, &[1, 3, 4]),
            ("ci", "team=ci", false, &[2]),
            ("ci-page", "severity=page", false, &[]),
            ("audit", "severity=~page|warn", true, &[]),
            ("warn", "severity=warn", false, &[]),
        ]);
        for (labels, want) in [
            (vec![("x", "y")], "root"),
            (vec![("team", "ci")], "ci"),
            (vec![("team", "ci"), ("severity", "page")], "ci-page"),
            (vec![("severity", "page")], "audit"),
            (vec![("severity", "warn")], "audit warn"),
        ] {
            let labels = Labels::from_pairs(labels);
            let found: Vec<_> = tree
                .matching(&labels)
                .into_iter()
                .map(|at| tree.routes[at].receiver.as_str())
                .collect();
            assert_eq!(found.join(" "), want, "{labels}");
        }
    }

    #[test]
    fn groups_by_the_labels_that_are_there() {
        let mut route = tree(&[("root", "", false, &[])]).routes.remove(0);
        let labels = Labels::from_pairs([("job", "a"), ("x", "1")]);
        let group = route.group_labels(&labels);
        assert_eq!(route.group_key(&group), r#"{}:{job="a"}"#);
        assert_eq!(route.group_labels(&Labels::empty()), Labels::empty());
        route.group_by = GroupBy::All;
        assert_eq!(route.group_labels(&labels), labels);
    }

    #[test]
    fn one_route_can_lead() {
        let mut tree =
            tree(&[("root", "", false, &[1]), ("team", "severity=critical", false, &[])]);
        tree.lead("Undelivered", "mail");
        for (name, want) in [("Undelivered", "mail"), ("Other", "team")] {
            let labels = Labels::from_pairs([("alertname", name), ("severity", "critical")]);
            let found = tree.matching(&labels);
            let receivers: Vec<_> = found.iter().map(|at| &*tree.routes[*at].receiver).collect();
            assert_eq!(receivers, [want], "{name}");
        }
        assert_eq!(tree.routes[2].key, "{}/{alertname=\"Undelivered\"}");
    }
}
