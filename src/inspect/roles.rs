//! Roles, with what a migration sets of them.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use tokio_postgres::Row;

use super::query;
use crate::catalog::{Password, Role};
use crate::postgres::{Connection, Error};

/// `with_passwords`: `pg_authid` may be read.
pub(super) async fn read(
    connection: &Connection,
    with_passwords: bool,
) -> Result<Vec<Role>, Error> {
    let bypasses = if connection.version().major() >= 905 {
        "r.rolbypassrls"
    } else {
        "false"
    };
    let (password, passwords) = if with_passwords {
        (
            "a.rolpassword",
            "JOIN pg_catalog.pg_authid a ON a.oid = r.oid",
        )
    } else {
        ("NULL::text", "")
    };
    let sql = format!(
        "SELECT r.oid, r.rolname::text, r.rolsuper, r.rolcanlogin, r.rolinherit, r.rolcreaterole, r.rolcreatedb, \
                r.rolreplication, {bypasses}, r.rolconnlimit, \
                CASE r.rolvaliduntil WHEN 'infinity' THEN NULL WHEN '-infinity' THEN '-infinity' \
                     ELSE to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS UTC') END, \
                {password}, \
                ARRAY(SELECT g.rolname::text FROM pg_catalog.pg_auth_members m \
                      JOIN pg_catalog.pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid), \
                EXISTS (SELECT 1 FROM pg_catalog.pg_stat_replication s WHERE s.usesysid = r.oid) \
         FROM pg_catalog.pg_roles r {passwords} ORDER BY r.rolname::text COLLATE \"C\""
    );
    let rows = query::rows(connection, "list the roles", &sql).await?;
    Ok(rows.iter().map(role).collect())
}

fn role(row: &Row) -> Role {
    const ATTRIBUTES: [&str; 7] = [
        "SUPERUSER",
        "LOGIN",
        "INHERIT",
        "CREATEROLE",
        "CREATEDB",
        "REPLICATION",
        "BYPASSRLS",
    ];
    let attributes = (2..).zip(ATTRIBUTES).map(|(at, name)| (name, row.get(at)));
    let attributes: BTreeMap<&'static str, bool> = attributes.collect();
    let limit: i32 = row.get(9);
    let member_of: Vec<String> = row.get(12);
    Role {
        oid: row.get(0),
        name: row.get(1),
        is_superuser: row.get(2),
        can_login: row.get(3),
        attributes,
        connection_limit: (limit >= 0).then_some(limit),
        valid_until: row.get(10),
        password: row.get::<_, Option<&str>>(11).map(password),
        sends_wal: row.get(13),
        member_of: BTreeSet::from_iter(member_of),
    }
}

fn password(stored: &str) -> Password {
    Password {
        digest: Sha256::digest(stored).into(),
        is_md5: stored.starts_with("md5"),
    }
}
