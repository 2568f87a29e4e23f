//! Whether a database that is on record is still there: another session may have dropped or renamed it since, or have made
//! another of its name. Databases are told apart by their object ids.

use std::fmt;

use super::Database;

/// A database of the server, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Present {
    pub oid: u32,
    pub name: String,
    /// Its DROP DATABASE was interrupted: nobody can connect to it any more.
    pub is_invalid: bool,
}

/// What became of a database that is not there under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub database: String,
    /// Its name now.
    pub renamed: Option<String>,
    /// Another database has its name.
    pub is_replaced: bool,
    /// It was verified, so that clients may have used it.
    pub is_verified: bool,
}

impl From<&Database> for Present {
    fn from(database: &Database) -> Self {
        Present {
            oid: database.oid,
            name: database.name.clone(),
            is_invalid: database.connection_limit == -2,
        }
    }
}

impl Missing {
    /// `oid`: that on record. A journal of 0.1.0 has none of a database that was there, empty, and then the name decides.
    pub(crate) fn find(
        database: &str,
        oid: Option<u32>,
        is_verified: bool,
        present: &[Present],
    ) -> Option<Missing> {
        let of_this_name = present.iter().find(|one| one.name == database);
        let of_this_oid = match oid {
            Some(oid) => present.iter().find(|one| one.oid == oid),
            None => of_this_name,
        };
        let ours = of_this_oid.filter(|one| !one.is_invalid);
        if ours.is_some_and(|one| one.name == database) {
            return None;
        }
        Some(Missing {
            database: database.to_owned(),
            renamed: ours.map(|one| one.name.clone()),
            is_replaced: of_this_name.is_some() && of_this_name != of_this_oid,
            is_verified,
        })
    }

    /// What a person does about it. `shown`: how a name is written in a message.
    pub(crate) fn help(&self, shown: impl Fn(&str) -> String) -> String {
        let name = shown(&self.database);
        if !self.is_verified {
            return format!("run again: the database \"{name}\" is created and restored again");
        }
        let first = match (self.is_replaced, &self.renamed) {
            (true, _) => "find out whose the other is, and drop or rename it; then ".to_owned(),
            (false, _) => String::new(),
        };
        let back = match &self.renamed {
            Some(now) => format!(
                "give it its name back (ALTER DATABASE \"{}\" RENAME TO \"{name}\" on the target), or, ",
                shown(now)
            ),
            None => String::new(),
        };
        format!(
            "{first}{back}to create and restore it again: pg-migrate reset PLAN --database \"{name}\" --drop \"{name}\", then \
             run; where the target is to be without it, exclude it (databases.exclude)"
        )
    }

    /// What became of it, for a message that is about it.
    pub(crate) fn what(&self, shown: impl Fn(&str) -> String) -> impl fmt::Display {
        let verified = if self.is_verified {
            "this plan verified it"
        } else {
            "this plan made it"
        };
        let became = match &self.renamed {
            Some(now) => format!("was renamed to \"{}\"", shown(now)),
            None => "was dropped".to_owned(),
        };
        let replaced = if self.is_replaced {
            ", and another database has its name"
        } else {
            ""
        };
        format!("{verified}, and it is gone from the target: it {became}{replaced}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(databases: &[(u32, &str)]) -> Vec<Present> {
        let databases = databases.iter().map(|(oid, name)| Present {
            oid: *oid,
            name: (*name).to_owned(),
            is_invalid: false,
        });
        databases.collect()
    }

    #[test]
    fn tells_what_became_of_it() {
        let told = |oid, databases: &[(u32, &str)]| {
            Missing::find("erp", oid, true, &present(databases)).map(|missing| {
                let shown = str::to_owned;
                format!("{}; {}", missing.what(shown), missing.help(shown))
            })
        };
        assert_eq!(told(Some(7), &[(7, "erp"), (8, "crm")]), None);
        assert_eq!(told(None, &[(8, "erp")]), None);
        let all = [
            told(Some(7), &[(8, "crm")]),
            told(Some(7), &[(7, "away")]),
            told(Some(7), &[(8, "erp")]),
            told(Some(7), &[(7, "away"), (8, "erp")]),
            told(None, &[(8, "crm")]),
        ];
        let all = all.map(Option::unwrap).join("\n");
        insta::assert_snapshot!(all, @r#"
        this plan verified it, and it is gone from the target: it was dropped; to create and restore it again: pg-migrate reset PLAN --database "erp" --drop "erp", then run; where the target is to be without it, exclude it (databases.exclude)
        this plan verified it, and it is gone from the target: it was renamed to "away"; give it its name back (ALTER DATABASE "away" RENAME TO "erp" on the target), or, to create and restore it again: pg-migrate reset PLAN --database "erp" --drop "erp", then run; where the target is to be without it, exclude it (databases.exclude)
        this plan verified it, and it is gone from the target: it was dropped, and another database has its name; find out whose the other is, and drop or rename it; then to create and restore it again: pg-migrate reset PLAN --database "erp" --drop "erp", then run; where the target is to be without it, exclude it (databases.exclude)
        this plan verified it, and it is gone from the target: it was renamed to "away", and another database has its name; find out whose the other is, and drop or rename it; then give it its name back (ALTER DATABASE "away" RENAME TO "erp" on the target), or, to create and restore it again: pg-migrate reset PLAN --database "erp" --drop "erp", then run; where the target is to be without it, exclude it (databases.exclude)
        this plan verified it, and it is gone from the target: it was dropped; to create and restore it again: pg-migrate reset PLAN --database "erp" --drop "erp", then run; where the target is to be without it, exclude it (databases.exclude)
        "#);
    }

    #[test]
    fn one_that_is_half_dropped_is_not_there() {
        let mut half = present(&[(7, "erp")]);
        half[0].is_invalid = true;
        let missing = Missing::find("erp", Some(7), false, &half).unwrap();
        assert!(!missing.is_replaced && missing.renamed.is_none());
    }
}
