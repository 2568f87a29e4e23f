//! Settings of the target that were found, and that a run neither made nor may pass over in silence.

use crate::catalog::{ServerFacts, ServerSetting, value};
use crate::finding::{Code, Finding, Severity};
use crate::plan::{FoundUnsafe, Plan};

/// `fsync` and its like that are off, and that no run of this plan switched off, by its journal.
pub(crate) fn for_found_unsafe(
    wanted: FoundUnsafe,
    settings: &[&ServerSetting],
) -> Option<Finding> {
    if settings.is_empty() {
        return None;
    }
    let (are, them) = match settings {
        [_] => ("is", "it"),
        _ => ("are", "them"),
    };
    let listed: Vec<String> = settings
        .iter()
        .map(|setting| format!("{} (by {})", setting.name, setting.origin))
        .collect();
    let off = format!("{} {are} off on the target", listed.join(" and "));
    if wanted == FoundUnsafe::Keep {
        let message =
            format!("{off}, and will be after the run (target.tuning.found_unsafe = \"keep\")");
        return Some(Finding::new(Code::TargetLeftUnsafe, message).severity(Severity::Info));
    }
    let message = format!(
        "{off}, and this plan's runs did not switch {them} off, as far as the state directory knows: a run that was killed \
         may have left that, and what is migrated would be unsafe after this run as well"
    );
    let mut steps: Vec<String> = settings.iter().map(|setting| setting.removal()).collect();
    if settings.iter().any(|setting| setting.needs_reload()) {
        steps.push("SELECT pg_reload_conf()".to_owned());
    }
    Some(Finding::new(Code::TargetLeftUnsafe, message).fix(format!(
        "`pg-migrate revert` with the plan that left that, which knows what was set before from its state directory or from the \
         target's mark; or on the target: {}; or, where the server's owner wants it so, target.tuning.found_unsafe = \"keep\"",
        steps.join("; ")
    )))
}

/// The server's own `default_transaction_read_only`.
pub(super) fn for_read_only(plan: &Plan, target: &ServerFacts) -> Option<Finding> {
    let name = "default_transaction_read_only";
    let found = target.configuration.own.get(name)?;
    if value::boolean(&found.setting) != Some(true) {
        return None;
    }
    let message = format!(
        "the target's {name} is on (by {}): its owner or provider protects it from being written to, as providers do where the disk is almost \
         full",
        found.origin
    );
    if plan.target.override_read_only {
        let message = format!("{message}; target.override_read_only overrules that");
        return Some(Finding::new(Code::TargetReadOnly, message).severity(Severity::Warn));
    }
    let reload = if found.needs_reload() {
        "; SELECT pg_reload_conf()"
    } else {
        ""
    };
    Some(Finding::new(Code::TargetReadOnly, message).fix(format!(
        "find out why, make room if that is it, and {}{reload}; or overrule it by target.override_read_only = true",
        found.removal()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Origin;

    fn setting(name: &str, origin: Origin) -> ServerSetting {
        ServerSetting {
            name: name.to_owned(),
            setting: "off".to_owned(),
            origin,
        }
    }

    #[test]
    fn what_is_off_is_told_with_where_it_comes_from() {
        assert!(for_found_unsafe(FoundUnsafe::Refuse, &[]).is_none());
        let fsync = setting("fsync", Origin::AlterSystem);
        let file = Origin::File(Some(("/etc/pg/postgresql.conf".to_owned(), Some(7))));
        let autovacuum = setting("autovacuum", file);
        let text = |wanted, settings: &[&ServerSetting]| {
            let finding = for_found_unsafe(wanted, settings).unwrap();
            format!("{:?} {finding} -> {:?}", finding.severity, finding.fix)
        };
        let all = [
            text(FoundUnsafe::Refuse, &[&fsync, &autovacuum]),
            text(
                FoundUnsafe::Refuse,
                &[&setting("fsync", Origin::CommandLine)],
            ),
            text(FoundUnsafe::Keep, &[&fsync]),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        Block target/left-unsafe: fsync (by ALTER SYSTEM, in postgresql.auto.conf) and autovacuum (by /etc/pg/postgresql.conf, line 7) are off on the target, and this plan's runs did not switch them off, as far as the state directory knows: a run that was killed may have left that, and what is migrated would be unsafe after this run as well -> Some("`pg-migrate revert` with the plan that left that, which knows what was set before from its state directory or from the target's mark; or on the target: ALTER SYSTEM RESET fsync; remove autovacuum from /etc/pg/postgresql.conf; SELECT pg_reload_conf(); or, where the server's owner wants it so, target.tuning.found_unsafe = \"keep\"")
        Block target/left-unsafe: fsync (by the command line of the server) is off on the target, and this plan's runs did not switch it off, as far as the state directory knows: a run that was killed may have left that, and what is migrated would be unsafe after this run as well -> Some("`pg-migrate revert` with the plan that left that, which knows what was set before from its state directory or from the target's mark; or on the target: start the server without fsync on its command line; or, where the server's owner wants it so, target.tuning.found_unsafe = \"keep\"")
        Info target/left-unsafe: fsync (by ALTER SYSTEM, in postgresql.auto.conf) is off on the target, and will be after the run (target.tuning.found_unsafe = "keep") -> None
        "#);
    }
}
