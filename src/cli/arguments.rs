//! What may stand on the command line.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::exit::Exit;
use crate::explain;
use crate::names::Kind;

/// Moves every user database and the roles of one PostgreSQL server to another, and compares the rows
/// of every table.
#[derive(Debug, Parser)]
#[command(name = "pg-migrate", version, max_term_width = 100, after_help = after_help())]
pub(super) struct Arguments {
    /// When to use colours; NO_COLOR turns `auto` off
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    #[command(subcommand)]
    pub verb: Verb,
}

const FIRST_STEPS: &str = "\
A first migration: `init --out plan.toml`, fill in the servers, `check plan.toml`,
`plan --dry-run plan.toml`, `run plan.toml`.";

fn after_help() -> String {
    let codes = Exit::ALL
        .iter()
        .map(|exit| format!("\n{:>5}  {}", exit.code(), exit.meaning()));
    format!("{FIRST_STEPS}\n\nExit codes:{}", codes.collect::<String>())
}

const REFERENCE_PASSWORDS: &str = "\
There is no --from-pass and no --to-pass: a plan never holds a password. The plan that is written
takes them from the environment variables SOURCE_PASSWORD and TARGET_PASSWORD.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the plan, or resume it where an earlier run stopped
    Run(RunArguments),
    /// Compile the plan against both servers, print what a run will do, and seal it
    Plan(PlanArguments),
    /// Check the plan file and, unless --offline, both servers
    Check(CheckArguments),
    /// Show every step and its state, also while a run is under way
    Status(StatusArguments),
    /// Compare the tables and rows of both servers again, without moving data
    Verify(VerifyArguments),
    /// Print the last run's report
    Report(ReportArguments),
    /// Restore the target's settings as they were before this plan changed them
    Revert(RevertArguments),
    /// Forget completed steps, so that `run` does them again
    Reset(ResetArguments),
    /// List what this plan made on the target, and drop of it what is asked for
    Discard(DiscardArguments),
    /// Write a commented plan
    Init(Box<InitArguments>),
    /// Tell what a finding means and what fixes it, or how something works
    Explain(ExplainArguments),
    /// Print the JSON Schema of the plan file
    Schema,
    /// Print completions for a shell
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// The plan file
    pub plan: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    /// The plan file
    pub plan: PathBuf,
    /// Print only: write nothing anywhere
    #[arg(long)]
    pub dry_run: bool,
    /// What to print
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PlanFormat {
    Text,
    Json,
    Markdown,
    Mermaid,
    Dot,
}

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The plan file
    pub plan: PathBuf,
    /// Check only the file, not the servers
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// The plan file
    pub plan: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value_t = StatusFormat::Text)]
    pub format: StatusFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StatusFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The plan file
    pub plan: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    /// The plan file
    pub plan: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
    /// Write to this file instead of stdout
    #[arg(long)]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    Text,
    Json,
    Html,
}

#[derive(Debug, Args)]
pub(super) struct RevertArguments {
    /// The plan file
    pub plan: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ResetArguments {
    /// The plan file
    pub plan: PathBuf,
    /// Forget only the steps of this database
    #[arg(long)]
    pub database: Option<String>,
    /// Forget steps of this kind, and what needs them
    #[arg(long)]
    pub step: Option<Kind>,
    /// Let the next run drop this database, which was verified; once for each that it has to
    #[arg(long, value_name = "DB")]
    pub drop: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct DiscardArguments {
    /// The plan file
    pub plan: PathBuf,
    /// Drop this database of the target; may be repeated
    #[arg(long, value_name = "DB")]
    pub drop: Vec<String>,
    /// Drop all that this plan made: databases, roles and mark on the target, archives and state on this machine
    #[arg(long, requires = "yes")]
    pub all: bool,
    /// With --all: without asking
    #[arg(long, requires = "all")]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// The code of a finding, like `source/with-oids`, or a topic; without it, all of them are listed
    #[arg(value_name = "CODE|TOPIC", value_parser = Explained, hide_possible_values = true)]
    pub subject: Option<String>,
}

/// Any text, so that the verb itself can say what was meant; shells complete what can be explained.
#[derive(Debug, Clone)]
struct Explained;

impl TypedValueParser for Explained {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(explain::words().map(PossibleValue::new)))
    }
}

#[derive(Debug, Args)]
#[command(after_help = REFERENCE_PASSWORDS)]
pub(super) struct InitArguments {
    /// Write to this file instead of stdout; an existing file is not overwritten
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Connect to the source and list its databases in the plan; the password comes from the
    /// environment variable that the plan names
    #[arg(long)]
    pub look: bool,
    /// Host of the source
    #[arg(long, value_name = "HOST")]
    pub from_host: Option<String>,
    /// Port of the source
    #[arg(long, value_name = "PORT")]
    pub from_port: Option<u16>,
    /// Role on the source
    #[arg(long, value_name = "ROLE")]
    pub from_user: Option<String>,
    /// Database of the source to connect to first
    #[arg(long, value_name = "DATABASE")]
    pub from_db: Option<String>,
    /// Host of the target
    #[arg(long, value_name = "HOST")]
    pub to_host: Option<String>,
    /// Port of the target
    #[arg(long, value_name = "PORT")]
    pub to_port: Option<u16>,
    /// Role on the target
    #[arg(long, value_name = "ROLE")]
    pub to_user: Option<String>,
    /// Database of the target to connect to first
    #[arg(long, value_name = "DATABASE")]
    pub to_db: Option<String>,
    /// Databases at a time
    #[arg(short = 'p', long, value_name = "N")]
    pub max_parallel: Option<u32>,
    /// Databases at a time on the source
    #[arg(long, value_name = "N")]
    pub dump_parallel: Option<u32>,
    /// Databases at a time on the target
    #[arg(long, value_name = "N")]
    pub restore_parallel: Option<u32>,
    /// pg_dump -j, per database
    #[arg(long, value_name = "N")]
    pub dump_jobs: Option<u32>,
    /// pg_restore -j, per database
    #[arg(long, value_name = "N")]
    pub restore_jobs: Option<u32>,
    /// Count queries at a time, over all databases and both servers
    #[arg(long, value_name = "N")]
    pub verify_concurrency: Option<u32>,
    /// Directory of the archives
    #[arg(long, value_name = "DIRECTORY")]
    pub dump_root: Option<String>,
    /// Whether to migrate roles and tablespaces
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub migrate_globals: Option<bool>,
    /// Leave the target's settings as they are
    #[arg(long)]
    pub disable_dst_optimizations: bool,
    /// Compare estimates instead of row counts
    #[arg(long)]
    pub fast_verify: bool,
    /// DATABASE.TABLE or DATABASE.SCHEMA.TABLE, with * and ?; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub delay_table_data: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_help_lists_the_exit_codes() {
        let help = Arguments::command().render_help().to_string();
        let (_, codes) = help.split_once("Exit codes:\n").unwrap();
        insta::assert_snapshot!(codes, @"
            0  done, and everything that was compared matched
            1  an unexpected failure of pg-migrate itself
            2  the command line or the plan file is wrong
            3  nothing was changed: a server refused us, a finding blocks, or the sealed plan drifted
            4  a step failed; what does not depend on it was completed first
            5  verification found a difference
            6  another run holds this plan's state, or the target
          130  interrupted by SIGINT, after an orderly stop
          143  ended by SIGTERM or SIGHUP, after an orderly stop
        ");
    }

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
