//! What has to hold for any body of a webhook, once its signature has been found good.

use pitcrew_exporter::metric::Families;
use pitcrew_exporter::workflows::event::Event;
use pitcrew_exporter::workflows::fleet::Fleet;
use pitcrew_exporter::workflows::payload::{self, Encoding, KINDS, PayloadError};
use pitcrew_exporter::workflows::state::State;

const NOW: f64 = 1_795_000_000.0;
/// No event is larger when it is written down.
const LARGEST: usize = 400_000;

/// Panics when a body is understood in two ways, counted twice, or breaks what is known.
pub(crate) fn check(data: &[u8]) {
    for kind in KINDS {
        for encoding in [Encoding::Json, Encoding::Form] {
            match payload::parse(kind, encoding, data, NOW) {
                Ok(events) => events.iter().for_each(known_once),
                Err(error) => told_shortly(&error),
            }
        }
    }
}

fn known_once(event: &Event) {
    let text = serde_json::to_string(event).expect("it can be written down");
    assert!(text.len() <= LARGEST, "{} bytes", text.len());
    let read: Event = serde_json::from_str(&text).expect("it has just been written");
    let again = serde_json::to_string(&read).expect("it can be written down again");
    assert_eq!(text, again);

    let mut state = State::default();
    state.apply(event);
    assert!(!state.tells_news(event), "{event:?}");
    let once = serde_json::to_string(&state).expect("the state can be written down");
    state.apply(event);
    let twice = serde_json::to_string(&state).expect("the state can be written down");
    assert_eq!(once, twice, "{event:?}");
    let mut restored: State = serde_json::from_str(&twice).expect("it has just been written");
    restored.expire(NOW + 60.0);
    restored.families(NOW + 60.0, &Fleet::default(), &mut Families::default());
}

/// Whoever sent it reads the answer, and the log has it too.
fn told_shortly(error: &PayloadError) {
    let text = error.to_string();
    assert!(text.chars().count() < 1000 && !text.chars().any(char::is_control), "{text:?}");
}
