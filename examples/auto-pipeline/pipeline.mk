#: make pipeline [EVERY=3m] [KEEP=5]     a small training every so often, gated, checkpointed, resumed
#: make pipeline-once                   one run of it, here
EVERY ?= 3m
KEEP ?= 5
PIPELINE_DIR ?= tmp/pipeline
# resgate's options: without a limit of its own, the default ones
PIPELINE_GATE ?= --wait 2m --interval 5s
pipeline.run = '$(dir $(lastword $(MAKEFILE_LIST)))run.py'
pipeline.run := $(pipeline.run)

.PHONY: pipeline pipeline-once
pipeline: $(BGTOOLS_NEED)
	@bgrun --unique --name pipeline --every '$(EVERY)' -- \
	    resgate $(PIPELINE_GATE) -- $(PYTHON) $(pipeline.run) '$(PIPELINE_DIR)' --keep '$(KEEP)'
	@echo 'watch it:  make jobs-log NAME=pipeline FOLLOW=1     stop it:  make jobs-cancel NAME=pipeline'
pipeline-once: $(BGTOOLS_NEED)
	@exec $(PYTHON) $(pipeline.run) '$(PIPELINE_DIR)' --keep '$(KEEP)'
