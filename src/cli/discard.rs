//! `pg-migrate discard`.

use std::fs;
use std::io;
use std::path::Path;

use super::arguments::DiscardArguments;
use super::failure::Failure;
use super::output::{print, tell};
use super::prepare::{load, target};
use super::revert::restore_also_marked;
use crate::escape::{escape_control, escape_control_lines};
use crate::exit::Exit;
use crate::failpoint::reach;
use crate::finding::Code;
use crate::graph::archives;
use crate::journal::{self, Journal, Lock, State, stored};
use crate::names::Since;
use crate::plan::{Endpoint, Plan};
use crate::preflight::is_waived;
use crate::report::document;
use crate::run::{Asked, Made, MadeDatabase, Signals, Use, Whose, discard, made, marked_damage};

/// Lists what the plan made, or drops of it what is asked for. Again after it was killed: what is gone is not missed.
pub(super) async fn run(arguments: DiscardArguments) -> Result<Exit, Failure> {
    let plan = load(&arguments.plan)?;
    let target = target(&plan).await?;
    let asked = Asked {
        names: &arguments.drop,
        all: arguments.all,
        is_sound: is_waived(
            Code::TargetCrashedUnsafe,
            &plan.waive,
            jiff::Zoned::now().date(),
        ),
    };
    if !asked.all && asked.names.is_empty() {
        // Reading must not create a state directory where there is none.
        let state = journal::read(&plan.state_dir)?.unwrap_or_default();
        let id = Lock::id_of(&plan.state_dir);
        let made = made(&plan, &target, (&state, id.as_deref())).await?;
        print(&escape_control_lines(&listed(
            &plan,
            &made,
            &target.to_string(),
        )))?;
        tell_damage((&plan, &target), &asked, &state, id.as_deref()).await?;
        return Ok(Exit::Completed);
    }
    let mut signals = Signals::catch()?;
    let mut journal = Journal::open(&plan.state_dir, Lock::take(&plan.state_dir)?)?;
    let id = journal.id().to_owned();
    let found = made(&plan, &target, (journal.state(), Some(&id))).await?;
    refuse_unknown(&found, &asked)?;
    restore_also_marked(&plan, &target, &mut journal, &mut signals).await?;
    tell_damage((&plan, &target), &asked, journal.state(), Some(&id)).await?;
    let discarded = discard(&plan, &target, &mut journal, &found, &asked).await?;
    for line in discarded.done.iter().chain(&discarded.left) {
        tell!("{}", escape_control_lines(line));
    }
    if !discarded.failed.is_empty() {
        return Err(Failure::message(
            Exit::StepFailed,
            format!(
                "not all was dropped, and what is left is still on record:\n\n- {}",
                discarded.failed.join("\n- ")
            ),
            "fix the causes, then `pg-migrate discard` again",
        ));
    }
    if asked.all {
        drop(journal);
        remove_state(&plan.state_dir).map_err(|error| {
            Failure::message(
                Exit::StepFailed,
                format!("{} is not removed whole: {error}", plan.state_dir.display()),
                "what it says of the target is not so any more: remove it by hand",
            )
        })?;
        tell!("the state in {} is removed", plan.state_dir.display());
    }
    Ok(Exit::Completed)
}

/// What is dropped leaves the cluster as damaged as it may be.
async fn tell_damage(
    (plan, target): (&Plan, &Endpoint),
    asked: &Asked<'_>,
    state: &State,
    id: Option<&str>,
) -> Result<(), Failure> {
    let damage = match &state.damage {
        Some(damage) => Some(damage.clone()),
        None => marked_damage(plan, target, id).await?,
    };
    if let Some(damage) = damage.filter(|_| !asked.is_sound) {
        tell!("warning: the target may be damaged: {damage}");
    }
    Ok(())
}

