//! Settings as the server's own configuration has them.

use std::collections::BTreeMap;

use super::query;
use crate::catalog::{Origin, ServerSetting, WATCHED};
use crate::postgres::{Connection, Error};

/// Those of [`WATCHED`], by name. Where the session has a setting of its own, its role's or its database's, the server's is
/// looked up in the configuration files; it is missing where they may not be read.
pub(super) async fn read(
    connection: &Connection,
    reads_files: bool,
) -> Result<BTreeMap<String, ServerSetting>, Error> {
    let rows = query::rows(
        connection,
        "read where settings come from",
        &format!(
            "SELECT name, setting, source, sourcefile, sourceline FROM pg_catalog.pg_settings WHERE name IN ({})",
            watched()
        ),
    )
    .await?;
    let mut found = BTreeMap::new();
    let mut hidden = Vec::new();
    for row in &rows {
        let name: String = row.get(0);
        let source: &str = row.get(2);
        match origin(source, row.get(3), row.get(4)) {
            Some(origin) => {
                let setting = row.get::<_, Option<String>>(1).unwrap_or_default();
                let entry = ServerSetting {
                    name: name.clone(),
                    setting,
                    origin,
                };
                found.insert(name, entry);
            }
            None => hidden.push(name),
        }
    }
    if reads_files && !hidden.is_empty() {
        let in_files = in_files(connection).await?;
        found.extend(
            in_files
                .into_iter()
                .filter(|(name, _)| hidden.contains(name)),
        );
    }
    Ok(found)
}

/// Settings of which clients of the source expect what it has: they decide what is read, shown and computed.
const OF_CLIENTS: [&str; 26] = [
    "array_nulls",
    "backslash_quote",
    "bytea_output",
    "datestyle",
    "default_table_access_method",
    "default_tablespace",
    "default_text_search_config",
    "default_transaction_isolation",
    "extra_float_digits",
    "gin_fuzzy_search_limit",
    "intervalstyle",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lo_compat_privileges",
    "max_prepared_transactions",
    "quote_all_identifiers",
    "row_security",
    "search_path",
    "standard_conforming_strings",
    "timezone",
    "timezone_abbreviations",
    "track_commit_timestamp",
    "transform_null_equals",
    "xmlbinary",
    "xmloption",
];

/// Customized parameters in the configuration files. A value may be a secret, so that no more than its digest is kept.
const CUSTOMIZED: &str = "\
    SELECT lower(name), pg_catalog.md5(setting) FROM pg_catalog.pg_file_settings \
    WHERE applied AND strpos(name, '.') > 0 AND lower(name) <> 'plpgsql.variable_conflict' AND setting IS NOT NULL ORDER BY seqno";

/// Those of the server, by name in lower case: what RESET goes back to, in a session with values of its own as ours. Left out are
/// those that ALTER ROLE or ALTER DATABASE set for it.
pub(super) async fn of_clients(connection: &Connection) -> Result<BTreeMap<String, String>, Error> {
    let names = OF_CLIENTS.map(|name| format!("'{name}'")).join(", ");
    let major = connection.version().major();
    // Before it is loaded, and where nobody sets it, PL/pgSQL has no parameter yet.
    let of_plpgsql = if major >= 906 {
        "UNION ALL SELECT 'plpgsql.variable_conflict', \
                coalesce(nullif(pg_catalog.current_setting('plpgsql.variable_conflict', true), ''), 'error')"
    } else {
        ""
    };
    let sql = format!(
        "SELECT v.name, v.value FROM ( \
             SELECT lower(name) AS name, reset_val AS value FROM pg_catalog.pg_settings \
             WHERE lower(name) IN ({names}) {of_plpgsql}) v \
         WHERE v.value IS NOT NULL AND NOT EXISTS ( \
             SELECT FROM pg_catalog.pg_db_role_setting s, LATERAL unnest(s.setconfig) AS c \
             WHERE s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) \
               AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user)) \
               AND lower(split_part(c, '=', 1)) = v.name)"
    );
    let mut found = query::pairs(connection, "read settings of clients", &sql).await?;
    // What it means changed with 12.
    if major < 1200 {
        found.remove("extra_float_digits");
    }
    if major >= 905 {
        let sql = "SELECT has_table_privilege('pg_catalog.pg_file_settings', 'SELECT') \
                   AND has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'EXECUTE')";
        let may_read = query::row(
            connection,
            "ask for the right to read the configuration files",
            sql,
        )
        .await?;
        if may_read.get(0) {
            let action = "read customized parameters";
            found.extend(query::pairs(connection, action, CUSTOMIZED).await?);
        }
    }
    Ok(found)
}

/// As the configuration files have them.
async fn in_files(connection: &Connection) -> Result<BTreeMap<String, ServerSetting>, Error> {
    let rows = query::rows(
        connection,
        "read settings in the configuration files",
        &format!(
            "SELECT lower(name), setting, sourcefile, sourceline FROM pg_catalog.pg_file_settings \
             WHERE applied AND lower(name) IN ({}) ORDER BY seqno",
            watched()
        ),
    )
    .await?;
    let of_row = |row: &tokio_postgres::Row| {
        let name: String = row.get(0);
        let entry = ServerSetting {
            name: name.clone(),
            setting: row.get::<_, Option<String>>(1).unwrap_or_default(),
            origin: of_file(row.get(2), row.get(3)),
        };
        (name, entry)
    };
    Ok(rows.iter().map(of_row).collect())
}

fn watched() -> String {
    let names = WATCHED.map(|name| format!("'{name}'"));
    names.join(", ")
}

/// `None`: it is the session's own, its role's or its database's. `source` is a name of `GucSource_Names` (guc_tables.c).
fn origin(source: &str, file: Option<String>, line: Option<i32>) -> Option<Origin> {
    Some(match source {
        "default" => Origin::Default,
        "configuration file" => of_file(file, line),
        "command line" | "override" => Origin::CommandLine,
        "environment variable" => Origin::Environment,
        "global" => Origin::AllRoles,
        _ => return None,
    })
}

fn of_file(file: Option<String>, line: Option<i32>) -> Origin {
    match file {
        Some(file) if file.ends_with("/postgresql.auto.conf") => Origin::AlterSystem,
        Some(file) => Origin::File(Some((file, line))),
        None => Origin::File(None),
    }
}
