//! Registering runners, removing them, and changing their labels.

use super::ledger::{Event, What};
use super::sim::{Label, Runner, Sim};

/// What a runner says when it registers.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRunner {
    pub name: String,
    #[serde(default)]
    pub labels: Vec<String>,
    /// `owner/name` or an organization's name.
    pub scope: String,
    #[serde(default = "linux")]
    pub os: String,
    #[serde(default = "default_group")]
    pub group: String,
    #[serde(default)]
    pub ephemeral: bool,
}

/// Why labels cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelRefused {
    ReadOnly(String),
    Unknown(String),
    Invalid(String),
}

impl Sim {
    /// Registers the runner; one of the same name and scope is replaced and loses its id.
    pub fn register(&mut self, new: &NewRunner, now: f64) -> Runner {
        let same = |runner: &&Runner| {
            runner.name.eq_ignore_ascii_case(&new.name)
                && runner.scope.eq_ignore_ascii_case(&new.scope)
        };
        if let Some(old) = self.runners.values().find(same).map(|runner| runner.id) {
            self.remove_runner(old, None, now);
        }
        let id = self.next_id();
        let mut runner = Runner {
            id,
            token: format!("runner-token-{id}"),
            name: new.name.clone(),
            scope: new.scope.clone(),
            os: new.os.clone(),
            group: new.group.clone(),
            ephemeral: new.ephemeral,
            labels: Vec::new(),
            last_contact: None,
            job: None,
            job_changed: 0.0,
        };
        for name in ["self-hosted", &new.os, "X64"] {
            runner.labels.push(Label {
                id: self.next_id(),
                name: name.to_owned(),
                read_only: true,
            });
        }
        for name in &new.labels {
            if !runner.has_label(name) {
                let id = self.next_id();
                runner.labels.push(Label { id, name: name.clone(), read_only: false });
            }
        }
        let what =
            What { runner: Some(id), runner_name: Some(new.name.clone()), ..What::default() };
        self.ledger.add(now, Event::RunnerRegistered, what);
        self.runners.insert(id, runner.clone());
        runner
    }

    /// Forgets the runner; a job that it runs is on its own and will be lost.
    pub fn remove_runner(&mut self, id: u64, caller: Option<String>, now: f64) {
        let Some(runner) = self.runners.remove(&id) else { return };
        let (runner, runner_name) = (Some(id), Some(runner.name));
        let what = What { runner, runner_name, caller, ..What::default() };
        self.ledger.add(now, Event::RunnerRemoved, what);
    }

    /// Adds labels; those that the runner has already are no error.
    pub fn add_labels(
        &mut self,
        id: u64,
        names: &[String],
        caller: &str,
        now: f64,
    ) -> Result<(), LabelRefused> {
        for name in names {
            if name.is_empty() || name.len() > 256 {
                return Err(LabelRefused::Invalid(name.clone()));
            }
        }
        for name in names {
            let label = self.next_id();
            let Some(runner) = self.runners.get_mut(&id) else { return Ok(()) };
            if !runner.has_label(name) {
                runner.labels.push(Label { id: label, name: name.clone(), read_only: false });
                self.note(Event::LabelAdded, id, name, caller, now);
            }
        }
        Ok(())
    }

    /// Sets the custom labels to exactly these.
    pub fn set_labels(
        &mut self,
        id: u64,
        names: &[String],
        caller: &str,
        now: f64,
    ) -> Result<(), LabelRefused> {
        let Some(runner) = self.runners.get(&id) else { return Ok(()) };
        let kept = |label: &Label| names.iter().any(|name| name.eq_ignore_ascii_case(&label.name));
        let custom = runner.labels.iter().filter(|label| !label.read_only);
        let gone: Vec<_> =
            custom.filter(|label| !kept(label)).map(|label| label.name.clone()).collect();
        for name in gone {
            self.remove_label(id, &name, caller, now)?;
        }
        self.add_labels(id, names, caller, now)
    }

    pub fn remove_label(
        &mut self,
        id: u64,
        name: &str,
        caller: &str,
        now: f64,
    ) -> Result<(), LabelRefused> {
        let Some(runner) = self.runners.get_mut(&id) else { return Ok(()) };
        let at = runner.labels.iter().position(|label| label.name.eq_ignore_ascii_case(name));
        let at = at.ok_or_else(|| LabelRefused::Unknown(name.to_owned()))?;
        if runner.labels[at].read_only {
            return Err(LabelRefused::ReadOnly(name.to_owned()));
        }
        let label = runner.labels.remove(at);
        self.note(Event::LabelRemoved, id, &label.name, caller, now);
        Ok(())
    }

    fn note(&mut self, event: Event, id: u64, label: &str, caller: &str, now: f64) {
        let what = What {
            runner: Some(id),
            runner_name: self.runners.get(&id).map(|runner| runner.name.clone()),
            label: Some(label.to_owned()),
            caller: Some(caller.to_owned()),
            ..What::default()
        };
        self.ledger.add(now, event, what);
    }
}

fn linux() -> String {
    "Linux".to_owned()
}

fn default_group() -> String {
    "Default".to_owned()
}
