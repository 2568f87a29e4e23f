//! Carrying the plan of the globals out on the target.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::chosen::chosen;
use super::dump::dump;
use super::since::{
    BySubject, Completion, Since, by_subject, completed, digests, only_on_target, since,
};
use super::statement::Statement;
use super::{Action, OnError, Planned, Run, Skip, Target, plan, statements};
use crate::catalog::Database;
use crate::failpoint::reach;
use crate::inspect::keep_out_of_log;
use crate::journal::{Change, MigratedSubject};
use crate::names::{GlobalsRead, Output, Product, some_of};
use crate::plan::Side;
use crate::postgres::{Connection, connect, escape_control, quote_identifier};
use crate::step::{Context, StepError};

/// Brings roles, memberships and tablespaces of the target up to those of the source. What an earlier run of this plan
/// brought is only touched again where it changed on the source since, and not on the target.
pub(crate) async fn run(context: &Context) -> Result<Output, StepError> {
    let script = dump(context, Side::Source).await?;
    let dumped = statements(&script.text).map_err(StepError::fault)?;
    let dumped = chosen(&dumped, context.plan(), &context.shared.inspection.target);
    let dumped: Vec<&str> = dumped.iter().map(AsRef::as_ref).collect();
    let source = by_subject(&dumped);
    let digests = digests(&source);
    let before = before(context).await?;
    let before = statements(&before).map_err(StepError::fault)?;
    let before = by_subject(&before);
    let verdicts = verdicts(context, &digests, &before);
    let is_wanted = |subject: &Option<String>| {
        let verdict = subject.as_ref().and_then(|subject| verdicts.get(subject));
        verdict.is_none_or(|since| *since == Since::Migrate)
    };
    let of = |wanted| -> BTreeMap<String, String> {
        let subjects = digests.iter();
        subjects
            .filter(|(subject, _)| verdicts[*subject] == wanted)
            .map(|(subject, digest)| (subject.clone(), digest.clone()))
            .collect()
    };
    let (to_migrate, same) = (of(Since::Migrate), of(Since::Same));
    let subjects: BTreeMap<_, _> = to_migrate.iter().chain(&same).collect();
    if !subjects.is_empty() {
        let owned = |(subject, digest): (&String, &String)| (subject.clone(), digest.clone());
        let subjects = subjects.into_iter().map(owned).collect();
        context.record(Change::MigrateRoles { subjects }).await?;
    }
    let needed = needed(context);
    let target = Target::new(&context.shared.inspection.target, needed);
    let is_made = |role: &str| matches!(context.created_roles.get(role), Some(Some(_)));
    let by = Completion {
        source: &source,
        target: &before,
        with_passwords: context.shared.inspection.source.reads_passwords,
        with_options: context.shared.inspection.target.version.major() >= 1600,
    };
    let completed: Vec<_> = dumped
        .iter()
        .map(|sql| completed(sql, &by, is_made))
        .collect();
    let completed: Vec<&str> = completed.iter().map(AsRef::as_ref).collect();
    let mut actions = plan(&completed, &target);
    actions.retain(|planned| is_wanted(&planned.subject));
    let mut warnings = carry_out(context, &actions).await?;
    let general = warnings.remove(&None).unwrap_or_default();
    let changed = to_migrate.into_keys().map(|subject| {
        let found = warnings.remove(&Some(subject.clone()));
        (subject, found.unwrap_or_default())
    });
    let mut migrated = afterwards(context, changed.collect(), &source).await;
    let mut told = told(context, &verdicts, &migrated);
    told.extend(made_again(context, &verdicts, &before));
    migrated.extend(same.into_iter().map(|(subject, digest)| {
        let target = Some(digest);
        let warnings = Vec::new();
        (subject, MigratedSubject { target, warnings })
    }));
    if !migrated.is_empty() {
        let subjects = migrated;
        context.record(Change::MigratedRoles { subjects }).await?;
    }
    let mut output = Output {
        warnings: [script.warnings, general, told].concat(),
        product: Product::Globals(GlobalsRead {
            subjects: digests,
            kept: context.shared.inspection.target.kept_roles.clone(),
        }),
    };
    // A name that holds a line feed makes no second line, and no server's message does.
    for warning in &mut output.warnings {
        *warning = escape_control(warning).into_owned();
    }
    Ok(output)
}

