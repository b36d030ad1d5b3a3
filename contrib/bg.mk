# Background jobs for any Makefile:   include /usr/local/share/bgtools/bg.mk
#
#: make TARGET-bg                       run TARGET in the background, outside this terminal
#: make jobs-run NAME=n CMD='…'         run a shell command in the background, as written
#: make jobs-status [NAME=n]            what runs, and how the last jobs ended
#: make jobs-log NAME=n [FOLLOW=1]      a job's output; FOLLOW=1 goes on until it ends
#: make jobs-wait NAME=n [TIMEOUT=1h]   wait for a job's end; fails as the job failed
#: make jobs-cancel NAME=n              stop a job and everything it started
#: make progress RATE=50 NOTE='…'       from inside a job: how far it is
#: make isolated CMD='…'                in the foreground, in a session of its own; Ctrl-C still ends it
#
# NAME is a job's name or its id. `make -s TARGET-bg` prints the id alone, for scripts. A failed target ends make with 2,
# whatever the code was; where the code counts, call bgstatus --wait.
#
# Set before the include, in the environment or on the command line:
#   BGTOOLS_DIR, BGTOOLS_LOG_DIR   where jobs and logs go (tmp/jobs and logs)
#   BGTOOLS_BIN                    where the tools are, if not on the PATH
#   BGTOOLS_NEED                   what must be built before a tool is called
#   BGRUN_FLAGS                    for every job: --unique, --grace 60s, …
#   BGMAKE_FLAGS                   for the make inside TARGET-bg: -j8, …; the caller's jobserver ends at bgrun
#   MEMSAFE_ENV                    one thread a library and two arenas unless set otherwise; empty: leave all alone
#
# GNU make 4.0 or later and a Bourne shell as SHELL. Everything else here is named bg.… or BGMK_….

# The project's first target stays its default goal, wherever this file is included.
bg.goal := $(.DEFAULT_GOAL)
bg.self := $(lastword $(MAKEFILE_LIST))
bg.makefile := $(firstword $(filter-out $(value MAKEFILES),$(MAKEFILE_LIST)))

BGTOOLS_DIR ?= $(CURDIR)/tmp/jobs
BGTOOLS_LOG_DIR ?= $(CURDIR)/logs
export BGTOOLS_DIR BGTOOLS_LOG_DIR
BGTOOLS_BIN ?=
BGTOOLS_NEED ?=
BGRUN_FLAGS ?=
BGMAKE_FLAGS ?=
FOLLOW ?=
TIMEOUT ?=
ifneq ($(BGTOOLS_BIN),)
export PATH := $(BGTOOLS_BIN):$(PATH)
endif

MEMSAFE_ENV ?= OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMEXPR_MAX_THREADS=1 MALLOC_ARENA_MAX=2
$(foreach bg.pair,$(MEMSAFE_ENV),$(eval export $(subst =, ?= ,$(bg.pair))))

# make expands a command line's variables once more before it exports them: `CMD='echo $(date)'` would lose its date,
# `CMD='echo $('` end make. Here they travel unexpanded, under names that end before the job.
bg.verbatim := CMD NAME RATE NOTE
ifneq ($(filter jobs-% isolated progress progress-bg,$(MAKECMDGOALS)),)
unexport $(foreach bg.var,$(bg.verbatim),$(if $(filter command,$(origin $(bg.var))),$(bg.var)))
endif
# What a makefile assigns is in make's language, what a person types in the shell's.
bg.raw = $(if $(filter file override,$(origin $1)),$($1),$(value $1))
# Some systems have a NAME in every environment (WSL: the host's): it names no job.
bg.name = $(if $(filter environment,$(origin NAME)),,$(call bg.raw,NAME))
bg.quote = '$(subst ','\'',$1)'

jobs-%: private export BGMK_NAME = $(bg.name)
jobs-run isolated: private export BGMK_CMD = $(call bg.raw,CMD)
progress: private export BGMK_RATE = $(call bg.raw,RATE)
progress: private export BGMK_NOTE = $(call bg.raw,NOTE)
jobs-log: private export BGMK_FOLLOW = $(FOLLOW)
jobs-wait: private export BGMK_TIMEOUT = $(TIMEOUT)

# A command of its own isn't part of this make: what it exported for its recipes doesn't reach it.
bg.leave = unset BGMK_NAME BGMK_CMD BGMK_RATE BGMK_NOTE BGMK_FOLLOW BGMK_TIMEOUT
bg.leave-make = $(bg.leave) MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES MAKE_TERMOUT MAKE_TERMERR
bg.fail = { printf '%s\n' $(call bg.quote,$1) >&2; exit 2; }
bg.must = [ -n "$$BGMK_$1" ] || $(call bg.fail,$@: give $2)
bg.tools = command -v bgrun >/dev/null || $(call bg.fail,bg.mk: bgrun is not on the PATH: install bgtools or set BGTOOLS_BIN)

