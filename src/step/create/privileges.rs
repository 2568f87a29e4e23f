//! A database's access control list, from the default one to that of the source.
//!
//! As pg_dump does it (dumputils.c, `buildACLCommands`): what the default grants and the source does
//! not have is revoked, what the source has and the default lacks is granted, in the order of the
//! list, so that a grant option is there before it is used, and the owner's own grants first.

use std::collections::BTreeSet;

use super::statement::Statement;
use crate::catalog::{Database, Privilege};
use crate::postgres::quote_identifier;

/// What a new database grants (PostgreSQL manual, 5.8 "Privileges", table 5.2).
const PUBLIC: [&str; 2] = ["TEMPORARY", "CONNECT"];
const OWNER: [&str; 3] = ["CREATE", "TEMPORARY", "CONNECT"];

/// `REVOKE` of the owner's default privileges that the source's database does not grant. PUBLIC has none yet.
pub(super) fn revokes(database: &Database) -> Vec<Statement> {
    let Some(privileges) = &database.privileges else {
        return Vec::new();
    };
    let missing: Vec<&str> = OWNER
        .into_iter()
        .filter(|name| {
            !privileges.iter().any(|privilege| {
                privilege.grantor == database.owner
                    && privilege.grantee.as_ref() == Some(&database.owner)
                    && privilege.privilege == *name
            })
        })
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let owner = Some(database.owner.as_str());
    vec![Statement {
        sql: format!(
            "REVOKE {} ON DATABASE {} FROM {}",
            missing.join(", "),
            quote_identifier(&database.name),
            role(owner),
        ),
        what: format!("privileges taken from {}", person(owner)),
        is_optional: false,
    }]
}

/// `GRANT` of privileges that a database which is closed to PUBLIC does not grant by itself. `is_superuser`: whether our role is one.
pub(super) fn grants(database: &Database, is_superuser: bool) -> Vec<Statement> {
    let Some(privileges) = &database.privileges else {
        return vec![Statement {
            sql: format!(
                "GRANT {} ON DATABASE {} TO PUBLIC",
                PUBLIC.join(", "),
                quote_identifier(&database.name)
            ),
            what: "privileges of PUBLIC".to_owned(),
            is_optional: false,
        }];
    };
    let extra: Vec<&Privilege> = privileges
        .iter()
        .filter(|privilege| !is_default(privilege, &database.owner))
        .collect();
    let (own, others): (Vec<_>, Vec<_>) = extra.into_iter().partition(|privilege| {
        privilege.grantor == database.owner && privilege.grantee.as_ref() == Some(&database.owner)
    });
    [own, others]
        .iter()
        .flat_map(|privileges| {
            privileges.chunk_by(|a, b| a.grantor == b.grantor && a.grantee == b.grantee)
        })
        .flat_map(|entry| {
            [false, true].map(|grantable| grant(database, entry, grantable, is_superuser))
        })
        .flatten()
        .collect()
}

/// `GRANT CREATE` to those who have it on the source, and to the owner: a schema can only be given to a role that may
/// create one, unless a superuser gives it. It lets nobody in.
pub(super) fn creators(database: &Database) -> Vec<Statement> {
    creating(database, |_| true)
        .chain([database.owner.as_str()])
        .collect::<BTreeSet<&str>>()
        .into_iter()
        .map(|grantee| Statement {
            sql: format!(
                "GRANT CREATE ON DATABASE {} TO {}",
                quote_identifier(&database.name),
                quote_identifier(grantee)
            ),
            what: format!("that role {grantee} may own schemas"),
            is_optional: false,
        })
        .collect()
}

