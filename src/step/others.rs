//! Other sessions in a database of the target that is this plan's alone, and what they did to its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::Row;

use super::used::written_since_in;
use super::{Context, StepError};
use crate::inspect::{await_our_sessions, filled, written};
use crate::journal::Change;
use crate::names::{Filled, Since, TableName, WriteMark, some_of};
use crate::plan::Side;
use crate::postgres::{Application, Connection, escape_control};

/// How often, and how long, to look whether clients that were connected are gone: those of a pooler come and go.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS: u32 = 10;

/// Tables that are named.
const NAMED: usize = 5;

/// A session that is none of this run's.
pub(super) struct Other {
    application: String,
    role: String,
    /// No privilege keeps it out of a database.
    pub is_superuser: bool,
}

/// The other sessions in the connection's database. Those of a parallel query are its leader's, and what autovacuum does is
/// nothing of a client's: it has no role, which every role may see.
pub(super) async fn others_in(
    context: &Context,
    inside: &Connection,
) -> Result<Vec<Other>, StepError> {
    let kind = if inside.version().major() < 1000 {
        "a.query NOT LIKE 'autovacuum:%'"
    } else {
        "coalesce(a.backend_type, '') NOT IN ('autovacuum worker', 'parallel worker')"
    };
    let sql = format!(
        "SELECT coalesce(a.application_name, ''), r.rolname::text, r.rolsuper \
         FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid \
         WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid() AND {kind}"
    );
    let rows = inside
        .query(&sql, &[])
        .await
        .map_err(inside.failed("look for sessions in the database"))?;
    let others = rows.iter().map(|row| Other {
        application: row.get(0),
        role: row.get(1),
        is_superuser: row.get(2),
    });
    let application = &context.shared.application;
    Ok(others
        .filter(|other| !application.owns(&other.application))
        .collect())
}

/// The other sessions that stay: those that are gone within a moment are left out.
pub(super) async fn others_that_stay(
    context: &Context,
    inside: &Connection,
    is_minded: impl Fn(&Other) -> bool,
) -> Result<Vec<Other>, StepError> {
    let mut others = Vec::new();
    for look in 0..LOOKS {
        if look > 0 {
            sleep(LOOK).await;
        }
        others = others_in(context, inside).await?;
        others.retain(&is_minded);
        if others.is_empty() {
            break;
        }
    }
    Ok(others)
}

/// A session from 15 on reports what it wrote within 10 seconds when it is idle (`PGSTAT_IDLE_INTERVAL`).
const REPORT: i32 = 11;
const REPORT_LOOKS: u32 = 60;

/// Waits until the client sessions in the connection's database have reported what they wrote to the server's statistics.
///
/// Yields what cannot be known. Fails where one is in a transaction, which may commit at any time.
pub(super) async fn await_reports(
    context: &Context,
    inside: &Connection,
) -> Result<Option<String>, StepError> {
    let (kind, reports) = match inside.version().major() {
        ..1000 => ("a.query NOT LIKE 'autovacuum:%'", false),
        major => (
            "coalesce(a.backend_type, 'client backend') = 'client backend'",
            major >= 1500,
        ),
    };
    let sql = format!(
        "SELECT coalesce(a.application_name, ''), \
                pg_catalog.format('process %s, role \"%s\", application \"%s\"', a.pid, a.usename, a.application_name), \
                a.xact_start IS NOT NULL, \
                coalesce(clock_timestamp() - a.state_change > {REPORT} * interval '1 second', false) \
         FROM pg_catalog.pg_stat_activity a \
         WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid() AND {kind} ORDER BY a.pid"
    );
    let (mut within, mut silent) = (Vec::new(), Vec::new());
    for look in 0..REPORT_LOOKS {
        if look > 0 {
            sleep(LOOK).await;
        }
        let rows = inside.query(&sql, &[]).await;
        let rows = rows.map_err(inside.failed("look for sessions in the database"))?;
        within.clear();
        silent.clear();
        for row in rows {
            let who: String = row.get(1);
            if context.shared.application.owns(row.get(0)) {
                continue;
            }
            if row.get(2) {
                within.push(who);
            } else if !reports || !row.get::<_, bool>(3) {
                silent.push(who);
            }
        }
        if within.is_empty() && (silent.is_empty() || !reports) {
            break;
        }
    }
    if !within.is_empty() {
        return Err(StepError::new(format!(
            "another session is in a transaction in it on the target, and what that writes cannot be seen before it ends: {}",
            escape_control(&some_of(&within, NAMED))
        ))
        .help("end that session (pg_terminate_backend), and run again"));
    }
    Ok((!silent.is_empty()).then(|| {
        format!(
            "whether another session wrote to it on the target cannot be known as long as that is connected, since the server's \
             statistics may lack what it did last: {}",
            escape_control(&some_of(&silent, NAMED))
        )
    }))
}

/// How many they are.
pub(super) fn number(others: &[Other]) -> String {
    match others.len() {
        1 => "1 other session is".to_owned(),
        more => format!("{more} other sessions are"),
    }
}

