# Each target installs what it needs into .venv; a second call installs nothing.
# `make test PYTHON=python3.12` creates a new .venv with another Python.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# pip reads its constraints from here, so that they also hold for the build backend: the first
# name reaches isolated builds up to pip 25.2, the second from 25.3 on. A relative path, because
# pip splits the value at spaces.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

INSTALL_CHROMIUM := DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium

.DEFAULT_GOAL := help
.PHONY: help demo test test-engines test-kills browser check bench bench-full format constraints clean
.DELETE_ON_ERROR:

help:  ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 18

demo: $(VENV)/.installed-all  ## Run the whole loop on the documentation of this Python
	$(BIN)/nestvec demo

test: check browser  ## Run every check: lint, format, types, tests
	$(BIN)/python -m pytest

# One environment for each engine, whose packages may contradict those of the others. A test fails
# if its engine cannot be started. All servers listen on the loopback interface only.
ENGINES := ray s3 pgvector recipes qdrant lancedb milvus

test-engines: $(ENGINES:%=test-engine-%)  ## Run the tests with real clusters and servers

test-engine-%: .venv-%/.installed
	.venv-$*/bin/python -m pytest -c tests/engines_outside/pytest.ini tests/engines_outside/test_$**.py

# Servers and loading processes are killed three times each in the tests of an engine, and 25 times
# here.
KILLED := pgvector qdrant lancedb

test-kills: export NESTVEC_KILLS = 25
test-kills: $(KILLED:%=.venv-%/.installed)  ## Kill servers and loading processes 25 times each
	for engine in $(KILLED); do \
		.venv-$$engine/bin/python -m pytest -c tests/engines_outside/pytest.ini -k kill \
			tests/engines_outside/test_$$engine*.py || exit 1; \
	done

.PRECIOUS: .venv-%/.installed
.venv-%/.installed: export PIP_CONSTRAINT = constraints/$*.txt
.venv-%/.installed: export PIP_BUILD_CONSTRAINT = constraints/$*.txt
.venv-%/.installed: pyproject.toml constraints/%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --editable '.[test-$*]'
	touch $@

# The tests of the page need Chromium. Without Chromium they are skipped, and the target succeeds.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
		[ "$$(id -u)" = 0 ] && echo "Installing Chromium for the tests of the page" && \
		{ $(INSTALL_CHROMIUM) || { apt-get update -qq && $(INSTALL_CHROMIUM); }; } >/dev/null 2>&1; \
	} || echo "No Chromium, and it could not be installed: the tests of the page are skipped"

check: $(VENV)/.installed-dev  ## Lint, format, types and quoted numbers only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python benchmarks/rerun.py --check

# Both write to a temporary folder, and print old and new numbers. ARGS passes options of
# benchmarks/rerun.py, such as `make bench ARGS='--only scan'`.
bench: $(VENV)/.installed-dev browser  ## Measure again what takes minutes, and compare
	$(BIN)/python benchmarks/rerun.py $(ARGS)

# Other libraries to compare with. A benchmark whose library cannot be installed is not run.
RIVALS := wordllama usearch hnswlib scann lancedb

bench-full: .venv-bench/.installed browser  ## Measure again all that is quoted: hours
	.venv-bench/bin/python benchmarks/rerun.py --full $(ARGS)

.venv-bench/.installed: export PIP_CONSTRAINT = constraints.txt
.venv-bench/.installed: export PIP_BUILD_CONSTRAINT = constraints.txt
.venv-bench/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --editable '.[dev]'
	for package in $(RIVALS); do \
		.venv-bench/bin/python -m pip install "$$package" || \
			echo "$$package could not be installed: its benchmarks are not run"; \
	done
	touch $@

format: $(VENV)/.installed-dev  ## Write the code in its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The extra `dev` contains `all`: an environment for the tests can also run the demo.
$(VENV)/.installed-all: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable '.[all]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable '.[dev]'
	touch $(VENV)/.installed-all $@

# PyTorch keeps its pinned version: another one installs gigabytes of GPU libraries. hatchling needs
# `editables` for an editable install.
constraints:  ## Write constraints.txt again, with the newest versions
	unset PIP_CONSTRAINT PIP_BUILD_CONSTRAINT; \
	set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv "$$folder"; \
	"$$folder/bin/python" -m pip install '.[dev]' hatchling editables \
		"$$(grep '^torch==' constraints.txt)"; \
	{ grep '^#' constraints.txt; \
	  "$$folder/bin/python" -m pip freeze --all --exclude pip --exclude nestvec | sed 's/+[a-z0-9.]*$$//'; \
	} > "$$folder/constraints.txt"; \
	cp "$$folder/constraints.txt" constraints.txt

clean:  ## Remove what these targets made, but not nestvec-demo
	rm -rf $(VENV) $(ENGINES:%=.venv-%) .venv-bench build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
