//! What of the source no client program brings along.

use super::contents::USER_SCHEMA;
use super::query;
use crate::catalog::{NotMoved, NotMovedKind};
use crate::postgres::{Connection, Error};

/// Of what initdb made, oids are lower (FirstNormalObjectId).
const BY_USERS: &str = "16384";

/// Reads what of the server as a whole is not moved. `target_user`: the role that runs the migration on the target.
pub(super) async fn of_server(
    connection: &Connection,
    target_user: &str,
) -> Result<Vec<NotMoved>, Error> {
    let mut found = Vec::new();
    let sql = "SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1) \
               FROM pg_catalog.pg_db_role_setting s, LATERAL unnest(s.setconfig) AS c \
               WHERE s.setdatabase = 0 AND s.setrole = 0 ORDER BY c";
    found.extend(read(connection, NotMovedKind::SettingOfAllRoles, sql).await?);
    let sql = "SELECT pg_get_userbyid(m.roleid)::text, pg_get_userbyid(m.member)::text \
               FROM pg_catalog.pg_auth_members m \
               WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = m.roleid) \
                  OR NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = m.member) \
                  OR NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = m.grantor) \
               ORDER BY m.roleid, m.member";
    found.extend(read(connection, NotMovedKind::MembershipWithoutRole, sql).await?);
    let sql = "SELECT d.datname::text, l.provider FROM pg_catalog.pg_shseclabel l \
               JOIN pg_catalog.pg_database d ON d.oid = l.objoid \
               WHERE l.classoid = 'pg_catalog.pg_database'::regclass ORDER BY d.datname, l.provider";
    found.extend(read(connection, NotMovedKind::SecurityLabel, sql).await?);
    let sql = "SELECT r.rolname::text, 'setting ' || c \
               FROM pg_catalog.pg_db_role_setting s \
               JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, LATERAL unnest(s.setconfig) AS c \
               WHERE s.setdatabase = 0 AND r.rolname = $1 \
               UNION ALL SELECT r.rolname::text, 'comment' FROM pg_catalog.pg_roles r \
               WHERE r.rolname = $1 AND shobj_description(r.oid, 'pg_authid') IS NOT NULL \
               UNION ALL SELECT r.rolname::text, 'membership in role ' || pg_get_userbyid(m.roleid) \
               FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles r ON r.oid = m.member \
               WHERE r.rolname = $1 ORDER BY 2";
    let rows = connection
        .query(sql, &[&target_user])
        .await
        .map_err(connection.failed("read the role that runs the migration"))?;
    found.extend(rows.iter().map(|row| NotMoved {
        what: NotMovedKind::MigratingRole,
        object: row.get(0),
        detail: row.get(1),
    }));
    Ok(found)
}

