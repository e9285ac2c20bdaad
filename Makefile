# Everything here works in a fresh clone on a machine with git, make and Python 3.11 or newer, and again right after.
#
#   make demo    set up .venv and compile specs/gup.yaml, telling what happens; no root, no apt
#   make test    set up .venv and all that the tests use, and run them all
#   make test-kernels  of these, what runs specs on four kernels in virtual machines; leaves a table in build/kernels.md
#   make check   formatting, lint, types, generated files, and the tests that take no minute
#   make bench   measure the budgets of docs/performance.md; takes a quarter of an hour
#   make clean   remove what the others made, .venv too

.DEFAULT_GOAL := help
.PHONY: help demo test test-kernels check lint bench clean setup setup-test

PYTHON_IN_VENV := .venv/bin/python
SPECC := $(PYTHON_IN_VENV) -m specc
DEMO := build/demo
# One environment variable, so that every test process draws from the same seed; printed at the start and at the end.
PYTEST := $(PYTHON_IN_VENV) -m pytest -n 2

# `make PYTHON=/path/to/python3` chooses the interpreter of .venv.
ifdef PYTHON
export PYTHON
endif

# $(call shown,ARGUMENTS): a command of specc as a user would type it, and what it says.
define shown
@printf '    $$ specc %s\n' '$(1)'
@$(SPECC) $(1)
endef

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@.ci/setup run

setup-test:
	@.ci/setup test

demo: setup
	@mkdir -p $(DEMO)
	@printf '\n1. A spec says which functions to watch, and which of their arguments, by name (specs/gup.yaml):\n\n'
	@sed 's/^/    /' specs/gup.yaml
	@printf '\n2. specc knows where the ABI puts each one; on Linux 6.1 the 7th is on the stack:\n\n'
	$(call shown,show __get_user_pages --btf specs/btf/6.1.btf)
	@printf '\n3. Every name, type and place is checked on each kernel that the spec is for; what changed is told:\n\n'
	$(call shown,check specs/gup.yaml)
	@printf '\n4. The spec becomes C that a person can review, and one BPF object that is right on all of them:\n\n'
	$(call shown,build specs/gup.yaml -o $(DEMO))
	@printf '\n'
	@sed -n '/^SEC("kprobe\/__get_user_pages")/,/^}/{p;/^}/q;}' $(DEMO)/gup.bpf.c | sed 's/^/    /'
	@printf '\n'
	@.ci/live
	@printf '\nDone: %s, %s and %s.\n' $(DEMO)/gup.bpf.c $(DEMO)/gup.bpf.o $(DEMO)/gup.h
	@printf 'Try: .venv/bin/specc show --all --header "<stdio.h>"   or   .venv/bin/specc explain SP201\n'

test: setup-test
	$(PYTEST)

test-kernels: setup-test
	$(PYTEST) tests/kernels

lint: setup-test
	$(PYTHON_IN_VENV) -m ruff format --check .
	$(PYTHON_IN_VENV) -m ruff check .
	$(PYTHON_IN_VENV) -m mypy
	$(SPECC) build --check --emit c,header specs

check: lint
	$(PYTEST) -m 'not slow'

bench: setup-test
	$(PYTHON_IN_VENV) bench/build.py
	@for part in cost options reading attach; do \
		if [ "$$(id -u)" = 0 ]; then echo; $(PYTHON_IN_VENV) bench/$$part.py || exit $$?; \
		else echo "bench/$$part.py needs root: left out"; fi; \
	done

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
