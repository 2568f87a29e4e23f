//! Restoring the target's settings.

use std::collections::BTreeMap;

use super::auto_conf::Entries;
use super::{Target, alter_system, auto_conf, backups, durable, reload, started};
use crate::failpoint::reach;
use crate::inspect::system_identifier;
use crate::journal::TunedSetting;
use crate::plan::{Endpoint, FoundUnsafe};
use crate::postgres::{Error, Session, connect};
use crate::step::StepError;

/// What was done about the settings that this plan had changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SettingsRestored {
    /// What was restored, a line each.
    pub done: Vec<String>,
    /// What the user should know: settings that were changed by another session, data that may not be on disk.
    pub warnings: Vec<String>,
    /// Of the warnings, the one that the whole cluster may be damaged.
    pub damage: Option<String>,
}

/// Whether the target is on the machine on which its settings were changed. A standby that was promoted is not: it has
/// `postgresql.auto.conf` and files of its own, and waited for its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    Same,
    Another,
}

/// What to do about one setting.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is as it was: it was never changed, or is restored already.
    Unchanged,
    Restore,
    /// It was changed by another session since.
    Foreign,
}

/// Restores what this plan changed in `postgresql.auto.conf`, waits until it is in effect, and sees to it
/// that what was written without fsync reaches the disk. What another session changed since stays. May be
/// done again.
///
/// # Errors
///
/// A server that cannot be reached, refuses us, does not load its configuration, or is still unsafe. Then some settings may
/// be restored and others not.
pub(crate) async fn restore_settings(
    endpoint: &Endpoint,
    application: &str,
    tuned: &BTreeMap<String, TunedSetting>,
    (found_unsafe, machine): (FoundUnsafe, Machine),
) -> Result<SettingsRestored, StepError> {
    let target = Target {
        endpoint,
        session: Session::new(application),
    };
    let mut outcome = SettingsRestored::default();
    let mut connection = target.connect().await?;
    let mut entries = auto_conf::entries(&connection).await?;

    // First of all: what is written from here on, the file itself included, reaches the disk.
    if let Some(fsync) = tuned.get(durable::FSYNC)
        && verdict(fsync, entries.get(durable::FSYNC)) == Verdict::Restore
    {
        alter_system(&connection, durable::FSYNC, fsync.before.as_deref()).await?;
        reach!("put back {}", durable::FSYNC);
        outcome.done.push(line(durable::FSYNC, fsync));
        connection = reload(connection, &target).await?;
        entries = auto_conf::entries(&connection).await?;
    }
    for (name, setting) in tuned {
        match verdict(setting, entries.get(name)) {
            Verdict::Unchanged => {}
            Verdict::Restore => {
                alter_system(&connection, name, setting.before.as_deref()).await?;
                reach!("put back {name}");
                outcome.done.push(line(name, setting));
            }
            Verdict::Foreign => outcome.warnings.push(foreign(name, setting, &entries)),
        }
    }
    // Also where nothing was changed: an earlier attempt may have died before this.
    connection = reload(connection, &target).await?;
    reach!("put back and reloaded");
    if machine == Machine::Same {
        outcome.damage = started::crash_warning(&connection, endpoint, tuned).await?;
        outcome.warnings.extend(outcome.damage.clone());
        let backups = backups::ended_meanwhile(&connection, tuned).await;
        outcome.warnings.extend(backups);
    }
    if durable::is_needed(tuned) {
        outcome
            .warnings
            .extend(durable::flush(&connection, found_unsafe).await?);
    }
    connection.close().await;
    Ok(outcome)
}

/// The server's `system_identifier`, where it may be read: settings go back to the server that had them.
///
/// # Errors
///
/// A server that cannot be reached or refuses us.
pub(crate) async fn identity(
    endpoint: &Endpoint,
    application: &str,
) -> Result<Option<String>, Error> {
    let session = Session::new(application);
    let connection = connect(endpoint, &endpoint.database, &session).await?;
    let identifier = system_identifier(&connection).await?;
    connection.close().await;
    Ok(identifier)
}

fn verdict(setting: &TunedSetting, now: Option<&String>) -> Verdict {
    if now == setting.before.as_ref() {
        Verdict::Unchanged
    } else if now.is_some_and(|now| setting.values.contains(now)) {
        Verdict::Restore
    } else {
        Verdict::Foreign
    }
}

fn line(name: &str, setting: &TunedSetting) -> String {
    match &setting.before {
        Some(before) => format!("{name} = {before}, as it was in postgresql.auto.conf"),
        None => format!("{name} is not in postgresql.auto.conf, as before"),
    }
}

fn foreign(name: &str, setting: &TunedSetting, entries: &Entries) -> String {
    let text = |value: Option<&String>| match value {
        Some(value) => format!("{name} = {value}"),
        None => format!("no {name}"),
    };
    let ours: Vec<&str> = setting.values.iter().map(String::as_str).collect();
    format!(
        "{name} was changed on the target while this plan had it set to {}: postgresql.auto.conf has {} now, which \
         was left as it is; before the load it had {}",
        ours.join(" or "),
        text(entries.get(name)),
        text(setting.before.as_ref()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(before: Option<&str>, values: &[&str]) -> TunedSetting {
        TunedSetting {
            before: before.map(str::to_owned),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            ..TunedSetting::default()
        }
    }

    #[test]
    fn only_our_values_are_replaced() {
        let decided = |before, now: Option<&str>| {
            verdict(
                &setting(before, &["2GB", "1GB"]),
                now.map(str::to_owned).as_ref(),
            )
        };
        assert_eq!(decided(Some("64MB"), Some("2GB")), Verdict::Restore);
        assert_eq!(decided(None, Some("1GB")), Verdict::Restore);
        assert_eq!(decided(None, None), Verdict::Unchanged);
        assert_eq!(decided(Some("64MB"), Some("64MB")), Verdict::Unchanged);
        assert_eq!(decided(Some("2GB"), Some("2GB")), Verdict::Unchanged);
        assert_eq!(decided(Some("64MB"), None), Verdict::Foreign);
        assert_eq!(decided(None, Some("2048MB")), Verdict::Foreign);
    }

    #[test]
    fn a_change_by_another_session_is_told_with_all_that_is_known() {
        let entries = Entries::from([("work_mem".to_owned(), "5MB".to_owned())]);
        insta::assert_snapshot!(
            foreign("work_mem", &setting(None, &["1GB"]), &entries),
            @r"work_mem was changed on the target while this plan had it set to 1GB: postgresql.auto.conf has work_mem = 5MB now, which was left as it is; before the load it had no work_mem"
        );
    }
}
