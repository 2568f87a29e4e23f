//! Where something happened, for messages.

use std::fmt;
use std::sync::Arc;

use crate::escape::escape_control;
use crate::plan::Endpoint;

/// A server and one of its databases, for messages.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    endpoint: Arc<Endpoint>,
    database: Arc<str>,
}

impl Place {
    pub(super) fn new(endpoint: &Endpoint, database: &str) -> Self {
        Place {
            endpoint: Arc::new(endpoint.clone()),
            database: database.into(),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn database(&self) -> &str {
        &self.database
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = escape_control(&self.database);
        write!(f, "database \"{database}\" of the {}", self.endpoint)
    }
}
