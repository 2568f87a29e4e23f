//! Opening what is verified, when the target is safe again.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};

use crate::failpoint::reach;
use crate::journal::Change;
use crate::names::{TableName, WriteMark, list_of_tables};
use crate::plan::Side;
use crate::postgres::{Class, Session, connect, escape_control};
use crate::shell;
use crate::step::others::{Wrote, await_reports, wrote};
use crate::step::{Context, StepError, ToOpen, create};

/// Databases that are looked at, and opened, at a time.
const AT_A_TIME: usize = 4;

/// The target is safe again: clients may use what is verified. One that cannot be opened keeps no other closed.
///
/// Returns warnings, and an error that names each that stays closed.
pub(super) async fn open_databases(context: &Context) -> (Vec<String>, Option<StepError>) {
    let mut opened: Vec<_> = stream::iter(context.closed.clone())
        .map(|to_open| async move {
            let result = open_one(context, &to_open).await;
            (to_open.name, result)
        })
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    opened.sort_by(|(one, _), (other, _)| one.cmp(other));
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    for (name, result) in opened {
        match result {
            Ok(told) => warnings.extend(told),
            Err(error) => {
                tracing::error!(database = name, %error, "cannot open the database");
                errors.push(error);
            }
        }
    }
    (warnings, all(errors))
}

async fn open_one(context: &Context, to_open: &ToOpen) -> Result<Vec<String>, StepError> {
    let name = &to_open.name;
    let Some(database) = context.shared.inspection.source.database(name) else {
        // Gone from the source since; the target's is as it was verified, and ours.
        return Ok(Vec::new());
    };
    if create::is_left_out(context, name, to_open.made).await? {
        return Ok(Vec::new());
    }
    let is_accepted = context.shared.graph.accepts_difference(name);
    let mut warnings = Vec::new();
    // One that lets others in already may have been changed, and written to, by them.
    let let_in = match &to_open.let_in {
        Some(opening) if create::was_let_in(context, name, opening).await? => Some(opening),
        _ => None,
    };
    if let_in.is_none() {
        if let Some(tables) = &to_open.differences {
            if to_open.is_told {
                tracing::warn!(database = name, "it differs, and stays closed");
                return Ok(Vec::new());
            }
            let what = differed(name, tables);
            if !is_accepted {
                return Err(stays_closed(&what, name));
            }
            warnings.push(what);
        }
        create::refuse_who_was_let_in(context, database).await?;
    }
    let mut is_waived = to_open.differences.is_some();
    let written = to_open.written.as_ref().filter(|_| let_in.is_none());
    match what_others_wrote(context, name, written).await? {
        Wrote::Nobody => {}
        Wrote::Perhaps(what) => warnings.push(format!(
            "database {}: {what}; `pg-migrate verify PLAN` compares its rows",
            escape_control(name)
        )),
        Wrote::Somebody(what) => {
            let what = format!("database {}: {what}", escape_control(name));
            if !is_accepted {
                let found = Change::FindDifference {
                    database: name.clone(),
                    tables: Vec::new(),
                };
                context.record(found).await?;
                return Err(stays_closed(&what, name));
            }
            is_waived = true;
            warnings.push(what);
        }
    }
    warnings.extend(create::open(context, database, to_open.made, let_in, is_waived).await?);
    reach!("{name} opened");
    Ok(warnings)
}

/// What is on record.
fn differed(database: &str, tables: &BTreeSet<TableName>) -> String {
    let database = escape_control(database);
    if tables.is_empty() {
        return format!(
            "database {database}: another session wrote to it on the target while it was closed, as was found before"
        );
    }
    let tables: Vec<TableName> = tables.iter().cloned().collect();
    format!(
        "database {database}: a verification found differences, or rows that another session changed, in these tables: {}",
        escape_control(&list_of_tables(&tables))
    )
}

fn stays_closed(what: &str, database: &str) -> StepError {
    StepError::new(format!("{what}; it stays closed"))
        .help(
            "find out who it was; where a person stands for what is in it (`pg-migrate verify PLAN` compares the rows): a waiver for \
             target/differed, with the database's name as its object, and run again: it is opened; if nobody needs what was written: \
             this, DROP DATABASE on the target (a run drops nothing that was written to), and run again:",
        )
        .help(format!(
            "pg-migrate reset PLAN --database {0} --drop {0}",
            shell::quote(database)
        ))
}

/// As one error: each reason, and what to do, once.
fn all(mut errors: Vec<StepError>) -> Option<StepError> {
    if errors.len() < 2 {
        return errors.pop();
    }
    // Those that would fail again fail again.
    let class = [Class::Interrupted, Class::Retry]
        .into_iter()
        .find(|class| errors.iter().any(|error| error.class == *class))
        .unwrap_or(Class::Fail);
    let (reasons, help): (Vec<String>, Vec<Option<String>>) =
        errors.into_iter().map(StepError::into_parts).unzip();
    let what = format!(
        "{} databases are not opened:\n{}",
        reasons.len(),
        reasons.join("\n")
    );
    let mut told = BTreeSet::new();
    let error = StepError::new(what).class(class);
    let lines = help.iter().flatten().flat_map(|help| help.lines());
    Some(
        lines
            .filter(|line| told.insert(*line))
            .fold(error, |error, line| error.help(line)),
    )
}

/// Nobody looks at a database again once it is open, and it may have been closed for long since it was verified: what another session
/// wrote to it then is a difference as before its verification. One that is gone was written to by nobody; that it is gone is told
/// when it is to be opened.
async fn what_others_wrote(
    context: &Context,
    database: &str,
    before: Option<&WriteMark>,
) -> Result<Wrote, StepError> {
    let Some(before) = before else {
        return Ok(Wrote::Nobody);
    };
    let session = Session::new(&context.application());
    let inside = match connect(context.endpoint(Side::Target), database, &session).await {
        Ok(inside) => inside,
        // invalid_catalog_name
        Err(error) if error.sqlstate() == Some("3D000") => return Ok(Wrote::Nobody),
        Err(error) => return Err(error.into()),
    };
    let application = &context.shared.application;
    let between = "its verification and its opening";
    let named = |error: StepError| {
        let (what, help) = error.into_parts();
        let database = escape_control(database);
        let error = StepError::new(format!("database {database}: {what}; it stays closed"));
        help.into_iter().fold(error, StepError::help)
    };
    let wrote_before = wrote(&inside, application, before, between).await?;
    if !matches!(wrote_before, Wrote::Nobody) {
        inside.close().await;
        return Ok(wrote_before);
    }
    let unknown = await_reports(context, &inside).await.map_err(named)?;
    let wrote = wrote(&inside, application, before, between).await?;
    inside.close().await;
    Ok(match (wrote, unknown) {
        (Wrote::Nobody, Some(unknown)) => Wrote::Perhaps(unknown),
        (wrote, _) => wrote,
    })
}
