//! Whether the target holds what it must, by what the hands wrote down: nothing of the program decides here.

use std::collections::{BTreeMap, BTreeSet};

use super::advice;
use super::people::{CLIENTS, People};
use super::watch::{self, has_delayed};
use super::worker::{Ended, Transaction};
use crate::support::compare::{self, Expected};
use crate::support::project::words;
use crate::support::server::Server;
use crate::torture::check::{self, Configuration};
use crate::torture::stage::{DATABASES, Variant};

impl People<'_> {
    /// After a run that ended with 0.
    pub fn judge(&mut self) {
        self.end_sessions();
        self.make_room();
        self.lead_back();
        let mut wrong = self.changes_of_foreign();
        let mut target_settings = self.before.clone();
        for (name, (value, in_force)) in &self.settings {
            target_settings.set(name, value, in_force);
        }
        wrong.extend(Configuration::of(&self.target).differences(&target_settings));
        let left = check::ended(&self.project, &self.name, &self.source, &self.target);
        // The archive of a database that is left out for now stays: the run that takes it in again restores it.
        let stays = |line: &String| {
            !self.keys.exclude.is_empty()
                && line.starts_with("a file is left")
                && line.contains("/pg_dumps/")
        };
        wrong.extend(left.into_iter().filter(|line| !stays(line)));
        wrong.extend(self.globals());
        wrong.extend(self.unsafe_elsewhere());
        let mut replay = None;
        for database in DATABASES {
            if self.foreign.contains_key(database) {
                continue;
            }
            if self.keys.exclude.contains(database) {
                if self.oid(database).is_some() {
                    wrong.extend(self.lost_rows_of_clients(database));
                }
                continue;
            }
            if self.oid(database).is_none() {
                wrong.push(format!("{database:?} is not on the target"));
                continue;
            }
            wrong.extend(self.rows_of_clients(database));
            match self.shown(database) {
                Err(why) => wrong.push(why),
                Ok((regular, delayed)) if regular.is_empty() && delayed.is_empty() => {
                    let differences = self.stage.expected(database).differences(&self.target);
                    // A transaction that failed may have moved one.
                    let rows = differences
                        .into_iter()
                        .filter(|line| !line.starts_with("data of sequences"));
                    wrong.extend(rows.map(|line| format!("{database:?}: {line}")));
                }
                Ok((regular, delayed)) => {
                    let replay = replay.get_or_insert_with(|| self.stage.own_source());
                    wrong.extend(self.compare(database, &regular, &delayed, replay));
                }
            }
            wrong.extend(self.orphans(database));
            wrong.extend(self.sequences_behind(database));
        }
        for database in &self.made {
            if self.oid(database).is_none() {
                wrong.push(format!(
                    "{database:?}, which is new on the source, is not on the target"
                ));
            } else {
                wrong.extend(compare::dumps(&self.source, &self.target, database));
            }
        }
        for line in wrong {
            self.wrong(line);
        }
    }

    /// The target that failed over left its settings for the load: a person has to know.
    fn unsafe_elsewhere(&self) -> Option<String> {
        let told = "still has them in its postgresql.auto.conf";
        let is_untold = self.night.left_unsafe && !words(&self.said).contains(told);
        (is_untold && !self.night.is_unheard)
            .then(|| "no run said what the old target is left with".to_owned())
    }

    /// Roles and databases as the source has them now, but for what was told.
    fn globals(&self) -> Vec<String> {
        let mut left_out: Vec<String> = self.foreign.keys().cloned().collect();
        left_out.extend(self.foreign_roles.iter().cloned());
        left_out.extend(self.keys.exclude.iter().cloned());
        left_out.extend(self.night.lost_names.iter().cloned());
        let mut differences = compare::globals(&self.source, &self.target);
        differences.retain(|line| {
            let (subject, _) = line.split_once(": ").unwrap_or((line, ""));
            let is_left_out = left_out.iter().any(|name| subject.contains(name.as_str()));
            !is_left_out && !self.is_told(subject, line)
        });
        differences
    }

    /// Whether a run said that the role, with what belongs to it, or the property of a database changed.
    fn is_told(&self, subject: &str, line: &str) -> bool {
        let said: Vec<&str> = self.said.split_whitespace().collect();
        let said = said.join(" ");
        let role = subject.strip_prefix("role ").or_else(|| {
            let (member, _) = subject.strip_prefix("membership ")?.split_once(" in ")?;
            Some(member)
        });
        let of_role = role.is_some_and(|role| said.contains(&format!("\"{role}\"")));
        let of_database = subject
            .strip_prefix("setting of (every role) in ")
            .is_some_and(|database| {
                // Where it is the only one, none is there.
                (line.contains("my.hand") || line.ends_with("missing on the target"))
                    && said.contains(&format!("database \"{database}\": since it was created"))
                    && said.contains("its setting my.hand changed")
            });
        of_role || of_database
    }

    /// Rows that clients inserted on the target are there; then they are taken away, so that the rest can be compared.
    fn rows_of_clients(&self, database: &str) -> Vec<String> {
        let mut wrong = self.lost_rows_of_clients(database);
        let sql = format!(
            "SET default_transaction_read_only = off; DROP TABLE IF EXISTS public.by_hand;
             DELETE FROM public.hand_log WHERE n >= {CLIENTS}; DELETE FROM public.later_hand WHERE n >= {CLIENTS}"
        );
        if let Err(error) = self.target.try_psql(database, &sql) {
            wrong.push(format!("{database:?}: {error}"));
        }
        wrong.extend(self.brought_tables(database));
        wrong
    }

    /// As those of clients: no dump of ours brought them.
    fn brought_tables(&self, database: &str) -> Vec<String> {
        let oid = self.oid(database);
        let brought = self.brought.iter();
        let brought = brought.filter(|(of, made, _)| *of == database && *made == oid);
        let removed = brought.map(|(_, _, table)| {
            let sql = format!("SET default_transaction_read_only = off; DROP TABLE public.{table}");
            self.target.try_psql(database, &sql)
        });
        removed.filter_map(Result::err).collect()
    }

    fn lost_rows_of_clients(&self, database: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for (_, table, number) in self.client_rows.iter().filter(|(of, _, _)| of == database) {
            let sql = format!("SELECT 1 FROM public.{table} WHERE n = {number}");
            let found = self.target.try_psql(database, &sql);
            if found.as_deref() != Ok("1") {
                wrong.push(format!(
                    "{database:?}: the row {number} that a client inserted into {table} is gone: {found:?}"
                ));
            }
        }
        wrong
    }

    /// The transactions that the target shows in its regular and its delayed tables, if they can be those of a snapshot.
    fn shown(&mut self, database: &str) -> Result<(BTreeSet<u32>, BTreeSet<u32>), String> {
        let numbers = |table: &str| -> Result<BTreeSet<u32>, String> {
            let sql = format!("SELECT n FROM public.{table}");
            let rows = self.target.try_psql(database, &sql);
            let rows = rows.map_err(|error| format!("{database:?}: {error}"))?;
            Ok(rows.lines().map(|row| row.parse().unwrap()).collect())
        };
        let (regular, delayed) = (numbers("hand_log")?, numbers("later_hand")?);
        let done = watch::done(&self.project);
        let snapshot = |kind: &str| done.get(&format!("{database}/{kind}")).cloned().flatten();
        let (dump, delayed_dump) = (snapshot("dump"), snapshot("delayed-dump"));
        if let Some(shown) = dump
            .as_deref()
            .and_then(|id| self.snapshots.shown(database, id))
        {
            if shown.regular != regular {
                return Err(format!(
                    "{database:?}: the run's snapshot showed the transactions {:?}, the target has {regular:?}",
                    shown.regular
                ));
            }
            let is_later = delayed_dump.is_some() && delayed_dump != dump;
            if !is_later && shown.delayed != delayed {
                return Err(format!(
                    "{database:?}: the run's snapshot showed in delayed tables {:?}, the target has {delayed:?}",
                    shown.delayed
                ));
            }
        }
        let later = delayed_dump
            .as_deref()
            .and_then(|id| self.snapshots.shown(database, id));
        if let Some(shown) = later.filter(|shown| shown.delayed != delayed) {
            return Err(format!(
                "{database:?}: the later snapshot showed in delayed tables {:?}, the target has {delayed:?}",
                shown.delayed
            ));
        }
        let log = self.log.lock().unwrap();
        // Coarse, and also where no step read under the snapshot.
        if let Some((begun, done)) =
            watch::taken_between(&self.project, &format!("{database}/dump"))
        {
            let here = log.iter().filter(|one| one.database == database);
            for one in here {
                let is_there = regular.contains(&one.number);
                // Of a run under which the source failed over nothing is known of what it lost.
                let is_before = matches!(one.ended, Ended::Committed(at) if at < begun)
                    && one.lost.is_none_or(|lost| done < lost);
                let is_after = one.sent > done || one.lost.is_some_and(|lost| lost < begun);
                if is_before && !is_there || is_there && is_after {
                    return Err(format!(
                        "{database:?}: the snapshot was taken between {begun} and {done}, and on the target there {} {one:?}",
                        if is_there { "is" } else { "is no" }
                    ));
                }
            }
        }
        let with_delayed: BTreeSet<u32> = log
            .iter()
            .filter(|one| one.database == database && !one.delayed.is_empty())
            .map(|one| one.number)
            .collect();
        let mut of_regular: BTreeSet<u32> = regular.intersection(&with_delayed).copied().collect();
        if words(&self.said).contains("the delayed tables are of another history") {
            let is_lost = |number: &u32| {
                let mut lost = log.iter().filter(|one| one.lost.is_some());
                lost.any(|one| one.number == *number)
            };
            of_regular.retain(|number| !is_lost(number));
        }
        let may_be_later = self.keys.variant == Variant::Later && has_delayed(database);
        if !delayed.is_superset(&of_regular) || !may_be_later && delayed != of_regular {
            return Err(format!(
                "{database:?}: the delayed tables show {delayed:?}, the others {of_regular:?} of the same transactions"
            ));
        }
        Ok((regular, delayed))
    }

    /// The target against the source as it was at first, with the effect of these transactions.
    fn compare(
        &self,
        database: &str,
        regular: &BTreeSet<u32>,
        delayed: &BTreeSet<u32>,
        replay: &Server,
    ) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let mut of_both: Vec<&Transaction> = log
            .iter()
            .filter(|one| regular.contains(&one.number) || delayed.contains(&one.number))
            .collect();
        of_both.sort_by_key(|one| one.number);
        let lost: Vec<u32> = of_both
            .iter()
            .filter(|one| matches!(&one.ended, Ended::Failed(error) if error.contains("ERROR")))
            .map(|one| one.number)
            .collect();
        if !lost.is_empty() {
            return vec![format!(
                "{database:?}: it holds {lost:?}, which were never committed"
            )];
        }
        for one in of_both {
            let mut sql = "SET default_transaction_read_only = off;\n".to_owned();
            if regular.contains(&one.number) {
                replay.try_psql("postgres", &one.globals).ok();
                sql.push_str(&one.regular);
            }
            if delayed.contains(&one.number) {
                // Its parents may not be there, as they may be missing on the target: that is told by another check.
                sql.push_str("\nSET session_replication_role = replica;\n");
                sql.push_str(&one.delayed);
            }
            if let Err(error) = replay.try_psql(database, &sql) {
                return vec![format!("{database:?}: cannot replay {one:?}: {error}")];
            }
        }
        if self.orphans_deleted.contains(database) {
            replay.psql(database, advice::DELETE_ORPHANS);
        }
        let views = "SELECT format('REFRESH MATERIALIZED VIEW %I.%I;', n.nspname, c.relname)
                     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                     WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid";
        let refresh = format!(
            "SET default_transaction_read_only = off; {}",
            replay.psql(database, views)
        );
        replay.psql(database, &refresh);
        let expected = Expected::of(replay, &self.target, database);
        let mut wrong = expected.differences(&self.target);
        wrong.retain(|line| !line.starts_with("data of sequences"));
        let mut wrong: Vec<String> = wrong
            .into_iter()
            .map(|line| format!("{database:?}: {line}"))
            .collect();
        wrong.extend(self.sequences_out_of_range(database, replay));
        wrong
    }

    /// Sequences take no part in snapshots: they stand somewhere between the snapshot's state and that of now.
    fn sequences_out_of_range(&self, database: &str, replay: &Server) -> Vec<String> {
        let values = |server| last_values(server, database);
        let (then, now, there) = (values(replay), values(&self.source), values(&self.target));
        then.iter()
            .filter_map(|(name, &then)| {
                let now = now.get(name).copied().unwrap_or(then);
                let there = there.get(name).copied();
                // The source that failed over had it there.
                let key = (database.to_owned(), name.clone());
                let most = self.night.last_values.get(&key).copied().unwrap_or(now);
                let range = then.min(now)..=then.max(now).max(most);
                let fits = there.is_some_and(|there| range.contains(&there));
                (!fits).then(|| {
                    format!("{database:?}: sequence {name} is at {there:?}, it was at {then} and is at {now}")
                })
            })
            .collect()
    }

    /// Rows whose foreign key leads nowhere.
    fn orphans(&self, database: &str) -> Vec<String> {
        let queries = self.target.psql(
            database,
            "SELECT format('SELECT %L, count(*) FROM %s c WHERE c.%I IS NOT NULL '
                || 'AND NOT EXISTS (SELECT FROM %s p WHERE p.%I = c.%I) HAVING count(*) > 0;',
                k.conname, k.conrelid::regclass, a.attname, k.confrelid::regclass, b.attname, a.attname)
             FROM pg_constraint k
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
             JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
             WHERE k.contype = 'f' AND cardinality(k.conkey) = 1 AND k.convalidated AND k.conparentid = 0",
        );
        let found = self.target.psql(database, &queries);
        found
            .lines()
            .map(|line| {
                format!("{database:?}: rows without parents behind a valid foreign key: {line}")
            })
            .collect()
    }

    /// Sequences that would give a key that is taken.
    fn sequences_behind(&self, database: &str) -> Vec<String> {
        let queries = self.target.psql(
            database,
            "SELECT format('SELECT %L, max(%I), (SELECT last_value FROM %s) FROM %s HAVING max(%I) > (SELECT last_value FROM %s);',
                s.oid::regclass, a.attname, s.oid::regclass, d.refobjid::regclass, a.attname, s.oid::regclass)
             FROM pg_class s JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass
                  AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
             JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
             WHERE s.relkind = 'S'",
        );
        let found = self.target.psql(database, &queries);
        found
            .lines()
            .map(|line| format!("{database:?}: a sequence is behind its column: {line}"))
            .collect()
    }
}

/// Where the sequences of a database stand.
pub fn last_values(server: &Server, database: &str) -> BTreeMap<String, i64> {
    let rows = server.psql(
        database,
        "SELECT schemaname || '.' || sequencename, coalesce(last_value, start_value - increment_by)
         FROM pg_sequences",
    );
    rows.lines()
        .filter_map(|row| row.rsplit_once('|'))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}
