//! The tables of the mark, and what is written to them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::error::Error;
use crate::journal::{AlteredSetting, Change, Position, Started, TunedSetting};
use crate::names::Kind;
use crate::postgres::Connection;

const TABLES: &str = "\
    CREATE SCHEMA mark; \
    CREATE TABLE mark.state ( \
        id text PRIMARY KEY, plan text NOT NULL, source text, run text NOT NULL, \
        change bigint NOT NULL, changed text NOT NULL, started timestamptz NOT NULL DEFAULT now()); \
    COMMENT ON TABLE mark.state IS \
        'A row for each state directory: its plan, the system_identifier of its source, the run that is or was at work, its last change \
that is in the journal as well.'; \
    CREATE TABLE mark.database ( \
        state text NOT NULL REFERENCES mark.state ON DELETE CASCADE, name text NOT NULL, \
        oid oid, was_there boolean NOT NULL DEFAULT false, verified timestamptz, handed_over timestamptz, \
        delayed boolean NOT NULL DEFAULT false, PRIMARY KEY (state, name)); \
    COMMENT ON TABLE mark.database IS \
        'The databases that plans made or filled; handed_over: clients may use it since; \
delayed: of its delayed tables not all are loaded and have their indexes.'; \
    CREATE TABLE mark.setting ( \
        state text NOT NULL REFERENCES mark.state ON DELETE CASCADE, name text NOT NULL, \
        before text, value text NOT NULL, server text NOT NULL, machine text, seen text, PRIMARY KEY (state, name)); \
    COMMENT ON TABLE mark.setting IS \
        'The settings of the server that plans changed for the load and did not restore yet: what postgresql.auto.conf held before.'; \
    CREATE TABLE mark.role ( \
        state text NOT NULL REFERENCES mark.state ON DELETE CASCADE, name text NOT NULL, oid oid NOT NULL, \
        PRIMARY KEY (state, name)); \
    COMMENT ON TABLE mark.role IS 'The roles that plans made.'; \
    CREATE TABLE mark.used_role ( \
        state text NOT NULL REFERENCES mark.state ON DELETE CASCADE, name text NOT NULL, PRIMARY KEY (state, name)); \
    COMMENT ON TABLE mark.used_role IS 'The roles of the source of each plan, whose clients may need them on the target.'; \
    CREATE TABLE mark.damage ( \
        plan text NOT NULL, what text NOT NULL, seen timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (plan, what)); \
    COMMENT ON TABLE mark.damage IS \
        'What was seen of a crash of the machine while it did not wait for the disk. It is about the whole cluster, and stays when its \
plan is discarded.'";

/// What the mark says of one state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub plan: String,
    /// The last change.
    pub position: Position,
    /// Settings of the server that are still those for the load, with what `postgresql.auto.conf` held before; `None`: nothing.
    pub settings: Vec<(String, Option<String>)>,
}

/// What the plan of one state directory did, by the mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marked {
    /// The id of the state directory.
    pub state: String,
    /// The system_identifier of its source, where that is known.
    pub source: Option<String>,
    /// The databases that it made, and that it was about to make, which have no object id.
    pub databases: Vec<MarkedDatabase>,
    pub roles: BTreeMap<String, u32>,
    /// Settings of the server that are still those for the load.
    pub settings: BTreeMap<String, TunedSetting>,
}

/// A database, by the mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MarkedDatabase {
    pub name: String,
    pub oid: Option<u32>,
    /// It was there, empty, before the plan filled it.
    pub was_there: bool,
    pub is_verified: bool,
    /// Clients may use it.
    pub is_handed_over: bool,
}

/// Whether our role may write to the tables; `None`: they are not there. Without any right to the schema, the question itself is
/// refused.
pub(super) async fn may_write(connection: &Connection) -> Result<Option<bool>, Error> {
    let row = connection
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_class \
             WHERE relname = 'setting' AND relnamespace = pg_catalog.to_regnamespace('mark'))",
            &[],
        )
        .await
        .map_err(connection.failed("look for the tables of the mark"))?;
    if !row.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = connection
        .query_one(
            "SELECT pg_catalog.has_table_privilege('mark.state', 'UPDATE')",
            &[],
        )
        .await
        .map_err(connection.failed("look at the privileges on the mark"))?;
    Ok(Some(row.get(0)))
}

/// Makes the tables, all or none.
pub(super) async fn create(connection: &Connection) -> Result<(), Error> {
    connection
        .batch_execute(&format!("BEGIN; {TABLES}; COMMIT"))
        .await
        .map_err(connection.failed("make the tables of the mark"))?;
    Ok(())
}

