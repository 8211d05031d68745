# Each target sets up what it needs: a virtual environment in .venv, and with root the system packages.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILED := $(VENV)/.compiled
SOURCES := setup.py bpfstream tests examples

# What tests of the running kernel use, and what boots guests
TEST_PACKAGES := clang llvm gcc libc6-dev libbpf-dev libelf-dev zlib1g-dev libbpf-tools xdp-tools \
	ir-keytable bpftool iproute2 util-linux
GUEST_PACKAGES := $(TEST_PACKAGES) qemu-system-x86 busybox-static kmod xz-utils zstd

# What the peers of `make bench` are built from; cilium/ebpf comes as a Go module, by the first `go` there is
BENCH_PACKAGES := gcc libc6-dev libbpf-dev libelf-dev zlib1g-dev python3-bpfcc

# What `make test-guests` boots: Debian suites, or folders with an unpacked kernel package
GUESTS := bullseye bookworm bookworm-backports
# What `make test-arm64` and `make test-s390x` boot needs of this machine, but for qemu and the compiler
FOREIGN_PACKAGES := busybox-static e2fsprogs kmod xz-utils zstd
# The interpreters of `make test-pythons`: names or paths; those that are not there are left out
PYTHONS := python3.11 python3.12 python3.13 python3.14
PYTEST_ARGS :=

.DELETE_ON_ERROR:
.PHONY: help demo test test-pure test-pythons test-sanitized test-guests test-arm64 test-s390x check format bench bpf clean

help:
	@echo "make demo         see typed events from the kernel (root)"
	@echo "make test         all tests; those that need the running kernel with root only"
	@echo "make test-pure    the same without the compiled module"
	@echo "make check        formatting, lint, types, import rules"
	@echo "make test-pythons    all tests with each Python there is, with the compiled module and without"
	@echo "make test-sanitized  the tests of the compiled module, built to find faults of memory"
	@echo "make test-guests  the kernel tests in guests of other kernels (root)"
	@echo "make test-arm64   streams and their kernel tests in an arm64 guest, compiled and pure (root)"
	@echo "make test-s390x   streams on a big-endian machine, without kernel tests (root)"
	@echo "make bench        measure bpfstream and its peers in one run (root, ~6 minutes)"
	@echo "make bpf          compile the BPF programs of tests and examples anew"
	@echo "make clean        remove what the other targets made"

demo: $(COMPILED)
	@$(BIN)/python examples/demo.py

test: $(COMPILED)
	@tools/install-packages.sh $(TEST_PACKAGES)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

test-pure: $(READY)
	@tools/install-packages.sh $(TEST_PACKAGES)
	@BPFSTREAM_PURE=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

test-pythons:
	@tools/install-packages.sh $(TEST_PACKAGES)
	@tools/test-pythons.sh $(PYTHONS) -- $(PYTEST_ARGS)

test-sanitized: $(COMPILED)
	@tests/sanitizers/run.sh $(BIN)/python $(PYTEST_ARGS)

check: $(READY)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY)
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

test-guests: $(COMPILED)
	@tools/install-packages.sh $(GUEST_PACKAGES)
	@# a part of qemu-system-common until QEMU 7.2, a package of its own since
	@test -x /usr/lib/qemu/virtiofsd || tools/install-packages.sh virtiofsd
	@$(BIN)/python tests/guests/run.py $(GUESTS)

test-arm64:
	@tools/install-packages.sh $(FOREIGN_PACKAGES) qemu-system-arm gcc-aarch64-linux-gnu libc6-dev-arm64-cross
	@tests/guests/foreign.sh arm64 $(PYTEST_ARGS)

test-s390x: $(READY)
	@tools/install-packages.sh $(FOREIGN_PACKAGES) qemu-system-misc gcc-s390x-linux-gnu libc6-dev-s390x-cross
	@tests/guests/foreign.sh s390x $(PYTEST_ARGS)

bench: $(COMPILED)
	@tools/install-packages.sh $(BENCH_PACKAGES)
	@command -v go >/dev/null || tools/install-packages.sh golang-go
	@$(BIN)/python -m tests.benchmarks

bpf: $(READY)
	@tools/install-packages.sh $(TEST_PACKAGES)
	@$(BIN)/python tests/programs/build.py

clean:
	rm -rf $(VENV) .cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f bpfstream/_native/*.so

$(READY): pyproject.toml tools/make-venv.sh
	@tools/make-venv.sh $(VENV)
	@touch $@

# What the interpreter is given may be no compiled module at all, so a file says that it was tried
$(COMPILED): $(READY) setup.py tools/compile-module.sh $(wildcard bpfstream/_native/*.[ch])
	@tools/compile-module.sh $(BIN)/python
	@touch $@
