//! What pg_restore writes: the table of contents, errors, progress.

use pg_migrate::fuzzing::{RestoreLog, Toc, escape_control_lines};

/// A number of jobs, the table of contents, an empty line, the standard error.
pub fn check(data: &[u8]) {
    let (jobs, data) = match data {
        [digit @ b'0'..=b'9', rest @ ..] => (u32::from(digit - b'0'), rest),
        _ => (1, data),
    };
    // The program reads what the clients write in this way too.
    let text = String::from_utf8_lossy(data);
    let (listing, stderr) = text.split_once("\n\n").unwrap_or(("", &text));
    let toc = Toc::parse(listing, ["postgres", "My Owner", "new\nline"]);
    for rows in Toc::table_rows(listing) {
        assert!(toc.get(rows.dump_id).is_some());
    }

    let entries = toc.entry_count() as u64;
    let mut log = RestoreLog::new(toc, jobs);
    let mut done = 0;
    let mut failed = false;
    for line in stderr.split('\n') {
        log.push_line(line);
        assert!((done..=entries).contains(&log.items_done()));
        done = log.items_done();
        failed |= line.starts_with("pg_restore: error: could not execute query: ");
    }

    let report = log.finish();
    // No error is lost: whatever else stands around it, it is of some entry or of none.
    assert!(
        !(failed && report.errors.is_empty() && report.fatal.is_empty() && report.harmless == 0)
    );
    let is_empty = report.errors.is_empty() && report.fatal.is_empty() && report.harmless == 0;
    assert!(report.ignored == 0 || !is_empty);
    for error in &report.errors {
        assert!(!error.object.is_empty());
        for text in [&error.object, &error.message] {
            super::assert_shows_what_it_is(&escape_control_lines(text));
        }
        let secret = [
            "FOREIGN DATA WRAPPER ",
            "SERVER ",
            "SUBSCRIPTION ",
            "USER MAPPING ",
        ];
        let may_hold_secrets = secret.iter().any(|start| error.object.starts_with(start));
        let shows_command = error.message.lines().any(|line| line.starts_with("LINE "));
        assert!(!may_hold_secrets || !shows_command, "{error:?}");
    }
}