pub(super) async fn read(connection: &Connection, state: &str) -> Result<Option<Entry>, Error> {
    let row = connection
        .query_opt(
            "SELECT plan, change, changed FROM mark.state WHERE id = $1",
            &[&state],
        )
        .await
        .map_err(connection.failed("read the mark"))?;
    let settings = connection
        .query(
            "SELECT name, before FROM mark.setting WHERE state = $1 ORDER BY name",
            &[&state],
        )
        .await
        .map_err(connection.failed("read the mark"))?;
    let settings = settings.iter().map(|row| (row.get(0), row.get(1)));
    Ok(row.and_then(|row| {
        let number: i64 = row.get(1);
        Some(Entry {
            plan: row.get(0),
            position: Position {
                number: u64::try_from(number).ok()?,
                at: row.get::<_, &str>(2).parse().ok()?,
            },
            settings: settings.collect(),
        })
    }))
}

/// What plans of this name did, each with its own state directory.
pub(super) async fn of_plan(connection: &Connection, plan: &str) -> Result<Vec<Marked>, Error> {
    let rows = async |sql: &str| {
        let sql = format!("{sql} WHERE s.plan = $1 ORDER BY 1, 2");
        let rows = connection.query(&sql, &[&plan]).await;
        rows.map_err(connection.failed("read the mark"))
    };
    let states = rows("SELECT s.id, s.source FROM mark.state s").await?;
    let mut found: BTreeMap<String, Marked> = BTreeMap::new();
    for row in &states {
        let state: String = row.get(0);
        found.entry(state).or_default().source = row.get(1);
    }
    let databases = "SELECT state, name, oid, was_there, verified IS NOT NULL, handed_over IS NOT NULL \
                     FROM mark.database d JOIN mark.state s ON s.id = d.state";
    for row in rows(databases).await? {
        let of_state = found.entry(row.get(0)).or_default();
        of_state.databases.push(MarkedDatabase {
            name: row.get(1),
            oid: row.get(2),
            was_there: row.get(3),
            is_verified: row.get(4),
            is_handed_over: row.get(5),
        });
    }
    let roles = "SELECT state, name, oid FROM mark.role r JOIN mark.state s ON s.id = r.state";
    for row in rows(roles).await? {
        let of_state = found.entry(row.get(0)).or_default();
        of_state.roles.insert(row.get(1), row.get(2));
    }
    let settings = "SELECT state, name, before, value, server, machine, seen \
                    FROM mark.setting t JOIN mark.state s ON s.id = t.state";
    for row in rows(settings).await? {
        let of_state = found.entry(row.get(0)).or_default();
        of_state.settings.insert(row.get(1), setting(&row));
    }
    let named = found
        .into_iter()
        .map(|(state, marked)| Marked { state, ..marked });
    Ok(named.collect())
}

/// After the state directory and the name.
fn setting(row: &Row) -> TunedSetting {
    let seen: Option<&str> = row.get(6);
    TunedSetting {
        before: row.get(2),
        values: [row.get(3)].into(),
        since: Started {
            server: row.get(4),
            machine: row.get(5),
            seen: seen.and_then(|seen| serde_json::from_str(seen).ok()),
        },
    }
}

/// The settings that are still those for the load, of each other state directory, of whatever plan.
pub(super) async fn settings_of_others(
    connection: &Connection,
    state: &str,
) -> Result<Vec<BTreeMap<String, TunedSetting>>, Error> {
    let rows = connection
        .query(
            "SELECT state, name, before, value, server, machine, seen FROM mark.setting WHERE state <> $1",
            &[&state],
        )
        .await
        .map_err(connection.failed("read the mark"))?;
    let mut found: BTreeMap<String, BTreeMap<String, TunedSetting>> = BTreeMap::new();
    for row in rows {
        let of_state = found.entry(row.get(0)).or_default();
        of_state.insert(row.get(1), setting(&row));
    }
    Ok(found.into_values().collect())
}

/// Takes out that these settings are still those for the load, of whatever state directory, and keeps what was seen of a crash
/// meanwhile.
pub(super) async fn restored(
    connection: &Connection,
    plan: &str,
    settings: &[&str],
    damage: Option<&str>,
) -> Result<(), Error> {
    connection
        .execute(
            "WITH d AS (INSERT INTO mark.damage (plan, what) SELECT $1, $3 WHERE $3::text IS NOT NULL ON CONFLICT DO NOTHING) \
             DELETE FROM mark.setting t USING mark.state s \
             WHERE s.id = t.state AND s.plan = $1 AND t.name = ANY ($2)",
            &[&plan, &settings, &damage],
        )
        .await
        .map_err(connection.failed("write the mark"))?;
    Ok(())
}

