//! What somebody should know before the run: findings about servers, roles and databases.

use std::collections::BTreeSet;

use super::budget::{self, Share};
use crate::catalog::{ClientFacts, Database, Inspection, LocaleProvider, ServerFacts, locale};
use crate::finding::{Code, Finding, Severity};
use crate::plan::{Compression, Override, Plan, Side, SslMode, Transfer, VerifyMode, Waive};

/// A finding that is about no database.
pub(super) fn server_finding(
    severity: Severity,
    code: Code,
    message: String,
    fix: &str,
) -> Finding {
    Finding {
        severity,
        code,
        database: None,
        object: None,
        message,
        fix: Some(fix.to_owned()),
    }
}

/// Findings about the servers, the client programs and the roles.
pub fn of_servers(plan: &Plan, inspection: &Inspection) -> Vec<Finding> {
    let Inspection {
        source,
        target,
        client,
    } = inspection;
    let mut findings = Vec::new();
    let newest = source.version.max(target.version);
    if client.version.major() < newest.major() {
        findings.push(server_finding(
            Severity::Block,
            Code::ClientTooOld,
            format!(
                "the client programs are of version {}, older than the newest server ({}): pg_dump refuses \
                 servers that are newer than itself",
                client.version, newest
            ),
            &format!(
                "install the client programs of PostgreSQL {} or later and put them first on PATH",
                newest.major_text()
            ),
        ));
    }
    if target.version.major() < source.version.major() {
        findings.push(server_finding(
            Severity::Block,
            Code::TargetOlderThanSource,
            format!(
                "the target is of version {}, older than the source ({})",
                target.version, source.version
            ),
            "exchange [source] and [target], or use a newer target",
        ));
    }
    if source.started == target.started
        && source.system_identifier.is_some()
        && source.system_identifier == target.system_identifier
    {
        findings.push(server_finding(
            Severity::Block,
            Code::TargetSameServer,
            "source and target are the same server".into(),
            "correct the host or the port of [source] or [target]",
        ));
    }
    for (side, sslmode) in [
        (Side::Source, plan.source.sslmode),
        (Side::Target, plan.target.sslmode),
    ] {
        let needs_tls = matches!(
            sslmode,
            Some(SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull)
        );
        if needs_tls && !client.tls {
            findings.push(server_finding(
                Severity::Block,
                Code::ClientNoTls,
                format!("the plan asks for TLS to the {side}, but pg_dump was built without it"),
                "install client programs that were built with OpenSSL and put them first on PATH",
            ));
        }
    }
    findings.extend(of_source(plan, source));
    findings.extend(of_target(plan, source, target));
    findings.extend(not_available(plan));
    findings
}

/// What the plan asks for and this version does not do: a run must not pass it over.
fn not_available(plan: &Plan) -> Vec<Finding> {
    let mut findings = Vec::new();
    let streams = |entry: &Override| entry.transfer == Some(Transfer::Stream);
    if plan.overrides.iter().any(streams) {
        findings.push(server_finding(
            Severity::Block,
            Code::PlanNotAvailable,
            "transfer = \"stream\" is not available in this version".into(),
            "remove it: archives are the default",
        ));
    }
    if plan.verify == VerifyMode::Checksum {
        findings.push(server_finding(
            Severity::Block,
            Code::PlanNotAvailable,
            "verify.mode = \"checksum\" is not available in this version".into(),
            "set verify.mode = \"exact\"",
        ));
    }
    findings
}