/// Reads what of the connection's database is not moved. Of one that does not migrate, only what other
/// databases have from it is read.
pub(super) async fn of_database(
    connection: &Connection,
    migrates: bool,
) -> Result<Vec<NotMoved>, Error> {
    let version = connection.version().major();
    let mut found = Vec::new();
    if !migrates {
        // New in 9.6, as are the privileges that initdb gives on functions.
        if version >= 906 {
            let sql = "SELECT p.oid::regprocedure::text, ''::text FROM pg_catalog.pg_proc p \
                       LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = p.oid \
                            AND i.classoid = 'pg_catalog.pg_proc'::regclass AND i.objsubid = 0 \
                       WHERE p.oid < 16384 AND p.proacl IS DISTINCT FROM i.initprivs \
                         AND p.proacl IS NOT NULL ORDER BY 1";
            found.extend(read(connection, NotMovedKind::SystemPrivilege, sql).await?);
        }
        return Ok(found);
    }
    let member_of_extension = |class: &str, alias: &str| {
        format!(
            "EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.{class}'::regclass \
             AND d.objid = {alias}.oid AND d.objsubid = 0 AND d.deptype = 'e')"
        )
    };
    let queries = [
        (
            NotMovedKind::AclWithoutRole,
            format!(
                "SELECT DISTINCT n.nspname || '.' || c.relname, a.grantee::text \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, \
                      LATERAL aclexplode(c.relacl) AS a \
                 WHERE {USER_SCHEMA} AND a.grantee <> 0 \
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = a.grantee) \
                 ORDER BY 1, 2"
            ),
        ),
        (
            NotMovedKind::ExtensionOwner,
            format!(
                "SELECT e.extname::text, pg_get_userbyid(e.extowner)::text FROM pg_catalog.pg_extension e \
                 WHERE e.oid >= {BY_USERS} ORDER BY 1"
            ),
        ),
        (
            NotMovedKind::ExtensionRows,
            "SELECT n.nspname || '.' || c.relname, e.extname::text \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid \
                  AND d.objsubid = 0 AND d.deptype = 'e' \
             JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
             WHERE c.relkind = 'r' AND NOT c.oid = ANY (coalesce(e.extconfig, '{}')) \
               AND pg_relation_size(c.oid) > 0 ORDER BY 1"
                .to_owned(),
        ),
        (
            NotMovedKind::Dropped,
            "SELECT 'schema public', '' WHERE NOT EXISTS \
                    (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'public') \
             UNION ALL SELECT 'extension plpgsql', '' WHERE NOT EXISTS \
                    (SELECT FROM pg_catalog.pg_extension WHERE extname = 'plpgsql')"
                .to_owned(),
        ),
        (
            NotMovedKind::RangeFunction,
            format!(
                "SELECT p.oid::regprocedure::text, ''::text FROM pg_catalog.pg_proc p \
                 WHERE p.oid >= {BY_USERS} AND p.proacl IS NOT NULL AND EXISTS \
                       (SELECT FROM pg_catalog.pg_depend d \
                        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid \
                          AND d.refclassid = 'pg_catalog.pg_type'::regclass AND d.deptype = 'i') \
                 ORDER BY 1"
            ),
        ),
        (
            NotMovedKind::SystemSchema,
            format!(
                "SELECT n.nspname || '.' || c.relname, ''::text FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.oid >= {BY_USERS} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
                   AND n.nspname IN ('pg_catalog', 'information_schema') AND NOT {} \
                 UNION ALL SELECT n.nspname || '.' || p.proname \
                        || '(' || pg_get_function_identity_arguments(p.oid) || ')', ''::text \
                 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
                 WHERE p.oid >= {BY_USERS} AND n.nspname IN ('pg_catalog', 'information_schema') AND NOT {} \
                 ORDER BY 1",
                member_of_extension("pg_class", "c"),
                member_of_extension("pg_proc", "p")
            ),
        ),
        (
            NotMovedKind::UnreadableTable,
            format!(
                "SELECT n.nspname || '.' || c.relname, ''::text FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'p', 'm', 'S') AND {USER_SCHEMA} AND NOT {} \
                   AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) \
                 ORDER BY 1",
                member_of_extension("pg_class", "c")
            ),
        ),
    ];
    for (what, sql) in queries {
        found.extend(read(connection, what, &sql).await?);
    }
    let sql = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let is_superuser: bool = query::row(connection, "read our role", sql).await?.get(0);
    if !is_superuser {
        let sql = "SELECT 'user mapping of ' || usename || ' for server ' || srvname, ''::text \
                   FROM pg_catalog.pg_user_mappings WHERE umoptions IS NULL ORDER BY 1";
        found.extend(read(connection, NotMovedKind::UnreadableDefinition, sql).await?);
        if version >= 1000 {
            let sql = "SELECT 'subscription ' || s.subname, ''::text FROM pg_catalog.pg_subscription s \
                       JOIN pg_catalog.pg_database d ON d.oid = s.subdbid \
                       WHERE d.datname = current_database() ORDER BY 1";
            found.extend(read(connection, NotMovedKind::UnreadableDefinition, sql).await?);
        }
    }
    Ok(found)
}

async fn read(
    connection: &Connection,
    what: NotMovedKind,
    sql: &str,
) -> Result<Vec<NotMoved>, Error> {
    let rows = query::rows(connection, "look for what is not moved", sql).await?;
    let found = rows.iter().map(|row| NotMoved {
        what,
        object: row.get(0),
        detail: row.get(1),
    });
    Ok(found.collect())
}
