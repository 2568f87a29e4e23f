//! What every trial starts from: a source that is only read, and a target to be copied.

use std::path::Path;

use crate::support::compare::Expected;
use crate::support::project::{Project, string};
use crate::support::server::{Server, identifier};
use crate::support::{compare, fill};

use super::check::{Configuration, below};
use super::faults::SmallDisk;

/// The delayed phase has what it finds difficult here: indexes of every kind, triggers that fire always, a
/// partitioned table, materialized views upon views.
const EVENTS: &str = include_str!("events.sql");

/// Tables that clients of the source write to where a trial has some.
const HANDS: &str = include_str!("hands.sql");

/// Databases that the plan migrates.
pub const DATABASES: [&str; 3] = ["events", "shop", fill::ODD_NAMES[2]];

/// How the delayed tables get their snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Same,
    SameReadOnly,
    Later,
}

pub struct Stage {
    pub source: Server,
    /// Stopped, for trials that need a source of their own.
    source_image: Server,
    /// Stopped: as its owner left it before the migration.
    target_image: Server,
    expected: Vec<Expected>,
    pub before: Configuration,
}

impl Stage {
    pub fn build() -> Stage {
        let mut source_image = Server::start(16);
        fill::roles(&source_image);
        fill::shop(&source_image);
        // A crash of the source would empty it, and the source of all trials is the same.
        source_image.psql("shop", "ALTER TABLE sales.scratchpad SET LOGGED");
        source_image.psql("postgres", "CREATE DATABASE events");
        source_image.psql("events", EVENTS);
        let odd = identifier(fill::ODD_NAMES[2]);
        source_image.psql("postgres", &format!("CREATE DATABASE {odd} OWNER app_rw"));
        let tables = include_str!("../support/fill/odd_table.sql").replace("@NAME@", &odd);
        source_image.psql(fill::ODD_NAMES[2], &tables);
        source_image.psql(
            "postgres",
            &format!(
                "ALTER DATABASE {odd} SET TimeZone = 'Asia/Kathmandu';
                 ALTER DATABASE {odd} SET default_transaction_read_only = on;
                 COMMENT ON DATABASE {odd} IS 'odd'"
            ),
        );
        for database in DATABASES {
            source_image.psql(database, HANDS);
        }

        // Durable, so that there is something to tune.
        // And what is committed without waiting stays in memory as long as it may.
        let mut target_image = Server::of(18)
            .durable()
            .set("wal_writer_delay", "10s")
            .start();
        target_image.psql("postgres", "ALTER SYSTEM SET work_mem = '5MB'");
        target_image.psql(
            "postgres",
            "ALTER SYSTEM SET maintenance_work_mem = '65432kB'",
        );
        target_image.psql("postgres", "SELECT pg_reload_conf()");
        // Has the roles that own what is in the databases.
        let reference = Server::start(18);
        fill::roles(&reference);
        let expected = DATABASES
            .iter()
            .map(|database| Expected::of(&source_image, &reference, database))
            .collect();
        let before = Configuration::of(&target_image);
        source_image.stop(crate::support::server::Mode::Fast);
        target_image.stop(crate::support::server::Mode::Fast);
        Stage {
            source: source_image.twin(),
            source_image,
            target_image,
            expected,
            before,
        }
    }

    pub fn target(&self) -> Server {
        self.target_image.twin()
    }

    /// A target on a disk that has so many KiB free.
    pub fn target_on_a_small_disk(&self, room: u32) -> (Server, SmallDisk) {
        let taken = kibibytes_of(&self.target_image.data_directory());
        let mut disk = None;
        let target = self.target_image.twin_after(|directory| {
            disk = Some(SmallDisk::mount(directory, taken + u64::from(room)));
        });
        (target, disk.expect("it was mounted"))
    }

    pub fn own_source(&self) -> Server {
        self.source_image.twin()
    }

    /// The plan under torture. The ports are those of proxies where the trial has some.
    pub fn plan(
        &self,
        name: &str,
        variant: Variant,
        source: (&Server, u16),
        target: (&Server, u16),
    ) -> Project {
        let (snapshot, read_only) = match variant {
            Variant::Same => ("same", "false"),
            Variant::SameReadOnly => ("same", "true"),
            Variant::Later => ("later", "false"),
        };
        let project = Project::between(source.0, target.0);
        let temporary = project.directory().join("tmp");
        std::fs::create_dir(&temporary).unwrap();
        project
            .named(name)
            .variable("TMPDIR", temporary)
            .source("port", &source.1.to_string())
            .source("read_only", read_only)
            .target("port", &target.1.to_string())
            .with(&format!(
                "[delay]\ntable_data = [\"events.public.events*\", \"events.parts\", \"events.hollow\", \
                 \"events.public.later*\", \"shop.sales.payments\", \"shop.public.later*\"]\nsnapshot = {}\n\n\
                 [retry]\nattempts = 4\nbackoff = \"100ms\"\nmax_backoff = \"500ms\"\nrestore_settings = \"15s\"\n",
                string(snapshot)
            ))
    }

    /// What a database has to hold where no client wrote to it.
    pub fn expected(&self, database: &str) -> &Expected {
        let place = DATABASES.iter().position(|one| *one == database);
        &self.expected[place.expect("one of the plan's databases")]
    }

    /// What is not on the target as it is on the source, a line each.
    pub fn differences(&self, target: &Server) -> Vec<String> {
        let mut differences = compare::globals(&self.source, target);
        for expected in &self.expected {
            differences.extend(expected.differences(target));
        }
        differences
    }
}

/// What the files take on a file system with blocks of 4 KiB.
pub fn kibibytes_of(directory: &Path) -> u64 {
    below(directory)
        .iter()
        .map(|path| 4 + path.metadata().map_or(0, |file| file.len()) / 4096 * 4)
        .sum()
}
