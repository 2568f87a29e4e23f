//! Facts about the server as a whole.

use std::collections::HashMap;

use super::query;
use crate::catalog::{Configuration, Role, ServerFacts};
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
             'maintenance_work_mem')",
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

    // Sessions of pg-migrate that are just ending would make two looks differ. Background processes show
    // in the view from 10 on and take no connection.
    let clients = if version.major() >= 1000 {
        "AND backend_type = 'client backend'"
    } else {
        ""
    };
    let used = query::row(
            connection,
            "count the connections in use",
            &format!(
                "SELECT count(*) FROM pg_catalog.pg_stat_activity \
                 WHERE pid <> pg_backend_pid() AND application_name NOT LIKE 'pg-migrate/%' {clients}"
            ),
        )
        .await?
        .get::<_, i64>(0);

    // The privilege on a parameter is new in 15.
    let replication_role = if version.major() >= 1500 {
        "has_parameter_privilege('session_replication_role', 'SET')"
    } else {
        "r.rolsuper"
    };
    let identity = query::row(
        connection,
        "read who and where we are",
        &format!(
            "SELECT current_user::text, r.rolsuper, r.rolcreatedb, r.rolcreaterole, \
                    has_table_privilege('pg_catalog.pg_authid', 'SELECT'), \
                    pg_is_in_recovery(), pg_postmaster_start_time()::text, \
                    {replication_role} \
             FROM pg_catalog.pg_roles r WHERE r.rolname = current_user"
        ),
    )
    .await?;

    let system_identifier = system_identifier(connection).await?;

    let roles = query::rows(
            connection,
            "list the roles",
            "SELECT rolname::text, rolsuper, rolcanlogin FROM pg_catalog.pg_roles ORDER BY rolname::text COLLATE \"C\"",
        )
        .await?
        .iter()
        .map(|row| Role {
            name: row.get(0),
            is_superuser: row.get(1),
            can_login: row.get(2),
        })
        .collect();
    let tablespaces = query::texts(
        connection,
        "list the tablespaces",
        "SELECT spcname::text FROM pg_catalog.pg_tablespace \
             WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY spcname::text COLLATE \"C\"",
    )
    .await?;
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
        started: identity.get(6),
        max_connections: number("max_connections"),
        reserved_connections: number("superuser_reserved_connections")
            + number("reserved_connections"),
        used_connections: u32::try_from(used).unwrap_or(u32::MAX),
        user: identity.get(0),
        is_superuser: identity.get(1),
        can_create_database: identity.get(2),
        can_create_role: identity.get(3),
        reads_passwords: identity.get(4),
        in_recovery: identity.get(5),
        sets_replication_role: identity.get(7),
        // pg_settings shows it in kB.
        maintenance_work_mem: u64::from(number("maintenance_work_mem")) << 10,
        roles,
        databases: Vec::new(),
        tablespaces,
        locales,
        not_moved: Vec::new(),
        configuration: Configuration::default(),
    })
}

/// Tells one cluster from another (9.6 and later); `None` where it may not be read.
///
/// # Errors
///
/// A connection that breaks.
pub async fn system_identifier(connection: &Connection) -> Result<Option<String>, Error> {
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