/// Takes out what the mark has of settings that this state directory changed, but for these, and keeps what was seen of a crash when
/// they were restored.
pub(super) async fn keep_settings(
    connection: &Connection,
    (state, run): (&str, &str),
    settings: &[&str],
    damage: Option<&str>,
) -> Result<(), Error> {
    connection
        .execute(
            "WITH s AS (SELECT id, plan FROM mark.state WHERE id = $1 AND run = $2), \
                  d AS (INSERT INTO mark.damage (plan, what) SELECT plan, $4 FROM s WHERE $4::text IS NOT NULL \
                        ON CONFLICT DO NOTHING) \
             DELETE FROM mark.setting t USING s WHERE t.state = s.id AND t.name <> ALL ($3)",
            &[&state, &run, &settings, &damage],
        )
        .await
        .map_err(connection.failed("write the mark"))?;
    Ok(())
}

/// Takes out a database of this object id, of whatever state directory.
pub(super) async fn dropped(connection: &Connection, oid: u32) -> Result<(), Error> {
    connection
        .execute("DELETE FROM mark.database WHERE oid = $1", &[&oid])
        .await
        .map_err(connection.failed("write the mark"))?;
    Ok(())
}

/// What was seen of a crash of the target's machine while it did not wait for the disk, by any plan.
pub(super) async fn damage(connection: &Connection) -> Result<Option<String>, Error> {
    let row = connection
        .query_opt("SELECT what FROM mark.damage ORDER BY seen LIMIT 1", &[])
        .await
        .map_err(connection.failed("read the mark"))?;
    Ok(row.map(|row| row.get(0)))
}

/// Takes out what these state directories did, and where a person says that the cluster is sound, what was seen of a crash; how many
/// other state directories are left, and crashes.
pub(super) async fn forget(
    connection: &Connection,
    states: &[&str],
    is_sound: bool,
) -> Result<(i64, i64), Error> {
    let failed = || connection.failed("write the mark");
    if is_sound {
        connection
            .execute("DELETE FROM mark.damage", &[])
            .await
            .map_err(failed())?;
    }
    connection
        .execute("DELETE FROM mark.state WHERE id = ANY ($1)", &[&states])
        .await
        .map_err(failed())?;
    let row = connection
        .query_one(
            "SELECT (SELECT count(*) FROM mark.state), (SELECT count(*) FROM mark.damage)",
            &[],
        )
        .await;
    let row = row.map_err(failed())?;
    Ok((row.get(0), row.get(1)))
}

pub(super) async fn take_over(
    connection: &Connection,
    (plan, state): (&str, &str),
    run: &str,
) -> Result<(), Error> {
    let before = Timestamp::UNIX_EPOCH.to_string();
    connection
        .execute(
            "INSERT INTO mark.state (id, plan, run, change, changed) VALUES ($1, $2, $3, 0, $4) \
             ON CONFLICT (id) DO UPDATE SET plan = excluded.plan, run = excluded.run",
            &[&state, &plan, &run, &before],
        )
        .await
        .map_err(connection.failed("take the mark over"))?;
    Ok(())
}

pub(super) async fn ensure_ours(
    connection: &Connection,
    (state, run): (&str, &str),
) -> Result<(), Error> {
    let row = connection
        .query_opt(
            "SELECT FROM mark.state WHERE id = $1 AND run = $2",
            &[&state, &run],
        )
        .await
        .map_err(connection.failed("read the mark"))?;
    row.map(|_| ()).ok_or(Error::TakenOver)
}

pub(super) async fn made_by_another(
    connection: &Connection,
    state: &str,
    oid: u32,
) -> Result<Option<String>, Error> {
    let row = connection
        .query_opt(
            "SELECT s.plan FROM mark.database d JOIN mark.state s ON s.id = d.state \
             WHERE d.oid = $1 AND d.state <> $2 AND NOT d.was_there LIMIT 1",
            &[&oid, &state],
        )
        .await
        .map_err(connection.failed("read the mark"))?;
    Ok(row.map(|row| row.get(0)))
}

/// One statement, so that all of it or nothing is written. Changes of several steps may come out of turn. `written`: the number that
/// the run wrote already.
fn update(written: u64) -> String {
    format!(
        "WITH s AS (UPDATE mark.state SET changed = CASE WHEN change < $3 THEN $4 ELSE changed END, \
                   change = greatest(change, $3) WHERE id = $1 AND run = $2 AND change >= {written} RETURNING id)"
    )
}