fn of_source(plan: &Plan, source: &ServerFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if source.in_recovery && source.version.major() < 1000 {
        findings.push(server_finding(
            Severity::Block,
            Code::SourceStandby,
            format!(
                "the source is a standby of version {}, which cannot export a snapshot",
                source.version
            ),
            "use its primary as the source",
        ));
    } else if source.in_recovery {
        findings.push(server_finding(
            Severity::Warn,
            Code::SourceStandby,
            "the source is a standby: it cancels long queries when it has to apply changes".into(),
            "raise max_standby_streaming_delay on the standby, or set hot_standby_feedback = on",
        ));
    }
    if plan.globals && !source.reads_passwords {
        findings.push(server_finding(
            Severity::Warn,
            Code::SourcePasswordsUnreadable,
            format!(
                "the role \"{}\" may not read pg_authid, so roles migrate without their passwords",
                source.user
            ),
            "use a superuser for [source], or set passwords on the target afterwards",
        ));
    }
    if plan.globals {
        let reserved = source
            .roles
            .iter()
            .filter(|role| role.name.starts_with("pg_") && source.version.major() < 906);
        for role in reserved {
            findings.push(Finding {
                object: Some(format!("ROLE {}", role.name)),
                ..server_finding(
                    Severity::Fix,
                    Code::SourceRoleNameReserved,
                    format!(
                        "the role \"{}\" cannot be created on the target: names that start with pg_ are reserved \
                         since 9.6",
                        role.name
                    ),
                    "ALTER ROLE … RENAME TO … on the source",
                )
            });
        }
    }
    findings
}

fn of_target(plan: &Plan, source: &ServerFacts, target: &ServerFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if target.in_recovery {
        findings.push(server_finding(
            Severity::Block,
            Code::TargetStandby,
            "the target is a standby: nothing can be written to it".into(),
            "use its primary as the target",
        ));
    }
    if !target.is_superuser && !target.can_create_database {
        findings.push(server_finding(
            Severity::Block,
            Code::TargetCannotCreateDatabases,
            format!(
                "the role \"{}\" may not create databases on the target",
                target.user
            ),
            "ALTER ROLE … CREATEDB on the target, or use another role for [target]",
        ));
    }
    if plan.globals && !target.is_superuser {
        let (severity, message) = if target.can_create_role {
            (
                Severity::Warn,
                "is no superuser: superuser roles, and attributes that only a superuser may give, do not migrate, and it \
                 becomes a member of the roles that it makes",
            )
        } else {
            (
                Severity::Fix,
                "may not create roles on the target: roles that are missing there do not migrate",
            )
        };
        findings.push(server_finding(
            severity,
            Code::TargetLimitedRole,
            format!("the role \"{}\" {message}", target.user),
            "use a superuser for [target], or create the roles beforehand and set globals.migrate = false",
        ));
    }
    if !target.is_superuser && source.version.major() < 1500 {
        findings.push(server_finding(
            Severity::Warn,
            Code::TargetPublicSchemaOwner,
            format!(
                "before 15 the schema public belongs to the superuser who made the cluster, to whom the role \"{}\" \
                 cannot give it on the target: pg_restore reports an error in each database",
                target.user
            ),
            "[[accept]] with each database, object = \"*SCHEMA*public*\" and a reason, or use a superuser for [target]",
        ));
    }
    if !plan.globals {
        let owners: BTreeSet<&str> = source
            .databases
            .iter()
            .filter(|database| plan.databases.takes(&database.name))
            .map(|database| database.owner.as_str())
            .filter(|owner| !target.has_role(owner))
            .collect();
        for owner in owners {
            findings.push(Finding {
                object: Some(format!("ROLE {owner}")),
                ..server_finding(
                    Severity::Block,
                    Code::TargetOwnerMissing,
                    format!(
                        "the role \"{owner}\" owns a database, is not on the target, and globals.migrate is false"
                    ),
                    "create the role on the target, or set globals.migrate = true",
                )
            });
        }
    }
    findings
}

