# `make` alone lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= .venv/bin/python
STUDY = domain_words domain_words_pretraining domain_pretraining labeler_tasks labeler_tasks_of_1000_rows \
	domain_pretraining_from_counts labeler_tasks_from_counts labeler_tasks_from_counts_of_1000_rows \
	topics_vectors topics_quality topics_domain retriever_quality \
	retriever_quality_without_event_qa retriever_quality_without_news_headline retriever_quality_without_report_abstract

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install:  ## .venv with the suite and its development tools
	@sh -euc '. ./setup.sh'

fix:  ## format and mend what ruff can
	$(PYTHON) -m ruff check --fix . ; $(PYTHON) -m ruff format .

check:  ## ruff and mypy
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && $(PYTHON) -m mypy

test:  ## the quick tests
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --dist worksteal -m "not slow"

all:  ## everything CI runs
	bash .ci/run

bench:  ## every benchmark on DATA=folder (hours), then docs/performance.md
	$(PYTHON) benchmarks/run_all.py $(DATA) ; $(PYTHON) benchmarks/performance_page.py

study:  ## the experiments on DATA=folder (hours), then docs/reproduction.md
	$(PYTHON) benchmarks/run_all.py $(DATA) --only $(STUDY) ; $(PYTHON) benchmarks/reproduction_page.py

samples:  ## write the sample data anew
	$(PYTHON) -m finbert2.samples

docs:  ## write docs/flags.md anew
	PYTHONPATH=. $(PYTHON) docs/write_flags.py

pics:  ## draw the READMEs' picture of the suite anew
	$(PYTHON) pics/draw_suite.py

.PHONY: help install fix check test all bench study samples docs pics
