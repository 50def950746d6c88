# Muster in one word each: `make` lists them. Every target sets up what it needs first (tools/setup).

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
TARGET := $(or $(CARGO_TARGET_DIR),target)
PEERS := $(addprefix $(TARGET)/peers/,asian_plain asian_fast mpi_start $(if $(shell grep -ow avx512dq -m1 /proc/cpuinfo),asian_expert))

# tools/setup answers 0 (everything is here) or 10 (no MPI and hwloc to be had). Without them the MPI programs (those of
# examples/, too) and the benchmark suite are left out, and `muster` is built without its default feature.
define set_up
tools/setup $(for); case $$? in 0) what='--workspace' build='-p muster -p muster-rank' ;; \
10) what='--workspace --exclude muster-rank --exclude muster-benches --exclude pi-rank --exclude power-rank \
--exclude words-rank --no-default-features --features muster/gpu'; \
build='-p muster --no-default-features --features gpu' ;; *) exit 1 ;; esac; set -e
endef

.PHONY: help build demo test soak soak-hosts seeds goldens bench clean

help:
	@echo 'make build   set up, and build muster and muster-rank in $(TARGET)/release'
	@echo 'make demo    value at risk of a portfolio, on a team that loses a rank on the way'
	@echo 'make test    set up, check format and lints, run every test'
	@echo 'make soak    every product of teams and a thousand kills: one hash (an hour)'
	@echo 'make soak-hosts  jobs of every kind on four hosts, and a hundred kills (ten minutes, as root)'
	@echo 'make seeds   the protocol: 20,000 seeds of faults, and each guard taken out (minutes)'
	@echo 'make goldens TABLE=FILE TRACES=FOLDER   schedules of complete traces beside golden values'
	@echo 'make bench   speed beside the ceiling and the peers, measured in one run'
	@echo 'make clean   remove what was built and fetched'

build:
	@$(set_up); cargo build --release $$build

demo: for := --demo
demo: build
	@demo/run

# One profile for everything, so that the tests use what was compiled once; the mathematics is optimised in it (see
# Cargo.toml). The runner's own summary is the last thing printed: the documentation's examples run before it.
test: for := --test
test:
	@$(set_up); set -x; \
	cargo fmt --all --check; \
	cargo clippy $$what --all-targets -- -D warnings; \
	cargo build $$what --bins; \
	{ set +x; } 2>/dev/null; \
	if cargo nextest --version >/dev/null 2>&1; then set -x; \
	    cargo test $$what --doc --quiet; \
	    cargo nextest run $$what --no-fail-fast; \
	else set -x; \
	    cargo test $$what --no-fail-fast; \
	fi

# The promises at full length, on the release build.
soak: build
	cargo test --release --test soak -- $(JOBS)

soak-hosts: build
	cargo test --release --test soak-hosts -- $(ROUNDS)

# The protocol in its simulator, and the guards that some seed must miss.
seeds:
	cargo test --release -p muster-core --test seeds -- $(SEEDS)

# Every row of a table of golden values over complete traces, and published waits job by job; neither is in the tree.
goldens:
	@cargo run --quiet --release -p muster-core --example goldens -- "$(TABLE)" "$(TRACES)"

bench: for := --bench
bench: build $(PEERS)
	@cargo run --quiet --release -p muster-benches -- $(BENCH)

# Peers in C, each with every licence that its name allows gcc; the expert's needs AVX-512.
OFAST := -Ofast -march=native -mprefer-vector-width=512 -fopenmp
$(TARGET)/peers/asian_plain: benches/peers/asian_plain.c
	@mkdir -p $(@D)
	cc -O3 -march=native -fopenmp -o $@ $< -lm
$(TARGET)/peers/asian_fast: benches/peers/asian_fast.c
	@mkdir -p $(@D)
	cc $(OFAST) -o $@ $< -lm
$(TARGET)/peers/asian_expert: benches/peers/asian_fast.c
	@mkdir -p $(@D)
	cc $(OFAST) -DINTRINSICS -o $@ $< -lm
$(TARGET)/peers/mpi_start: benches/peers/mpi_start.c
	@mkdir -p $(@D)
	mpicc -O2 -o $@ $<

clean:
	cargo clean
	rm -rf .demo