/// Tablespaces that something which migrates is in.
fn needed(context: &Context) -> HashSet<&str> {
    let source = &context.shared.inspection.source;
    let names = context.shared.graph.database_names();
    let databases = names.filter_map(|name| source.database(name));
    databases.flat_map(Database::tablespaces).collect()
}

/// What the target says of its roles before anything of them is done. The first time nobody can have changed what this plan made.
async fn before(context: &Context) -> Result<String, StepError> {
    if context.roles.is_empty() {
        return Ok(String::new());
    }
    Ok(dump(context, Side::Target).await?.text)
}

/// What is to be done about each subject of the source.
fn verdicts(
    context: &Context,
    source: &BTreeMap<String, String>,
    target: &BySubject<'_>,
) -> BTreeMap<String, Since> {
    let target = digests(target);
    let verdict = |(subject, digest): (&String, &String)| {
        let target = target.get(subject).map(String::as_str);
        let since = since(context.roles.get(subject), digest, target);
        (subject.clone(), since)
    };
    source.iter().map(verdict).collect()
}

/// Runs the actions; what a person should know, by what it is about.
async fn carry_out(
    context: &Context,
    actions: &[Planned],
) -> Result<BTreeMap<Option<String>, Vec<String>>, StepError> {
    let target = context.endpoint(Side::Target);
    let connection = connect(target, &target.database, &context.session(Side::Target)).await?;
    let _guard = connection.cancel_when(&context.stop);
    // Passwords are among them. What our role may not set is a finding.
    keep_out_of_log(&connection).await?;
    let result = carry_out_on(context, &connection, actions).await;
    connection.close().await;
    result.map_err(|error| error.during(&context.stop))
}

async fn carry_out_on(
    context: &Context,
    connection: &Connection,
    actions: &[Planned],
) -> Result<BTreeMap<Option<String>, Vec<String>>, StepError> {
    let facts = &context.shared.inspection.target;
    if facts.version.major() >= 1600 && !facts.is_superuser {
        // Otherwise it could administer the roles that it makes, and not give them a database.
        connection
            .batch_execute("SET createrole_self_grant = 'set, inherit'")
            .await
            .map_err(connection.failed("set createrole_self_grant"))?;
    }
    create_roles(context, connection, actions).await?;
    let mut warnings = run_others(context, connection, actions).await?;
    if facts.version.major() < 1600 && !facts.is_superuser && facts.can_create_role {
        let joined = join_roles(context, connection).await;
        warnings.entry(None).or_default().extend(joined);
    }
    Ok(warnings)
}

/// The role that an action creates, if it is one that does, and how.
fn created_role(planned: &Planned) -> Option<(String, &Run)> {
    let Action::Run(run) = &planned.action else {
        return None;
    };
    match Statement::classify(run.sql.expose()) {
        Statement::CreateRole { role } => Some((role, run)),
        _ => None,
    }
}

/// Creates the roles that the target lacks, all or none, and puts their object ids on record before that is committed: a later run tells
/// them by these from roles that another session made of these names.
async fn create_roles(
    context: &Context,
    connection: &Connection,
    actions: &[Planned],
) -> Result<(), StepError> {
    let wanted: Vec<(String, &Run)> = actions.iter().filter_map(created_role).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let roles = wanted.iter().map(|(role, _)| role.clone()).collect();
    context.record(Change::CreateRoles { roles }).await?;
    let run = async |sql: &str| {
        let failed = connection.failed("create the roles of the source in one transaction");
        connection.batch_execute(sql).await.map_err(failed)
    };
    run("BEGIN READ WRITE; SAVEPOINT role").await?;
    let mut created = Vec::new();
    for (role, statement) in wanted {
        match execute(connection, statement).await? {
            Ran::Done(_) => {
                created.push(role);
                run("RELEASE SAVEPOINT role; SAVEPOINT role").await?;
            }
            Ran::WasThere => run("ROLLBACK TO SAVEPOINT role").await?,
        }
        if context.stop.is_cancelled() {
            return Err(StepError::interrupted());
        }
        reach!("globals statement");
    }
    let rows = connection
        .query(
            "SELECT rolname::text, oid FROM pg_catalog.pg_roles WHERE rolname::text = ANY ($1)",
            &[&created],
        )
        .await
        .map_err(connection.failed("look for the roles that were created"))?;
    let roles = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    context.record(Change::CreatedRoles { roles }).await?;
    Ok(run("COMMIT").await?)
}

