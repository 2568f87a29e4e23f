//! Roles of a server, as far as a migration sets what they are.

use std::collections::{BTreeMap, BTreeSet};

/// One row of `pg_roles`, with what belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Role {
    pub oid: u32,
    pub name: String,
    pub is_superuser: bool,
    pub can_login: bool,
    /// Those of the attributes that are on or off, by the words of CREATE ROLE.
    pub(crate) attributes: BTreeMap<&'static str, bool>,
    /// `rolconnlimit`; `None`: no limit.
    pub(crate) connection_limit: Option<i32>,
    /// `rolvaliduntil` in UTC; `None`: for ever.
    pub(crate) valid_until: Option<String>,
    /// `None`: it has none, or it may not be read.
    pub(crate) password: Option<Password>,
    /// A session of it sends WAL right now: to a standby, a base backup or a logical subscriber.
    pub(crate) sends_wal: bool,
    /// The roles that it is a member of.
    pub(crate) member_of: BTreeMap<String, Membership>,
    pub(crate) comment: Option<String>,
    /// Its privileges on parameters, in the words of GRANT: `SET ON PARAMETER work_mem` (15 and later).
    pub(crate) parameter_privileges: BTreeSet<String>,
    /// Something in some database belongs to it, or grants it a privilege.
    pub(crate) has_objects: bool,
}

/// How a role is a member of another, by whomever it was granted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) admin: bool,
    /// Before 16, whether the member has INHERIT.
    pub(crate) inherit: bool,
    /// Before 16, always.
    pub(crate) set: bool,
}

impl Role {
    /// It was made with the cluster (PostgreSQL manual, 19.2 "Creating a Database Cluster").
    pub(crate) fn is_bootstrap_superuser(&self) -> bool {
        self.oid == 10
    }
}

/// What may be known of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Password {
    /// SHA-256 of what the server stores, which is itself kept nowhere.
    pub(crate) digest: [u8; 32],
    /// It is stored as an MD5 hash.
    pub(crate) is_md5: bool,
}
