# make table1: everything from the phantom cohort to results/table1.csv; make test: the tests.

PYTHON ?= python3
CORES ?= all
VENV ?= .venv
ifeq ($(OS),Windows_NT)
  BIN := $(VENV)/Scripts
else
  BIN := $(VENV)/bin
endif
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help table1 test test-quick test-all cluster-test docs figure tour lint format config bench lock clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

table1: $(READY) ## make the demo cohort, train the four detectors, print Table 1
	$(BIN)/snakemake --cores $(CORES) results/table1.csv
	@$(BIN)/dsnet show

test test-quick test-all: export GOMP_SPINCOUNT ?= 20000
# Without bytecode, hundreds of processes would each compile this package.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest
test: $(READY) ## run the tests that decide what lands
	$(PYTEST) --numprocesses auto --dist loadfile --no-loadscope-reorder

test-quick: $(READY) ## run the tests of everyday work (some 80 s on two cores)
	$(PYTEST) --numprocesses auto --dist loadfile -m "not slow and not heavy and not end_to_end"

test-all: $(READY) ## run all tests, also the many that are like others
	$(PYTEST) --numprocesses auto --dist loadfile --no-loadscope-reorder -m "not cluster"

# As root on Debian; daemons on 127.0.0.1 only, which end with the test.
cluster-test: $(READY) ## run the workflow on a real SLURM on this machine (as root, some 15 minutes)
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
	  slurm-wlm slurmdbd munge mariadb-server
	DSNET_CLUSTER_TEST=1 timeout 5400 $(BIN)/python -m pytest -s -x tests/cluster

tour: $(READY) ## record docs/tour.md on the finished demo
	$(BIN)/python docs/tour.py

lint: $(READY) ## check style, types and workflow
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/codespell *.md docs workflow/report .github

docs: $(READY) ## build the documentation into docs/_build
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build

figure: $(READY) ## redraw docs/pipeline.svg from the rules (needs graphviz)
	$(BIN)/snakemake --rulegraph --quiet -- results/table1.csv | tred | dot -Grankdir=LR -Tsvg > docs/pipeline.svg

format: $(READY) ## put all files into the common form
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

config: $(READY) ## write the comments of config.yaml, its schema and its table from the types
	$(BIN)/python docs/config_files.py

bench: $(READY) ## time ingestion against a plain pydicom loop
	$(BIN)/python benchmarks/ingest.py

lock: ## renew requirements.txt from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --extra dev --upgrade pyproject.toml --output-file requirements.txt

clean: ## delete the environment (results and data stay)
	rm -rf $(VENV)

$(READY): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: $(PYTHON) is missing: install Python 3.11, 3.12 or 3.13"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "make: Python 3.11 to 3.13 is needed, found $$($(PYTHON) --version): try make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "make: $(PYTHON) has no venv: install it (on Debian and Ubuntu the package python3-venv)"; exit 1; }
	@command -v git >/dev/null || { echo "make: git is missing: install it"; exit 1; }
	@echo "Setting up $(VENV) (once; some minutes and 6 GB)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.txt || { \
	  echo "make: a package could not be installed: see the lines above; pip needs a package index and 6 GB of disk"; exit 1; }
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