/// A name that is not on the list is a mistake, and nothing is dropped.
fn refuse_unknown(made: &Made, asked: &Asked<'_>) -> Result<(), Failure> {
    let is_known = |name: &&String| {
        let mut databases = made.databases.iter();
        databases.any(|one| one.existing.name == **name && asked.is_asked(one))
    };
    let unknown: Vec<String> = asked
        .names
        .iter()
        .filter(|name| !is_known(name))
        .map(|name| format!("\n- {}", escape_control(name)))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Failure::message(
        Exit::WrongInput,
        format!(
            "nothing was dropped: --drop names what this plan did not make on the target, or what is gone:{}",
            unknown.concat()
        ),
        "`pg-migrate discard PLAN` lists what it made",
    ))
}

/// What the plan made, for a person to read.
fn listed(plan: &Plan, made: &Made, target: &str) -> String {
    let mut text = String::new();
    let mut line = |what: &str| text.push_str(&format!("{what}\n"));
    let state_exists = plan.state_dir.exists();
    let archives = archives(plan);
    if made.databases.is_empty() && made.roles.is_empty() && !state_exists && !archives.exists() {
        line(&format!(
            "{}: made nothing that is on the {target}",
            plan.name
        ));
        return text;
    }
    line(&format!("{} made on the {target}:", plan.name));
    for database in &made.databases {
        line(&format!(
            "  database \"{}\"  {}",
            database.existing.name,
            words(database)
        ));
    }
    for role in &made.roles {
        let whose = match &role.whose {
            Whose::Ours => "",
            Whose::Another(_) => "  made under another state directory",
            _ => "  perhaps: a run was killed when it made it; it is not dropped",
        };
        let needed = role.users.first();
        let needed = needed.map(|user| format!("  plan \"{}\" needs it, so it stays", user.plan));
        let needed = needed.unwrap_or_default();
        line(&format!("  role \"{}\"{whose}{needed}", role.name));
    }
    if made.databases.is_empty() && made.roles.is_empty() {
        line("  nothing that is still there");
    }
    if made.has_mark {
        line("  database \"pg_migrate_mark\"  what plans made, for those that go on");
    }
    line("on this machine:");
    let exists = |path: &Path| if path.exists() { "" } else { "  (not there)" };
    line(&format!(
        "  archives  {}{}",
        archives.display(),
        exists(&archives)
    ));
    line(&format!(
        "  state     {}{}",
        plan.state_dir.display(),
        exists(&plan.state_dir)
    ));
    if !made.tuned.is_empty() {
        let names: Vec<&str> = made.tuned.iter().map(String::as_str).collect();
        line(&format!(
            "settings of the target that are still those for the load, restored before anything is dropped: {}",
            names.join(", ")
        ));
    }
    line("");
    line(
        "nothing was dropped; --drop DB drops a database of these, --all --yes all that this state directory's plan made",
    );
    text
}

fn words(database: &MadeDatabase) -> String {
    let used = match database.used {
        Use::NotVerified => "not verified",
        Use::Verified(Since::Unwritten) => "verified, not written to since",
        Use::Verified(Since::Written) => "verified, WRITTEN TO SINCE",
        Use::Verified(Since::Unknown) => {
            "verified, and it cannot be known whether it was written to since"
        }
    };
    match &database.whose {
        Whose::Ours => used.to_owned(),
        Whose::Perhaps => {
            "perhaps: a run was killed when it created it; it is dropped by name, if it is empty"
                .to_owned()
        }
        Whose::Found => format!("{used}; it was there before, empty, so it stays"),
        Whose::Another(id) => format!(
            "{used}; made under another state directory (id {id}), a lost one or another plan's of this name: it is dropped by name \
             alone"
        ),
        Whose::Renamed(name) => {
            format!("{used}; it was \"{name}\", and a person renamed it, so it stays")
        }
    }
}

/// Removes what this program writes there, the journal last: until then the next `discard` goes on.
fn remove_state(directory: &Path) -> io::Result<()> {
    let missing_is_fine = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    missing_is_fine(fs::remove_dir_all(directory.join("log")))?;
    let files = [
        document::path(directory),
        stored::path(directory),
        journal::path(directory),
        directory.join("lock"),
    ];
    for file in files {
        missing_is_fine(fs::remove_file(file))?;
        reach!("discard removed a file");
    }
    missing_is_fine(fs::remove_dir(directory))
}
