//! No file uses one that uses it, directly or by way of others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::source::{Source, Words};
use super::{module, sources};

/// Every source file by the path of its module: `["postgres", "connect"]`.
struct Tree {
    files: BTreeMap<Words, File>,
}

struct File {
    /// Below `src`.
    name: String,
    source: Source,
}

/// What a path leads to.
enum Found {
    /// To name it does not use anything that is in it.
    Module,
    Item {
        file: String,
        item: String,
    },
}

/// What each file uses of which others.
type Uses = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

#[test]
fn no_file_uses_one_that_uses_it() {
    let uses = Tree::of_sources().uses();
    let circles: Vec<String> = circles(&uses)
        .iter()
        .map(|circle| describe(circle, &uses))
        .collect();
    assert!(circles.is_empty(), "{}", circles.join("\n\n"));
}

impl Tree {
    fn of_sources() -> Tree {
        Tree::new(sources().into_iter())
    }

    fn new(files: impl Iterator<Item = (String, String)>) -> Tree {
        let files = files.map(|(name, text)| {
            let source = Source::read(&text);
            (module(&name), File { name, source })
        });
        Tree {
            files: files.collect(),
        }
    }

    fn uses(&self) -> Uses {
        let uses = self.files.iter().map(|(module, file)| {
            let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for path in self.named_in(module, file) {
                match self.find(&path, &mut BTreeSet::new()) {
                    Some(Found::Module) => {}
                    Some(Found::Item { file, item }) => {
                        used.entry(file).or_default().insert(item);
                    }
                    // Also where a macro makes it that is called with parentheses.
                    None => panic!("{}: nothing is at crate::{}", file.name, path.join("::")),
                }
            }
            used.remove(&file.name);
            (file.name.clone(), used)
        });
        uses.collect()
    }

    /// The paths, from the crate's root, that the file's code names. An import of the file's own is one even if
    /// the code does not name it, as that of a trait; one that is passed on alone is not.
    fn named_in(&self, module: &[String], file: &File) -> Vec<Words> {
        let imports = file.source.imports.iter();
        let own = imports.filter(|import| !import.is_passed_on && import.name != "*");
        let named = file.source.paths.iter().filter_map(|path| {
            self.rooted(module, path).or_else(|| {
                let (head, members) = path.split_first()?;
                let mut all = self.imported(module, file, head, &mut BTreeSet::new())?;
                all.extend_from_slice(members);
                Some(all)
            })
        });
        own.filter_map(|import| self.rooted(module, &import.path))
            .chain(named)
            .collect()
    }

    /// The path from the crate's root. `None`: it does not begin with a module that has a file, so that it leads to another
    /// crate, or is a name that the file defines or imports.
    fn rooted(&self, module: &[String], path: &[String]) -> Option<Words> {
        let supers = path.iter().take_while(|word| *word == "super").count();
        let (start, rest) = match path.first()?.as_str() {
            "crate" => (&[][..], &path[1..]),
            "self" => (module, &path[1..]),
            "super" => (&module[..module.len() - supers], &path[supers..]),
            _ => (module, path),
        };
        let whole = [start, rest].concat();
        let is_child = rest.len() < path.len()
            || path.len() > 1 && self.files.contains_key(&whole[..module.len() + 1]);
        is_child.then_some(whole)
    }

    /// What a name that the file imports stands for, from the crate's root.
    fn imported(
        &self,
        module: &[String],
        file: &File,
        name: &str,
        seen: &mut BTreeSet<Words>,
    ) -> Option<Words> {
        let imports = &file.source.imports;
        if let Some(import) = imports.iter().find(|import| import.name == name) {
            return self.rooted(module, &import.path);
        }
        let globs = imports.iter().filter(|import| import.name == "*");
        let mut paths = globs.filter_map(|glob| {
            let path = [&glob.path[..], &[name.to_owned()]].concat();
            self.rooted(module, &path)
        });
        paths.find(|path| self.find(path, seen).is_some())
    }

    /// What is at the end of a path from the crate's root, past all re-exports.
    fn find(&self, path: &[String], seen: &mut BTreeSet<Words>) -> Option<Found> {
        let depth = (0..=path.len())
            .rev()
            .find(|depth| self.files.contains_key(&path[..*depth]))?;
        let (module, rest) = path.split_at(depth);
        let Some((item, members)) = rest.split_first() else {
            return Some(Found::Module);
        };
        let file = &self.files[module];
        if file.source.items.contains(item) {
            return Some(Found::Item {
                file: file.name.clone(),
                item: item.clone(),
            });
        }
        // Two modules may import all of each other.
        if !seen.insert(path.to_vec()) {
            return None;
        }
        let mut elsewhere = self.imported(module, file, item, seen)?;
        elsewhere.extend_from_slice(members);
        self.find(&elsewhere, seen)
    }
}

