//! What follows from the facts of one server alone, and several parts of the program go by.

use super::{Configuration, Database, Role, ServerFacts};

/// Why a database cannot migrate, whatever the plan says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// Its DROP DATABASE was interrupted.
    Invalid,
    /// It allows no connections.
    Closed,
    Template,
}

impl Database {
    /// Those that it, or something in it, is in.
    pub(crate) fn tablespaces(&self) -> impl Iterator<Item = &str> {
        let contents = self.contents.iter();
        let placed = contents.flat_map(|contents| &contents.placed);
        let placed = placed.map(|placed| placed.tablespace.as_str());
        placed.chain([self.tablespace.as_str()])
    }

    /// Every installation brings it along: `postgres`, which holds nothing of a user by convention, and what new databases
    /// are made of.
    pub fn is_of_installation(&self) -> bool {
        matches!(self.name.as_str(), "postgres" | "template0" | "template1")
    }

    /// `None`: it can migrate.
    pub fn left_out(&self) -> Option<LeftOut> {
        if self.connection_limit == -2 {
            Some(LeftOut::Invalid)
        } else if !self.allows_connections {
            Some(LeftOut::Closed)
        } else if self.is_template {
            Some(LeftOut::Template)
        } else {
            None
        }
    }
}

/// Of what an empty database may hold that is no object of a user ([`Contents::own`]), what would change what is restored into it.
///
/// [`Contents::own`]: super::Contents::own
pub(crate) const CHANGES_WHAT_IS_RESTORED: [&str; 6] = [
    "casts",
    "default privileges",
    "event triggers",
    "no schema public",
    "other privileges on the schema public",
    "publications",
];

impl ServerFacts {
    /// Of the target: the run leaves the role as it is, whatever the source's is.
    pub(crate) fn keeps_role(&self, name: &str) -> bool {
        name == self.user || self.kept_roles.contains(name)
    }

    /// Of the target: our role may alter the role. The server denies the rest, and the run says so.
    pub(crate) fn may_set_role(&self, role: &Role) -> bool {
        self.is_superuser || self.can_create_role && !role.is_superuser
    }

    /// Of the target: our role may give or take the attribute of CREATE ROLE, which of some only a superuser may.
    pub(crate) fn may_set_attribute(&self, attribute: &str) -> bool {
        self.is_superuser || !matches!(attribute, "SUPERUSER" | "REPLICATION" | "BYPASSRLS")
    }
}

/// What keeps our role from ALTER SYSTEM altogether.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAlterSystem {
    /// `allow_alter_system` is off.
    NotAllowed,
    NoPrivilege,
    /// What `postgresql.auto.conf` holds may not be read, so it could not be restored.
    FileSettingsUnreadable,
    CannotReload,
}

impl Configuration {
    /// `None`: some parameters at least can be changed.
    pub fn no_alter_system(&self) -> Option<NoAlterSystem> {
        let allowed = self.parameters.get("allow_alter_system");
        let mut parameters = self.parameters.values();
        if allowed.is_some_and(|parameter| parameter.setting == "off") {
            Some(NoAlterSystem::NotAllowed)
        } else if !parameters.any(|parameter| parameter.may_alter_system) {
            Some(NoAlterSystem::NoPrivilege)
        } else if !self.reads_file_settings {
            Some(NoAlterSystem::FileSettingsUnreadable)
        } else if !self.may_reload {
            Some(NoAlterSystem::CannotReload)
        } else {
            None
        }
    }
}
