//! Facts for tests.

use super::parameter::{Changeable, Parameter};
use super::{Database, LocaleProvider};

/// The parameters that matter here, as PostgreSQL 18 has them: name, type, value, unit, and the least and the
/// most of a number or the words of an enum.
pub(crate) const PARAMETERS: &str = "
archive_mode                  restart enum    off         always,on,off
autovacuum                    reload  bool    on
checkpoint_completion_target  reload  real    0.5      -  0  1
checkpoint_timeout            reload  integer 300      s  30 86400
effective_cache_size          session integer 524288  8kB 1  2147483647
fsync                         reload  bool    on
full_page_writes              reload  bool    on
maintenance_work_mem          session integer 65536   kB  1024 2147483647
max_wal_size                  reload  integer 1024    MB  2  2147483647
search_path                   session string  public
shared_buffers                restart integer 16384   8kB 16 1073741823
synchronous_commit            session enum    on          local,remote_write,on,off
synchronous_standby_names     reload  string
wal_compression               super   enum    off         pglz,on,off
wal_level                     restart enum    replica     minimal,replica,logical
";

/// A parameter of a server on which we are superuser.
pub(crate) fn parameter(name: &str) -> Parameter {
    let mut lines = PARAMETERS.lines();
    let line = lines.find(|line| line.split_whitespace().next() == Some(name));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    let word = |position: usize| words.get(position).copied();
    let is_number = matches!(words[2], "integer" | "real");
    let number = |position| {
        word(position)
            .filter(|_| is_number)
            .map(|text| text.parse().unwrap())
    };
    Parameter {
        name: name.to_owned(),
        changeable: match words[1] {
            "restart" => Changeable::Restart,
            "reload" => Changeable::Reload,
            "super" => Changeable::PrivilegedSession,
            _ => Changeable::Session,
        },
        vartype: words[2].to_owned(),
        setting: word(3).unwrap_or_default().to_owned(),
        unit: word(4)
            .filter(|unit| is_number && *unit != "-")
            .map(str::to_owned),
        min: number(5),
        max: number(6),
        choices: match (words[2], word(4)) {
            ("enum", Some(choices)) => choices.split(',').map(str::to_owned).collect(),
            _ => Vec::new(),
        },
        is_fixed: false,
        may_alter_system: true,
        may_set: true,
    }
}

/// A database that nothing was set for.
pub(crate) fn database(name: &str, owner: &str) -> Database {
    Database {
        oid: 0,
        name: name.to_owned(),
        owner: owner.to_owned(),
        bytes: None,
        is_template: false,
        allows_connections: true,
        connection_limit: -1,
        used_connections: 0,
        encoding: "UTF8".to_owned(),
        collate: "C".to_owned(),
        ctype: "C".to_owned(),
        provider: LocaleProvider::Libc,
        locale: None,
        icu_rules: None,
        tablespace: "pg_default".to_owned(),
        comment: None,
        privileges: None,
        settings: Vec::new(),
        contents: None,
    }
}
