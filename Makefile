# What each target does stands at the head of CONTRIBUTING.md; `make demo` and `make test` need no other first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest/bin
NEWEST := .venv-newest/bin
NEWEST_PYTHON ?= python3.13
TRIED := io,distributed,report,extract,paper,hub,recipes,test,nightly
COLLECT := packages/glocal-collect
comma := ,
LOCK = $(LOWEST)/uv pip compile pyproject.toml --quiet --no-annotate --no-header $(patsubst %,--extra %,$(subst $(comma), ,$(TRIED)))
ifneq ($(wildcard ../shared/data),)
export GLOCAL_DATA_DIR ?= $(abspath ../shared/data)
endif

.PHONY: setup test nightly demo check lowest newest locks package owner paper pretrained evidence figure bench lint types docs clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml $(COLLECT)/pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --editable $(COLLECT)
	touch $@ $(VENV)/.test $(VENV)/.demo $(VENV)/.docs

$(VENV)/.test: pyproject.toml $(COLLECT)/pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[io,report,test]' --editable $(COLLECT)
	touch $@ $(VENV)/.demo

$(VENV)/.docs: pyproject.toml $(COLLECT)/pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]' --editable $(COLLECT)
	touch $@

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[report]'
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

test: $(VENV)/.test
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not data and not nightly"

nightly: setup
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "data or nightly"

demo: $(VENV)/.demo
	$(BIN)/glocal demo --out demo-out
	@if [ -n "$$GLOCAL_DATA_DIR" ]; then GLOCAL=$(BIN)/glocal PYTHON=$(BIN)/python examples/things.sh things-out; \
	else echo "GLOCAL_DATA_DIR is not set: the run on real answers is left out"; fi
	@echo "Open in a browser: $$(ls $(CURDIR)/demo-out/report.html $(CURDIR)/things-out/report.html 2>/dev/null | xargs)"

lint: setup
	$(BIN)/ruff format --check src packages tests benchmarks docs examples
	$(BIN)/ruff check src packages tests benchmarks docs examples

types: setup
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/python docs/cli_reference.py --check
	$(BIN)/sphinx-build -E --quiet --fail-on-warning --keep-going docs site

check: setup lint types test docs

$(LOWEST)/uv:
	test -x $(LOWEST)/python || $(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m pip install --quiet uv

lowest: $(LOWEST)/uv
	$(LOWEST)/uv pip install --quiet --python $(LOWEST)/python --constraint constraints/oldest.txt --editable '.[$(TRIED)]' --editable packages/glocal-collect
	$(LOWEST)/python -m pytest -q -n 2 --dist worksteal

newest: $(LOWEST)/uv
	test -x $(NEWEST)/python || $(NEWEST_PYTHON) -m venv .venv-newest
	$(LOWEST)/uv pip install --quiet --python $(NEWEST)/python --constraint constraints/newest.txt --editable '.[$(TRIED)]' --editable packages/glocal-collect
	$(NEWEST)/python -m pytest -q -n 2 --dist worksteal

locks: $(LOWEST)/uv
	@( echo "# The lowest versions that pyproject.toml allows, on Python 3.11 and Linux, as resolved on $$(date -u +%F) by make locks."; \
	$(LOCK) --python-version 3.11 --resolution lowest-direct ) > constraints/oldest.txt.new
	@( echo "# The newest versions, on Python 3.13 and Linux, as resolved on $$(date -u +%F) by make locks."; \
	$(LOCK) --python-version 3.13 ) > constraints/newest.txt.new
	for name in oldest newest; do mv constraints/$$name.txt.new constraints/$$name.txt; done

package: $(LOWEST)/uv
	rm -rf dist && $(LOWEST)/uv build --quiet
	for file in dist/*.whl dist/*.tar.gz; do examples/installed.sh $$file $(abspath $(LOWEST))/uv || exit 1; done

owner:
	@test -n "$(NAME)" || { echo "make owner NAME=the owner of the repository on GitHub"; exit 2; }
	grep -rlE 'github\.com/[A-Za-z0-9-]+/glocal' *.md *.toml *.cff .github docs examples packages \
	| xargs perl -pi -e 's{github\.com/[A-Za-z0-9-]+/glocal}{github.com/$(NAME)/glocal}g'

paper: setup
	$(BIN)/python examples/things.py things-data
	$(BIN)/glocal suite examples/things.toml --root things-data --out paper-out

pretrained: setup
	$(BIN)/python benchmarks/pretrained.py

evidence: setup
	$(BIN)/python benchmarks/evidence.py

figure: setup
	$(BIN)/python benchmarks/evidence.py figures
	$(BIN)/python docs/method_figure.py
	$(BIN)/python docs/demo_figure.py
	$(BIN)/python docs/front_figure.py

bench: setup
	$(BIN)/python benchmarks/bench.py

clean:
	rm -rf $(VENV) .venv-lowest .venv-newest dist site demo-out things-data things-out paper-out .pytest_cache .mypy_cache .ruff_cache .hypothesis