/// Findings about the budgets: what the plan asks for and does not get.
pub fn of_budgets(
    plan: &Plan,
    inspection: &Inspection,
    share: &Share,
    databases: u32,
) -> Vec<Finding> {
    let wanted = &plan.parallelism;
    let sides = [
        (
            Side::Source,
            &inspection.source,
            plan.source.max_connections,
            ("dump", wanted.dump_parallel, share.dump_parallel),
            (wanted.dump_jobs, share.dump_jobs),
        ),
        (
            Side::Target,
            &inspection.target,
            plan.target.max_connections,
            ("restore", wanted.restore_parallel, share.restore_parallel),
            (wanted.restore_jobs, share.restore_jobs),
        ),
    ];
    let codes = |side| match side {
        Side::Source => [
            Code::SourceNoConnections,
            Code::SourceConnectionsBeyondFree,
            Code::SourceDumpParallelLowered,
            Code::SourceDumpJobsLowered,
        ],
        Side::Target => [
            Code::TargetNoConnections,
            Code::TargetConnectionsBeyondFree,
            Code::TargetRestoreParallelLowered,
            Code::TargetRestoreJobsLowered,
        ],
    };
    let mut findings = Vec::new();
    for (side, server, given, (what, slots, granted_slots), (jobs, granted_jobs)) in sides {
        let [no_connections, beyond_free, parallel_lowered, jobs_lowered] = codes(side);
        let free = budget::free_connections(server);
        let budget = given.unwrap_or(free);
        let least = budget::least(side);
        if budget < least {
            findings.push(server_finding(
                Severity::Block,
                no_connections,
                format!(
                    "the run may use {budget} connections of the {side} and needs {least} at least \
                     (max_connections {}, reserved {}, in use {})",
                    server.max_connections, server.reserved_connections, server.used_connections
                ),
                &format!(
                    "raise max_connections on the server or {side}.max_connections in the plan"
                ),
            ));
            continue;
        }
        if given.is_some_and(|given| given > free) {
            findings.push(server_finding(
                Severity::Warn,
                beyond_free,
                format!(
                    "the plan allows {budget} connections to the {side}, which has about {free} free \
                     (max_connections {}, reserved {}, in use {})",
                    server.max_connections, server.reserved_connections, server.used_connections
                ),
                &format!("lower {side}.max_connections, or raise max_connections on the server"),
            ));
        }
        if granted_slots < slots.min(databases) {
            findings.push(server_finding(
                Severity::Info,
                parallel_lowered,
                format!(
                    "{granted_slots} databases at a time instead of {slots}: the run may use {budget} \
                     connections of the {side}"
                ),
                &format!("raise max_connections on the server, or lower parallelism.{what}_parallel"),
            ));
        }
        if granted_jobs < jobs {
            findings.push(server_finding(
                Severity::Info,
                jobs_lowered,
                format!(
                    "at most {granted_jobs} {what} jobs a database instead of {jobs}: with {granted_slots} \
                     databases at a time, the run may use {budget} connections of the {side}"
                ),
                &format!(
                    "raise max_connections on the server, or lower parallelism.{what}_jobs or \
                     parallelism.{what}_parallel"
                ),
            ));
        }
    }
    findings
}

/// The compression that pg_dump will use, and a finding where it is not the plan's.
pub fn compression(
    wanted: &Compression,
    is_explicit: bool,
    client: &ClientFacts,
) -> (Compression, Option<Finding>) {
    let can = |compression: &Compression| match compression {
        Compression::Auto => false,
        Compression::None => true,
        Compression::Gzip(_) => client.gzip,
        Compression::Lz4(_) => client.lz4,
        Compression::Zstd(_) => client.zstd,
    };
    if can(wanted) {
        return (wanted.clone(), None);
    }
    let fallback = [
        Compression::Zstd(Some(5)),
        Compression::Lz4(None),
        Compression::Gzip(Some(1)),
    ]
    .into_iter()
    .find(can)
    .unwrap_or(Compression::None);
    if *wanted == Compression::Auto {
        return (fallback, None);
    }
    let message = format!(
        "this pg_dump ({}) was built without {wanted}",
        client.version
    );
    let finding = if is_explicit {
        server_finding(
            Severity::Block,
            Code::ClientCompression,
            message,
            &format!(
                "set compression = \"{fallback}\" or \"auto\", or install a pg_dump that has it"
            ),
        )
    } else {
        server_finding(
            Severity::Info,
            Code::ClientCompression,
            format!("{message}, the default; {fallback} is used instead"),
            &format!("set dump.compression = \"{fallback}\" to say so in the plan"),
        )
    };
    (fallback, Some(finding))
}

