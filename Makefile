# What a person types. Needs the Rust toolchain; anything else is installed when it is missing.

CARGO ?= cargo
# Optimised like a release but quick to build.
FAST := --profile fast --locked

# Tests that run at once: most of them wait for processes and servers longer than they compute.
TESTS_AT_ONCE ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))

# Anything but `on` leaves out the tests with programs from PyPI: the original's, and Schemathesis.
INTEROP ?= on
# Anything but `on` leaves out the tests that start servers of others (Redis, PostgreSQL, Prometheus).
SERVERS ?= on
SKIPPED := $(if $(filter on,$(INTEROP)),,python_) $(if $(filter on,$(SERVERS)),,server_)
SKIP := $(if $(strip $(SKIPPED)),-- $(addprefix --skip ,$(SKIPPED)))

.PHONY: help showcase test lint fmt docs bench sim fuzz tools typed python servers

help:
	@echo 'make showcase   build, run every demonstration scenario, print expected and actual'
	@echo 'make test       format check, clippy, all tests; INTEROP=off needs no Python,'
	@echo '                SERVERS=off no Redis, PostgreSQL or Prometheus'
	@echo 'make lint       format check and clippy only'
	@echo 'make fmt        format the sources'
	@echo 'make docs       write what docs/ has from the code (pictures, schema, codes, metrics, settings, commands, API), build the API documentation'
	@echo 'make bench      measure the stores, then the orchestrator, beside the original when ORIGINAL_VENV is there;'
	@echo '                STORE=redis on Redis, HISTORY=postgres with history in PostgreSQL'
	@echo 'make fuzz       one minute of random input for each target of fuzz/: FUZZ_SECONDS=60'
	@echo 'make sim        replay or extend the simulation: SEEDS=100000 SEED_START=1;'
	@echo '                STORE=redis or STORE=cluster over a private Redis, a hundred times slower'

showcase: tools
	$(CARGO) run $(FAST) -- showcase

test: tools typed python servers lint
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  $(CARGO) nextest run --locked --test-threads $(TESTS_AT_ONCE) $(SKIP); \
	else \
	  $(CARGO) test --locked $(SKIP); \
	fi

lint: tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all-targets --locked -- -D warnings

fmt:
	$(CARGO) fmt --all

docs: tools
	UPDATE_DOCS=1 $(CARGO) test --locked --lib blueprint::tests::documents
	UPDATE_DOCS=1 $(CARGO) test --locked --test codes
	UPDATE_DOCS=1 $(CARGO) test --locked --test guides generated
	$(CARGO) doc --locked --no-deps

# Built as a release is: what is measured is what is shipped. PROFILE=fast builds in half the time.
PROFILE ?= release
# Where the original's orchestrator is installed, to be measured beside; `make test` installs it there.
ORIGINAL_VENV ?= .venv/orchestrator
# throughput latency start full_store idle_polls scrape fan_out steady traces; empty takes the first
# three. round_trips and orchestrators come with STORE=redis, history with HISTORY=postgres.
PARTS ?=
# redis: jobs of both in a private Redis; postgres: ours keeps its history in a private PostgreSQL.
STORE ?=
HISTORY ?=
bench: tools $(if $(STORE)$(HISTORY),servers)
	@if [ '$(STORE)' = redis ] && [ -x '$(ORIGINAL_VENV)/bin/python' ]; then \
	  '$(ORIGINAL_VENV)/bin/python' -m pip install --quiet --disable-pip-version-check --no-input \
	    --requirement benches/original/requirements.txt; fi
	$(if $(STORE)$(HISTORY),,$(CARGO) bench --profile $(PROFILE) --locked --bench store)
	ORIGINAL_VENV='$(abspath $(ORIGINAL_VENV))' STORE='$(STORE)' HISTORY='$(HISTORY)' \
	  $(CARGO) bench --profile $(PROFILE) --locked --bench orchestrator -- $(PARTS)

SEEDS ?= 100000
SEED_START ?= 1
SIM_OF_redis := server_redis_holds_worlds
SIM_OF_cluster := server_redis_cluster_holds_worlds
sim: tools $(if $(STORE),servers)
	SIM_SEEDS=$(SEEDS) SIM_SEED_START=$(SEED_START) \
	  $(CARGO) test $(FAST) --test sim -- --nocapture $(if $(STORE),$(SIM_OF_$(STORE)),seeds)

# What a target finds lies in fuzz/artifacts: fix it, and keep the input in fuzz/corpus, which the
# tests run. New inputs that only reach more code stay in target/. The compiler's instrumentation is
# not stable, hence the variable; without `unsafe` of our own the address sanitizer is not needed.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= blueprint expression wire canonical
fuzz: tools
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	@for target in $(FUZZ_TARGETS); do \
	  mkdir -p target/fuzz/$$target && \
	  RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run -s none $$target target/fuzz/$$target fuzz/corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 || exit 1; \
	done

# A C compiler builds SQLite and, with make, the allocator; everything else is Rust.
tools:
	@command -v $(CARGO) >/dev/null || { \
	  echo 'make: cargo is missing: install the Rust toolchain first' >&2; exit 1; }
	@command -v cc >/dev/null || { \
	  if [ "$$(id -u)" = 0 ]; then apt=apt-get; \
	  elif command -v sudo >/dev/null; then apt='sudo apt-get'; \
	  else echo 'make: cc is missing, and it takes root to install it: apt-get install gcc libc6-dev' >&2; exit 1; fi; \
	  $$apt update -q && $$apt install -qy gcc libc6-dev; }

# What the guides have their reader type, which tests type too.
typed:
	@tests/guides/install.sh

# The original's worker and orchestrator, and Schemathesis, each in an environment of its own below .venv.
python:
	@if [ '$(INTEROP)' = on ]; then tests/interop/environments.sh; fi

# The programs of the servers that tests start instances of; nothing keeps running.
servers:
	@if [ '$(SERVERS)' = on ]; then tests/servers/install.sh; fi
