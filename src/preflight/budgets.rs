//! What the plan asks for and a server has no connections for.

use super::words::counted;
use crate::catalog::{Database, ServerFacts};
use crate::finding::{Code, Finding, Severity};
use crate::plan::Side;

/// The connections of one server, and what was fitted into them.
pub(crate) struct Budget<'a> {
    pub side: Side,
    pub server: &'a ServerFacts,
    /// What the server has free, less a reserve.
    pub free: u32,
    /// What the run takes where the plan does not say.
    pub by_default: u32,
    /// What neither the plan nor the server's free connections help over.
    pub at_most: u32,
    /// Of that, what files this process may have open.
    pub files: Option<u32>,
    /// What the plan gives.
    pub given: Option<u32>,
    /// A run cannot work with less.
    pub least: u32,
    /// Databases at a time.
    pub databases: Fitted,
    /// Jobs of each.
    pub jobs: Fitted,
}

pub(crate) struct Fitted {
    pub wanted: u32,
    /// What the run may have, at most.
    pub granted: u32,
}

impl Budget<'_> {
    fn connections(&self) -> u32 {
        self.asked().min(self.at_most)
    }

    /// Were it not for the role and this process.
    fn asked(&self) -> u32 {
        self.given.unwrap_or(self.by_default)
    }

    /// Why so many are free.
    fn reason(&self) -> String {
        let of_role = match self.server.left_to_role {
            Some(left) => format!(", left to the role \"{}\" {left}", self.server.user),
            None => String::new(),
        };
        format!(
            "(max_connections {}, reserved {}, in use {}{of_role})",
            self.server.max_connections,
            self.server.reserved_connections,
            self.server.used_connections
        )
    }

    /// What gives the run more of them.
    fn remedy(&self) -> String {
        if self.at_most < self.asked() && self.files != Some(self.at_most) {
            format!(
                "raise the role's limit (ALTER ROLE … CONNECTION LIMIT on the {})",
                self.side
            )
        } else if self.at_most < self.asked() {
            "raise the limit of open files of this process (ulimit -n)".to_owned()
        } else if self.connections() < self.free {
            format!("raise {}.max_connections in the plan", self.side)
        } else {
            "raise max_connections on the server".to_owned()
        }
    }

    /// What the side's databases are for, as the plan's keys call it.
    fn work(&self) -> &'static str {
        match self.side {
            Side::Source => "dump",
            Side::Target => "restore",
        }
    }
}

pub(crate) fn for_budgets(budgets: &[Budget<'_>]) -> Vec<Finding> {
    let mut found = Vec::new();
    for budget in budgets {
        found.extend(sessions_hidden(budget));
        // Where nothing works, what was lowered does not matter.
        if let Some(finding) = no_connections(budget) {
            found.push(finding);
            continue;
        }
        found.extend(beyond_free(budget));
        found.extend(parallel_lowered(budget));
        found.extend(jobs_lowered(budget));
    }
    found
}

fn sessions_hidden(budget: &Budget<'_>) -> Option<Finding> {
    let Budget { side, server, .. } = budget;
    let code = match side {
        Side::Source => Code::SourceSessionsHidden,
        Side::Target => Code::TargetSessionsHidden,
    };
    (!server.sees_sessions).then(|| {
        let message = format!(
            "the role \"{}\" may not see the sessions of others on the {side} (pg_read_all_stats), so it is a guess how many \
             connections are free; the run may use {}",
            server.user,
            budget.connections()
        );
        let least = if server.version.major() < 1000 {
            format!("use a superuser for [{side}]")
        } else {
            format!("GRANT pg_read_all_stats TO … on the {side}")
        };
        Finding::new(code, message).fix(format!("{least}, or set {side}.max_connections in the plan"))
    })
}

fn no_connections(budget: &Budget<'_>) -> Option<Finding> {
    let Budget { side, least, .. } = budget;
    let connections = budget.connections();
    let code = match side {
        Side::Source => Code::SourceNoConnections,
        Side::Target => Code::TargetNoConnections,
    };
    (connections < *least).then(|| {
        let message = format!(
            "the run may use {} of the {side} and needs at least {least} {}",
            counted(connections, "connection"),
            budget.reason()
        );
        let fix = if budget.at_most < *least {
            budget.remedy()
        } else {
            format!("raise max_connections on the server or {side}.max_connections in the plan")
        };
        Finding::new(code, message).fix(fix)
    })
}

/// What CONNECTION LIMIT of the source's database leaves to a dump of it, which needs `least`; `None`: enough.
pub(crate) fn for_database_limit(
    database: &Database,
    left: u32,
    wanted: u32,
    least: u32,
) -> Option<Finding> {
    (left < wanted).then(|| {
        let limit = database.connection_limit;
        let used = counted(database.used_connections, "other session");
        let message = format!(
            "its CONNECTION LIMIT {limit} leaves {} to the run ({used} at the moment), {}",
            counted(left, "connection"),
            if left < least {
                format!("and a dump needs {least} at least")
            } else {
                format!("so that it is dumped and counted with these instead of {wanted}")
            }
        );
        let finding = Finding::new(Code::SourceDatabaseLimit, message)
            .database(&database.name)
            .fix(
                "ALTER DATABASE … CONNECTION LIMIT on the source, or use a superuser for [source], for whom it does not count",
            );
        if left < least {
            finding.severity(Severity::Block)
        } else {
            finding
        }
    })
}

fn beyond_free(budget: &Budget<'_>) -> Option<Finding> {
    let Budget { side, free, .. } = budget;
    let given = budget.given.filter(|given| given > free)?;
    let code = match side {
        Side::Source => Code::SourceConnectionsBeyondFree,
        Side::Target => Code::TargetConnectionsBeyondFree,
    };
    let message = format!(
        "the plan allows {} to the {side}, which has about {free} free {}",
        counted(given, "connection"),
        budget.reason()
    );
    Some(Finding::new(code, message).fix(format!(
        "lower {side}.max_connections, or raise max_connections on the server"
    )))
}

fn parallel_lowered(budget: &Budget<'_>) -> Option<Finding> {
    let Budget {
        side, databases, ..
    } = budget;
    let code = match side {
        Side::Source => Code::SourceDumpParallelLowered,
        Side::Target => Code::TargetRestoreParallelLowered,
    };
    (databases.granted < databases.wanted).then(|| {
        let message = format!(
            "{} at a time instead of {}: the run may use {} of the {side}",
            counted(databases.granted, "database"),
            databases.wanted,
            counted(budget.connections(), "connection")
        );
        Finding::new(code, message).fix(format!(
            "{}, or lower parallelism.{}_parallel",
            budget.remedy(),
            budget.work()
        ))
    })
}

fn jobs_lowered(budget: &Budget<'_>) -> Option<Finding> {
    let Budget { side, jobs, .. } = budget;
    let code = match side {
        Side::Source => Code::SourceDumpJobsLowered,
        Side::Target => Code::TargetRestoreJobsLowered,
    };
    let work = budget.work();
    (jobs.granted < jobs.wanted).then(|| {
        let message = format!(
            "at most {} for each database instead of {}: with {} at a time, the run may use {} of the {side}",
            counted(jobs.granted, &format!("{work} job")),
            jobs.wanted,
            counted(budget.databases.granted, "database"),
            counted(budget.connections(), "connection")
        );
        Finding::new(code, message).fix(format!(
            "{}, or lower parallelism.{work}_jobs or parallelism.{work}_parallel",
            budget.remedy()
        ))
    })
}