/// Takes back what [`creators`] granted in the owner's name to those who have it on the source from other roles alone: it would stay
/// where these take theirs back.
pub(super) fn not_from_owner(database: &Database) -> Vec<Statement> {
    let from_owner: BTreeSet<&str> =
        creating(database, |grantor| grantor == database.owner).collect();
    creating(database, |_| true)
        .filter(|grantee| *grantee != database.owner && !from_owner.contains(grantee))
        .collect::<BTreeSet<&str>>()
        .into_iter()
        .map(|grantee| Statement {
            sql: format!(
                "REVOKE CREATE ON DATABASE {} FROM {}",
                quote_identifier(&database.name),
                quote_identifier(grantee)
            ),
            what: format!("that role {grantee} may own schemas by its own privileges alone"),
            is_optional: false,
        })
        .collect()
}

/// The roles that such a grantor granted CREATE to.
fn creating(database: &Database, is_meant: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
    let granted = database.privileges.iter().flatten();
    granted
        .filter(move |privilege| privilege.privilege == "CREATE" && is_meant(&privilege.grantor))
        .filter_map(|privilege| privilege.grantee.as_deref())
}

/// What keeps the owner out of its database until it is opened, and lets us in.
pub(super) fn lock_out_owner(database: &Database) -> [Statement; 2] {
    let name = quote_identifier(&database.name);
    let owner = quote_identifier(&database.owner);
    [
        Statement {
            sql: format!("REVOKE CONNECT ON DATABASE {name} FROM {owner}"),
            what: "that its owner may not connect either".to_owned(),
            is_optional: false,
        },
        Statement {
            sql: format!("GRANT CONNECT ON DATABASE {name} TO CURRENT_USER"),
            what: "that our role may".to_owned(),
            is_optional: false,
        },
    ]
}

/// Takes back what [`lock_out_owner`] set.
pub(super) fn let_owner_in(database: &Database) -> [Statement; 2] {
    let name = quote_identifier(&database.name);
    let owner = quote_identifier(&database.owner);
    [
        Statement {
            sql: format!("REVOKE CONNECT ON DATABASE {name} FROM CURRENT_USER"),
            what: "that our role needs no privilege any more".to_owned(),
            is_optional: false,
        },
        Statement {
            sql: format!("GRANT CONNECT ON DATABASE {name} TO {owner}"),
            what: "that its owner may connect".to_owned(),
            is_optional: false,
        },
    ]
}

fn is_default(privilege: &Privilege, owner: &str) -> bool {
    privilege.grantee.as_deref() == Some(owner)
        && privilege.grantor == owner
        && !privilege.grantable
        && OWNER.contains(&privilege.privilege.as_str())
}

/// The privileges of one entry of the list that carry the grant option, or those that do not.
fn grant(
    database: &Database,
    entry: &[&Privilege],
    grantable: bool,
    is_superuser: bool,
) -> Option<Statement> {
    let first = entry.first()?;
    let names: Vec<&str> = entry
        .iter()
        .filter(|privilege| privilege.grantable == grantable)
        .map(|privilege| privilege.privilege.as_str())
        .collect();
    if names.is_empty() {
        return None;
    }
    let grantee = first.grantee.as_deref();
    let option = if grantable { " WITH GRANT OPTION" } else { "" };
    let mut sql = format!(
        "GRANT {} ON DATABASE {} TO {}{option}",
        names.join(", "),
        quote_identifier(&database.name),
        role(grantee),
    );
    // Owner and superusers grant in the owner's name. Any other grantor has to be the session's role:
    // GRANTED BY accepts only the current one (PostgreSQL manual, GRANT). A member of the owner may grant in the name of any role
    // with the grant option that it is a member of.
    if first.grantor != database.owner || !is_superuser {
        let grantor = quote_identifier(&first.grantor);
        sql = format!("SET ROLE {grantor}; {sql}; SET ROLE NONE");
    }
    Some(Statement {
        sql,
        what: format!("privileges of {}", person(grantee)),
        is_optional: true,
    })
}

fn role(grantee: Option<&str>) -> String {
    grantee.map_or_else(|| "PUBLIC".to_owned(), quote_identifier)
}

fn person(grantee: Option<&str>) -> String {
    grantee.map_or_else(|| "PUBLIC".to_owned(), |name| format!("role {name}"))
}
