# `make` alone lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= .venv/bin/python

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install:  ## .venv with the suite and its development tools
	@sh -c '. ./setup.sh'

fix:  ## format and mend what ruff can
	$(PYTHON) -m ruff check --fix . ; $(PYTHON) -m ruff format .

check:  ## ruff and mypy
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && $(PYTHON) -m mypy

test:  ## the quick tests
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --dist worksteal -m "not slow"

all:  ## everything CI runs
	bash .ci/run

samples:  ## write the sample data anew
	$(PYTHON) -m finbert2.samples

.PHONY: help install fix check test all samples
