//! What belongs to a database as a whole, and whether it changed on the source since it was set on the target.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::{Database, Privilege, Setting};
use crate::escape::hexadecimal;

/// By what messages call a property, the digest of its value: it stands in the journal, where no password of a setting
/// may. A setting that there is not has no entry.
pub(crate) type Properties = BTreeMap<String, String>;

/// Which database it is: of another one nothing has to be the same.
const IDENTITY: &str = "identity";

/// Where the plan chooses tablespaces, the target's is meant to be another.
pub(crate) const TABLESPACE: &str = "tablespace";

/// Whether the database that has the name now is another than the one that this is about. Journals of earlier versions do not tell.
pub(crate) fn is_of_another(was: &Properties, now: &Properties) -> bool {
    was.contains_key(IDENTITY) && was.get(IDENTITY) != now.get(IDENTITY)
}

/// The properties of a database that `ALTER DATABASE` and the like change, and which database it is.
pub(crate) fn properties(database: &Database) -> Properties {
    let mut properties = Properties::new();
    let mut add = |what: String, value: String| {
        let digest = hexadecimal(&Sha256::digest(value.as_bytes()));
        properties.insert(what, digest);
    };
    add(IDENTITY.to_owned(), database.oid.to_string());
    add("owner".to_owned(), database.owner.clone());
    add(
        "comment".to_owned(),
        database.comment.clone().unwrap_or_default(),
    );
    add(
        "connection limit".to_owned(),
        database.connection_limit.to_string(),
    );
    add(
        "mark of a template".to_owned(),
        database.is_template.to_string(),
    );
    add(TABLESPACE.to_owned(), database.tablespace.clone());
    add(
        "privileges".to_owned(),
        format!("{:?}", privileges(database)),
    );
    for setting in &database.settings {
        add(setting.in_words(), setting.value.clone());
    }
    properties
}

/// Without the order of the entries, and the default ones written out (PostgreSQL manual, "Privileges").
fn privileges(database: &Database) -> BTreeSet<(&str, Option<&str>, &str, bool)> {
    let owner = database.owner.as_str();
    match &database.privileges {
        Some(privileges) => privileges.iter().map(entry).collect(),
        None => {
            let of_public = ["CONNECT", "TEMPORARY"].map(|word| (owner, None, word, false));
            let of_owner =
                ["CONNECT", "CREATE", "TEMPORARY"].map(|word| (owner, Some(owner), word, false));
            of_public.into_iter().chain(of_owner).collect()
        }
    }
}

fn entry(privilege: &Privilege) -> (&str, Option<&str>, &str, bool) {
    (
        &privilege.grantor,
        privilege.grantee.as_deref(),
        &privilege.privilege,
        privilege.grantable,
    )
}

/// What is another on the source than it was, and not so on the target as well.
pub(crate) fn changed<'a>(
    was: &'a Properties,
    source: &'a Properties,
    target: &Properties,
) -> BTreeSet<&'a str> {
    was.keys()
        .chain(source.keys())
        .filter(|what| *what != IDENTITY)
        // Journals of earlier versions do not tell where it was.
        .filter(|what| *what != TABLESPACE || was.contains_key(TABLESPACE))
        .filter(|what| {
            let now = source.get(*what);
            was.get(*what) != now && target.get(*what) != now
        })
        .map(String::as_str)
        .collect()
}

/// The privileges that the target's database grants and the source's does not, in words; not those of this role.
pub(crate) fn granted_on_target(
    source: &Database,
    target: &Database,
    without: Option<&str>,
) -> BTreeSet<String> {
    let of_source = privileges(source);
    let is_granted = |grantee: Option<&str>, privilege: &str, grantable: bool| {
        let mut entries = of_source.iter();
        entries.any(|(_, other, word, may_grant)| {
            *other == grantee && *word == privilege && (*may_grant || !grantable)
        })
    };
    let mut only = BTreeSet::new();
    for (_, grantee, privilege, grantable) in privileges(target) {
        let is_left_out = grantee.is_some() && grantee == without;
        if !is_left_out && !is_granted(grantee, privilege, grantable) {
            let who = grantee.map_or("PUBLIC".to_owned(), |name| format!("role \"{name}\""));
            let option = if grantable { " WITH GRANT OPTION" } else { "" };
            only.insert(format!("the privilege {privilege} for {who}{option}"));
        }
    }
    only
}

/// What the database has on the target and not on the source, in words.
pub(crate) fn only_on_target(source: &Database, target: &Database) -> Vec<String> {
    let mut only: Vec<String> = granted_on_target(source, target, None)
        .into_iter()
        .collect();
    if target.connection_limit != source.connection_limit {
        only.push(format!(
            "a connection limit of {} (on the source {})",
            target.connection_limit, source.connection_limit
        ));
    }
    if target.is_template && !source.is_template {
        only.push("the mark of a template".to_owned());
    }
    if target.comment.is_some() && source.comment.is_none() {
        only.push("a comment".to_owned());
    }
    let is_set = |setting: &&Setting| {
        let mut settings = source.settings.iter();
        settings.any(|other| other.role == setting.role && other.name == setting.name)
    };
    let extra = target.settings.iter().filter(|setting| !is_set(setting));
    only.extend(extra.map(|setting| format!("the {}", setting.in_words())));
    only
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::samples::database;

    #[test]
    fn what_changed_on_the_source_alone_is_named() {
        let was = properties(&database("erp", "owner"));
        let mut now = database("erp", "owner");
        now.connection_limit = 7;
        now.settings.push(Setting {
            role: Some("app".to_owned()),
            name: "work_mem".to_owned(),
            value: "7MB".to_owned(),
        });
        let source = properties(&now);
        let told: Vec<&str> = changed(&was, &source, &was).into_iter().collect();
        assert_eq!(told, ["connection limit", "setting work_mem of role app"]);
        // It was brought along by hand.
        assert!(changed(&was, &source, &source).is_empty());
        let gone: Vec<&str> = changed(&source, &was, &source).into_iter().collect();
        assert_eq!(gone, told);
    }

    #[test]
    fn default_privileges_are_those_that_are_written_out() {
        let by_default = database("erp", "owner");
        let mut written = by_default.clone();
        let entry = |grantee: Option<&str>, privilege: &str| Privilege {
            grantor: by_default.owner.clone(),
            grantee: grantee.map(str::to_owned),
            privilege: privilege.to_owned(),
            grantable: false,
        };
        let owner = Some(by_default.owner.as_str());
        written.privileges = Some(vec![
            entry(owner, "CREATE"),
            entry(owner, "TEMPORARY"),
            entry(owner, "CONNECT"),
            entry(None, "TEMPORARY"),
            entry(None, "CONNECT"),
        ]);
        assert_eq!(properties(&by_default), properties(&written));
        written.privileges = Some(Vec::new());
        assert_ne!(properties(&by_default), properties(&written));
    }
}
