#: make                    build the tools
#: make test               everything: installs what the tests need, then check, then cargo test
#: make check              format, lints, documentation, shell scripts, the example's own tests
#: make bench              the measurements in benches/
#: make install            PREFIX=/usr/local, DESTDIR=
#: make uninstall          what install put there, and nothing else
#: make dist               the source of the last commit, byte for byte the same each time: target/dist
#: make deb                a Debian package in target/debian
#: make demo               the whole suite at work, in under a minute; PAUSE=0 without time to read
#: make rep6-ab-fast-bg    a heavy job in the background: an A/B comparison, some seconds
#: make rep6-ab-full-bg    the same with sixty times the resamples, some minutes

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
PYTHON ?= python3
REP6_OUT ?= out

.PHONY: all
all:

target := $(or $(value CARGO_TARGET_DIR),target)
tools := $(basename $(notdir $(wildcard src/bin/*.rs)))

# What jobs and `install` use is what is built here, and built first where it is missing or older than its source.
# A BGTOOLS_BIN from outside names tools that are there already.
ifeq ($(origin BGTOOLS_BIN),undefined)
BGTOOLS_BIN := $(abspath $(target)/release)
BGTOOLS_NEED := $(target)/release/bgrun
endif

# The tests and the build see the caller's environment, not what bg.mk sets for jobs.
plain := env $(addprefix -u ,MAKEFLAGS MFLAGS MAKELEVEL BGTOOLS_DIR BGTOOLS_LOG_DIR \
	OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS NUMEXPR_MAX_THREADS MALLOC_ARENA_MAX)
all check test: export PATH := $(PATH)

include contrib/bg.mk
include examples/auto-pipeline/pipeline.mk

all:
	@$(build)

$(target)/release/bgrun: Cargo.toml Cargo.lock build.rs $(wildcard src/*.rs src/*/*.rs src/*/*/*.rs)
	@$(build) && touch $@

define build
command -v $(CARGO) >/dev/null || { echo 'building needs Rust 1.89 or later: cargo is not on the PATH' >&2; exit 1; }; \
$(plain) $(CARGO) build --release --locked --target-dir '$(target)'
endef

# Everything that makes a change good, quick enough for each commit; `test` adds what needs time and packages.
.PHONY: check
check:
	@echo 'check: format'; $(plain) $(CARGO) fmt --check
	@echo 'check: lints'; $(plain) $(CARGO) clippy --locked --all-targets -- -D warnings
	@echo 'check: documentation'; $(plain) RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items
	@echo 'check: shell scripts'; scripts/check-shell
	@echo 'check: examples'; $(PYTHON) examples/rep6/make_data.py --check
	@$(plain) $(PYTHON) -m unittest discover -q -s examples/rep6

# What an ordinary user can't run is named last; to root that list is empty and the runner's word is the last.
.PHONY: test
test:
	@scripts/test-deps
	@$(MAKE) --no-print-directory check
	@skipped=$$(mktemp) && trap 'rm -f "$$skipped"' EXIT && code=0; \
	BGTOOLS_SKIPPED=$$skipped $(plain) $(CARGO) test --locked || code=$$?; sort -u "$$skipped"; exit "$$code"

.PHONY: bench
bench: all
	@for bench in benches/*; do [ ! -f "$$bench" ] || [ ! -x "$$bench" ] || BGTOOLS_BIN='$(BGTOOLS_BIN)' $(plain) "$$bench" || exit; done

root = $(DESTDIR)$(PREFIX)
pages := $(wildcard man/*.[1-8])
contrib := $(shell find contrib -type f ! -name '*.pyc')
# Where zsh looks: Debian's own packages have another place for it.
ZSHDIR ?= share/zsh/site-functions
# from:to, below the root
files := \
	$(foreach f,$(pages),$f:share/man/man$(subst .,,$(suffix $f))/$(notdir $f)) \
	$(foreach f,$(wildcard completions/*.bash),$f:share/bash-completion/completions/$(basename $(notdir $f))) \
	$(foreach f,$(wildcard completions/_*),$f:$(ZSHDIR)/$(notdir $f)) \
	$(foreach f,$(wildcard completions/*.fish),$f:share/fish/vendor_completions.d/$(notdir $f)) \
	$(foreach f,$(contrib),$f:share/bgtools/$(f:contrib/%=%)) \
	$(foreach f,$(wildcard examples/auto-pipeline/*.* examples/auto-pipeline/crontab),$f:share/bgtools/$f) \
	scripts/swap-extend:share/bgtools/swap-extend \
	README.md:share/doc/bgtools/README.md \
	CHANGELOG.md:share/doc/bgtools/changelog

.PHONY: install uninstall
install: $(BGTOOLS_NEED)
	@root='$(root)'; bin='$(BGTOOLS_BIN)'; set -e; \
	put() { mkdir -p "$${2%/*}"; if [ -x "$$1" ]; then install -m 755 "$$1" "$$2"; else install -m 644 "$$1" "$$2"; fi; }; \
	named() { case $$1 in */share/bgtools/*) sed -i 's|/usr/local/share/bgtools|$(PREFIX)/share/bgtools|g' "$$1" ;; esac; }; \
	for tool in $(tools); do put "$$bin/$$tool" "$$root/bin/$$tool"; done; \
	for file in $(files); do put "$${file%%:*}" "$$root/$${file#*:}"; named "$$root/$${file#*:}"; done; \
	echo "installed in $$root: $(tools), their manual pages and completions, and share/bgtools"

uninstall:
	@root='$(root)'; set -e; \
	for tool in $(tools); do rm -f "$$root/bin/$$tool"; done; \
	for file in $(files); do rm -f "$$root/$${file#*:}"; done; \
	for dir in share/bgtools share/doc/bgtools; do \
		[ ! -d "$$root/$$dir" ] || find "$$root/$$dir" -depth -type d -empty -delete; \
	done; \
	echo "removed from $$root"

version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

# The commit's own time and content, and gzip without a time: the same bytes on every machine.
.PHONY: dist
dist:
	@git diff --quiet HEAD || { echo 'dist: there are changes that are not committed' >&2; exit 1; }; \
	mkdir -p target/dist && name=bgtools-$(version) && \
	git -c tar.umask=0022 archive --format=tar --prefix="$$name/" HEAD | gzip -9n > "target/dist/$$name.tar.gz" && \
	echo "target/dist/$$name.tar.gz"

# What `install` installs, packed by cargo-deb: Cargo.toml has the rest of what Debian wants to know.
DEB_DIR ?= target/debian
.PHONY: deb
deb: $(BGTOOLS_NEED)
	@rm -rf target/deb
	@$(MAKE) --no-print-directory install DESTDIR=target/deb PREFIX=/usr ZSHDIR=share/zsh/vendor-completions >/dev/null
	@strip target/deb/usr/bin/* && deb=$$(scripts/cargo-deb) && \
	$(plain) "$$deb" deb --quiet --no-build --locked --offline --output '$(DEB_DIR)'

.PHONY: demo
demo: $(BGTOOLS_NEED)
	@BGTOOLS_BIN='$(BGTOOLS_BIN)' $(plain) scripts/demo

.PHONY: rep6-ab-fast rep6-ab-full
rep6-ab-fast rep6-ab-full: rep6-ab-%:
	@exec $(PYTHON) examples/rep6/run_rep6.py --mode $* --out '$(REP6_OUT)/rep6-$*'

.PHONY: help
help:
	@sed -n 's/^#: //p' Makefile contrib/bg.mk examples/auto-pipeline/pipeline.mk