/// Who they are, fit for a terminal.
pub(super) fn names(others: &[Other]) -> String {
    let mut named: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for other in others {
        *named.entry((&other.role, &other.application)).or_default() += 1;
    }
    let parts = named.into_iter().map(|((role, application), sessions)| {
        let application = match application {
            "" => "no application name".to_owned(),
            name => format!("application \"{name}\""),
        };
        let times = if sessions > 1 {
            format!("{sessions} times ")
        } else {
            String::new()
        };
        format!("{times}role \"{role}\", {application}")
    });
    escape_control(&parts.collect::<Vec<_>>().join("; ")).into_owned()
}

/// Fails where sessions of others stay in a database that was found empty: taking a privilege ends nobody. Superusers' are told
/// when the database is verified; they may be of agents, which only read.
pub(super) async fn refuse_who_stays(context: &Context) -> Result<(), StepError> {
    let inside = context.connect(Side::Target).await?;
    let others = others_that_stay(context, &inside, |other| !other.is_superuser).await?;
    inside.close().await;
    if others.is_empty() {
        return Ok(());
    }
    Err(StepError::new(format!(
        "the empty database \"{}\" on the target is not filled: {} connected to it, and could change what is restored ({})",
        context.shown_database(),
        number(&others),
        names(&others)
    ))
    .help(
        "let the application connect when the run is done: stop it, or end its sessions (pg_terminate_backend) and revoke CONNECT \
         on the database from its role, and run again",
    ))
}

/// What was seen of others in a database while it was this plan's alone.
#[derive(Default)]
pub(super) struct Seen {
    pub warnings: Vec<String>,
    /// What no step did.
    pub changed: Option<String>,
    /// The tables of which that is known.
    pub tables: Vec<TableName>,
}

/// Looks for other sessions, and for what only others do: a restore inserts rows, and neither updates nor deletes any, and once
/// it is done no step writes. Extensions' own scripts, and processes, may do so in their own tables. `but`: tables that are not
/// looked at.
pub(super) async fn look(context: &Context, but: &BTreeSet<TableName>) -> Result<Seen, StepError> {
    // Others may have been let in, and what they do is theirs.
    if !context.is_closed {
        return Ok(Seen::default());
    }
    let inside = context.connect(Side::Target).await?;
    let others = others_in(context, &inside).await?;
    let rows = inside
        .query(
            "SELECT pg_catalog.format('%s.%s (%s updated, %s deleted)', s.schemaname, s.relname, s.n_tup_upd, s.n_tup_del), \
                    s.schemaname::text, s.relname::text \
             FROM pg_catalog.pg_stat_user_tables s JOIN pg_catalog.pg_class c ON c.oid = s.relid AND c.relkind = 'r' \
             WHERE s.n_tup_upd + s.n_tup_del > 0 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
                 WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = s.relid AND d.deptype = 'e') \
             ORDER BY s.schemaname, s.relname",
            &[],
        )
        .await
        .map_err(inside.failed("look for rows that others changed"))?;
    let mut warnings = Vec::new();
    let since_restore = written_since_restore(context, &inside, &mut warnings).await?;
    inside.close().await;
    let database = context.shown_database();
    let sessions = (!others.is_empty()).then(|| {
        format!(
            "database {database}: while it was closed, {} connected to it on the target ({}): only superusers can be; make sure \
             that it writes nothing before the run is done",
            number(&others),
            names(&others)
        )
    });
    let table = |row: &Row| TableName::new(row.get::<_, &str>(1), row.get::<_, &str>(2));
    let rows = rows.iter().map(|row| (row.get(0), table(row)));
    let (done, tables): (Vec<String>, Vec<TableName>) =
        rows.filter(|(_, table)| !but.contains(table)).unzip();
    let changed = (!done.is_empty()).then(|| {
        format!(
            "rows were updated or deleted on the target by another session before the database was opened, by the server's \
             statistics: {}",
            escape_control(&some_of(&done, NAMED))
        )
    });
    warnings.extend(sessions);
    Ok(Seen {
        warnings,
        changed: changed.or(since_restore),
        tables,
    })
}

/// Tables that a person may change as the run asked for: those, their partitions, and what refers to them, in which rows go with
/// theirs.
pub(super) async fn asked(context: &Context) -> Result<BTreeSet<TableName>, StepError> {
    if context.asked.is_empty() {
        return Ok(BTreeSet::new());
    }
    let inside = context.connect(Side::Target).await?;
    let tables = reached_from(&inside, &context.asked).await?;
    inside.close().await;
    Ok(tables)
}

/// As [`asked`], of these tables.
pub(super) async fn reached_from(
    inside: &Connection,
    asked: &BTreeSet<TableName>,
) -> Result<BTreeSet<TableName>, StepError> {
    let (schemas, names): (Vec<&str>, Vec<&str>) = asked
        .iter()
        .map(|table| (table.schema.as_str(), table.name.as_str()))
        .unzip();
    let rows = inside
        .query(
            "WITH RECURSIVE asked (oid) AS ( \
                 SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[])) \
                 UNION SELECT b.oid FROM asked JOIN ( \
                     SELECT inhparent AS of, inhrelid AS oid FROM pg_catalog.pg_inherits \
                     UNION ALL SELECT confrelid, conrelid FROM pg_catalog.pg_constraint WHERE contype = 'f') b ON b.of = asked.oid) \
             SELECT n.nspname::text, c.relname::text \
             FROM asked JOIN pg_catalog.pg_class c USING (oid) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
            &[&schemas, &names],
        )
        .await
        .map_err(inside.failed("look for tables that refer to those to be corrected"))?;
    let table = |row: &Row| TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1));
    Ok(rows.iter().map(table).collect())
}

