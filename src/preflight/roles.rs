//! Our role on either server, and the roles that migrate.

use std::collections::BTreeSet;

use crate::catalog::{Inspection, Role, ServerFacts};
use crate::finding::{Code, Finding, Severity};
use crate::names::{quote_identifier, some_of};
use crate::plan::Plan;

pub(super) fn for_source(plan: &Plan, source: &ServerFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    if plan.globals {
        found.extend(passwords_unreadable(source));
        found.extend(reserved_names(source));
    }
    found
}

pub(super) fn for_target(plan: &Plan, inspection: &Inspection) -> Vec<Finding> {
    let Inspection { source, target, .. } = inspection;
    let mut found = Vec::new();
    found.extend(cannot_create_databases(target));
    found.extend(public_schema_owner(source, target));
    if plan.globals {
        found.extend(md5_passwords(source, target));
        found.extend(passwords_written(source, target));
        found.extend(limited_role(source, target));
        found.extend(role_creators(source, target));
    } else {
        found.extend(owners_missing(plan, source, target));
    }
    found
}

fn passwords_unreadable(source: &ServerFacts) -> Option<Finding> {
    (!source.reads_passwords).then(|| {
        let message = format!(
            "the role \"{}\" may not read pg_authid, so roles migrate without their passwords",
            source.user
        );
        Finding::new(Code::SourcePasswordsUnreadable, message)
            .fix("use a superuser for [source], or set passwords on the target after the run")
    })
}

fn reserved_names(source: &ServerFacts) -> Vec<Finding> {
    if source.version.major() >= 906 {
        // What is called so there was made by the server itself.
        return Vec::new();
    }
    let roles = source.roles.iter();
    roles
        .filter(|role| role.name.starts_with("pg_"))
        .map(|role| {
            let message = format!(
                "the role \"{}\" cannot be created on the target: names that start with pg_ are reserved since 9.6",
                role.name
            );
            Finding::new(Code::SourceRoleNameReserved, message)
                .object(format!("ROLE {}", role.name))
                .fix("ALTER ROLE … RENAME TO … on the source")
        })
        .collect()
}

fn cannot_create_databases(target: &ServerFacts) -> Option<Finding> {
    (!target.is_superuser && !target.can_create_database).then(|| {
        let message = format!(
            "the role \"{}\" may not create databases on the target",
            target.user
        );
        Finding::new(Code::TargetCannotCreateDatabases, message)
            .fix("ALTER ROLE … CREATEDB on the target, or use another role for [target]")
    })
}

/// A stored password is as good as the password itself for whoever tries all that are likely; an MD5 hash is for logging in as well.
fn passwords_written(source: &ServerFacts, target: &ServerFacts) -> Option<Finding> {
    let settings = &target.configuration.writes_passwords;
    (source.reads_passwords && !settings.is_empty()).then(|| {
        let message = format!(
            "the target writes down the statements that set the passwords of roles, as they are stored ({}), and the role \"{}\" may not \
             switch that off for its session",
            settings.join(", "),
            target.user
        );
        Finding::new(Code::TargetPasswordsWritten, message).fix(
            "switch it off on the target until the step globals is done; or use a role that may (a superuser; from 15 on GRANT SET ON \
             PARAMETER); see who may read the target's log",
        )
    })
}

fn limited_role(source: &ServerFacts, target: &ServerFacts) -> Option<Finding> {
    if target.is_superuser {
        return None;
    }
    let (severity, what) = if target.can_create_role {
        (
            Severity::Warn,
            format!(
                "is not a superuser: superuser roles, and attributes that only a superuser may give, do not migrate, and it \
                 becomes a member of the roles that it creates{}",
                joined_roles(source, target)
            ),
        )
    } else {
        (
            Severity::Fix,
            "may not create roles on the target: roles that are missing there do not migrate"
                .to_owned(),
        )
    };
    Some(
        Finding::new(
            Code::TargetLimitedRole,
            format!("the role \"{}\" {what}", target.user),
        )
        .severity(severity)
        .fix("use a superuser for [target], or create the roles before the run and set globals.migrate = false"),
    )
}

/// The roles that were there and that our role joins as well: before 16 it may, and could not give them what they own otherwise.
fn joined_roles(source: &ServerFacts, target: &ServerFacts) -> String {
    if target.version.major() >= 1600 {
        return String::new();
    }
    let is_member = |name: &str| {
        let user = target.role(&target.user);
        user.is_some_and(|user| user.member_of.contains_key(name))
    };
    let names: Vec<String> = source
        .roles
        .iter()
        .filter(|role| !role.is_superuser && !role.name.starts_with("pg_"))
        .filter(|role| {
            target
                .role(&role.name)
                .is_some_and(|there| !there.is_superuser)
        })
        .filter(|role| role.name != target.user && !is_member(&role.name))
        .map(|role| format!("\"{}\"", role.name))
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        ", and for good of those of the source that are there: {} (REVOKE it after the run where it is not wanted)",
        some_of(&names, NAMED)
    )
}

/// Roles that a finding names.
const NAMED: usize = 10;