/// Runs the actions that create no role.
async fn run_others(
    context: &Context,
    connection: &Connection,
    actions: &[Planned],
) -> Result<BTreeMap<Option<String>, Vec<String>>, StepError> {
    let mut warnings: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
    let others = actions.iter();
    for planned in others.filter(|planned| created_role(planned).is_none()) {
        let Planned { subject, action } = planned;
        let warning = match action {
            Action::Run(run) => {
                let ran = execute(connection, run).await?;
                if context.stop.is_cancelled() {
                    return Err(StepError::interrupted());
                }
                reach!("globals statement");
                match ran {
                    Ran::Done(warning) => warning,
                    Ran::WasThere => None,
                }
            }
            Action::Skip(skip) if skip.is_loss => Some(skip.reason.clone()),
            Action::Skip(Skip { sql, reason, .. }) => {
                tracing::debug!(%sql, reason, "skipped");
                None
            }
        };
        warnings.entry(subject.clone()).or_default().extend(warning);
    }
    Ok(warnings)
}

/// What the target says of what was migrated. Where it cannot be read, a later run cannot know what a person changed,
/// and leaves it alone.
async fn afterwards(
    context: &Context,
    changed: BTreeMap<String, Vec<String>>,
    source: &BySubject<'_>,
) -> BTreeMap<String, MigratedSubject> {
    if changed.is_empty() {
        return BTreeMap::new();
    }
    let script = match dump(context, Side::Target).await {
        Ok(script) => script.text,
        Err(error) => {
            tracing::warn!(%error, "cannot read the target's roles");
            String::new()
        }
    };
    let dumped = statements(&script).unwrap_or_default();
    let target = by_subject(&dumped);
    // Without passwords it does not show whether a person changed one.
    let is_whole = context.shared.inspection.target.reads_passwords;
    let with_passwords = context.shared.inspection.source.reads_passwords;
    let mut digests = digests(&target);
    let none = BTreeSet::new();
    let changed = changed.into_iter().map(|(subject, mut warnings)| {
        // The role that runs the migration stays as it is.
        if subject != role(context) {
            let of_source = source.get(&subject).unwrap_or(&none);
            let of_target = target.get(&subject).unwrap_or(&none);
            let extra = only_on_target(of_source, of_target, with_passwords).into_iter();
            warnings.extend(extra.map(|what| {
                format!(
                    "{subject} {what} on the target, and not on the source: it was left as it is"
                )
            }));
        }
        let target = digests.remove(&subject).filter(|_| is_whole);
        (subject, MigratedSubject { target, warnings })
    });
    changed.collect()
}

fn role(context: &Context) -> String {
    subject_of_role(&context.shared.inspection.target.user)
}

fn subject_of_role(name: &str) -> String {
    format!("role \"{name}\"")
}

/// What a person should know of each subject: what is missing of it on the target, now or since an earlier run, and what
/// was not brought along.
fn told(
    context: &Context,
    verdicts: &BTreeMap<String, Since>,
    migrated: &BTreeMap<String, MigratedSubject>,
) -> Vec<String> {
    let mut told = Vec::new();
    for (subject, since) in verdicts {
        let role_before = context.roles.get(subject);
        let before = role_before.and_then(|role| role.after.as_ref());
        let is_begun = role_before.is_some_and(|role| role.begun.is_some());
        match (since, migrated.get(subject)) {
            (Since::Migrate, Some(now)) => told.extend(now.warnings.iter().cloned()),
            (Since::Unchanged | Since::ChangedOnTarget, _) => {
                told.extend(before.into_iter().flat_map(|then| then.warnings.iter().cloned()));
                if *since == Since::ChangedOnTarget && *subject != role(context) {
                    told.push(format!(
                        "{subject} was changed on the target since an earlier run of this plan migrated it: it was left as it is; \
                         compare it with the source's"
                    ));
                }
            }
            (Since::ChangedOnBoth, _) if *subject != role(context) => told.push(format!(
                "{subject} changed on the source since an earlier run of this plan migrated it, and {}: it was left as it is; \
                 compare both and change it on the target by hand",
                match before.and_then(|then| then.target.as_ref()) {
                    Some(_) if is_begun => "on the target as well, where a run that did not end may have set a part of it",
                    Some(_) => "on the target as well",
                    None => "it cannot be told whether it did on the target",
                }
            )),
            _ => {}
        }
    }
    let gone = context.roles.keys();
    let kept = &context.shared.inspection.target.kept_roles;
    let kept: BTreeSet<String> = kept.iter().map(|name| subject_of_role(name)).collect();
    let gone = gone.filter(|subject| !verdicts.contains_key(*subject) && !kept.contains(*subject));
    told.extend(gone.map(|subject| {
        format!(
            "{subject} is no longer on the source; an earlier run of this plan migrated it, and it is still on the target"
        )
    }));
    told
}

