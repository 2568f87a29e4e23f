//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    pg_migrate::cli::main()
}
