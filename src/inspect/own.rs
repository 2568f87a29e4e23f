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

/// What takes the database's default privileges back to none of its own, a statement each. Those of a whole database begin with
/// what the server grants anyway, those of a schema add to it (PostgreSQL manual, ALTER DEFAULT PRIVILEGES).
const WITHOUT_DEFAULT_PRIVILEGES: &str = "\
    SELECT pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s %s ALL ON %s %s %s', \
               pg_catalog.pg_get_userbyid(d.defaclrole), \
               (SELECT pg_catalog.format(' IN SCHEMA %I', n.nspname) FROM pg_catalog.pg_namespace n WHERE n.oid = d.defaclnamespace), \
               other.verb, \
               CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' \
                    WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END, \
               other.link, \
               CASE other.grantee WHEN 0 THEN 'PUBLIC' \
                    ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(other.grantee)) END) \
    FROM (SELECT *, CASE WHEN defaclnamespace = 0 \
                         THEN pg_catalog.acldefault((CASE WHEN defaclobjtype = 'S' THEN 's' ELSE defaclobjtype END)::\"char\", defaclrole) \
                         ELSE NULL::aclitem[] END AS usual \
          FROM pg_catalog.pg_default_acl) d, \
    LATERAL (SELECT DISTINCT 1 AS turn, 'REVOKE' AS verb, 'FROM' AS link, more.grantee FROM ( \
                 SELECT grantee, privilege_type, is_grantable FROM pg_catalog.aclexplode(d.defaclacl) \
                 EXCEPT SELECT grantee, privilege_type, is_grantable FROM pg_catalog.aclexplode(d.usual)) more \
             UNION ALL \
             SELECT DISTINCT 2, 'GRANT', 'TO', less.grantee FROM ( \
                 SELECT grantee, privilege_type, is_grantable FROM pg_catalog.aclexplode(d.usual) \
                 EXCEPT SELECT grantee, privilege_type, is_grantable FROM pg_catalog.aclexplode(d.defaclacl)) less) other \
    ORDER BY other.turn, 1";

/// Statements that leave a database without default privileges.
pub(crate) async fn without_default_privileges(
    connection: &Connection,
) -> Result<Vec<String>, Error> {
    let what = "read the default privileges of an empty database";
    query::texts(connection, what, WITHOUT_DEFAULT_PRIVILEGES).await
}

/// One row, the word, where the catalog has such a row.
fn has(word: &str, catalog: &str, condition: &str) -> String {
    format!("SELECT '{word}' WHERE EXISTS (SELECT FROM pg_catalog.{catalog} WHERE {condition})")
}
