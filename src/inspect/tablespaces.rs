//! Tablespaces: what they are, and which the target could make.

use std::collections::BTreeMap;

use super::query;
use crate::catalog::{Tablespace, TablespacePrivilege};
use crate::postgres::{Connection, Error};

/// By name, but for those that every server has.
pub(super) async fn read(connection: &Connection) -> Result<BTreeMap<String, Tablespace>, Error> {
    let rows = query::rows(
        connection,
        "read what the tablespaces are",
        "SELECT t.spcname::text, pg_get_userbyid(t.spcowner)::text, coalesce(t.spcoptions, '{}'), \
                shobj_description(t.oid, 'pg_tablespace') \
         FROM pg_catalog.pg_tablespace t WHERE t.spcname NOT IN ('pg_default', 'pg_global')",
    )
    .await?;
    let mut tablespaces = BTreeMap::new();
    for row in &rows {
        let options: Vec<String> = row.get(2);
        let options = options.iter().filter_map(|option| option.split_once('='));
        let tablespace = Tablespace {
            owner: row.get(1),
            options: options
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            comment: row.get(3),
            ..Tablespace::default()
        };
        tablespaces.insert(row.get(0), tablespace);
    }
    let rows = query::rows(
        connection,
        "read the privileges on tablespaces",
        "SELECT t.spcname::text, CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee)::text END, bool_or(a.is_grantable) \
         FROM pg_catalog.pg_tablespace t, LATERAL aclexplode(t.spcacl) a \
         WHERE t.spcname NOT IN ('pg_default', 'pg_global') AND a.grantee <> t.spcowner GROUP BY 1, 2",
    )
    .await?;
    for row in &rows {
        let privilege = TablespacePrivilege {
            grantee: row.get(1),
            is_grantable: row.get(2),
        };
        if let Some(tablespace) = tablespaces.get_mut(row.get::<_, &str>(0)) {
            tablespace.privileges.insert(privilege);
        }
    }
    Ok(tablespaces)
}

/// What is set for those that every server has, as the statement that sets it.
pub(super) const OF_INITDB: &str = "\
    SELECT t.spcname::text, one.statement FROM pg_catalog.pg_tablespace t, LATERAL ( \
        SELECT 'ALTER TABLESPACE ' || t.spcname || ' SET (' || replace(o, '=', ' = ') || ')' FROM unnest(t.spcoptions) AS o \
        UNION ALL SELECT 'GRANT CREATE ON TABLESPACE ' || t.spcname || ' TO ' || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END \
               || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END \
        FROM aclexplode(t.spcacl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee WHERE a.grantee <> t.spcowner \
        UNION ALL SELECT 'COMMENT ON TABLESPACE ' || t.spcname || ' IS ' || quote_literal(shobj_description(t.oid, 'pg_tablespace')) \
        UNION ALL SELECT 'ALTER TABLESPACE ' || t.spcname || ' OWNER TO ' || quote_ident(pg_get_userbyid(t.spcowner)) \
        WHERE t.spcowner <> 10) AS one (statement) \
    WHERE t.spcname IN ('pg_default', 'pg_global') AND one.statement IS NOT NULL ORDER BY 1, 2";

/// Tablespaces of the source that the target lacks and that its role, a superuser, can make there: the directory is there,
/// empty. Only superusers see that. Whether the server may also write to it, the attempt tells.
pub(super) async fn makeable(
    source: &Connection,
    target: &Connection,
) -> Result<Vec<String>, Error> {
    // Before 9.6 a file that is missing is an error.
    if target.version().major() < 906 {
        return Ok(Vec::new());
    }
    let rows = query::rows(
        source,
        "ask where the tablespaces are",
        "SELECT spcname::text, pg_tablespace_location(oid) FROM pg_catalog.pg_tablespace \
         WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY spcname::text COLLATE \"C\"",
    )
    .await?;
    let mut makeable = Vec::new();
    for row in &rows {
        let location: &str = row.get(1);
        let looked = target
            .query_one(
                "SELECT $1 LIKE '/%' AND coalesce((pg_catalog.pg_stat_file($1, true)).isdir, false) \
                    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_ls_dir($1, true, false))",
                &[&location],
            )
            .await;
        match looked {
            Ok(found) if found.get(0) => makeable.push(row.get(0)),
            Ok(_) => {}
            // A directory that the server may not look into is not its own.
            Err(error) if error.as_db_error().is_some() => {
                tracing::debug!(%error, location, "the target cannot look at the place of a tablespace");
            }
            Err(error) => return Err(target.failed("look at the place of a tablespace")(error)),
        }
    }
    Ok(makeable)
}
