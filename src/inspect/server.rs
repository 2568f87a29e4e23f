//! Facts about the server as a whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{query, roles, tablespaces};
use tokio_postgres::Row;

use crate::catalog::{Condition, Configuration, Newer, ServerFacts, Setting};
use crate::postgres::{Connection, Error};

/// Reads everything but the databases.
pub(super) async fn read(connection: &Connection) -> Result<ServerFacts, Error> {
    let version = connection.version();
    // `current_setting` cannot be asked for what may be missing before 9.6; the view can.
    let rows = query::rows(
            connection,
            "read the server's settings",
            "SELECT name, setting FROM pg_catalog.pg_settings \
             WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections', \
             'maintenance_work_mem', 'max_locks_per_transaction', 'max_prepared_transactions')",
        )
        .await?;
    let settings: HashMap<String, String> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let number = |name: &str| -> u32 {
        settings
            .get(name)
            .and_then(|setting| setting.parse().ok())
            .unwrap_or(0)
    };

    let (used, used_by_role, sees_sessions) = sessions(connection).await?;

    // The privilege on a parameter is new in 15.
    let may_set = |parameter: &str| match version.major() {
        1500.. => format!("has_parameter_privilege('{parameter}', 'SET')"),
        _ => "r.rolsuper".to_owned(),
    };
    let event_triggers = if version.major() >= 1700 {
        may_set("event_triggers")
    } else {
        "false".to_owned()
    };
    let language = may_set("lc_messages");
    let bypasses = if version.major() >= 905 {
        "r.rolbypassrls"
    } else {
        "true"
    };
    let replication_role = may_set("session_replication_role");
    let identity = query::row(
        connection,
        "read who and where we are",
        &format!(
            "SELECT current_user::text, r.rolsuper, r.rolcreatedb, r.rolcreaterole, \
                    has_table_privilege('pg_catalog.pg_authid', 'SELECT'), \
                    pg_is_in_recovery(), pg_postmaster_start_time()::text, \
                    {replication_role}, {event_triggers}, {language}, \
                    r.rolsuper OR {bypasses}, r.rolconnlimit \
             FROM pg_catalog.pg_roles r WHERE r.rolname = current_user"
        ),
    )
    .await?;

    let system_identifier = system_identifier(connection).await?;

    let roles = roles::read(connection, identity.get(4)).await?;
    let role_settings = role_settings(connection).await?;
    let tablespace_facts = tablespaces::read(connection).await?;
    // Providers exist from 10 on; before, every collation is of the operating system.
    let libc = if version.major() >= 1000 {
        "AND collprovider = 'c'"
    } else {
        ""
    };
    let locales = query::texts(
        connection,
        "list the locales",
        &format!(
            "SELECT locale FROM ( \
                     SELECT collcollate::text AS locale FROM pg_catalog.pg_collation \
                     WHERE collcollate IS NOT NULL {libc} \
                     UNION SELECT datcollate::text FROM pg_catalog.pg_database) AS known \
                 ORDER BY locale COLLATE \"C\""
        ),
    )
    .await?;

    Ok(ServerFacts {
        version,
        system_identifier,
        seen: connection.place().endpoint().watch.latest(),
        started: identity.get(6),
        max_connections: number("max_connections"),
        reserved_connections: number("superuser_reserved_connections")
            + number("reserved_connections"),
        used_connections: used,
        left_to_role: left_to_role(identity.get(1), identity.get(11), used_by_role),
        sees_sessions,
        user: identity.get(0),
        is_superuser: identity.get(1),
        can_create_database: identity.get(2),
        can_create_role: identity.get(3),
        bypasses_row_security: identity.get(10),
        reads_passwords: identity.get(4),
        in_recovery: identity.get(5),
        condition: Condition::default(),
        sets_replication_role: identity.get(7),
        sets_event_triggers: identity.get(8),
        sets_language: identity.get(9),
        lock_slots: u64::from(number("max_locks_per_transaction"))
            * u64::from(number("max_connections") + number("max_prepared_transactions")),
        // pg_settings shows it in kB.
        maintenance_work_mem: u64::from(number("maintenance_work_mem")) << 10,
        roles,
        kept_roles: BTreeSet::new(),
        role_settings,
        databases: Vec::new(),
        tablespaces: tablespace_facts.keys().cloned().collect(),
        tablespace_facts,
        makeable_tablespaces: Vec::new(),
        locales,
        not_moved: Vec::new(),
        lacked_libraries: Vec::new(),
        newer: Newer::default(),
        extension_versions: BTreeMap::new(),
        configuration: Configuration::default(),
    })
}

