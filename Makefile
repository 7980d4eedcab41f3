# `make demo` and `make test` need cargo, Python 3.11 or later and make; what else is missing they install, or name.
# PYTHON chooses the interpreter; OVERLAPPED_BACKEND=uring|poll the backend.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUST := Cargo.toml Cargo.lock pyproject.toml $(shell find crates -name '*.rs' -o -name Cargo.toml)

.PHONY: loops suites test-stdlib test-kernel sanitize fuzz soak demo test test-rust test-python test-pythons test-windows check check-targets check-package format bench clean

## The main job: programs in Python and in Rust, and a table of what they moved.
demo: $(VENV)/.built
	@echo "building the Rust examples ..."
	@cargo build --quiet --release --package overlapped --examples
	@$(BIN)/python demo/run.py

## All tests; `make test-rust`, `test-python`, `test-pythons` (other versions of CPython) and `test-windows` (under Wine) are
## its parts. OVERLAPPED_SKIP_WINDOWS=1 leaves Windows out.
test: tools-for-tests
	@$(BIN)/python scripts/test.py

test-rust test-python test-pythons test-windows: test-%: tools-for-tests
	@$(BIN)/python scripts/test.py $*

## The Rust tests under AddressSanitizer, valgrind, loom and Miri: see scripts/sanitize.py. Some minutes; TOOLS="loom miri" runs some.
sanitize:
	@PYTHON=$(PYTHON) bash scripts/prepare.sh
	@PYTHON=$(PYTHON) bash scripts/prepare.sh test
	@$(PYTHON) scripts/sanitize.py $(TOOLS)

## The Rust tests on the kernel of this machine's Debian, or another, in an emulated machine, in an hour or two: see
## scripts/kernel.py. KERNEL="--kernel linux-image-6.12-amd64 deadlines" runs some on another.
test-kernel:
	@$(PYTHON) scripts/kernel.py $(KERNEL)

## The fuzz targets for some minutes: see scripts/fuzz.py. MINUTES=60 TARGET="framing sockets" runs some for an hour.
fuzz: $(VENV)/.built
	@$(BIN)/python scripts/fuzz.py --minutes $(or $(MINUTES),10) $(TARGET)

## Everything at once for some minutes, and whether memory, descriptors or counters grow: see scripts/soak.py. MINUTES=60
## runs it for an hour.
soak: $(VENV)/.built
	@$(BIN)/python scripts/soak.py --minutes $(or $(MINUTES),5)

## What others wrote to test asyncio's loops, on ours, the standard one, uvloop and zuvloop: docs/loops.md, in an hour.
## CPython 3.14, which zuvloop needs, is taken from target/python3.14 where benches/python3.14.sh has unpacked it.
loops: $(VENV)/.built
	@$(BIN)/python scripts/loops/compare.py $(LOOPS)

## Libraries' own tests, of redis, trio, urllib3 and others, under `python -m overlapped` beside plain python: docs/suites.md.
suites: $(VENV)/.built
	@$(BIN)/python scripts/library_suites.py $(SUITES)

## The standard library's own tests under `python -m overlapped` beside plain python, on each CPython and both backends:
## docs/stdlib.md, in some hours. STDLIB="--python 3.11 --backend poll test_socket" runs some.
test-stdlib: $(VENV)/.built
	@$(BIN)/python scripts/stdlib/run_beside.py $(STDLIB)

## Formatting, lints, types, and links in the documentation.
check: $(VENV)/.built
	@bash scripts/prepare.sh check
	cargo fmt --check
	cargo fmt --check --manifest-path benches/Cargo.toml
	cargo clippy --quiet --workspace --all-targets -- --deny warnings
	cargo clippy --quiet --package overlapped --features rustls,tower,futures-io,tracing --all-targets -- --deny warnings
	cargo fmt --check --manifest-path tests/crates/Cargo.toml
	cargo clippy --quiet --manifest-path tests/crates/Cargo.toml --target-dir target/crates --all-targets -- --deny warnings
	cargo clippy --quiet --manifest-path benches/Cargo.toml --target-dir target/benches --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --quiet --workspace --features overlapped/rustls,overlapped/tower,overlapped/futures-io,overlapped/tracing --no-deps --document-private-items
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict

## Type-checks the Rust crates for the systems that are not run here.
check-targets:
	bash scripts/check-targets.sh

## Whether the Rust crates are ready for crates.io and docs.rs; and, once there is a release, compatible with it.
check-package:
	bash scripts/check-package.sh

format: $(VENV)/.tools
	cargo fmt
	cargo fmt --manifest-path benches/Cargo.toml
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

## Measures us beside our peers, with BENCH as the runner's arguments; see benches/README.md.
bench:
	@PYTHON=$(PYTHON) bash scripts/prepare.sh
	$(PYTHON) benches/run.py $(BENCH)

clean:
	cargo clean
	rm -rf .venv*

.PHONY: tools-for-tests
tools-for-tests: $(VENV)/.built
	@PYTHON=$(BIN)/python bash scripts/prepare.sh test

$(VENV)/.tools: requirements-dev.txt
	@PYTHON=$(PYTHON) bash scripts/prepare.sh
	@echo "preparing $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@

$(VENV)/.built: $(VENV)/.tools $(RUST)
	@echo "building the Python package ..."
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release >$(VENV)/build.log 2>&1 || { cat $(VENV)/build.log; exit 1; }
	@touch $@
