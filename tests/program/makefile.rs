//! The Makefile's targets, without the minutes that a release build takes.

use std::process::Command;

use crate::support::place::repository;

/// `make TARGET…` with this PATH in front of nothing else.
#[expect(clippy::disallowed_methods, reason = "the tests start make")]
fn make(arguments: &[&str]) -> (bool, String) {
    let mut make = Command::new("make");
    make.args(arguments).current_dir(repository());
    // What a make that runs the tests would hand on.
    make.env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .env_remove("CARGO_TARGET_DIR");
    let done = make.output().expect("make is installed");
    let text = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8(text).unwrap())
}

fn musl() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

#[test]
fn help_lists_every_target() {
    let (_, help) = make(&["help"]);
    for target in [
        "build", "compress", "release", "clean", "demo", "test", "bench", "help",
    ] {
        assert!(
            help.contains(&format!("make {target} ")),
            "{target}: {help}"
        );
    }
}

#[test]
fn build_makes_a_static_program_for_this_architecture() {
    let (_, commands) = make(&["--dry-run", "build"]);
    let build = format!("cargo build --release --locked --target {}", musl());
    assert!(commands.contains(&build), "{commands}");
    assert!(
        commands.contains(&format!("target/{}/release/pg-migrate", musl())),
        "{commands}"
    );
    // The other way: a program that is not static, and quick to build.
    let (_, commands) = make(&["--dry-run", "demo"]);
    assert!(commands.contains("cargo build --locked\n"), "{commands}");
}

#[test]
fn release_builds_strips_and_compresses() {
    let (_, commands) = make(&["--dry-run", "release"]);
    let steps = ["cargo build --release", "strip ", "upx --brute"];
    let found: Vec<usize> = steps
        .iter()
        .map(|step| {
            commands
                .find(step)
                .unwrap_or_else(|| panic!("{step}: {commands}"))
        })
        .collect();
    assert!(found.is_sorted(), "{commands}");
    let (_, compress) = make(&["--dry-run", "compress"]);
    assert_eq!(compress, commands);
}

#[test]
fn without_upx_compress_says_what_to_install_and_builds_nothing() {
    let (succeeds, said) = make(&["compress", "UPX=no-such-upx"]);
    assert!(!succeeds);
    assert!(said.contains("Compressing needs UPX"), "{said}");
    assert!(!said.contains("Compiling"), "{said}");
}

#[test]
fn clean_cleans() {
    let (_, commands) = make(&["--dry-run", "clean"]);
    assert!(commands.contains("cargo clean"), "{commands}");
}
