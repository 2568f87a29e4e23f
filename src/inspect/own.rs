//! What an empty database holds that is no object of a user, and that would go with it: it was prepared for its use.

use super::query;
use crate::postgres::{Connection, Error};

/// In words, each once. Objects made after initdb have higher numbers than this (PostgreSQL manual, 67.2.2 "OID Assignment").
const FIRST_NORMAL_OID: u32 = 16384;

/// What a database made from `template0` does not hold. Of what users make, `contents_of` counts most; here is the rest.
pub(crate) async fn own_of(connection: &Connection) -> Result<Vec<String>, Error> {
    let major = connection.version().major();
    let mut parts = vec![
        has("default privileges", "pg_default_acl", "true"),
        has("event triggers", "pg_event_trigger", "true"),
        has("foreign-data wrappers", "pg_foreign_data_wrapper", "true"),
        has("security labels", "pg_seclabel", "true"),
        has(
            "privileges of roles",
            "pg_shdepend",
            "dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())",
        ),
        has(
            "another comment on the schema public",
            "pg_namespace",
            "nspname = 'public' AND pg_catalog.obj_description(oid, 'pg_namespace') IS DISTINCT FROM 'standard public schema'",
        ),
        "SELECT 'no schema public' WHERE NOT EXISTS \
         (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'public')"
            .to_owned(),
    ];
    for (word, catalog) in [
        ("access methods", "pg_am"),
        ("casts", "pg_cast"),
        ("collations", "pg_collation"),
        ("conversions", "pg_conversion"),
        ("languages", "pg_language"),
        ("operators", "pg_operator"),
        ("operator families", "pg_opfamily"),
        ("text search objects", "pg_ts_config"),
        ("text search objects", "pg_ts_dict"),
    ] {
        parts.push(has(word, catalog, &format!("oid >= {FIRST_NORMAL_OID}")));
    }
    if major >= 1000 {
        parts.push(has("publications", "pg_publication", "true"));
    }
    // Before, what initdb granted is not on record.
    if major >= 906 {
        parts.push(
            "SELECT 'other privileges on the schema public' FROM pg_catalog.pg_namespace n \
             LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = n.oid AND i.classoid = 'pg_catalog.pg_namespace'::regclass \
             WHERE n.nspname = 'public' AND ( \
                 n.nspowner <> (SELECT datdba FROM pg_catalog.pg_database WHERE datname = 'template0') \
                     AND pg_catalog.pg_get_userbyid(n.nspowner) <> 'pg_database_owner' \
                 OR n.nspacl IS DISTINCT FROM i.initprivs)"
                .to_owned(),
        );
    }
    let sql = format!(
        "SELECT DISTINCT word FROM ({}) AS own(word) ORDER BY 1",
        parts.join(" UNION ALL ")
    );
    query::texts(connection, "look for what an empty database holds", &sql).await
}

/// One row, the word, where the catalog has such a row.
fn has(word: &str, catalog: &str, condition: &str) -> String {
    format!("SELECT '{word}' WHERE EXISTS (SELECT FROM pg_catalog.{catalog} WHERE {condition})")
}