/// What shows that another session wrote to the database after its restore: rows, or objects.
async fn written_since_restore(
    context: &Context,
    inside: &Connection,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, StepError> {
    let Some(before) = &context.restored else {
        return Ok(None);
    };
    let between = "its restore and its verification";
    let application = &context.shared.application;
    let wrote = wrote(inside, application, before, between).await?;
    Ok(wrote.or_told(context, warnings))
}

/// Whether another session wrote to a closed database since a mark, in words.
pub(super) enum Wrote {
    Nobody,
    /// To be told: the server cannot tell, or it may have been a session of an extension.
    Perhaps(String),
    Somebody(String),
}

impl Wrote {
    /// What is certain; the rest becomes a warning.
    pub(super) fn or_told(self, context: &Context, warnings: &mut Vec<String>) -> Option<String> {
        match self {
            Wrote::Nobody => None,
            Wrote::Perhaps(what) => {
                warnings.push(format!("database {}: {what}", context.shown_database()));
                None
            }
            Wrote::Somebody(what) => Some(what),
        }
    }
}

/// Whether another session wrote to the connection's database since: rows, or objects. `between`: when that was.
pub(super) async fn wrote(
    inside: &Connection,
    application: &Application,
    before: &WriteMark,
    between: &str,
) -> Result<Wrote, StepError> {
    let since = written_since_in(inside, application, Some(before)).await?;
    in_words(inside, since, between).await
}

/// As [`wrote`], of what is known.
pub(super) async fn in_words(
    inside: &Connection,
    since: Since,
    between: &str,
) -> Result<Wrote, StepError> {
    match since {
        Since::Unwritten => Ok(Wrote::Nobody),
        Since::Unknown => Ok(Wrote::Perhaps(format!(
            "whether another session wrote to it on the target between {between} is not known, because the server's statistics \
             were reset, lost in a crash, or do not count everything (track_counts)"
        ))),
        Since::Written => {
            let what = format!(
                "another session wrote to it on the target between {between}, by the server's statistics (pg_stat_database)"
            );
            if has_tables_of_extensions(inside).await? {
                return Ok(Wrote::Perhaps(format!(
                    "{what}; it may be one of an extension, whose tables it has"
                )));
            }
            Ok(Wrote::Somebody(what))
        }
    }
}

async fn has_tables_of_extensions(inside: &Connection) -> Result<bool, StepError> {
    let row = inside
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid \
             WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'e' AND c.relkind IN ('r', 'p'))",
            &[],
        )
        .await
        .map_err(inside.failed("look for tables of extensions"))?;
    Ok(row.get(0))
}

/// Puts on record how much was written to a database until a step in it failed: a person may complete it by hand, and let
/// an application in. Yields what is to be told.
pub(super) async fn leave(context: &Context) -> Option<String> {
    record_written(context, |database, written, _| Change::LeaveDatabase {
        database,
        written,
    })
    .await
}

/// Puts on record how much was written to a database when its restore was done.
pub(super) async fn restored(context: &Context) {
    let told = record_written(context, |database, written, filled| {
        Change::RestoredDatabase {
            database,
            written,
            filled,
        }
    });
    context.notices.extend(told.await);
}

/// Puts on record what a later verification does not see any more where somebody makes up for it.
pub(super) async fn record_difference(
    context: &Context,
    tables: &[TableName],
) -> Result<(), StepError> {
    let known = context.differences.as_ref();
    if known.is_some_and(|known| tables.iter().all(|table| known.contains(table))) {
        return Ok(());
    }
    context
        .record(Change::FindDifference {
            database: context.database_name().to_owned(),
            tables: tables.to_vec(),
        })
        .await
}

/// Yields what is to be told where that fails.
async fn record_written(
    context: &Context,
    change: impl FnOnce(String, WriteMark, Option<Filled>) -> Change,
) -> Option<String> {
    let recorded = async {
        let inside = context.connect(Side::Target).await?;
        let application = &context.shared.application;
        // One of a client program that was killed may build an index for long, and what it writes then is no client's.
        if !await_our_sessions(&inside, application).await? {
            inside.close().await;
            return Err(StepError::new("a session of this run in it does not end"));
        }
        let filled = filled(&inside).await?;
        let written = written(&inside, application).await?;
        inside.close().await;
        let database = context.database_name().to_owned();
        context.record(change(database, written, filled)).await
    };
    let error = recorded.await.err()?;
    let database = context.shown_database();
    Some(format!(
        "database {database}: whether another session writes to it on the target from here on, until it is opened, will not be \
             known, because nobody could look how much was written to it so far: {}",
        escape_control(&error.to_string().replace('\n', "; "))
    ))
}