/// What an earlier run migrated, and the target had no more.
fn made_again(
    context: &Context,
    verdicts: &BTreeMap<String, Since>,
    target: &BySubject<'_>,
) -> Option<String> {
    let made = context.created_roles.iter();
    let made = made.filter(|(_, oid)| oid.is_some());
    let made: BTreeSet<String> = made.map(|(name, _)| subject_of_role(name)).collect();
    // What could not be made was told then.
    let was_there = |subject: &String| {
        let before = context.roles.get(subject);
        let before = before.and_then(|role| role.after.as_ref());
        before.is_some_and(|then| then.target.is_some() || made.contains(subject))
    };
    let is_gone = |subject: &&String| !target.contains_key(*subject) && was_there(subject);
    let gone: Vec<String> = verdicts.keys().filter(is_gone).cloned().collect();
    (!gone.is_empty()).then(|| {
        format!(
            "{}: dropped or renamed on the target since an earlier run of this plan migrated it, and made again as on the source, but \
             not what it owned and was granted in databases that are verified: GRANT that there; or, where it is not wanted, DROP it on \
             the target, and set globals.migrate = false, or later runs make it again",
            some_of(&gone, 5)
        )
    })
}

/// Before 16, the creator of a role is not a member of it, and so may not give it a database or a table. A role with
/// CREATEROLE may join any role but superusers (PostgreSQL manual 15, 22.2 "Role Attributes"). Returns warnings.
async fn join_roles(context: &Context, connection: &Connection) -> Vec<String> {
    let inspection = &context.shared.inspection;
    let user = &inspection.target.user;
    let mut warnings = Vec::new();
    let wanted =
        inspection.source.roles.iter().filter(|role| {
            !role.is_superuser && !role.name.starts_with("pg_") && role.name != *user
        });
    for role in wanted {
        let sql = format!(
            "GRANT {} TO {}",
            quote_identifier(&role.name),
            quote_identifier(user)
        );
        if let Err(error) = connection.batch_execute(&sql).await {
            warnings.push(format!(
                "role {user} is not a member of role {}, and cannot give it what it owns on the source ({})",
                role.name,
                reason(&error)
            ));
        }
    }
    warnings
}

/// What came of a statement.
enum Ran {
    /// It took effect, as far as a warning does not say otherwise.
    Done(Option<String>),
    /// What it makes was there.
    WasThere,
}

/// Runs one statement, or what stands in for it.
async fn execute(connection: &Connection, run: &Run) -> Result<Ran, StepError> {
    let Err(error) = connection.batch_execute(run.sql.expose()).await else {
        return Ok(Ran::Done(None));
    };
    let is_one_of = |error: &tokio_postgres::Error, codes: &[tokio_postgres::error::SqlState]| {
        error.code().is_some_and(|code| codes.contains(code))
    };
    if is_one_of(&error, run.tolerated) {
        return Ok(Ran::WasThere);
    }
    let mut error = error;
    if let Some(fallback) = run
        .fallback
        .as_ref()
        .filter(|fallback| is_one_of(&error, fallback.on))
    {
        match connection.batch_execute(fallback.sql.expose()).await {
            Ok(()) => return Ok(Ran::Done(fallback.warning.clone())),
            Err(again) => error = again,
        }
    }
    let denied = error.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE);
    match &run.on_error {
        OnError::Warn(warning) => Ok(Ran::Done(Some(format!("{warning} ({})", reason(&error))))),
        OnError::WarnIfDenied(warning) if denied => {
            Ok(Ran::Done(Some(format!("{warning} ({})", reason(&error)))))
        }
        OnError::FailWithHelp(help) => {
            let failure: StepError = connection.failed(format!("run {}", run.sql))(error).into();
            Err(failure.help(help))
        }
        OnError::Fail | OnError::WarnIfDenied(_) => {
            Err(connection.failed(format!("run {}", run.sql))(error).into())
        }
    }
}

/// The server's own words.
fn reason(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => server.message().to_owned(),
        None => error.to_string(),
    }
}
