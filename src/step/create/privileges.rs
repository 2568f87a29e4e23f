//! A database's access control list, from the default one to that of the source.
//!
//! As pg_dump does it (dumputils.c, `buildACLCommands`): what the default grants and the source does
//! not have is revoked, what the source has and the default lacks is granted, in the order of the
//! list, so that a grant option is there before it is used, and the owner's own grants first.

use super::statement::Statement;
use crate::catalog::{Database, Privilege};
use crate::postgres::quote_identifier;

/// What a new database grants (PostgreSQL manual, 5.8 "Privileges", table 5.2).
const PUBLIC: [&str; 2] = ["TEMPORARY", "CONNECT"];
const OWNER: [&str; 3] = ["CREATE", "TEMPORARY", "CONNECT"];

/// `REVOKE` of default privileges that the source's database does not grant.
pub(super) fn revokes(database: &Database) -> Vec<Statement> {
    let Some(privileges) = &database.privileges else {
        return Vec::new();
    };
    let owner = Some(database.owner.as_str());
    [(None, &PUBLIC[..]), (owner, &OWNER[..])]
        .into_iter()
        .filter_map(|(grantee, defaults)| {
            let missing: Vec<&str> = defaults
                .iter()
                .copied()
                .filter(|name| {
                    !privileges.iter().any(|privilege| {
                        privilege.grantor == database.owner
                            && privilege.grantee.as_deref() == grantee
                            && privilege.privilege == *name
                    })
                })
                .collect();
            (!missing.is_empty()).then(|| Statement {
                sql: format!(
                    "REVOKE {} ON DATABASE {} FROM {}",
                    missing.join(", "),
                    quote_identifier(&database.name),
                    role(grantee),
                ),
                what: format!("privileges taken from {}", person(grantee)),
            })
        })
        .collect()
}

/// `GRANT` of privileges that a new database does not grant by itself.
pub(super) fn grants(database: &Database) -> Vec<Statement> {
    let extra: Vec<&Privilege> = database
        .privileges
        .iter()
        .flatten()
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
        .flat_map(|entry| [false, true].map(|grantable| grant(database, entry, grantable)))
        .flatten()
        .collect()
}

fn is_default(privilege: &Privilege, owner: &str) -> bool {
    let defaults: &[&str] = match &privilege.grantee {
        None => &PUBLIC,
        Some(grantee) if grantee == owner => &OWNER,
        Some(_) => &[],
    };
    privilege.grantor == owner
        && !privilege.grantable
        && defaults.contains(&privilege.privilege.as_str())
}

/// The privileges of one entry of the list that carry the grant option, or those that do not.
fn grant(database: &Database, entry: &[&Privilege], grantable: bool) -> Option<Statement> {
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
    // GRANTED BY accepts only the current one (PostgreSQL manual, GRANT).
    if first.grantor != database.owner {
        let grantor = quote_identifier(&first.grantor);
        sql = format!("SET ROLE {grantor}; {sql}; RESET ROLE");
    }
    Some(Statement {
        sql,
        what: format!("privileges of {}", person(grantee)),
    })
}

fn role(grantee: Option<&str>) -> String {
    grantee.map_or_else(|| "PUBLIC".to_owned(), quote_identifier)
}

fn person(grantee: Option<&str>) -> String {
    grantee.map_or_else(|| "PUBLIC".to_owned(), |name| format!("role {name}"))
}
