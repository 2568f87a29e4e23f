//! How the server is configured.

use std::collections::{BTreeMap, BTreeSet};

use super::{query, server_settings, statement_log};
use crate::catalog::parameter::{Changeable, Parameter};
use crate::catalog::{Configuration, ReplicationSlot};
use crate::postgres::{Connection, Error};

/// Reads the configuration, and what our role may do about it.
pub(super) async fn read(connection: &Connection) -> Result<Configuration, Error> {
    let parameters = parameters(connection).await?;
    // Predefined roles came with 11, pg_checkpoint with 15. A superuser is a member of every role.
    let member = |role: &str, since: u32| {
        if connection.version().major() >= since {
            format!("pg_has_role('{role}', 'USAGE')")
        } else {
            "r.rolsuper".to_owned()
        }
    };
    let rights = query::row(
        connection,
        "ask for our rights to configure the server",
        &format!(
            "SELECT has_table_privilege('pg_catalog.pg_file_settings', 'SELECT') \
                    AND has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'EXECUTE'), \
                    has_function_privilege('pg_catalog.pg_reload_conf()', 'EXECUTE'), \
                    {}, {}, {} \
             FROM pg_catalog.pg_roles r WHERE r.rolname = current_user",
            member("pg_checkpoint", 1500),
            member("pg_execute_server_program", 1100),
            member("pg_read_server_files", 1100),
        ),
    )
    .await?;
    let replicas = query::row(
        connection,
        "count the replicas",
        "SELECT count(*) FILTER (WHERE state IS DISTINCT FROM 'backup'), \
                count(*) FILTER (WHERE coalesce(sync_state, 'sync') IN ('sync', 'quorum')), \
                count(*) FILTER (WHERE state = 'backup') \
         FROM pg_catalog.pg_stat_replication",
    )
    .await?;
    let slots = query::rows(
        connection,
        "list the replication slots",
        "SELECT slot_name::text, active FROM pg_catalog.pg_replication_slots \
         ORDER BY slot_name::text COLLATE \"C\"",
    )
    .await?
    .iter()
    .map(|row| ReplicationSlot {
        name: row.get(0),
        is_active: row.get(1),
    })
    .collect();
    let number = |column| u32::try_from(replicas.get::<_, i64>(column)).unwrap_or(u32::MAX);
    let not_archived = not_archived(connection).await?;
    let asks_for_scram = asks_for_scram(connection).await?;
    let own = server_settings::read(connection, rights.get(0)).await?;
    let mut configuration = Configuration {
        parameters,
        own,
        of_clients: server_settings::of_clients(connection).await?,
        reads_file_settings: rights.get(0),
        may_reload: rights.get(1),
        may_checkpoint: rights.get(2),
        may_run_programs: rights.get(3),
        is_edited_by_hand: None,
        memory: None,
        replicas: number(0),
        synchronous_replicas: number(1),
        base_backups: number(2),
        not_archived,
        asks_for_scram,
        writes_passwords: statement_log::keep_out_of_log(connection).await?,
        slots,
    };
    // Before 11 no function reads outside the data directory.
    if rights.get(4) && connection.version().major() >= 1100 {
        let files = read_files(connection).await;
        if let Some([auto_conf, meminfo, limit, older_limit]) = files {
            configuration.is_edited_by_hand = auto_conf.as_deref().map(is_edited_by_hand);
            let host = meminfo.as_deref().and_then(total_memory);
            let bytes = |text: Option<String>| text?.trim().parse::<u64>().ok();
            configuration.memory = [host, bytes(limit), bytes(older_limit)]
                .into_iter()
                .flatten()
                .min();
        }
    }
    Ok(configuration)
}

/// Of WAL that is not archived every file stays in `pg_wal`.
async fn not_archived(connection: &Connection) -> Result<Option<String>, Error> {
    let library = if connection.version().major() >= 1500 {
        "current_setting('archive_library')"
    } else {
        "''"
    };
    // A superuser alone reads the command; to others it is NULL.
    let rows = query::rows(
        connection,
        "look at the archiver",
        &format!(
            "SELECT CASE WHEN s.setting IN ('', '(disabled)') AND {library} = '' \
                         THEN 'archive_command is empty' \
                         WHEN a.failed_count > 0 AND a.last_failed_time > coalesce(a.last_archived_time, '-infinity') \
                         THEN 'archiving fails, last with the WAL file ' || a.last_failed_wal END \
             FROM pg_catalog.pg_stat_archiver a, pg_catalog.pg_settings m \
             LEFT JOIN pg_catalog.pg_settings s ON s.name = 'archive_command' \
             WHERE m.name = 'archive_mode' AND m.setting <> 'off'"
        ),
    )
    .await?;
    Ok(rows.first().and_then(|row| row.get(0)))
}