/// `pg_db_role_setting` of each role in every database.
async fn role_settings(connection: &Connection) -> Result<Vec<Setting>, Error> {
    let rows = query::rows(
        connection,
        "read the settings of roles",
        "SELECT r.rolname::text, c.setting \
         FROM pg_catalog.pg_db_role_setting s \
         JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, \
              LATERAL unnest(s.setconfig) WITH ORDINALITY AS c(setting, position) \
         WHERE s.setdatabase = 0 \
         ORDER BY r.rolname::text COLLATE \"C\", c.position",
    )
    .await?;
    let setting = |row: &Row| {
        let (name, value) = row.get::<_, &str>(1).split_once('=')?;
        Some(Setting {
            role: row.get(0),
            name: name.to_owned(),
            value: value.to_owned(),
        })
    };
    Ok(rows.iter().filter_map(setting).collect())
}

/// How many connections are in use, and whether our role sees what others do: of a session that it does not see it learns
/// no more than whose it is.
async fn sessions(connection: &Connection) -> Result<(u32, u32, bool), Error> {
    let major = connection.version().major();
    // Sessions of pg-migrate that are just ending would make two looks differ. Background processes show
    // in the view from 10 on and take no connection; where their type is hidden, they have no user.
    let clients = if major >= 1000 {
        "AND (backend_type = 'client backend' OR backend_type IS NULL AND usesysid IS NOT NULL)"
    } else {
        ""
    };
    let sees_sessions = if major >= 1000 {
        "pg_has_role('pg_read_all_stats', 'USAGE')"
    } else {
        "(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)"
    };
    let row = query::row(
        connection,
        "count the connections in use",
        &format!(
            "SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity \
                     WHERE pid <> pg_backend_pid() \
                       AND coalesce(application_name, '') NOT LIKE 'pg-migrate/%' {clients}), \
                    {sees_sessions}, \
                    (SELECT count(*) FROM pg_catalog.pg_stat_activity \
                     WHERE usename = current_user AND pid <> pg_backend_pid() \
                       AND coalesce(application_name, '') NOT LIKE 'pg-migrate/%')"
        ),
    )
    .await?;
    let number = |column| u32::try_from(row.get::<_, i64>(column)).unwrap_or(u32::MAX);
    Ok((number(0), number(2), row.get(1)))
}

/// What CONNECTION LIMIT of our role leaves to it. `limit`: −1 is none.
fn left_to_role(is_superuser: bool, limit: i32, used: u32) -> Option<u32> {
    let limit = u32::try_from(limit).ok()?;
    (!is_superuser).then(|| limit.saturating_sub(used))
}

/// Tells one cluster from another (9.6 and later); `None` where it may not be read.
///
/// # Errors
///
/// A connection that breaks.
pub(crate) async fn system_identifier(connection: &Connection) -> Result<Option<String>, Error> {
    if connection.version().major() < 906 {
        return Ok(None);
    }
    let allowed = query::row(
        connection,
        "ask for the right to read the system identifier",
        "SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')",
    )
    .await?;
    if !allowed.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = query::row(
        connection,
        "read the system identifier",
        "SELECT system_identifier::text FROM pg_catalog.pg_control_system()",
    )
    .await?;
    Ok(row.get(0))
}

/// The version that CREATE EXTENSION makes, by the extension's name; none where the server does not tell.
pub(super) async fn extension_versions(connection: &Connection) -> BTreeMap<String, String> {
    // One control file that cannot be read fails the view. What does not answer at all fails the next query.
    query::pairs(
        connection,
        "list the extensions that can be created",
        "SELECT name::text, default_version FROM pg_catalog.pg_available_extensions WHERE default_version IS NOT NULL",
    )
    .await
    .unwrap_or_default()
}
