//! What this machine says of how a server is reached: where `resolve` asks beside the plan.

use std::error::Error as StdError;
use std::future::Future;
use std::path::PathBuf;

/// What went wrong outside, without a secret in it.
pub(crate) type Failure = Box<dyn StdError + Send + Sync>;

/// What a server's address and password can come from, beside the plan.
///
/// It is kept, to be asked for a password again later.
pub(crate) trait Environment: Clone + Send + Sync + 'static {
    /// An environment variable; `None`: it is not set, or is not UTF-8.
    fn variable(&self, name: &str) -> Option<String>;

    /// The user's home directory.
    fn home(&self) -> Option<PathBuf>;

    /// Runs a program with its arguments and returns what it wrote to its standard output.
    fn output_of(
        &self,
        command: &[String],
    ) -> impl Future<Output = Result<Vec<u8>, Failure>> + Send;
}
