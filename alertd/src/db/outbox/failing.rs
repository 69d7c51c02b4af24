//! Which receivers are not reached: asked of the outbox by what tells of it another way.

use std::time::Duration;

use rusqlite::{OptionalExtension, Transaction, params};

use super::Outbox;
use crate::db::DbError;
use crate::model::sample::Timestamp;

/// How long a notification that was given up counts, if none has been delivered since.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Notifications to one integration that do not get there.
#[derive(Debug, Clone, PartialEq)]
pub struct Failing {
    pub integration: String,
    /// When the first of them was to be sent.
    pub since: Timestamp,
    /// What came of the last attempt.
    pub error: String,
}

impl Outbox {
    /// Those of `integrations` to which a notification has been on its way for longer than `after`,
    /// attempts and all, or lately was given up and none was delivered since. Blocks.
    pub fn failing(
        &self,
        integrations: &[String],
        after: Duration,
        now: Timestamp,
    ) -> Result<Vec<Failing>, DbError> {
        self.db.transact(|tx| {
            let mut found = Vec::new();
            for integration in integrations {
                let waits = waiting(tx, integration, now.minus(after))?;
                let gone = given_up(tx, integration, now.minus(REMEMBERED))?;
                found.extend(waits.or(gone));
            }
            Ok(found)
        })
    }
}

fn waiting(
    tx: &Transaction<'_>,
    integration: &str,
    before: Timestamp,
) -> rusqlite::Result<Option<Failing>> {
    tx.prepare_cached(
        "SELECT created_at, error FROM outbox
         WHERE integration = ?1 AND state IN ('waiting', 'sending') AND attempts > 0
             AND error IS NOT NULL AND created_at <= ?2
         ORDER BY created_at LIMIT 1",
    )?
    .query_row(params![integration, before.0], |row| failing(integration, row.get(0)?, row.get(1)?))
    .optional()
}

fn given_up(
    tx: &Transaction<'_>,
    integration: &str,
    after: Timestamp,
) -> rusqlite::Result<Option<Failing>> {
    tx.prepare_cached(
        "SELECT created_at, error FROM outbox AS o
         WHERE integration = ?1 AND state = 'failed' AND finished_at >= ?2
             AND NOT EXISTS (SELECT 1 FROM outbox AS d WHERE d.integration = o.integration
                 AND d.state = 'delivered' AND d.finished_at > o.finished_at)
         ORDER BY finished_at DESC LIMIT 1",
    )?
    .query_row(params![integration, after.0], |row| failing(integration, row.get(0)?, row.get(1)?))
    .optional()
}

fn failing(integration: &str, since: i64, error: Option<String>) -> rusqlite::Result<Failing> {
    let error = error.unwrap_or_default();
    Ok(Failing { integration: integration.to_owned(), since: Timestamp(since), error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;

    #[test]
    fn who_is_not_reached() {
        let outbox = Outbox::new(Db::in_memory().unwrap());
        // delivery id | integration | state | attempts | created | finished | error
        for (id, integration, state, attempts, created, finished, error) in [
            ("1", "old", "waiting", 3, 0, None, Some("503")),
            ("2", "old", "waiting", 1, 500, None, Some("502")),
            ("3", "young", "waiting", 3, 900, None, Some("503")),
            ("4", "queued", "waiting", 0, 0, None, None),
            ("5", "refused", "failed", 1, 800, Some(801), Some("404")),
            ("6", "mended", "failed", 1, 800, Some(801), Some("404")),
            ("7", "mended", "delivered", 1, 802, Some(803), None),
        ] {
            outbox
                .db
                .transact(|tx| {
                    tx.execute(
                        "INSERT INTO outbox (delivery_id, group_key, integration, payload, firing,
                             resolved, state, attempts, created_at, due_at, finished_at, error)
                         VALUES (?, 'g', ?, '', '', '', ?, ?, ?, 0, ?, ?)",
                        params![
                            id,
                            integration,
                            state,
                            attempts,
                            created * 1000,
                            finished.map(|at: i64| at * 1000),
                            error
                        ],
                    )
                })
                .unwrap();
        }
        let all = ["old", "young", "queued", "refused", "mended"].map(str::to_owned);
        let look = |second: i64| {
            let now = Timestamp(second * 1000);
            let found = outbox.failing(&all, Duration::from_secs(600), now).unwrap();
            let text =
                |one: Failing| format!("{} {} {}", one.integration, one.since.0 / 1000, one.error);
            found.into_iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(look(1000), ["old 0 503", "refused 800 404"]);
        assert_eq!(look(1500), ["old 0 503", "young 900 503", "refused 800 404"]);
        assert_eq!(look(4402), ["old 0 503", "young 900 503"]);
    }
}
