# Every target sets the environment up on first use; `make help` lists them.

SHELL := /bin/bash
BIN := .venv/bin

# cpu or gpu; once chosen it stays, so that `make test` after `make setup EXTRA=gpu` keeps it.
EXTRA ?= $(shell cat .venv/perpo-extra 2>/dev/null || echo cpu)
READY := .venv/ready-$(EXTRA)
PORT ?= 4200
QUICK := not slow and not gpu and not postgres and not browser
MARKS ?= $(QUICK)
# Tests that share one GPU, database or browser run one after the other.
JOBS ?= $(if $(findstring $(QUICK),$(MARKS)),2,0)

.DEFAULT_GOAL := help
.PHONY: help setup refresh serve seeds test test-slow chaos two-workers bench-train \
        bench-generate bench-score bench-overhead bench-objectives bench-tune bench-scale evidence \
        gpu-check gpu-wheels lint format types audit lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18
	@echo
	@echo 'ARGS="..." is passed on by refresh, serve, tests, chaos, two-workers, audit, the'
	@echo 'benches and gpu-check, whose --help says more; PYTHON=... names another Python (3.11 for'
	@echo 'setup).'

setup: $(READY)  ## the environment, exactly as locked (EXTRA=gpu for CUDA)

# A stamp proves nothing when .venv was moved or its Python is gone: then it is made again.
ifneq ($(shell infra/setup.sh --is-usable && echo yes),yes)
.PHONY: $(READY)
endif
$(READY): infra/$(EXTRA).lock infra/uv.lock.txt infra/pip-check.$(EXTRA).txt infra/setup.sh \
          infra/torch-source.sh pyproject.toml
	@infra/setup.sh $(EXTRA)
	@touch $@

refresh: $(READY)  ## sample, score, rank, train, evaluate, promote: what is there is reused
	@$(BIN)/perpo refresh infra/configs/default.toml $(ARGS)

serve: $(READY)  ## a refresh every night, with Prefect's UI (PORT=4200), until Ctrl-C
	@$(BIN)/perpo serve --port $(PORT) --with-parent $(ARGS)

seeds: $(READY)  ## the default refresh under five training seeds, and what each one gained
	@for seed in 0 1 2 3 4; do \
	    $(BIN)/perpo refresh infra/configs/default.toml --set train.seed=$$seed $(ARGS) || exit; \
	done
	@$(BIN)/perpo runs

test: $(READY)  ## quick tests, in two processes (JOBS=0: in one; MARKS="gpu" and the like choose others)
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile -m "$(MARKS)" $(ARGS)

test-slow: $(READY)  ## tests that take minutes
	@$(BIN)/python -m pytest -q -m "slow and not gpu and not postgres and not browser" $(ARGS)

chaos: $(READY)  ## random kills over whole refreshes; about half an hour (ARGS="--kills 5")
	@$(BIN)/python -m tests.flows.chaos $(ARGS)

two-workers: $(READY)  ## two workers, one Postgres, one store, 20 times (ARGS="--times 2")
	@$(BIN)/python -m tests.flows.two_workers $(ARGS)

bench-train: $(READY)  ## speed and memory of training against separate sequences and TRL
	@$(BIN)/python -m tests.benchmarks.train_speed $(ARGS)

bench-generate: $(READY)  ## speed of sampling and idle share of its engine, against bare vLLM
	@$(BIN)/python -m tests.benchmarks.generate_speed $(ARGS)

bench-score: $(READY)  ## speed and memory of scoring, against a plain loop and bare rapidfuzz
	@$(BIN)/python -m tests.benchmarks.score_speed $(ARGS)

bench-overhead: $(READY)  ## how much of a default refresh is orchestration
	@$(BIN)/python -m tests.benchmarks.overhead $(ARGS)

bench-objectives: $(READY)  ## default refreshes by objective: gains (40 min); ARGS=--cost: what each costs (15 min)
	@$(BIN)/python -m tests.benchmarks.objectives $(ARGS)

bench-tune: $(READY)  ## what `perpo tune` chooses against trials at random, in five seeds (an hour)
	@$(BIN)/python -m tests.benchmarks.tune_choice $(ARGS)

bench-scale: $(READY)  ## nights over 100,000 photos: memory, bytes, time (20 GB of disk; ARGS=--help)
	@$(BIN)/python -m tests.benchmarks.scale $(ARGS)

evidence: $(READY)  ## methods against each other: is the listwise loss the reason? (3 hours, goes on after a kill)
	@$(BIN)/python -m tests.benchmarks.evidence $(ARGS)

# Not $(READY): a machine without network has no .venv, and its own Python does.
gpu-check:  ## what only a CUDA machine can prove, in 8 minutes (ARGS=--cpu: in miniature)
	@infra/gpu-check.sh $(ARGS)

gpu-wheels: $(READY)  ## what gpu-check needs on a machine without network, in build/gpu-wheels
	@infra/gpu-wheels.sh $(ARGS)

lint: $(READY)  ## style, format and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

format: $(READY)  ## rewrite the code as lint wants it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(READY)  ## mypy
	@$(BIN)/mypy

audit: $(READY)  ## known vulnerabilities of every locked package; asks PyPI
	@infra/audit.sh $(ARGS)

# Not $(READY): the environment may lack just what is about to be locked. It only takes its uv.
lock:  ## resolve pyproject.toml again into infra/cpu.lock and infra/gpu.lock
	@test -x $(BIN)/uv || infra/setup.sh $(EXTRA) || test -x $(BIN)/uv
	@infra/lock.sh $(ARGS)

clean:  ## remove caches and build files; .venv and the store stay
	rm -rf build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
	find flows tasks perpo_core schemas tests -name __pycache__ -type d -prune -exec rm -rf {} +
