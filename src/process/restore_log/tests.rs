use proptest::prelude::*;

use super::*;

const OWNERS: [&str; 3] = ["postgres", "Weird Name", "lost owner"];

fn read(listing: &str, jobs: u32, stderr: &str) -> (u64, RestoreReport) {
    let mut log = RestoreLog::new(Toc::parse(listing, OWNERS), jobs);
    stderr.lines().for_each(|line| log.push_line(line));
    (log.items_done(), log.finish())
}

fn shown(report: &RestoreReport) -> String {
    let errors = report.errors.iter().map(|error| {
        let message = error.message.replace('\n', "\n    ");
        format!("{}\n    {message}", error.object)
    });
    let fatal = report
        .fatal
        .iter()
        .map(|message| format!("FATAL {message}"));
    let warnings = report
        .warnings
        .iter()
        .map(|warning| format!("WARNING {warning}"));
    let ignored = format!("{} ignored", report.ignored);
    let lines: Vec<String> = errors
        .chain(fatal)
        .chain(warnings)
        .chain([ignored])
        .collect();
    lines.join("\n")
}

fn sorted(report: RestoreReport) -> Vec<(String, String)> {
    let mut errors: Vec<_> = report
        .errors
        .into_iter()
        .map(|error| (error.object, error.message))
        .collect();
    errors.sort();
    errors
}

/// The role may not ask for messages in English.
#[test]
fn a_setting_that_an_older_server_does_not_have_is_no_error_in_any_language() {
    for said in [
        "FEHLER:  unbekannter Konfigurationsparameter »transaction_timeout«",
        "ERREUR:  paramètre de configuration « transaction_timeout » non reconnu",
    ] {
        let mut log = RestoreLog::new(Toc::default(), 1);
        for line in [
            "pg_restore: while INITIALIZING:",
            &format!("pg_restore: error: could not execute query: {said}"),
            "Command was: SET transaction_timeout = 0;",
            "pg_restore: warning: errors ignored on restore: 1",
        ] {
            log.push_line(line);
        }
        let report = log.finish();
        assert_eq!(report.harmless, 1, "{report:?}");
        assert!(report.errors.is_empty() && report.fatal.is_empty());
    }
    // An object may be called so, and the rest of a command is not looked at.
    let mut log = RestoreLog::new(Toc::default(), 1);
    for line in [
        "pg_restore: while PROCESSING TOC:",
        "pg_restore: from TOC entry 7; 1255 16385 FUNCTION transaction_timeout() postgres",
        "pg_restore: error: could not execute query: FEHLER:  Funktion transaction_timeout existiert",
        "Command was: CREATE FUNCTION transaction_timeout() RETURNS int AS $$",
        "SET transaction_timeout = 0;",
        "Command was: SET transaction_timeout = 0;",
        "pg_restore: warning: errors ignored on restore: 1",
    ] {
        log.push_line(line);
    }
    let report = log.finish();
    assert_eq!(report.harmless, 0, "{report:?}");
    assert_eq!(report.errors.len() + report.fatal.len(), 1, "{report:?}");
}

#[test]
fn a_setting_that_an_older_server_does_not_have_is_not_an_error() {
    let mut log = RestoreLog::new(Toc::default(), 1);
    for line in [
        "pg_restore: while INITIALIZING:",
        "pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"",
        "Command was: SET transaction_timeout = 0;",
        "pg_restore: warning: errors ignored on restore: 1",
    ] {
        log.push_line(line);
    }
    let report = log.finish();
    assert_eq!(report.harmless, 1);
    assert!(
        report.errors.is_empty() && report.fatal.is_empty(),
        "{report:?}"
    );
}

