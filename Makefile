# make setup   .venv with the package and its development tools
# make test    the test suite
# make demo    every arm on a simulated world; then the real run, where real data is at hand; a page of each
# make check   lint, types, tests, docs: what must pass before you submit a change
# make lowest  the tests with the lowest versions that pyproject.toml allows, in .venv-lowest; several gigabytes
# make paper   the arms of the paper in all tasks, on the real data of GLOCAL_DATA_DIR; minutes
# make evidence  every number of README and docs/index.md again, beside the quoted ones, on the real data; minutes
# make weather  what is tried to make it fail, and the table of docs/reliability.md; hours, never part of check
# make bench   timings beside the authors' procedure; minutes, never part of check

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest/bin
ifneq ($(wildcard ../shared/data),)
export GLOCAL_DATA_DIR ?= $(abspath ../shared/data)
endif

.PHONY: setup test demo check lowest paper evidence weather bench lint types docs clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

test: setup
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

demo: setup
	$(BIN)/glocal demo --out demo-out
	@if [ -n "$$GLOCAL_DATA_DIR" ]; then GLOCAL=$(BIN)/glocal examples/things.sh things-out; \
	else echo "GLOCAL_DATA_DIR is not set: the run on real answers is left out"; fi

lint: setup
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/ruff check src tests benchmarks docs

types: setup
	$(BIN)/mypy

docs: setup
	$(BIN)/python docs/cli_reference.py --check
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs site

check: lint types test docs

lowest:
	test -x $(LOWEST)/python || $(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m pip install --quiet uv
	$(LOWEST)/uv pip install --quiet --upgrade --python $(LOWEST)/python --resolution lowest-direct \
		--editable '.[io,distributed,report,extract,umap,paper,onnx,hub,integrations,test]'
	$(LOWEST)/python -m pytest -q -n 2 --dist worksteal

paper: setup
	$(BIN)/glocal evaluate suite examples/paper.toml --out paper-out

evidence: setup
	$(BIN)/python benchmarks/evidence.py

weather: setup
	$(BIN)/python benchmarks/weather/run.py

bench: setup
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/real.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/fewshot.py
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/interval_coverage.py
	$(BIN)/python benchmarks/anomaly.py
	$(BIN)/python benchmarks/extract.py
	$(BIN)/python benchmarks/procedure.py
	$(BIN)/python benchmarks/procedure_scale.py
	$(BIN)/python benchmarks/many_objects.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/learning_curve.py
	$(BIN)/python benchmarks/kinds.py

clean:
	rm -rf $(VENV) .venv-lowest site demo-out things-out paper-out glocal-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
