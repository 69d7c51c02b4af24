//! What an attempt changes: its row, and what the log says that the receiver knows.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Outcome, waits};
use crate::db::notification_log::{self as log, Hashes, Lane};
use crate::db::{history, lane_memory};
use crate::model::sample::Timestamp;

/// A longer payload goes when it is delivered: storms would else fill the disk for days.
const MAX_KEPT: i64 = 1024 * 1024;

pub(super) fn finish(
    tx: &Transaction<'_>,
    id: i64,
    outcome: &Outcome,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let row = tx
        .prepare_cached(
            "SELECT group_key, integration, firing, resolved FROM outbox WHERE id = ?1",
        )?
        .query_row([id], |row| {
            let lane = Lane { group_key: row.get(0)?, integration: row.get(1)? };
            let hashes = |at| row.get::<_, String>(at).map(|text| log::split(&text));
            Ok((lane, hashes(2)?, hashes(3)?))
        })
        .optional()?;
    let Some((lane, firing, resolved)) = row else { return Ok(()) };
    let (state, error) = match outcome {
        Outcome::Delivered { .. } => ("delivered", None),
        Outcome::Skipped => ("skipped", None),
        Outcome::Retry { error, .. } => ("waiting", Some(error)),
        Outcome::Failed { error, .. } => ("failed", Some(error)),
    };
    let finished = (state != "waiting").then_some(now.0);
    let due = if let Outcome::Retry { due_at, .. } = outcome { *due_at } else { now };
    tx.prepare_cached(
        "UPDATE outbox SET state = ?2, finished_at = ?3, due_at = ?4, error = coalesce(?5, error),
         payload = CASE WHEN ?3 IS NOT NULL AND length(payload) > ?6 THEN '' ELSE payload END
         WHERE id = ?1",
    )?
    .execute(params![id, state, finished, due.0, error, MAX_KEPT])?;
    match outcome {
        Outcome::Skipped => Ok(()),
        Outcome::Delivered { memory } => {
            lane_memory::replace(tx, &lane, memory.as_deref())?;
            let known = log::find(tx, &lane)?.map(|entry| entry.told).unwrap_or_default();
            history::told(tx, firing.difference(&known), now)?;
            told(tx, &lane, |told| {
                told.extend(firing);
                told.retain(|hash| !resolved.contains(hash));
            })
        }
        Outcome::Retry { perhaps, .. } => match perhaps {
            true => told(tx, &lane, |told| told.extend(firing)),
            false => Ok(()),
        },
        Outcome::Failed { perhaps, .. } => {
            // A resolve that was given up is not tried again; the record of the failure stays.
            told(tx, &lane, |told| {
                if *perhaps {
                    told.extend(firing);
                }
                told.retain(|hash| !resolved.contains(hash));
            })?;
            // When nothing later in the lane will tell what this one did not, the log goes back to
            // what the receiver knows, so that the next flush of the group tells the rest.
            match waits(tx, &lane, id)? {
                true => Ok(()),
                false => revert(tx, &lane),
            }
        }
    }
}

pub(super) fn told(
    tx: &Transaction<'_>,
    lane: &Lane,
    change: impl FnOnce(&mut Hashes),
) -> rusqlite::Result<()> {
    let Some(mut entry) = log::find(tx, lane)? else { return Ok(()) };
    change(&mut entry.told);
    log::save(tx, &entry)
}

fn revert(tx: &Transaction<'_>, lane: &Lane) -> rusqlite::Result<()> {
    let Some(mut entry) = log::find(tx, lane)? else { return Ok(()) };
    entry.firing = entry.told.clone();
    entry.resolved.clear();
    log::save(tx, &entry)
}
