//! What a source file says of itself and of others: its items, its imports, and the paths in its code.
//!
//! Read from tokens rather than from a syntax tree, so that paths within macros count as well.

use std::collections::BTreeSet;
use std::iter::Peekable;

use proc_macro2::token_stream::IntoIter;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// `crate::plan::Plan`, a word each.
pub type Words = Vec<String>;

/// A source file, without its tests and comments.
#[derive(Debug, Default)]
pub struct Source {
    /// What it defines at its top level.
    pub items: BTreeSet<String>,
    pub imports: BTreeSet<Import>,
    /// Whatever may be a path or a lone name: the words of fields and methods are none.
    pub paths: BTreeSet<Words>,
}

/// One name of a `use`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub path: Words,
    /// As it is called from then on; `*`: whatever the path's module has.
    pub name: String,
    /// It is for others to import from here (`pub use`, `pub(super) use`).
    pub is_passed_on: bool,
}

impl Source {
    pub fn read(text: &str) -> Source {
        let mut source = Source::default();
        let code: TokenStream = text.parse().expect("it compiles");
        source.add_items(code.clone());
        source.add_code(code);
        source
    }

    /// Those of a module within the file are the file's. Of a macro, every word of its body, and of what stands in braces where
    /// it is called, may be something that it defines.
    fn add_items(&mut self, code: TokenStream) {
        let mut tokens = code.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let word = token.to_string();
            match word.as_str() {
                "struct" | "enum" | "union" | "trait" | "type" | "fn" | "const" | "static"
                | "mod" => {}
                "macro_rules" => {
                    let _exclamation_mark = tokens.next();
                }
                "!" => {
                    if let Some(TokenTree::Group(group)) = tokens.peek()
                        && group.delimiter() == Delimiter::Brace
                    {
                        self.items.extend(words_of(group.stream()));
                    }
                    continue;
                }
                _ => {
                    skip_tests(&token, &mut tokens);
                    continue;
                }
            }
            if let Some(TokenTree::Ident(name)) = tokens.peek() {
                self.items.insert(name.to_string());
                tokens.next();
            }
            if let Some(TokenTree::Group(body)) = tokens.peek() {
                match word.as_str() {
                    "mod" => self.add_items(body.stream()),
                    "macro_rules" => self.items.extend(words_of(body.stream())),
                    _ => {}
                }
            }
        }
    }

    fn add_code(&mut self, code: TokenStream) {
        let mut tokens = code.into_iter().peekable();
        let mut before = Before::default();
        while let Some(token) = tokens.next() {
            if skip_tests(&token, &mut tokens) {
                continue;
            }
            match &token {
                TokenTree::Group(group) => self.add_code(group.stream()),
                // `+ use<'a>` of a bound imports nothing.
                TokenTree::Ident(word)
                    if word == "use" && !tokens.peek().is_some_and(|next| is_punct(next, '<')) =>
                {
                    let is_end = |token: &TokenTree| is_punct(token, ';');
                    let tree: Vec<TokenTree> =
                        tokens.by_ref().take_while(|token| !is_end(token)).collect();
                    self.add_imports(&tree, &[], before.is_public);
                }
                TokenTree::Ident(word) => {
                    let path = path_from(word.to_string(), &mut tokens);
                    let is_label = path.len() == 1
                        && tokens.peek().is_some_and(|next| is_punct(next, ':'))
                        && !next_is_path_separator(&tokens);
                    if !before.makes_a_name() && !is_label {
                        self.paths.insert(path);
                    }
                }
                _ => {}
            }
            before.step(&token);
        }
    }

    /// Takes a `use` apart: `a::{b, c::{self, d as e}, f::*}`.
    fn add_imports(&mut self, tree: &[TokenTree], prefix: &[String], is_passed_on: bool) {
        for part in tree.split(|token| is_punct(token, ',')) {
            let mut path = prefix.to_vec();
            let mut name = None;
            let mut tokens = part.iter();
            while let Some(token) = tokens.next() {
                match token {
                    TokenTree::Group(group) => {
                        let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                        self.add_imports(&inside, &path, is_passed_on);
                        path.clear();
                    }
                    TokenTree::Ident(word) if word == "as" => {
                        name = tokens.next().map(TokenTree::to_string);
                    }
                    // `a::{self}` is `a`, and `self::a` is none such.
                    TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                    TokenTree::Ident(word) => path.push(word.to_string()),
                    TokenTree::Punct(punct) if punct.as_char() == '*' => {
                        name = Some("*".to_owned());
                    }
                    _ => {}
                }
            }
            if let Some(name) = name.or_else(|| path.last().cloned()) {
                self.imports.insert(Import {
                    path,
                    name,
                    is_passed_on,
                });
            }
        }
    }
}

/// What a word follows.
#[derive(Default)]
struct Before {
    dots: u32,
    colons: u32,
    is_public: bool,
    defines: bool,
}

impl Before {
    fn step(&mut self, token: &TokenTree) {
        let count = |sign, count| if is_punct(token, sign) { count + 1 } else { 0 };
        self.dots = count('.', self.dots);
        self.colons = count(':', self.colons);
        self.defines = matches!(token.to_string().as_str(), "mod" | "fn");
        self.is_public = match token {
            TokenTree::Ident(word) => word == "pub",
            // `pub(super)`
            TokenTree::Group(group) => {
                self.is_public && group.delimiter() == Delimiter::Parenthesis
            }
            _ => false,
        };
    }

    /// After `x.` or `<T>::` a word is one of a type's own (after `..` it is not), and after `fn` it names nothing else.
    fn makes_a_name(&self) -> bool {
        self.dots == 1 || self.colons == 2 || self.defines
    }
}

/// The path that begins with the word.
fn path_from(head: String, tokens: &mut Peekable<IntoIter>) -> Words {
    let mut path = vec![head];
    while next_is_path_separator(tokens) {
        let mut ahead = tokens.clone().skip(2);
        let Some(TokenTree::Ident(word)) = ahead.next() else {
            break;
        };
        path.push(word.to_string());
        tokens.nth(2);
    }
    path
}

fn next_is_path_separator(tokens: &Peekable<IntoIter>) -> bool {
    let mut ahead = tokens.clone();
    let mut is_colon = || ahead.next().is_some_and(|token| is_punct(&token, ':'));
    is_colon() && is_colon()
}

/// Where the token is the `cfg(test)` of an attribute, takes what follows up to the item's body or semicolon.
fn skip_tests(token: &TokenTree, tokens: &mut Peekable<IntoIter>) -> bool {
    let is_for_tests = |group: &Group| {
        group.delimiter() == Delimiter::Bracket && group.stream().to_string() == "cfg (test)"
    };
    let is_skipped = matches!(token, TokenTree::Group(group) if is_for_tests(group));
    if is_skipped {
        tokens.find(|token| match token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            token => is_punct(token, ';'),
        });
    }
    is_skipped
}

/// Every word of the code, however deep.
fn words_of(code: TokenStream) -> Vec<String> {
    let words = code.into_iter().flat_map(|token| match token {
        TokenTree::Ident(word) => vec![word.to_string()],
        TokenTree::Group(group) => words_of(group.stream()),
        _ => Vec::new(),
    });
    words.collect()
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}
