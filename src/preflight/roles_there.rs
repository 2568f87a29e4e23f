//! Roles that were on the target before, and that are not as the source has them.

use super::groups_there::for_groups;
use crate::catalog::{Inspection, Role, ServerFacts, Setting, parameter};
use crate::finding::{Code, Finding, Severity};
use crate::plan::Plan;

/// `is_ours`: whether this plan made the target's role, or set it before.
pub(crate) fn for_roles_there(
    plan: &Plan,
    inspection: &Inspection,
    is_ours: impl Fn(&Role) -> bool,
) -> Vec<Finding> {
    let Inspection { source, target, .. } = inspection;
    let is_set = |role: &Role| {
        let is_set = target.may_set_role(role) && !is_ours(role);
        let is_kept = target.kept_roles.contains(&role.name);
        role.name != target.user && !role.name.starts_with("pg_") && (is_kept || is_set)
    };
    if !plan.globals {
        return Vec::new();
    }
    let there = target.roles.iter().filter(|role| is_set(role));
    let both = there.filter_map(|role| Some((source.role(&role.name)?, role)));
    let mut found: Vec<Finding> = both
        .filter_map(|(of_source, of_target)| {
            let differences = Differences::between(of_source, of_target, inspection, plan);
            if target.kept_roles.contains(&of_target.name) {
                differences.into_finding_of_kept(of_target)
            } else {
                differences.into_finding(&of_source.name)
            }
        })
        .collect();
    found.extend(for_groups(inspection, is_ours, &found));
    found
}

/// Whether nothing that the run sets is known to differ but how the password is stored, which may be the same one: a SCRAM verifier has a
/// salt of its own.
pub(crate) fn differs_in_salt_alone(plan: &Plan, inspection: &Inspection, role: &Role) -> bool {
    let Some(of_source) = inspection.source.role(&role.name) else {
        return false;
    };
    let differences = Differences::between(of_source, role, inspection, plan);
    differences.is_salted && differences.set.len() == 1 && differences.unseen.is_none()
}

/// In words.
#[derive(Default)]
struct Differences {
    /// What the run gives another value.
    set: Vec<String>,
    /// What only the target has.
    left: Vec<String>,
    /// What the run sets, and perhaps was the same.
    unseen: Option<&'static str>,
    /// Of what is set, the password may be the same one.
    is_salted: bool,
}

impl Differences {
    fn between(source: &Role, target: &Role, servers: &Inspection, plan: &Plan) -> Differences {
        let mut differences = Differences::default();
        differences.find(source, target, servers);
        differences.find_settings(source, servers, plan);
        differences
    }

    fn find(&mut self, source: &Role, target: &Role, servers: &Inspection) {
        for (name, on) in &source.attributes {
            if target.attributes.get(name) == Some(on) {
                continue;
            }
            if servers.target.may_set_attribute(name) {
                let no = if *on { "" } else { "NO" };
                self.set.push(format!("{no}{name}"));
            } else if !on {
                // Only a superuser may take it away.
                self.left.push((*name).to_owned());
            }
        }
        if source.connection_limit != target.connection_limit {
            self.add(
                source.connection_limit.map(|limit| {
                    let there = target.connection_limit.unwrap_or(-1);
                    format!("CONNECTION LIMIT {limit} (there {there})")
                }),
                || "a CONNECTION LIMIT".to_owned(),
            );
        }
        if source.valid_until != target.valid_until {
            self.add(
                source.valid_until.as_ref().map(|until| {
                    let there = target.valid_until.as_deref().unwrap_or("infinity");
                    format!("VALID UNTIL {until} (there {there})")
                }),
                || "a VALID UNTIL".to_owned(),
            );
        }
        self.find_password(source, target, servers);
        if source.comment != target.comment {
            self.add(
                source.comment.as_ref().map(|_| "its comment".to_owned()),
                || "a comment".to_owned(),
            );
        }
        self.find_memberships(source, target, servers);
        let only_in = |one: &Role, other: &Role| -> Vec<String> {
            let privileges = one
                .parameter_privileges
                .difference(&other.parameter_privileges);
            privileges.cloned().collect()
        };
        self.set.extend(only_in(source, target));
        self.left.extend(only_in(target, source));
    }

    fn find_memberships(&mut self, source: &Role, target: &Role, servers: &Inspection) {
        let is_in = |role: &str| format!("membership in the role \"{role}\"");
        for (group, here) in &source.member_of {
            let Some(there) = target.member_of.get(group) else {
                self.set.push(is_in(group));
                continue;
            };
            let (mut set, mut left) = (Vec::new(), Vec::new());
            // pg_dumpall names an option where it is not the default: INHERIT always, and only from 16 on.
            let by_option = servers.source.version.major() >= 1600;
            let has_options = servers.target.version.major() >= 1600;
            if here.admin != there.admin {
                let option = if here.admin { &mut set } else { &mut left };
                option.push(format!("ADMIN {}", upper(here.admin)));
            }
            if has_options && here.inherit != there.inherit {
                let option = if by_option { &mut set } else { &mut left };
                option.push(format!("INHERIT {}", upper(here.inherit)));
            }
            if has_options && here.set != there.set {
                let option = if here.set { &mut left } else { &mut set };
                option.push(format!("SET {}", upper(here.set)));
            }
            if !set.is_empty() {
                self.set
                    .push(format!("{} WITH {}", is_in(group), set.join(", ")));
            }
            if !left.is_empty() {
                let left = left.join(", ");
                self.left.push(format!(
                    "{} that is not WITH {left} as on the source",
                    is_in(group)
                ));
            }
        }
        let only_there = target.member_of.keys();
        let only_there = only_there.filter(|group| !source.member_of.contains_key(*group));
        self.left.extend(only_there.map(|group| is_in(group)));
    }

