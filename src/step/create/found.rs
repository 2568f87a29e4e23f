//! A database of the target, looked for by its name.

use crate::postgres::Connection;
use crate::step::StepError;

/// A database of the target.
pub(super) struct Found {
    pub oid: u32,
    /// What a DROP DATABASE that was interrupted leaves, from 16 on and in the last minors before: nobody can connect to
    /// it, and all that can be done with it is to drop it (PostgreSQL manual, 23.5 "Destroying a Database").
    pub is_invalid: bool,
    /// What CREATE DATABASE of this plan leaves until last of all our role may connect: nothing was restored into it.
    pub is_bare: bool,
    /// Another role may connect, or owns it where that is ours until it is opened.
    pub is_open: bool,
}

/// An owner who may not connect is one that a role which is not a superuser gave it (`lock_out_owner`).
const FIND: &str = "\
    SELECT d.oid, d.datconnlimit = -2, NOT d.datallowconn, \
           d.datallowconn AND EXISTS (SELECT FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a \
                   WHERE a.privilege_type = 'CONNECT' AND a.grantee <> r.oid) \
    FROM pg_catalog.pg_database d, pg_catalog.pg_roles r \
    WHERE d.datname = $1 AND r.rolname = current_user";

/// The database of this name.
pub(super) async fn find(connection: &Connection, name: &str) -> Result<Option<Found>, StepError> {
    let row = connection
        .query_opt(FIND, &[&name])
        .await
        .map_err(connection.failed("look for the database"))?;
    Ok(row.map(|row| Found {
        oid: row.get(0),
        is_invalid: row.get(1),
        is_bare: row.get(2),
        is_open: row.get(3),
    }))
}