/// Findings about one database that migrates.
pub fn of_database(
    database: &Database,
    target: &ServerFacts,
    created: &BTreeSet<String>,
) -> Vec<Finding> {
    let name = &database.name;
    let finding =
        |severity, code: Code, object: Option<String>, message: String, fix: &str| Finding {
            database: Some(name.clone()),
            object,
            ..server_finding(severity, code, message, fix)
        };
    let mut findings = Vec::new();
    if let Some(existing) = target.database(name).filter(|_| !created.contains(name)) {
        if !existing
            .contents
            .as_ref()
            .is_some_and(|contents| contents.is_empty())
        {
            findings.push(finding(
                Severity::Block,
                Code::TargetDatabaseNotEmpty,
                None,
                "the target has a database of this name, and it is not empty; nothing is overwritten that this \
                 plan did not create"
                    .into(),
                "drop or rename it on the target, or exclude it (databases.exclude)",
            ));
        } else if existing.encoding != database.encoding {
            findings.push(finding(
                Severity::Block,
                Code::TargetDatabaseEncoding,
                None,
                format!(
                    "the target has an empty database of this name with encoding {}, the source's is {}",
                    existing.encoding, database.encoding
                ),
                "drop it on the target",
            ));
        } else {
            findings.push(finding(
                Severity::Warn,
                Code::TargetDatabaseExists,
                None,
                "the target has an empty database of this name, which will be used; should the restore be \
                 interrupted, somebody has to empty it by hand, because this plan did not create it"
                    .into(),
                "drop it on the target, and the run creates it as it is on the source",
            ));
        }
    } else if database.provider == LocaleProvider::Libc {
        for locale_name in [&database.collate, &database.ctype] {
            if !locale::is_available(locale_name, &target.locales) {
                findings.push(finding(
                    Severity::Fix,
                    Code::TargetLocaleMissing,
                    None,
                    format!("the target's operating system does not seem to have the locale \"{locale_name}\""),
                    "install the locale on the target's host, then SELECT pg_import_system_collations('pg_catalog')",
                ));
                break;
            }
        }
    }
    let Some(contents) = &database.contents else {
        return findings;
    };
    for relation in &contents.relations {
        let object = || Some(format!("{}.{}", relation.schema, relation.name));
        if relation.has_oids {
            findings.push(finding(
                Severity::Block,
                Code::SourceWithOids,
                object(),
                "the table was created WITH OIDS; pg_dump 12 and later leave the oids out, so they would be lost".into(),
                "ALTER TABLE … SET WITHOUT OIDS on the source, or accept the loss by [[waive]] with object = \
                 \"DATABASE.SCHEMA.TABLE\"",
            ));
        }
        if relation.row_security {
            findings.push(finding(
                Severity::Block,
                Code::SourceRowSecurity,
                object(),
                "row security applies to the source's role, so the table cannot be read in full"
                    .into(),
                "use a role with BYPASSRLS, or the table's owner, for [source]",
            ));
        }
    }
    findings
}

/// Findings about the delayed phase of one database.
pub fn of_delays(database: &str, target: &ServerFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if target.version.major() < 1000 {
        findings.push(server_finding(
            Severity::Block,
            Code::TargetTooOldForDelays,
            format!(
                "a target of version {} cannot tell whether an interrupted load was committed (txid_status is new \
                 in 10)",
                target.version
            ),
            "use a target of version 10 or later, or remove delay.table_data",
        ));
    }
    if !target.sets_replication_role {
        findings.push(Finding {
            database: Some(database.to_owned()),
            ..server_finding(
                Severity::Warn,
                Code::TargetTriggersByTable,
                format!(
                    "the role \"{}\" may not set session_replication_role on the target: the loads of delayed \
                     tables switch off the triggers of users by ALTER TABLE, which locks each table against \
                     writes until it is loaded, and foreign keys are checked row by row",
                    target.user
                ),
                "GRANT SET ON PARAMETER session_replication_role TO … on the target (15 or later), or use a superuser",
            )
        });
    }
    findings
}

/// Turns findings that the plan waives into information, for as long as the waiver holds.
pub fn waive(findings: &mut [Finding], waivers: &[Waive], today: jiff::civil::Date) {
    for finding in findings {
        let object = match (&finding.database, &finding.object) {
            (Some(database), Some(object)) => format!("{database}.{object}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => String::new(),
        };
        let waiver = waivers.iter().find(|waiver| {
            waiver.code == finding.code.as_str()
                && waiver.until >= today
                && waiver.object.is_match(&object)
        });
        if let Some(waiver) = waiver {
            finding.severity = Severity::Info;
            finding.message = format!(
                "{} (waived until {}: {})",
                finding.message, waiver.until, waiver.reason
            );
            finding.fix = None;
        }
    }
}
