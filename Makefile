# The targets for people are listed by `make help`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
UPX ?= upx
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
MUSL := $(shell uname -m)-unknown-linux-musl
STATIC := $(TARGET_DIR)/$(MUSL)/release/pg-migrate
# The C parts of the TLS library need a compiler for musl; where there is no musl-gcc, the host's does.
MUSL_CC := $(if $(shell command -v musl-gcc),musl-gcc,cc)

.PHONY: help build compress release clean demo test torture fuzz bench schema lint servers musl cargo-fuzz upx

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# The build that `make test` makes as well: a release build takes several times as long, and what the demo shows is work of
# the servers and their clients.
demo: ## Migrate a small PostgreSQL 10 server to PostgreSQL 18, here and now
	$(CARGO) build --locked
	@tests/servers/demo

test: servers ## Run every test, against real servers
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		exec $(CARGO) nextest run --locked $(if $(CI),--profile ci); \
	else \
		exec $(CARGO) test --locked; \
	fi

# What it does is chosen by variables, which tests/program/torture/mod.rs explains. One trial alone:
#   make torture TORTURE_ONLY='random 17' TORTURE_SEED=1
# Stopped, or after TORTURE_MINUTES, it goes on where it was, as long as src/ is the same.
torture: servers ## Kill, cut, fill and stop whatever a run stands on, with hands in between (hours, as root)
	TORTURE_TRIALS=$${TORTURE_TRIALS:-200} $(CARGO) test --locked --test program -- --exact torture::the_whole_campaign --nocapture

FUZZ_TARGETS := globals journal patterns plan restore_log
FUZZ_SECONDS ?= 600

# The parsers are safe Rust: what is looked for is a panic or a broken promise, and without a sanitizer that is
# far faster, and with any toolchain.
fuzz: cargo-fuzz ## Try made-up input on every parser, FUZZ_SECONDS (600) on each
	@for target in $(FUZZ_TARGETS); do \
		echo "==> $$target, for $(FUZZ_SECONDS) seconds"; \
		mkdir -p $(TARGET_DIR)/fuzz/corpus/$$target; \
		$(CARGO) fuzz run --sanitizer none --fuzz-dir tests/fuzz --target-dir $(TARGET_DIR)/fuzz $$target \
			$(TARGET_DIR)/fuzz/corpus/$$target tests/fuzz/corpus/$$target \
			-- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1 || { \
				echo "keep the input that failed in tests/fuzz/corpus/$$target, then fix the cause" >&2; \
				exit 1; \
			}; \
	done

bench: ## Measure against plain pg_dump and pg_restore (some minutes, on an idle machine)
	$(CARGO) build --release --locked
	@tests/servers/bench
	$(CARGO) test --release --locked --lib journal::scale_tests -- --nocapture

lint: ## Check formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

schema: ## Write schemas/plan.schema.json from the types
	$(CARGO) build --locked
	@mkdir -p schemas
	$(TARGET_DIR)/debug/pg-migrate schema > schemas/plan.schema.json.new
	mv schemas/plan.schema.json.new schemas/plan.schema.json

build: musl ## Build a static program for this architecture
	CC_$(subst -,_,$(MUSL))=$${CC_$(subst -,_,$(MUSL)):-$(MUSL_CC)} \
		$(CARGO) build --release --locked --target $(MUSL)
	@echo "built $(STATIC)"

compress: upx build ## Strip the static program and compress it with UPX
	strip $(STATIC)
	$(UPX) --brute --force-overwrite -o $(STATIC).upx $(STATIC)
	mv $(STATIC).upx $(STATIC)
	@ls -l $(STATIC)

release: compress ## Build and compress in one step

clean: ## Remove everything that was built or fetched
	$(CARGO) clean

# What the targets above stand on.

servers:
	@tests/servers/fetch >/dev/null

musl:
	@if ! rustc --print target-libdir --target $(MUSL) | xargs test -d; then \
		echo "The static build needs Rust's musl target: rustup target add $(MUSL)" >&2; exit 1; \
	fi

cargo-fuzz:
	@if ! $(CARGO) fuzz --version >/dev/null 2>&1; then \
		echo "Fuzzing needs cargo-fuzz: cargo install cargo-fuzz" >&2; exit 1; \
	fi

upx:
	@if ! command -v $(UPX) >/dev/null; then \
		echo "Compressing needs UPX, which is not on PATH: install the package upx or upx-ucl" >&2; exit 1; \
	fi
