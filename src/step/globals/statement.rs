//! What a statement of `pg_dumpall --globals-only` is about.

use std::borrow::Cow;

use super::lexer::{TokenKind, tokens};

/// One statement of the dump, told apart by what it touches. Names are unquoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    CreateRole {
        role: String,
    },
    /// `ALTER ROLE … WITH …`: attributes and password.
    AlterRole {
        role: String,
        has_password: bool,
    },
    AlterRoleSet {
        role: String,
        parameter: String,
    },
    /// `ALTER ROLE … IN DATABASE … SET`, which pg_dumpall up to 10 writes.
    AlterRoleInDatabase {
        role: String,
        database: String,
    },
    CommentOnRole {
        role: String,
    },
    SecurityLabelOnRole {
        role: String,
    },
    /// Membership of `member` in `role`.
    GrantRole {
        role: String,
        member: String,
        grantor: Option<String>,
    },
    CreateTablespace {
        name: String,
        owner: Option<String>,
        /// The directory on the server's host.
        location: String,
    },
    /// `ALTER TABLESPACE`, `COMMENT ON TABLESPACE`, `SECURITY LABEL … ON TABLESPACE`.
    AlterTablespace {
        name: String,
    },
    /// `GRANT` or `REVOKE … ON TABLESPACE`.
    PrivilegeOnTablespace {
        name: String,
        /// `public` for PUBLIC.
        grantee: String,
    },
    /// `GRANT` or `REVOKE … ON PARAMETER` (15 and later).
    PrivilegeOnParameter {
        parameter: String,
        /// `public` for PUBLIC.
        grantee: String,
    },
    /// What follows is done as this role, up to the reset.
    SetSessionAuthorization {
        role: String,
    },
    ResetSessionAuthorization,
    /// A setting of the session that runs the script.
    Set {
        parameter: String,
        value: String,
    },
    /// `ALTER DATABASE … SET`, which pg_dumpall up to 10 writes.
    AlterDatabaseSet {
        database: String,
    },
    Other,
}

impl Statement {
    /// Tells what a statement is. What pg_dumpall does not write is [`Statement::Other`].
    pub(crate) fn classify(sql: &str) -> Statement {
        Reader::new(sql).statement().unwrap_or(Statement::Other)
    }
}

/// The statement for people to read: a password becomes `'***'`.
pub fn redact(sql: &str) -> String {
    let mut redacted = String::with_capacity(sql.len());
    let mut after_password = false;
    for token in tokens(sql) {
        let text = &sql[token.span];
        match token.kind {
            TokenKind::String | TokenKind::Unterminated if after_password => {
                redacted.push_str("'***'");
                after_password = false;
            }
            TokenKind::Space | TokenKind::Comment => redacted.push_str(text),
            kind => {
                redacted.push_str(text);
                after_password = kind == TokenKind::Word && text.eq_ignore_ascii_case("password");
            }
        }
    }
    redacted
}

