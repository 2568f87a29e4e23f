//! What arrives as it is, and means something else on another server.

use crate::catalog::{NotMoved, NotMovedKind};
use crate::finding::{Code, Finding};

/// About a database that migrates.
pub(super) fn in_database(not_moved: &[NotMoved]) -> impl Iterator<Item = Finding> {
    not_moved.iter().filter_map(finding)
}

fn finding(
    NotMoved {
        what,
        object,
        detail,
    }: &NotMoved,
) -> Option<Finding> {
    let (code, message, fix) = match what {
        NotMovedKind::LeadsToSource => (
            Code::SourceLeadsHere,
            format!(
                "the foreign server leads to {detail}, which is the source: on the target it does so still, after the switch too"
            ),
            "ALTER SERVER … OPTIONS (SET host …) on the target after the run; or keep the source's name for the target",
        ),
        NotMovedKind::ObjectNumbers => (
            Code::SourceServerValues,
            format!(
                "it keeps object ids of the source: {detail}; large objects have the same on the target, but tables, functions, roles and all \
                 else have others: what joins them with pg_class, or compares them with TG_RELID, finds nothing there, or another object"
            ),
            "where they are of large objects, nothing; otherwise ALTER COLUMN … TYPE regclass (regproc, regrole …) on the source before the run, \
             which arrives by name, or keep the names beside them, and look the numbers up again on the target after it",
        ),
        NotMovedKind::ServerValues => (
            Code::SourceServerValues,
            format!(
                "it keeps what the source counts for itself, and the target counts from elsewhere: {detail}; a comparison with the target's \
                 own transaction ids, snapshots or WAL positions finds too much, or nothing for a long time"
            ),
            "see what uses the columns (outboxes, queues, heartbeats), and begin their values again on the target after the run",
        ),
        NotMovedKind::Subscription => (
            Code::SourceSubscriptionDisabled,
            format!(
                "the subscription is enabled, and arrives disabled and without its tables: the target gets nothing of its publisher{}",
                match detail.as_str() {
                    "" => String::new(),
                    slot => format!(", whose slot \"{slot}\" goes on serving the source"),
                }
            ),
            "where the target is to go on with it: ALTER SUBSCRIPTION … DISABLE on the source before the run; after it, ALTER SUBSCRIPTION … SET \
             (slot_name = NONE) on both servers, and on the target DROP SUBSCRIPTION and CREATE SUBSCRIPTION … WITH (create_slot = false, \
             slot_name = …, copy_data = false); with copy_data, all rows come a second time",
        ),
        _ => return None,
    };
    Some(Finding::new(code, message).object(object).fix(fix))
}
