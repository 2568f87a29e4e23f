//! Statements with what nobody else may read, kept out of what a server writes down.

use super::query;
use crate::postgres::{Connection, Error};

/// By which a session's statements are written nowhere: neither those that are run nor those that fail, whole or as they are parsed.
const UNWRITTEN: [(&str, &str); 10] = [
    ("debug_print_parse", "off"),
    ("debug_print_plan", "off"),
    ("debug_print_rewritten", "off"),
    ("log_min_duration_sample", "-1"),
    ("log_min_duration_statement", "-1"),
    ("log_min_error_statement", "panic"),
    ("log_statement", "none"),
    ("log_transaction_sample_rate", "0"),
    ("pg_stat_statements.track_utility", "off"),
    ("pgaudit.log", "none"),
];

/// Of those, what would write the statements of CREATE and ALTER ROLE.
const WRITTEN: &str = "\
    SELECT name || ' = ' || setting FROM pg_catalog.pg_settings \
    WHERE CASE name WHEN 'log_statement' THEN setting IN ('ddl', 'mod', 'all') \
                    WHEN 'log_min_duration_sample' THEN setting <> '-1' \
                    WHEN 'log_min_duration_statement' THEN setting <> '-1' \
                    WHEN 'log_transaction_sample_rate' THEN setting <> '0' \
                    WHEN 'pg_stat_statements.track_utility' THEN setting = 'on' \
                    WHEN 'pgaudit.log' THEN setting NOT IN ('', 'none') ELSE false END \
    ORDER BY name";

/// Sets of the session what our role may; what is left by which its statements are written, as `NAME = VALUE`.
///
/// # Errors
///
/// A server that is lost.
pub(crate) async fn keep_out_of_log(connection: &Connection) -> Result<Vec<String>, Error> {
    // The privilege on a parameter is new in 15.
    let may_set = match connection.version().major() {
        1500.. => "has_parameter_privilege(s.name, 'SET')",
        _ => "current_setting('is_superuser') = 'on' OR s.context = 'user'",
    };
    let values = UNWRITTEN.map(|(name, value)| format!("('{name}', '{value}')"));
    let sql = format!(
        "SELECT set_config(s.name, u.value, false) FROM pg_catalog.pg_settings s \
         JOIN (VALUES {}) AS u (name, value) ON u.name = s.name WHERE {may_set}",
        values.join(", ")
    );
    query::rows(connection, "keep statements out of the server's log", &sql).await?;
    query::texts(connection, "ask which statements the server logs", WRITTEN).await
}