/// A statement's tokens without white space and comments.
struct Reader<'a> {
    tokens: Vec<(TokenKind, &'a str)>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(sql: &'a str) -> Self {
        Reader {
            tokens: tokens(sql)
                .filter(|token| !matches!(token.kind, TokenKind::Space | TokenKind::Comment))
                .map(|token| (token.kind, &sql[token.span]))
                .collect(),
            at: 0,
        }
    }

    /// `None` where the tokens end, or are not what pg_dumpall writes there.
    fn statement(&mut self) -> Option<Statement> {
        match self.word()?.as_ref() {
            "create" if self.next_is("role") => Some(Statement::CreateRole { role: self.last()? }),
            "create" if self.next_is("tablespace") => self.create_tablespace(),
            "alter" if self.next_is("role") => self.alter_role(),
            "alter" if self.next_is("tablespace") => Some(Statement::AlterTablespace {
                name: self.identifier()?,
            }),
            "alter" if self.next_is("database") => self.alter_database(),
            "comment" if self.next_is("on") => self.comment(),
            "security" if self.next_is("label") => self.security_label(),
            "grant" => self.grant(),
            "revoke" => self.privilege("from"),
            "set" => self.set(),
            "reset" if self.next_is("session") && self.next_is("authorization") => {
                self.end(Statement::ResetSessionAuthorization)
            }
            _ => None,
        }
    }

    fn create_tablespace(&mut self) -> Option<Statement> {
        let name = self.identifier()?;
        let owner = if self.next_is("owner") {
            Some(self.identifier()?)
        } else {
            None
        };
        self.expect("location")?;
        let location = self.string()?;
        self.end(Statement::CreateTablespace {
            name,
            owner,
            location,
        })
    }

    fn alter_role(&mut self) -> Option<Statement> {
        let role = self.identifier()?;
        if self.next_is("in") {
            self.expect("database")?;
            let database = self.identifier()?;
            return Some(Statement::AlterRoleInDatabase { role, database });
        }
        if self.next_is("set") || self.next_is("reset") {
            let parameter = self.identifier()?;
            return Some(Statement::AlterRoleSet { role, parameter });
        }
        self.expect("with")?;
        let has_password = self.rest_has("password");
        Some(Statement::AlterRole { role, has_password })
    }

    fn alter_database(&mut self) -> Option<Statement> {
        let database = self.identifier()?;
        (self.next_is("set") || self.next_is("reset"))
            .then_some(Statement::AlterDatabaseSet { database })
    }

    fn comment(&mut self) -> Option<Statement> {
        if self.next_is("role") {
            Some(Statement::CommentOnRole {
                role: self.identifier()?,
            })
        } else {
            self.expect("tablespace")?;
            Some(Statement::AlterTablespace {
                name: self.identifier()?,
            })
        }
    }

    fn security_label(&mut self) -> Option<Statement> {
        if self.next_is("for") {
            self.identifier()?;
        }
        self.expect("on")?;
        if self.next_is("role") {
            Some(Statement::SecurityLabelOnRole {
                role: self.identifier()?,
            })
        } else {
            self.expect("tablespace")?;
            Some(Statement::AlterTablespace {
                name: self.identifier()?,
            })
        }
    }

    fn grant(&mut self) -> Option<Statement> {
        let start = self.at;
        if self.rest_has("on") {
            return self.privilege("to");
        }
        let role = self.identifier()?;
        self.expect("to")?;
        let member = self.identifier()?;
        let grantor = if self.skip_to("granted") {
            self.expect("by")?;
            Some(self.last()?)
        } else {
            None
        };
        // A list of roles or members would be more than one membership.
        let is_list = self.tokens[start..]
            .iter()
            .take_while(|token| !is_keyword(token, "with"))
            .any(|&(_, text)| text == ",");
        (!is_list).then_some(Statement::GrantRole {
            role,
            member,
            grantor,
        })
    }

    /// A privilege on a thing, where `link` stands between the thing and the grantee.
    fn privilege(&mut self, link: &str) -> Option<Statement> {
        if !self.skip_to("on") {
            return None;
        }
        let is_tablespace = self.next_is("tablespace");
        if !is_tablespace {
            self.expect("parameter")?;
        }
        let name = self.identifier()?;
        self.expect(link)?;
        let grantee = self.identifier()?;
        Some(if is_tablespace {
            Statement::PrivilegeOnTablespace { name, grantee }
        } else {
            Statement::PrivilegeOnParameter {
                parameter: name,
                grantee,
            }
        })
    }

    fn set(&mut self) -> Option<Statement> {
        if self.next_is("session") {
            self.expect("authorization")?;
            return Some(Statement::SetSessionAuthorization { role: self.last()? });
        }
        let parameter = self.identifier()?;
        if !self.next_is("to") {
            self.symbol("=")?;
        }
        let &(kind, text) = self.tokens.get(self.at)?;
        self.at += 1;
        self.end(Statement::Set {
            parameter,
            value: unquote(kind, text).into_owned(),
        })
    }

    /// Goes past the next token where it is this key word.
    fn next_is(&mut self, keyword: &str) -> bool {
        let found = self
            .tokens
            .get(self.at)
            .is_some_and(|token| is_keyword(token, keyword));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, keyword: &str) -> Option<()> {
        self.next_is(keyword).then_some(())
    }

    fn symbol(&mut self, symbol: &str) -> Option<()> {
        let &(kind, text) = self.tokens.get(self.at)?;
        self.at += 1;
        (kind == TokenKind::Symbol && text == symbol).then_some(())
    }

    fn word(&mut self) -> Option<Cow<'a, str>> {
        let &(kind, text) = self.tokens.get(self.at)?;
        self.at += 1;
        (kind == TokenKind::Word).then(|| unquote(kind, text))
    }

    fn identifier(&mut self) -> Option<String> {
        let &(kind, text) = self.tokens.get(self.at)?;
        self.at += 1;
        matches!(kind, TokenKind::Word | TokenKind::QuotedIdentifier)
            .then(|| unquote(kind, text).into_owned())
    }

    /// An identifier after which nothing comes.
    fn last(&mut self) -> Option<String> {
        let name = self.identifier()?;
        (self.at == self.tokens.len()).then_some(name)
    }

    fn string(&mut self) -> Option<String> {
        let &(kind, text) = self.tokens.get(self.at)?;
        self.at += 1;
        (kind == TokenKind::String).then(|| unquote(kind, text).into_owned())
    }

    fn end(&self, statement: Statement) -> Option<Statement> {
        (self.at == self.tokens.len()).then_some(statement)
    }

    fn rest_has(&self, keyword: &str) -> bool {
        self.tokens[self.at..]
            .iter()
            .any(|token| is_keyword(token, keyword))
    }

    /// Goes past the next token that is this key word, or to the end where there is none.
    fn skip_to(&mut self, keyword: &str) -> bool {
        while self.at < self.tokens.len() {
            if self.next_is(keyword) {
                return true;
            }
            self.at += 1;
        }
        false
    }
}

fn is_keyword(&(kind, text): &(TokenKind, &str), keyword: &str) -> bool {
    kind == TokenKind::Word && text.eq_ignore_ascii_case(keyword)
}

/// What a token stands for: a word in lower case, a quoted text without its quotes.
fn unquote(kind: TokenKind, text: &str) -> Cow<'_, str> {
    match kind {
        TokenKind::Word => text.to_ascii_lowercase().into(),
        TokenKind::QuotedIdentifier => text[1..text.len() - 1].replace("\"\"", "\"").into(),
        TokenKind::String if text.starts_with('\'') => {
            text[1..text.len() - 1].replace("''", "'").into()
        }
        TokenKind::String if text.starts_with(['E', 'e']) => {
            let inside = &text[2..text.len() - 1];
            // libpq escapes nothing but the quote and the backslash.
            inside.replace("''", "'").replace("\\\\", "\\").into()
        }
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests;