pub(super) async fn write(
    connection: &Connection,
    (state, run): (&str, &str),
    change: Option<&Change>,
    position: Position,
    written: u64,
) -> Result<(), Error> {
    let number = i64::try_from(position.number).unwrap_or(i64::MAX);
    let at = position.at.to_string();
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&state, &run, &number, &at];
    let (names, befores, settings, oids, stepped, seen);
    let detail = match change {
        Some(Change::CreateDatabase { database }) => {
            values.push(database);
            "INSERT INTO mark.database (state, name) SELECT id, $5 FROM s \
             ON CONFLICT (state, name) DO UPDATE \
             SET oid = NULL, was_there = false, verified = NULL, handed_over = NULL, delayed = false"
        }
        Some(Change::CreatedDatabase { database, oid }) => {
            values.push(database);
            values.push(oid);
            "UPDATE mark.database d SET oid = $6 FROM s WHERE d.state = s.id AND d.name = $5"
        }
        Some(Change::FillDatabase { database, oid, .. }) => {
            values.push(database);
            values.push(oid);
            "INSERT INTO mark.database (state, name, oid, was_there) SELECT id, $5, $6, true FROM s \
             ON CONFLICT (state, name) DO UPDATE \
             SET oid = excluded.oid, was_there = true, verified = NULL, handed_over = NULL, delayed = false"
        }
        Some(Change::MarkWritten {
            database, delayed, ..
        }) => {
            values.push(database);
            values.push(delayed);
            // Verified again, it may have all of them.
            "UPDATE mark.database d SET verified = coalesce(verified, now()), \
                 delayed = CASE WHEN verified IS NULL THEN $6 ELSE delayed END FROM s \
             WHERE d.state = s.id AND d.name = $5"
        }
        Some(Change::StepKept { step }) if step.kind == Kind::RecreateIndexes => {
            stepped = step.database_name().map(|name| name.to_string());
            values.push(&stepped);
            "UPDATE mark.database d SET delayed = false FROM s WHERE d.state = s.id AND d.name = $5"
        }
        Some(Change::LetInDatabase { database, .. }) => {
            values.push(database);
            "UPDATE mark.database d SET handed_over = coalesce(handed_over, now()) FROM s \
             WHERE d.state = s.id AND d.name = $5"
        }
        Some(Change::DroppedDatabase { database }) => {
            values.push(database);
            "DELETE FROM mark.database d USING s WHERE d.state = s.id AND d.name = $5"
        }
        Some(Change::CreatedRoles { roles }) => {
            names = roles.keys().collect();
            oids = roles.values().copied().collect::<Vec<u32>>();
            values.extend([&names as &(dyn ToSql + Sync), &oids]);
            "INSERT INTO mark.role (state, name, oid) \
             SELECT s.id, n.name, n.oid FROM s, unnest($5::text[], $6::oid[]) AS n (name, oid) \
             ON CONFLICT (state, name) DO UPDATE SET oid = excluded.oid"
        }
        Some(Change::DroppedRole { role }) => {
            values.push(role);
            "DELETE FROM mark.role d USING s WHERE d.state = s.id AND d.name = $5"
        }
        Some(Change::AlterSystem {
            settings: set,
            since,
        }) => {
            seen = since
                .seen
                .map(|seen| serde_json::to_string(&seen).expect("numbers alone"));
            let of = |value: fn(&AlteredSetting) -> &String| set.iter().map(value).collect();
            names = of(|setting| &setting.name);
            settings = of(|setting| &setting.value);
            befores = set.iter().map(|setting| setting.before.as_ref()).collect();
            let parts: [&(dyn ToSql + Sync); 6] = [
                &names as &Vec<&String>,
                &befores as &Vec<Option<&String>>,
                &settings as &Vec<&String>,
                &since.server,
                &since.machine,
                &seen,
            ];
            values.extend(parts);
            // What was recorded first wins: later, the file holds what we wrote.
            "INSERT INTO mark.setting (state, name, before, value, server, machine, seen) \
             SELECT s.id, n.name, n.before, n.value, $8, $9, $10 \
             FROM s, unnest($5::text[], $6::text[], $7::text[]) AS n (name, before, value) \
             ON CONFLICT (state, name) DO UPDATE SET value = excluded.value"
        }
        Some(Change::SettingsRestored { settings, damage }) => {
            values.push(settings);
            values.push(damage);
            "INSERT INTO mark.damage (plan, what) \
             SELECT m.plan, $6 FROM mark.state m JOIN s ON s.id = m.id WHERE $6::text IS NOT NULL \
             ON CONFLICT DO NOTHING), r AS \
             (DELETE FROM mark.setting d USING s WHERE d.state = s.id AND d.name = ANY ($5)"
        }
        _ => "SELECT",
    };
    let sql = format!("{}, d AS ({detail} ) SELECT FROM s", update(written));
    let marked = connection
        .query(&sql, &values)
        .await
        .map_err(connection.failed("write the mark"))?;
    if marked.is_empty() {
        ensure_ours(connection, (state, run)).await?;
        return Err(Error::WentBack);
    }
    Ok(())
}
