//! The exit codes that scripts rely on.

use std::process::ExitCode;

/// Declares [`Exit`]. A variant's doc line is what `--help` and the README say of it, so that there is one text.
macro_rules! exits {
    ($($(#[doc = $meaning:literal])+ $name:ident = $code:literal,)+) => {
        /// How the program ends. The numbers are promised, and a code keeps its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Exit {
            $($(#[doc = $meaning])+ $name = $code,)+
        }

        impl Exit {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Exit] = &[$(Exit::$name),+];

            /// What it means, in a line.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Exit::$name => concat!($($meaning),+).trim_ascii_start(),)+
                }
            }
        }
    };
}

exits! {
    /// done, and everything that was compared matched
    Completed = 0,
    /// an unexpected failure of pg-migrate itself
    Unexpected = 1,
    /// the command line or the plan file is wrong
    WrongInput = 2,
    /// nothing was changed: a server refused us, a finding blocks, or the sealed plan drifted
    NotStarted = 3,
    /// a step failed; what does not depend on it was completed first
    StepFailed = 4,
    /// verification found a difference
    Mismatched = 5,
    /// another run holds this plan's state, or the target
    Held = 6,
    /// interrupted by SIGINT, after an orderly stop
    Interrupted = 130,
    /// ended by SIGTERM or SIGHUP, after an orderly stop
    Terminated = 143,
}

impl Exit {
    /// As a shell sees it, and as the journal and the report hold it.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_what_the_help_says() {
        let table: String = Exit::ALL
            .iter()
            .map(|exit| format!("| {} | {} |\n", exit.code(), exit.meaning()))
            .collect();
        let readme = include_str!("../README.md");
        let (_, from) = readme
            .split_once("| exit code | meaning |\n| --- | --- |\n")
            .unwrap();
        let rows: String = from
            .split_inclusive('\n')
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert_eq!(rows, table);
    }
}
