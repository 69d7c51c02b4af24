//! The alerts of the rules, so that a restart changes nothing about them.

use std::collections::BTreeMap;

use rusqlite::types::Type;
use rusqlite::{Row, Transaction, params};

use super::{Db, DbError};
use crate::model::alert::{AlertInstance, AlertState};
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;

pub(super) const SCHEMA: &str = "
    CREATE TABLE rule_groups (
        file TEXT NOT NULL,
        name TEXT NOT NULL,
        evaluated_at INTEGER NOT NULL,
        PRIMARY KEY (file, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE rule_alerts (
        file TEXT NOT NULL,
        rule_group TEXT NOT NULL,
        rule TEXT NOT NULL,
        rule_labels TEXT NOT NULL,
        nth INTEGER NOT NULL,
        labels TEXT NOT NULL,
        annotations TEXT NOT NULL,
        state TEXT NOT NULL,
        value REAL,
        active_at INTEGER NOT NULL,
        fired_at INTEGER,
        resolved_at INTEGER,
        keep_firing_since INTEGER,
        last_sent_at INTEGER,
        PRIMARY KEY (file, rule_group, rule, rule_labels, nth, labels)
    ) STRICT, WITHOUT ROWID;";

pub(super) const HISTORY: &str = "
    ALTER TABLE rule_alerts ADD COLUMN unverified_since INTEGER;
    ALTER TABLE rule_alerts ADD COLUMN changes TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE rule_alerts ADD COLUMN flapping_since INTEGER;";

/// Which rule an alert belongs to. A rule that changes its expression or `for` keeps its alerts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleKey {
    pub file: String,
    pub group: String,
    pub rule: String,
    /// The rule's labels as written.
    pub labels: BTreeMap<String, String>,
    /// Tells rules of one group apart that agree in all of this: 0 for the first.
    pub nth: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StoredAlert {
    pub rule: RuleKey,
    pub instance: AlertInstance,
    /// When the alert's group was last evaluated, as far as was written down.
    pub evaluated_at: Timestamp,
}

/// What one evaluation of one group changed.
#[derive(Debug, Clone, Default)]
pub struct AlertChanges {
    pub changed: Vec<(RuleKey, AlertInstance)>,
    pub gone: Vec<(RuleKey, Labels)>,
}

impl Db {
    /// Every stored alert, sorted by rule and labels.
    pub fn load_alerts(&self) -> Result<Vec<StoredAlert>, DbError> {
        self.transact(|transaction| {
            let mut select = transaction.prepare_cached(
                "SELECT a.file, rule_group, rule, rule_labels, nth, labels, annotations, state, value,
                     active_at, fired_at, resolved_at, keep_firing_since, last_sent_at,
                     coalesce(evaluated_at, active_at), unverified_since, changes, flapping_since
                 FROM rule_alerts a LEFT JOIN rule_groups g ON g.file = a.file AND g.name = rule_group
                 ORDER BY a.file, rule_group, rule, rule_labels, nth, labels",
            )?;
            select.query_map([], stored)?.collect()
        })
    }

    /// Writes the changes and the time of the group's evaluation in one transaction.
    pub fn save_alerts(
        &self,
        file: &str,
        group: &str,
        evaluated_at: Timestamp,
        changes: &AlertChanges,
    ) -> Result<(), DbError> {
        self.transact(|transaction| {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO rule_groups VALUES (?, ?, ?)")?
                .execute(params![file, group, evaluated_at.0])?;
            for (rule, instance) in &changes.changed {
                put(transaction, rule, instance)?;
            }
            for (rule, labels) in &changes.gone {
                remove(transaction, rule, labels)?;
            }
            Ok(())
        })
    }

    /// Forgets alerts whose rules are no more.
    pub fn drop_alerts(&self, alerts: &[(RuleKey, Labels)]) -> Result<(), DbError> {
        self.transact(|transaction| {
            alerts.iter().try_for_each(|(rule, labels)| remove(transaction, rule, labels))
        })
    }
}

fn put(
    transaction: &Transaction<'_>,
    rule: &RuleKey,
    instance: &AlertInstance,
) -> rusqlite::Result<()> {
    let millis = |at: Option<Timestamp>| at.map(|at| at.0);
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO rule_alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            rule.file,
            rule.group,
            rule.rule,
            json(&rule.labels)?,
            rule.nth,
            json(&instance.labels)?,
            json(&*instance.annotations)?,
            json(&instance.state)?,
            // SQLite has no NaN: it stores NULL, which is read as NaN.
            instance.value,
            instance.active_at.0,
            millis(instance.fired_at),
            millis(instance.resolved_at),
            millis(instance.keep_firing_since),
            millis(instance.last_sent_at),
            millis(instance.unverified_since),
            json(&instance.changes)?,
            millis(instance.flapping_since),
        ])?;
    Ok(())
}