/// Passwords that migrate as hashes which the target may not accept.
fn md5_passwords(source: &ServerFacts, target: &ServerFacts) -> Option<Finding> {
    let is_md5 = |role: &&Role| role.password.as_ref().is_some_and(|it| it.is_md5);
    let roles = source.roles.iter();
    let roles = roles.filter(|role| !target.keeps_role(&role.name));
    let names: Vec<String> = roles
        .filter(|role| role.can_login && !role.name.starts_with("pg_"))
        .filter(is_md5)
        .map(|role| format!("\"{}\"", role.name))
        .collect();
    if names.is_empty() || target.version.major() < 1000 {
        return None;
    }
    let (severity, what) = match target.configuration.asks_for_scram {
        Some(true) => (
            Severity::Fix,
            "these roles cannot log in where the target's pg_hba.conf asks for scram-sha-256, as lines of it do",
        ),
        Some(false) => (
            Severity::Info,
            "these roles cannot log in where the target's pg_hba.conf asks for scram-sha-256, which no line of it does now",
        ),
        None => (
            Severity::Warn,
            "these roles cannot log in where the target's pg_hba.conf, which our role may not read, asks for scram-sha-256",
        ),
    };
    let message = format!(
        "passwords that the source stores as MD5 hashes migrate as they are stored, and {what}: {}",
        some_of(&names, NAMED)
    );
    Some(Finding::new(Code::SourceMd5Passwords, message).severity(severity).fix(
        "set the passwords again on the source with password_encryption = 'scram-sha-256' (10 and later), or on the target after the \
         run; or let pg_hba.conf of the target ask for md5, which accepts both",
    ))
}

/// Before 16, CREATEROLE alone lets a role alter and drop all others but superusers.
fn role_creators(source: &ServerFacts, target: &ServerFacts) -> Vec<Finding> {
    if source.version.major() >= 1600 || target.version.major() < 1600 {
        return Vec::new();
    }
    let creates = |role: &Role| role.attributes.get("CREATEROLE") == Some(&true);
    let creators = source.roles.iter();
    creators
        .filter(|role| creates(role) && !role.is_superuser && !target.keeps_role(&role.name))
        .filter_map(|creator| {
            let there = target.role(&creator.name);
            let may_already = |name: &str| {
                [Some(creator), there].into_iter().flatten().any(|role| {
                    let member = role.member_of.get(name);
                    member.is_some_and(|member| member.admin)
                })
            };
            let managed = source.roles.iter().filter(|role| {
                let is_other = role.name != target.user && !role.is_superuser && !creates(role);
                // A role cannot be a member of its own members.
                is_other && !is_member(source, role, &creator.name) && !may_already(&role.name)
            });
            let managed = managed.filter(|role| !role.name.starts_with("pg_"));
            let names: Vec<String> = managed.map(|role| quote_identifier(&role.name)).collect();
            (!names.is_empty()).then(|| {
                let message = "the role has CREATEROLE, with which it may alter and drop any other role on the source; from 16 on it may \
                               only those that it is a member of with ADMIN OPTION, and those that it creates";
                Finding::new(Code::SourceCreaterole, message)
                    .object(format!("ROLE {}", creator.name))
                    .fix(format!(
                        "on the target after the run, for the roles that it is to manage: GRANT {} TO {} WITH ADMIN OPTION, INHERIT FALSE, \
                         SET FALSE",
                        some_of(&names, NAMED),
                        quote_identifier(&creator.name)
                    ))
            })
        })
        .collect()
}

/// Whether the role is a member of the group, also by way of others.
fn is_member(server: &ServerFacts, role: &Role, group: &str) -> bool {
    let mut groups = role.member_of.keys();
    // Memberships have no circles.
    groups.any(|name| {
        name == group
            || server
                .role(name)
                .is_some_and(|role| is_member(server, role, group))
    })
}

fn public_schema_owner(source: &ServerFacts, target: &ServerFacts) -> Option<Finding> {
    (!target.is_superuser && source.version.major() < 1500).then(|| {
        let message = format!(
            "before 15 the schema public belongs to the superuser who created the cluster, to whom the role \"{}\" cannot \
             give it on the target: pg_restore reports an error in each database",
            target.user
        );
        Finding::new(Code::TargetPublicSchemaOwner, message).fix(
            "[[accept]] with each database, object = \"*SCHEMA*public*\" and a reason, or use a superuser for [target]",
        )
    })
}

fn owners_missing(plan: &Plan, source: &ServerFacts, target: &ServerFacts) -> Vec<Finding> {
    let databases = source.databases.iter();
    let owners: BTreeSet<&str> = databases
        .filter(|database| plan.databases.takes(&database.name))
        .map(|database| database.owner.as_str())
        .filter(|owner| !target.has_role(owner))
        .collect();
    let owners = owners.into_iter();
    owners
        .map(|owner| {
            let message = format!(
                "the role \"{owner}\" owns a database, is not on the target, and globals.migrate is false"
            );
            Finding::new(Code::TargetOwnerMissing, message)
                .object(format!("ROLE {owner}"))
                .fix("create the role on the target, or set globals.migrate = true")
        })
        .collect()
}
