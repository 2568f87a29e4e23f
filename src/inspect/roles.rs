//! Roles, with what a migration sets of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};
use tokio_postgres::Row;

use super::query;
use crate::catalog::{Membership, Password, Role};
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
                shobj_description(r.oid, 'pg_authid'), \
                EXISTS (SELECT 1 FROM pg_catalog.pg_stat_replication s WHERE s.usesysid = r.oid), \
                EXISTS (SELECT 1 FROM pg_catalog.pg_shdepend d WHERE d.refobjid = r.oid \
                        AND d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.deptype IN ('o', 'a')) \
         FROM pg_catalog.pg_roles r {passwords} ORDER BY r.rolname::text COLLATE \"C\""
    );
    let rows = query::rows(connection, "list the roles", &sql).await?;
    let mut roles: Vec<Role> = rows.iter().map(role).collect();
    let mut memberships = memberships(connection).await?;
    let mut privileges = parameter_privileges(connection).await?;
    for role in &mut roles {
        role.member_of = memberships.remove(&role.oid).unwrap_or_default();
        role.parameter_privileges = privileges.remove(&role.oid).unwrap_or_default();
    }
    Ok(roles)
}

/// By the member's oid.
async fn memberships(
    connection: &Connection,
) -> Result<HashMap<u32, BTreeMap<String, Membership>>, Error> {
    let (inherit, set) = if connection.version().major() >= 1600 {
        ("m.inherit_option", "m.set_option")
    } else {
        ("r.rolinherit", "true")
    };
    let sql = format!(
        "SELECT m.member, g.rolname::text, bool_or(m.admin_option), bool_or({inherit}), bool_or({set}) \
         FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid \
         JOIN pg_catalog.pg_roles r ON r.oid = m.member GROUP BY 1, 2"
    );
    let rows = query::rows(connection, "list the memberships of roles", &sql).await?;
    let mut memberships: HashMap<u32, BTreeMap<String, Membership>> = HashMap::new();
    for row in &rows {
        let membership = Membership {
            admin: row.get(2),
            inherit: row.get(3),
            set: row.get(4),
        };
        let of_member = memberships.entry(row.get(0)).or_default();
        of_member.insert(row.get(1), membership);
    }
    Ok(memberships)
}

/// By the grantee's oid.
async fn parameter_privileges(
    connection: &Connection,
) -> Result<HashMap<u32, BTreeSet<String>>, Error> {
    if connection.version().major() < 1500 {
        return Ok(HashMap::new());
    }
    let rows = query::rows(
        connection,
        "list the privileges on parameters",
        "SELECT a.grantee, a.privilege_type || ' ON PARAMETER ' || p.parname \
                || CASE WHEN bool_or(a.is_grantable) THEN ' WITH GRANT OPTION' ELSE '' END \
         FROM pg_catalog.pg_parameter_acl p, LATERAL aclexplode(p.paracl) a \
         WHERE a.grantee <> 0 GROUP BY a.grantee, a.privilege_type, p.parname",
    )
    .await?;
    let mut privileges: HashMap<u32, BTreeSet<String>> = HashMap::new();
    for row in &rows {
        let of_role = privileges.entry(row.get(0)).or_default();
        of_role.insert(row.get(1));
    }
    Ok(privileges)
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
    Role {
        oid: row.get(0),
        name: row.get(1),
        is_superuser: row.get(2),
        can_login: row.get(3),
        attributes,
        connection_limit: (limit >= 0).then_some(limit),
        valid_until: row.get(10),
        password: row.get::<_, Option<&str>>(11).map(password),
        comment: row.get(12),
        sends_wal: row.get(13),
        has_objects: row.get(14),
        member_of: BTreeMap::new(),
        parameter_privileges: BTreeSet::new(),
    }
}

fn password(stored: &str) -> Password {
    Password {
        digest: Sha256::digest(stored).into(),
        is_md5: stored.starts_with("md5"),
    }
}