    /// One that the source has none of is left as it is.
    fn add(&mut self, set: Option<String>, left: impl FnOnce() -> String) {
        match set {
            Some(set) => self.set.push(set),
            None => self.left.push(left()),
        }
    }

    fn find_password(&mut self, source: &Role, target: &Role, servers: &Inspection) {
        // Without the right to read them they do not migrate.
        if !servers.source.reads_passwords {
            return;
        }
        let is_readable = servers.target.reads_passwords;
        match (&source.password, &target.password) {
            (Some(_), None) if !is_readable => {
                self.unseen = Some(
                    "whether its password differs cannot be seen, since our role may not read pg_authid on the target",
                );
            }
            (Some(_), None) => self.set.push("a password (there none)".to_owned()),
            (Some(of_source), Some(of_target)) if of_source.digest != of_target.digest => {
                self.is_salted = !(of_source.is_md5 && of_target.is_md5);
                self.set.push("its password, as it is stored".to_owned());
            }
            (None, Some(_)) => self.left.push("a password".to_owned()),
            _ => {}
        }
    }

    fn find_settings(&mut self, role: &Role, servers: &Inspection, plan: &Plan) {
        let Inspection { source, target, .. } = servers;
        let of_source = settings_of(source, &role.name);
        let of_target = settings_of(target, &role.name);
        // The plan may name another tablespace.
        let is_chosen = |name: &str| {
            !plan.tablespaces.0.is_empty() && parameter::tablespaces_in(name, "").is_some()
        };
        for one in &of_source {
            let there = of_target.iter().find(|there| there.name == one.name);
            let is_refused = parameter::removed(&one.name, target.version).is_some();
            if is_refused || is_chosen(&one.name) || there.is_some_and(|it| it.value == one.value) {
                continue;
            }
            let there = there.map_or("not set".to_owned(), |it| format!("{:?}", it.value));
            self.set
                .push(format!("{} = {:?} (there {there})", one.name, one.value));
        }
        let only_there = of_target
            .iter()
            .filter(|there| !of_source.iter().any(|one| one.name == there.name));
        self.left
            .extend(only_there.map(|it| format!("a setting {}", it.name)));
    }

    /// Of a role that the run does not touch.
    fn into_finding_of_kept(self, role: &Role) -> Option<Finding> {
        let Differences {
            set,
            left,
            unseen,
            is_salted,
        } = self;
        if set.is_empty() && left.is_empty() && unseen.is_none() {
            return None;
        }
        let replicates = role.sends_wal || role.attributes.get("REPLICATION") == Some(&true);
        let is_own = role.is_bootstrap_superuser() || replicates;
        let why = if role.is_bootstrap_superuser() {
            "is the superuser that the target was made with"
        } else if replicates {
            "is one that sends WAL of the target to a standby, a backup or a subscriber"
        } else {
            "was on the target before this plan, which did not make it"
        };
        let mut parts = vec![format!(
            "the role \"{}\" {why}, so the run leaves it as it is, and the source's attributes, password, settings, comment and \
             memberships of it do not migrate",
            role.name
        )];
        if !set.is_empty() {
            parts.push(format!("on the source it has {}", set.join(", ")));
        }
        if is_salted && !is_own {
            parts.push("whether the passwords are the same cannot be seen, since SCRAM stores each with a salt of its own".to_owned());
        }
        parts.extend(unseen.map(str::to_owned));
        if !left.is_empty() {
            parts.push(format!("only the target's has {}", left.join(", ")));
        }
        Some(
            Finding::new(Code::TargetRoleDiffers, parts.join("; "))
                .severity(Severity::Warn)
                .object(format!("ROLE {}", role.name))
                .fix(
                    "nothing where the target's is right; otherwise ALTER ROLE … and GRANT … on the target after the run, or, for a role \
                     that is not the target's own, a waiver of this for it: the run sets what the source has",
                ),
        )
    }

    fn into_finding(self, role: &str) -> Option<Finding> {
        let Differences {
            set, left, unseen, ..
        } = self;
        if set.is_empty() && left.is_empty() && unseen.is_none() {
            return None;
        }
        let mut parts = vec![format!(
            "the role \"{role}\" was on the target before this plan, which did not make it"
        )];
        if !set.is_empty() {
            parts.push(format!(
                "it is not as on the source, and the run sets the source's: {}",
                set.join(", ")
            ));
        }
        parts.extend(unseen.map(|unseen| format!("{unseen}, and the run sets the source's")));
        if !left.is_empty() {
            parts.push(format!(
                "what only the target has is left as it is: {}",
                left.join(", ")
            ));
        }
        let severity = if set.is_empty() {
            Severity::Warn
        } else {
            Severity::Block
        };
        Some(
            Finding::new(Code::TargetRoleDiffers, parts.join("; "))
                .severity(severity)
                .object(format!("ROLE {role}"))
                .fix(
                    "find out whose it is: where it is another application's, ALTER ROLE … RENAME TO … on either server; where it is \
                     the same, make both alike, or waive this for it, and the run sets what the source has; globals.migrate = false \
                     leaves all roles of the target as they are",
                ),
        )
    }
}

/// As GRANT has it.
fn upper(is_on: bool) -> &'static str {
    if is_on { "TRUE" } else { "FALSE" }
}

fn settings_of<'a>(server: &'a ServerFacts, role: &str) -> Vec<&'a Setting> {
    let settings = server.role_settings.iter();
    settings
        .filter(|setting| setting.role.as_deref() == Some(role))
        .collect()
}