#[test]
fn every_error_has_its_object() {
    let (_, report) = read(
        include_str!("../../../tests/restore-log/client-18.list"),
        1,
        include_str!("../../../tests/restore-log/client-18-jobs-1.stderr"),
    );
    insta::assert_snapshot!(shown(&report), @r#"
    FUNCTION public.cfunc(integer)
        could not access file "retired_library": No such file or directory
    FUNCTION public.cfunc(integer)
        function public.cfunc(integer) does not exist
    AGGREGATE public.old_agg(anyelement)
        function array_append(anyarray, anyelement) does not exist
    AGGREGATE public.old_agg(anyelement)
        aggregate public.old_agg(anyelement) does not exist
    VIEW Weird Schema.bad one
        syntax error at or near ")"
        LINE 2:  SELECT ((3)::bigint !) AS x;
                                      ^
    VIEW Weird Schema.bad one
        relation "Weird Schema.bad one" does not exist
    VIEW public.bad_view
        syntax error at or near ")"
        LINE 2:  SELECT ((5)::bigint !) AS fact;
                                      ^
    VIEW public.bad_view
        relation "public.bad_view" does not exist
    TABLE public.lost_table
        role "lost owner" does not exist
    TABLE public.new table
        role "lost owner" does not exist
    TABLE public.old_type
        type "abstime" does not exist
        LINE 2:     a abstime
                      ^
    TABLE public.old_type
        relation "public.old_type" does not exist
    VIEW public.over_bad
        relation "public.bad_view" does not exist
        LINE 3:    FROM public.bad_view;
                        ^
    VIEW public.over_bad
        relation "public.over_bad" does not exist
    VIEW public.waiting
        syntax error at or near ")"
        LINE 3:     ((6)::bigint !) AS w
                                  ^
    VIEW public.waiting
        relation "public.waiting" does not exist
    TABLE DATA public.checked
        new row for relation "checked" violates check constraint "checked_chk"
        DETAIL:  Failing row contains (1).
        CONTEXT:  COPY checked, line 1: "1"
    TABLE DATA public.old_type
        relation "public.old_type" does not exist
    CONSTRAINT public.t t_pkey
        could not create unique index "t_pkey"
        DETAIL:  Key (id)=(7) is duplicated.
    FK CONSTRAINT public.child child_fk
        insert or update on table "child" violates foreign key constraint "child_fk"
        DETAIL:  Key (pid)=(77) is not present in table "parent".
    ACL public.TABLE granted
        role "gone" does not exist
    21 ignored
    "#);
}

/// The same archive into the same server: parallel workers change nothing but the order.
#[test]
fn jobs_change_nothing_but_the_order() {
    for (listing, one, four) in [
        (
            include_str!("../../../tests/restore-log/client-17.list"),
            include_str!("../../../tests/restore-log/client-17-jobs-1.stderr"),
            include_str!("../../../tests/restore-log/client-17-jobs-4.stderr"),
        ),
        (
            include_str!("../../../tests/restore-log/client-18.list"),
            include_str!("../../../tests/restore-log/client-18-jobs-1.stderr"),
            include_str!("../../../tests/restore-log/client-18-jobs-4.stderr"),
        ),
    ] {
        let entries = Toc::parse(listing, OWNERS).entry_count() as u64;
        let (done_by_one, by_one) = read(listing, 1, one);
        let (done_by_four, by_four) = read(listing, 4, four);
        assert_eq!((done_by_one, done_by_four), (entries, entries));
        assert_eq!(by_one.errors.len(), 21);
        assert_eq!(by_one.ignored, 21);
        assert_eq!(by_one.fatal, by_four.fatal);
        assert_eq!(sorted(by_one), sorted(by_four));
    }
}

#[test]
fn a_lost_connection_is_not_an_error_of_an_object() {
    let listing = include_str!("../../../tests/restore-log/killed.list");
    for (jobs, stderr) in [
        (
            1,
            include_str!("../../../tests/restore-log/killed-jobs-1.stderr"),
        ),
        (
            3,
            include_str!("../../../tests/restore-log/killed-jobs-3.stderr"),
        ),
    ] {
        let (_, report) = read(listing, jobs, stderr);
        assert_eq!(report.errors, []);
        assert!(
            report.fatal[0].starts_with("MATERIALIZED VIEW DATA public.k: FATAL:  terminating"),
            "{:?}",
            report.fatal
        );
    }
}

/// Only `--verbose` says what entry an error belongs to.
#[test]
fn without_verbose_no_error_can_be_accepted() {
    let (_, report) = read(
        include_str!("../../../tests/restore-log/client-18.list"),
        1,
        include_str!("../../../tests/restore-log/not-verbose.stderr"),
    );
    assert_eq!((report.errors.len(), report.fatal.len()), (0, 18));
}

const LISTING: &str = "7; 2615 1 SCHEMA - My Schema lost owner\n\
                       8; 1259 2 TABLE My Schema t postgres\n\
                       9; 1259 3 VIEW public v postgres\n\
                       10; 0 2 TABLE DATA My Schema t postgres\n\
                       11; 6100 4 SUBSCRIPTION - sub postgres\n";

#[test]
fn clients_before_12() {
    let (_, report) = read(
        LISTING,
        1,
        "pg_restore: connecting to database for restore\n\
         pg_restore: creating TABLE \"My Schema.t\"\n\
         pg_restore: [archiver (db)] Error while PROCESSING TOC:\n\
         pg_restore: [archiver (db)] Error from TOC entry 8; 1259 2 TABLE t postgres\n\
         pg_restore: [archiver (db)] could not execute query: ERROR:  role \"x\" does not exist\n\
         \x20   Command was: ALTER TABLE t\n\
         \x20   OWNER TO x;\n\
         \n\
         \n\
         pg_restore: processing data for table \"My Schema.t\"\n\
         pg_restore: [archiver (db)] Error from TOC entry 10; 0 2 TABLE DATA t postgres\n\
         pg_restore: [archiver (db)] COPY failed for table \"t\": ERROR:  duplicate key\n\
         DETAIL:  Key (a)=(1) already exists.\n\
         CONTEXT:  COPY t, line 1\n\
         pg_restore: [archiver] could not read from input file: end of file\n\
         WARNING: errors ignored on restore: 2\n",
    );
    insta::assert_snapshot!(shown(&report), @r#"
    TABLE My Schema.t
        role "x" does not exist
    TABLE DATA My Schema.t
        duplicate key
        DETAIL:  Key (a)=(1) already exists.
        CONTEXT:  COPY t, line 1
    FATAL could not read from input file: end of file
    2 ignored
    "#);
}

#[test]
fn lines_of_workers_that_got_between_each_other() {
    let (_, report) = read(
        LISTING,
        4,
        "pg_restore: from TOC entry 8; 1259 2 TABLE t postgres\n\
         pg_restore: from TOC entry 9; 1259 3 VIEW v postgres\n\
         pg_restore:pg_restore:  creating ACL \"public.TABLE v\"\n\
         error: could not execute query: ERROR:  of t\n\
         Command was: SELECT 1;\n\
         pg_restore: error: pg_restore: finished item 7 SCHEMA My Schema\n\
         could not execute query: ERROR:  of v\n\
         Command was: SELECT 2;\n\
         pg_restore: pg_restore: launching item 10 TABLE DATA t\n\
         from TOC entry 10; 0 2 TABLE DATA t postgres\n\
         pg_restore: from TOC entry 9; 1259 3 VIEW v postgres\n\
         pg_restore: error: COPY failed for table \"v\": ERROR:  v again\n\
         pg_restore: error: COPY failed for table \"t\": ERROR:  data of t\n\
         pg_restore: warning: errors ignored on restore: 7\n",
    );
    insta::assert_snapshot!(shown(&report), @r#"
    TABLE My Schema.t
        of t
    VIEW public.v
        of v
    VIEW public.v
        v again
    TABLE DATA My Schema.t
        data of t
    7 ignored
    "#);
}

#[test]
fn an_entry_that_is_over_takes_no_more_errors() {
    let (_, report) = read(
        LISTING,
        4,
        "pg_restore: from TOC entry 8; 1259 2 TABLE t postgres\n\
         pg_restore: finished item 8 TABLE t\n\
         pg_restore: from TOC entry 9; 1259 3 VIEW v postgres\n\
         pg_restore: error: could not execute query: ERROR:  of v\n\
         pg_restore: error: a worker process died unexpectedly\n\
         pg_restore: detail: it was killed\n\
         pg_restore: warning: restoring tables WITH OIDS is not supported anymore\n",
    );
    insta::assert_snapshot!(shown(&report), @r#"
    VIEW public.v
        of v
    FATAL a worker process died unexpectedly
    detail: it was killed
    WARNING restoring tables WITH OIDS is not supported anymore
    0 ignored
    "#);
}

#[test]
fn definitions_with_passwords_are_not_shown() {
    let (_, report) = read(
        LISTING,
        1,
        "pg_restore: while PROCESSING TOC:\n\
         pg_restore: from TOC entry 11; 6100 4 SUBSCRIPTION sub postgres\n\
         pg_restore: error: could not execute query: ERROR:  syntax error at or near \"x\"\n\
         LINE 1: CREATE SUBSCRIPTION sub CONNECTION 'password=secret' x\n\
         \x20                                                            ^\n\
         HINT:  None.\n\
         Command was: CREATE SUBSCRIPTION sub CONNECTION 'password=secret' x\n\
         pg_restore: warning: errors ignored on restore: 1\n",
    );
    insta::assert_snapshot!(shown(&report), @r#"
    SUBSCRIPTION sub
        syntax error at or near "x"
        HINT:  None.
    1 ignored
    "#);
}

#[test]
fn errors_that_cannot_be_read_are_not_forgotten() {
    let (_, report) = read(
        LISTING,
        1,
        "pg_restore: warning: errors ignored on restore: 2\n",
    );
    insta::assert_snapshot!(shown(&report), @r#"
    FATAL pg_restore ignored 2 errors, and none of them could be read from its output
    2 ignored
    "#);
}

/// The header of the second error is nowhere, and the error goes under the first entry.
#[test]
fn an_error_under_another_entry_does_not_add_up() {
    let two = "pg_restore: from TOC entry 8; 1259 2 TABLE t postgres\n\
         pg_restore: error: could not execute query: ERROR:  of t\n\
         pg_restore: error: could not execute query: ERROR:  of v\n";
    for (count, is_torn) in [(3, false), (4, true)] {
        let said = format!("{two}pg_restore: warning: errors ignored on restore: {count}\n");
        let (_, report) = read(LISTING, 4, &said);
        assert_eq!((report.errors.len(), report.is_torn), (2, is_torn));
        assert_eq!(report.fatal.is_empty(), !is_torn);
    }
}

/// As case C14 has it: the blank went with the rest of the line.
#[test]
fn a_torn_error_may_begin_with_the_blank_before_it() {
    let (_, report) = read(
        LISTING,
        4,
        "pg_restore: from TOC entry 8; 1259 2 TABLE t postgres\n\
         pg_restore:pg_restore: finished item 9 VIEW v\n\
         \x20error: could not execute query: ERROR:  of t\n\
         Command was: SELECT 1;\n\
         pg_restore: warning: errors ignored on restore: 2\n",
    );
    insta::assert_snapshot!(shown(&report), @"
    TABLE My Schema.t
        of t
    2 ignored
    ");
}

/// Its only errors may be accepted or harmless, and the indexes that it did not come to are missed by no count of rows.
#[test]
fn a_pg_restore_that_was_killed_is_not_done_whatever_it_said_before() {
    let harmless = "pg_restore: while INITIALIZING:\n\
         pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"\n\
         Command was: SET transaction_timeout = 0;\n";
    let accepted = "pg_restore: while PROCESSING TOC:\n\
         pg_restore: from TOC entry 9; 1259 3 VIEW v postgres\n\
         pg_restore: error: could not execute query: ERROR:  of v\n\
         Command was: SELECT 1;\n";
    for said in [harmless, accepted] {
        let (_, report) = read(LISTING, 1, said);
        assert_eq!(
            report.fatal,
            ["pg_restore did not come to its end, where it counts the errors that it ignored"]
        );
        let to_the_end = format!("{said}pg_restore: warning: errors ignored on restore: 1\n");
        let (_, report) = read(LISTING, 1, &to_the_end);
        assert!(report.fatal.is_empty(), "{:?}", report.fatal);
    }
}

#[test]
fn accepts_are_for_one_database() {
    let accept = Accept {
        database: "erp".to_owned(),
        object: globset::Glob::new("FUNCTION legacy.*")
            .unwrap()
            .compile_matcher(),
        reason: "retired".to_owned(),
    };
    let accepted =
        |database, object| super::accepted(std::slice::from_ref(&accept), database, object);
    assert!(accepted("erp", "FUNCTION legacy.f(integer)"));
    assert!(!accepted("erp2", "FUNCTION legacy.f(integer)"));
    assert!(!accepted("erp", "FUNCTION public.f(integer)"));
}

proptest! {
    #[test]
    fn nothing_panics(lines in prop::collection::vec(line(), 0..20), jobs in 1u32..3) {
        let mut log = RestoreLog::new(Toc::parse(LISTING, OWNERS), jobs);
        lines.iter().for_each(|line| log.push_line(line));
        prop_assert!(log.items_done() <= 5);
        log.finish();
    }

    /// Whatever workers write in between, an error is read, and of an entry or fatal.
    #[test]
    fn no_error_is_lost(before in prop::collection::vec(line(), 0..10), jobs in 1u32..3) {
        let mut log = RestoreLog::new(Toc::parse(LISTING, OWNERS), jobs);
        before.iter().for_each(|line| log.push_line(line));
        log.push_line("pg_restore: error: could not execute query: ERROR:  the one");
        let report = log.finish();
        let all = report.errors.iter().map(|error| &error.message).chain(&report.fatal);
        prop_assert_eq!(all.filter(|message| message.ends_with("the one")).count(), 1);
    }

    #[test]
    fn no_listing_panics(listing in "([0-9]{1,3}; [0-9]{1,3} [0-9]{1,3} [A-Z -]{0,20}.{0,9}\n){0,4}") {
        Toc::parse(&listing, OWNERS);
    }
}

/// Lines made of what pg_restore writes.
fn line() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "pg_restore: ?",
        "error: |fatal: |warning: |WARNING: |detail: |hint: ",
        "\\[archiver\\] |Error ",
        "from TOC entry [0-9]{1,2}; [0-9] [0-9] (TABLE t|VIEW v|TABLE) ?(x)?",
        "while (INITIALIZING|PROCESSING TOC|FINALIZING):",
        "could not execute query: |COPY failed for table \"t?\": |ERROR:  ",
        "( {4})?Command was: |LINE 1: | *\\^|errors ignored on restore: [0-9a]*",
        "(processing|finished) item [0-9]{0,2} ?|creating |executing ",
        "\\PC{0,5}",
    ];
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}