fn remove(transaction: &Transaction<'_>, rule: &RuleKey, labels: &Labels) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM rule_alerts WHERE file = ? AND rule_group = ? AND rule = ?
                 AND rule_labels = ? AND nth = ? AND labels = ?",
        )?
        .execute(params![
            rule.file,
            rule.group,
            rule.rule,
            json(&rule.labels)?,
            rule.nth,
            json(labels)?
        ])?;
    Ok(())
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredAlert> {
    let at = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(Timestamp));
    let labels: BTreeMap<String, String> = read(row, 5)?;
    Ok(StoredAlert {
        rule: RuleKey {
            file: row.get(0)?,
            group: row.get(1)?,
            rule: row.get(2)?,
            labels: read(row, 3)?,
            nth: row.get(4)?,
        },
        instance: AlertInstance {
            labels: Labels::from_pairs(labels),
            annotations: read::<BTreeMap<_, _>>(row, 6)?.into(),
            state: read::<AlertState>(row, 7)?,
            value: row.get::<_, Option<f64>>(8)?.unwrap_or(f64::NAN),
            active_at: Timestamp(row.get(9)?),
            fired_at: at(10)?,
            resolved_at: at(11)?,
            keep_firing_since: at(12)?,
            last_sent_at: at(13)?,
            unverified_since: at(15)?,
            changes: read(row, 16)?,
            flapping_since: at(17)?,
        },
        evaluated_at: Timestamp(row.get(14)?),
    })
}

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn read<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(rule: &str, nth: u32) -> RuleKey {
        let labels = BTreeMap::from([("severity".to_owned(), "{{ $labels.x }}".to_owned())]);
        RuleKey { file: "r.yaml".into(), group: "g".into(), rule: rule.into(), labels, nth }
    }

    fn instance(name: &str, value: f64) -> AlertInstance {
        AlertInstance {
            labels: Labels::from_pairs([("alertname", name), ("odd", "a'b\"c\n\u{0}é")]),
            annotations: BTreeMap::from([("summary".to_owned(), "it's \"down\"".to_owned())])
                .into(),
            state: AlertState::Firing,
            value,
            active_at: Timestamp(1),
            fired_at: Some(Timestamp(2)),
            resolved_at: None,
            keep_firing_since: Some(Timestamp(3)),
            last_sent_at: Some(Timestamp(4)),
            unverified_since: Some(Timestamp(5)),
            changes: vec![Timestamp(6), Timestamp(7)],
            flapping_since: Some(Timestamp(8)),
        }
    }

    #[test]
    fn what_is_saved_is_loaded_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (instance("A", f64::INFINITY), instance("B", -0.5));
        let changes = AlertChanges {
            changed: vec![
                (key("A", 0), one.clone()),
                (key("A", 1), one.clone()),
                (key("B", 0), two.clone()),
            ],
            gone: Vec::new(),
        };
        let db = Db::open(folder.path()).unwrap();
        db.save_alerts("r.yaml", "g", Timestamp(10), &changes).unwrap();
        let changed = AlertInstance { state: AlertState::Pending, fired_at: None, ..one.clone() };
        let changes = AlertChanges {
            changed: vec![(key("A", 0), changed.clone())],
            gone: vec![(key("A", 1), one.labels.clone())],
        };
        db.save_alerts("r.yaml", "g", Timestamp(20), &changes).unwrap();
        drop(db);
        let db = Db::open(folder.path()).unwrap();
        let evaluated_at = Timestamp(20);
        let want = [
            StoredAlert { rule: key("A", 0), instance: changed, evaluated_at },
            StoredAlert { rule: key("B", 0), instance: two.clone(), evaluated_at },
        ];
        assert_eq!(db.load_alerts().unwrap(), want);
        db.drop_alerts(&[(key("B", 0), two.labels)]).unwrap();
        assert_eq!(db.load_alerts().unwrap().len(), 1);
    }

    #[test]
    fn a_value_that_is_no_number_survives() {
        let db = Db::in_memory().unwrap();
        let changed = vec![(key("A", 0), instance("A", f64::NAN))];
        let changes = AlertChanges { changed, gone: Vec::new() };
        db.save_alerts("r.yaml", "g", Timestamp(1), &changes).unwrap();
        assert!(db.load_alerts().unwrap()[0].instance.value.is_nan());
    }
}
