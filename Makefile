# make demo: the main job on real input, killed and resumed. make test: everything that must hold.

.PHONY: help build demo test bench clean

help:
	@echo "make demo    install what is missing, build, and run the main job on real input"
	@echo "make test    install what is missing, and run every check and test"
	@echo "make build   install what is missing, and build target/release/muster and muster-rank"
	@echo "make bench   print the figures beside ceilings and peers (minutes)"
	@echo "make clean   remove what was built and fetched"

# Without root and without sudo the setup exits with 3: then there is no MPI, and teams are threads.
build:
	@tools/setup; code=$$?; \
	if [ $$code -eq 0 ]; then cargo build --release --quiet -p muster -p muster-rank; \
	elif [ $$code -eq 3 ]; then cargo build --release --quiet -p muster --no-default-features; \
	else exit $$code; fi

demo: build
	@demo/run

test:
	@tools/test

bench: build
	cargo bench -p muster-benches

clean:
	cargo clean
	rm -rf .demo