/// The view came with 10; who may not call its function is not told.
async fn asks_for_scram(connection: &Connection) -> Result<Option<bool>, Error> {
    if connection.version().major() < 1000 {
        return Ok(None);
    }
    let allowed = query::row(
        connection,
        "ask for the right to read pg_hba.conf",
        "SELECT has_table_privilege('pg_catalog.pg_hba_file_rules', 'SELECT') \
                AND has_function_privilege('pg_catalog.pg_hba_file_rules()', 'EXECUTE')",
    )
    .await?;
    if !allowed.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = query::row(
        connection,
        "read pg_hba.conf",
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_hba_file_rules WHERE auth_method = 'scram-sha-256')",
    )
    .await?;
    Ok(row.get(0))
}

async fn parameters(connection: &Connection) -> Result<BTreeMap<String, Parameter>, Error> {
    // Privileges on parameters came with 15.
    let privilege = |privilege: &str| {
        if connection.version().major() >= 1500 {
            format!("has_parameter_privilege(s.name, '{privilege}')")
        } else {
            "r.rolsuper".to_owned()
        }
    };
    let rows = query::rows(
        connection,
        "read the server's configuration",
        &format!(
            "SELECT lower(s.name), s.context, s.vartype, s.setting, s.unit, s.min_val, s.max_val, s.enumvals, \
                    s.source IN ('command line', 'environment variable', 'override'), {}, {} \
             FROM pg_catalog.pg_settings s, pg_catalog.pg_roles r WHERE r.rolname = current_user",
            privilege("ALTER SYSTEM"),
            privilege("SET"),
        ),
    )
    .await?;
    let number = |text: Option<&str>| text?.parse::<f64>().ok();
    Ok(rows
        .iter()
        .map(|row| {
            let name: String = row.get(0);
            let parameter = Parameter {
                name: name.clone(),
                changeable: match row.get(1) {
                    "postmaster" => Changeable::Restart,
                    "sighup" => Changeable::Reload,
                    "backend" | "superuser-backend" => Changeable::SessionStart,
                    "superuser" => Changeable::PrivilegedSession,
                    "user" => Changeable::Session,
                    _ => Changeable::Never,
                },
                vartype: row.get(2),
                setting: row.get::<_, Option<String>>(3).unwrap_or_default(),
                unit: row.get(4),
                min: number(row.get(5)),
                max: number(row.get(6)),
                choices: row.get::<_, Option<Vec<String>>>(7).unwrap_or_default(),
                is_fixed: row.get(8),
                may_alter_system: row.get(9),
                may_set: row.get(10),
            };
            (name, parameter)
        })
        .collect())
}

/// `postgresql.auto.conf`, the host's memory, and a container's limit of it by either version of control
/// groups. That a file is not there, or that this is not Linux, is not an error.
async fn read_files(connection: &Connection) -> Option<[Option<String>; 4]> {
    let file = |name: &str| format!("pg_catalog.pg_read_file('{name}', 0, 1048576, true)");
    let sql = format!(
        "SELECT {}, {}, {}, {}",
        file("postgresql.auto.conf"),
        file("/proc/meminfo"),
        file("/sys/fs/cgroup/memory.max"),
        file("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    );
    match connection.query_one(&sql, &[]).await {
        Ok(row) => Some([row.get(0), row.get(1), row.get(2), row.get(3)]),
        Err(error) => {
            tracing::debug!(%error, "the target's memory cannot be read");
            None
        }
    }
}

/// Bytes by the line `MemTotal:       24683520 kB` of proc(5).
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// What ALTER SYSTEM writes on top of the file.
const HEADER: &str = "# Do not edit this file manually!\n\
                      # It will be overwritten by the ALTER SYSTEM command.\n";

/// Whether ALTER SYSTEM would write the file otherwise, beyond the entry that it changes: it keeps one
/// `name = 'value'` a parameter below its own comment.
fn is_edited_by_hand(auto_conf: &str) -> bool {
    let Some(entries) = auto_conf.strip_prefix(HEADER) else {
        return true;
    };
    let mut names = BTreeSet::new();
    let mut is_entry = |line: &str| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        line.split_once(" = '").is_some_and(|(name, value)| {
            name.chars().all(is_name)
                && value.ends_with('\'')
                && names.insert(name.to_ascii_lowercase())
        })
    };
    !entries.lines().all(&mut is_entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_off_proc() {
        let meminfo = "MemTotal:       24683520 kB\nMemFree:          123 kB\n";
        assert_eq!(total_memory(meminfo), Some(24_683_520 * 1024));
        assert_eq!(total_memory(""), None);
    }

    #[test]
    fn a_file_that_only_alter_system_wrote_is_told_from_others() {
        let edited = |entries: &str| is_edited_by_hand(&format!("{HEADER}{entries}"));
        assert!(!edited(""));
        assert!(!edited("work_mem = '64MB'\nauto_explain.x = 'it''s # 1'\n"));
        assert!(edited("work_mem = '64MB'\n# by me\n"));
        assert!(edited("work_mem=64MB\n"));
        assert!(edited("work_mem = '64MB' # by me\n"));
        assert!(edited("work_mem = '64MB'\nWork_Mem = '1MB'\n"));
        assert!(edited("\n"));
        assert!(is_edited_by_hand(""));
    }
}