# How to call this make again: from where it was called, with the makefile it was given.
bg.again = make$(if $(subst :$(CURDIR):,,:$(realpath $(value PWD)):), -C $(call bg.quote,$(CURDIR)))$(if \
	$(filter-out GNUmakefile makefile Makefile,$(bg.makefile)), -f $(call bg.quote,$(bg.makefile)))
# Not `$$(MAKE)` in a recipe itself: make runs such lines under -n as well.
bg.inner = $(MAKE) --no-print-directory $(BGMAKE_FLAGS) -f $(call bg.quote,$(bg.makefile))
bg.silent = $(findstring s,$(firstword -$(MAKEFLAGS)))

# Starts bgrun with the shell's own arguments and says how to watch the job.
define bg.start
$(bg.tools); id=$$(bgrun "$$@") || exit; $(if $(bg.silent),printf '%s\n' "$$id",set -- $(call bg.quote,$(bg.again)) "$$id"; \
	printf '%s runs in the background\n' "$$2"; \
	printf '  status:  %s jobs-status NAME=%s\n' "$$@"; \
	printf '  log:     %s jobs-log NAME=%s FOLLOW=1\n' "$$@"; \
	printf '  cancel:  %s jobs-cancel NAME=%s\n' "$$@")
endef

.PHONY: bg.force jobs-help jobs-run jobs-status jobs-log jobs-wait jobs-cancel progress isolated

%-bg: bg.force $(BGTOOLS_NEED)
	@set -- --name=$(call bg.quote,$(subst /,_,$*)) $(BGRUN_FLAGS) -- $(bg.inner) -- $(call bg.quote,$*); $(bg.start)

bg.force:

jobs-help:
	@sed -n 's/^#: //p' $(call bg.quote,$(bg.self))

jobs-run: $(BGTOOLS_NEED)
	@$(call bg.must,NAME,NAME=… and CMD=…); $(call bg.must,CMD,NAME=… and CMD=…); \
	set -- --name="$$BGMK_NAME" $(BGRUN_FLAGS) -- $(SHELL) -c "$$BGMK_CMD"; $(bg.leave-make); $(bg.start)

jobs-status: $(BGTOOLS_NEED)
	@$(bg.tools); if [ -n "$$BGMK_NAME" ]; then bgstatus -- "$$BGMK_NAME"; else bgstatus; fi

jobs-log: $(BGTOOLS_NEED)
	@$(call bg.must,NAME,NAME=…); $(bg.tools); \
	if [ -n "$$BGMK_FOLLOW" ]; then bgstatus --follow -- "$$BGMK_NAME"; else bgstatus --log -- "$$BGMK_NAME"; fi

jobs-wait: $(BGTOOLS_NEED)
	@$(call bg.must,NAME,NAME=…); $(bg.tools); \
	if [ -n "$$BGMK_TIMEOUT" ]; then bgstatus --wait --timeout="$$BGMK_TIMEOUT" -- "$$BGMK_NAME"; \
	else bgstatus --wait -- "$$BGMK_NAME"; fi

jobs-cancel: $(BGTOOLS_NEED)
	@$(call bg.must,NAME,NAME=…); $(bg.tools); bgcancel -- "$$BGMK_NAME"

# A job's table shows it where progress-mark is installed, its log otherwise.
progress:
	@$(call bg.must,RATE,RATE=percent and perhaps NOTE=…); \
	if command -v progress-mark >/dev/null; then set -- progress-mark set "$$BGMK_RATE" --note="$$BGMK_NOTE"; \
	else set -- printf '%s %%%s\n' "$$BGMK_RATE" "$${BGMK_NOTE:+: $$BGMK_NOTE}"; fi; $(bg.leave); "$$@"

# A closed terminal leaves it running. In the background of a shell stdin would be /dev/null, hence the 9; a wait that
# a signal cuts short is begun again. It is no job: heavy scripts still refuse to run here.
isolated:
	@$(call bg.must,CMD,CMD=…); set -- $(SHELL) -c "$$BGMK_CMD"; $(bg.leave-make); \
	if ! setsid -w true 2>/dev/null; then exec "$$@"; fi; \
	exec 9<&0; setsid -w "$$@" <&9 9<&- & job=$$!; \
	trap 'cut=1; kill -TERM -- "-$$job" 2>/dev/null || kill -TERM "$$job" 2>/dev/null || :' INT TERM; \
	while cut= code=0; do wait "$$job" || code=$$?; [ -n "$$cut" ] || exit "$$code"; done

.DEFAULT_GOAL := $(bg.goal)
