//! pg-migrate moves every user database and the roles of one PostgreSQL server to another, and
//! compares the rows of every table.
//!
//! The data goes one way: a plan file is parsed (`plan`), the servers are looked at (`inspect` fills
//! `catalog`), both compile to a `graph`, with what `preflight` found, a `schedule` hands out its steps, `run` carries them out
//! with `step`, `journal` keeps what is done, and `report` tells about it.

// They panic where stdout or stderr cannot be written: `cli::output` prints.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod atomic_file;
mod catalog;
pub mod cli;
mod disk;
mod escape;
mod event;
mod exit;
mod explain;
mod failpoint;
mod finding;
mod graph;
mod inspect;
mod journal;
mod mark;
mod names;
mod plan;
mod postgres;
mod preflight;
mod private_directory;
mod process;
mod report;
mod run;
mod schedule;
mod shell;
mod spelling;
mod step;
mod verify;

/// What the tests outside of this crate may use: those in `tests/fuzz` and `tests/program`.
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::catalog::Version;
    pub use crate::escape::escape_control_lines;
    pub use crate::finding::Code;
    pub use crate::process::restore_log::{RestoreLog, Toc};
    pub use crate::report::{Color, diagnostic};

    pub mod globals {
        pub use crate::step::globals::{Action, Piece, Target, pieces, plan, redact, statements};
    }

    pub mod journal {
        pub use crate::journal::{DamagedLine, Record, Replay, VERSION, is_record, replay};
    }

    pub mod plan {
        pub use crate::plan::{Plan, PlanError, load, parse, schema, schema_text};
    }
}