/// The shortest circle through each file that is in one, each circle once.
fn circles(uses: &Uses) -> Vec<Vec<String>> {
    let mut known = BTreeSet::new();
    let mut circles = Vec::new();
    for (from, used) in uses {
        let ways = used.keys().filter_map(|to| way(to, from, uses));
        if let Some(circle) = ways.min_by_key(Vec::len)
            && known.insert(circle.iter().cloned().collect::<BTreeSet<_>>())
        {
            circles.push(circle);
        }
    }
    circles
}

/// The shortest way from one file to another along uses, both included.
fn way(from: &str, to: &str, uses: &Uses) -> Option<Vec<String>> {
    let mut ways = VecDeque::from([vec![from.to_owned()]]);
    let mut seen = BTreeSet::from([from.to_owned()]);
    while let Some(way) = ways.pop_front() {
        let last = way.last().expect("it begins with a file");
        if last == to {
            return Some(way);
        }
        for next in uses.get(last).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(next.clone()) {
                ways.push_back([&way[..], std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

fn describe(circle: &[String], uses: &Uses) -> String {
    let next = circle.iter().cycle().skip(1);
    let lines = circle.iter().zip(next).map(|(from, to)| {
        let items: Vec<&str> = uses[from][to].iter().map(String::as_str).collect();
        format!("{from} uses {} of {to}", items.join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The uses of made-up files.
fn uses_of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Uses {
    let files = files.into_iter();
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    Tree::new(
        [("lib.rs".to_owned(), String::new())]
            .into_iter()
            .chain(files),
    )
    .uses()
}

/// The circles of made-up files, a line each.
fn circles_of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let circles = circles(&uses_of(files));
    circles.iter().map(|circle| circle.join(" > ")).collect()
}

const GLUE: (&str, &str) = (
    "m/mod.rs",
    "mod a; mod b; mod c; pub use a::*; pub use b::B; pub(crate) use c::{C, c as renamed};",
);

#[test]
fn a_circle_is_found_however_long_and_however_written() {
    let a = ("m/a.rs", "use super::b::B; pub struct A(B);");
    let b = ("m/b.rs", "pub struct B; fn f() { crate::m::renamed() }");
    for c in [
        "use super::a::A; pub struct C(A); pub fn c() {}",
        "use crate::m::A; pub struct C(A); pub fn c() {}",
        "use super::{super::m::{self, a}}; pub struct C(a::A); pub fn c() {}",
        "use crate::m; pub struct C; pub fn c() -> Option<m::a::A> { None }",
        "use super::*; pub struct C(A); pub fn c() {}",
        "pub struct C; pub fn c() { println!(\"{}\", super::A::x()) }",
        "pub struct C; pub fn c() { f(C { ..super::A::x() }) }",
        "pub struct C; #[error(\"{}\", super::A::x())] pub fn c() {}",
    ] {
        assert_eq!(
            circles_of([GLUE, a, b, ("m/c.rs", c)]),
            ["m/b.rs > m/c.rs > m/a.rs"],
            "{c}"
        );
    }
}

#[test]
fn what_is_not_a_use_closes_no_circle() {
    let a = ("m/a.rs", "use super::b::B; pub struct A(B);");
    for b in [
        "pub struct B; // super::A",
        "pub struct B; /// [`super::A`]\nfn f() {}",
        "pub struct B; #[cfg(test)] mod tests { use crate::m::A; }",
        "pub struct B; #[cfg(test)] use super::A; ",
        "pub use super::a::A; pub struct B;",
        "pub use super::a; pub struct B;",
        "use A::x; pub struct B; fn f() { x.A; x.A(); <B>::A; }",
        "pub struct B; fn A() {} struct C { A: B }",
    ] {
        let c = ("m/c.rs", "pub struct C; pub fn c() {}");
        assert_eq!(circles_of([GLUE, a, ("m/b.rs", b), c]), [""; 0], "{b}");
    }
}

#[test]
fn a_module_that_holds_code_is_a_file_like_others() {
    let child = ("m/a.rs", "use super::Limit; pub fn a(_: Limit) {}");
    let glue = ("m/mod.rs", "mod a; pub use a::a; pub struct Limit;");
    assert_eq!(circles_of([glue, child]), [""; 0]);
    let caller = (
        "m/mod.rs",
        "mod a; pub use a::a; pub struct Limit; fn f() { a(Limit) }",
    );
    assert_eq!(circles_of([caller, child]), ["m/mod.rs > m/a.rs"]);
}

#[test]
fn items_are_found_behind_macros_and_in_inner_modules() {
    let files = [
        (
            "a.rs",
            "use crate::b::{Made, inner, made}; pub struct A(Made); fn f() { made!(inner()) }",
        ),
        (
            "b.rs",
            "macro_rules! made { () => {} } made! { Made; } pub use i::inner; mod i { pub fn inner() {} }",
        ),
    ];
    let expected: BTreeSet<String> = ["Made", "inner", "made"].map(str::to_owned).into();
    assert_eq!(uses_of(files)["a.rs"]["b.rs"], expected);
}

#[test]
#[should_panic(expected = "a.rs: nothing is at crate::b::Missing")]
fn a_path_that_is_not_understood_is_not_passed_over() {
    uses_of([("a.rs", "use crate::b::Missing;"), ("b.rs", "")]);
}
