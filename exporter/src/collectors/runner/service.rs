//! What systemd says about the runners' services.

use std::collections::HashMap;

/// The states that systemd distinguishes, in the order in which they are reported.
pub(super) const STATES: [&str; 6] =
    ["active", "reloading", "inactive", "failed", "activating", "deactivating"];

/// The arguments that make `systemctl` tell what [`parse`] reads about these units.
pub(super) fn arguments(units: &[String]) -> Vec<String> {
    let fixed = ["show", "--no-pager", "--property=Id,LoadState,ActiveState", "--"];
    fixed.iter().map(|&word| word.to_owned()).chain(units.iter().cloned()).collect()
}

/// `ActiveState` by unit. A unit that systemd does not know (a `.service` file that was left
/// behind) is left out, as is a state that is not one of [`STATES`].
pub(super) fn parse(text: &str) -> HashMap<String, &'static str> {
    let mut states = HashMap::new();
    for block in text.split("\n\n") {
        let field = |name: &str| {
            block.lines().find_map(|line| line.split_once('=').filter(|(key, _)| *key == name))
        };
        let loaded = field("LoadState").is_some_and(|(_, state)| state != "not-found");
        let state = field("ActiveState")
            .and_then(|(_, found)| STATES.iter().find(|&&state| state == found));
        if let (true, Some((_, id)), Some(&state)) = (loaded, field("Id"), state) {
            states.insert(id.to_owned(), state);
        }
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_block_a_unit() {
        let text = "Id=actions.runner.o-r.a.service\nLoadState=loaded\nActiveState=active\n\n\
                    ActiveState=failed\nId=actions.runner.o-r.b.service\nLoadState=loaded\n\n\
                    Id=actions.runner.o-r.c.service\nLoadState=not-found\nActiveState=inactive\n\n\
                    Id=actions.runner.o-r.d.service\nLoadState=loaded\nActiveState=exotic\n";
        let states = parse(text);
        assert_eq!(states.len(), 2, "{states:?}");
        assert_eq!(states["actions.runner.o-r.a.service"], "active");
        assert_eq!(states["actions.runner.o-r.b.service"], "failed");
        for junk in ["", "\n\n\n", "=", "Id=a", "ActiveState=active\n\nId=a\nLoadState=loaded"] {
            assert!(parse(junk).is_empty(), "{junk:?}");
        }
    }
}
