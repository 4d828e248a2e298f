.DEFAULT_GOAL := help
VENV := .venv
PIP := $(VENV)/bin/python -m pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: figures recompute notebooks test test-notebooks quick bench lint clean help

$(VENV)/bin/python:
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gradflow needs Python 3.11 or newer; python3 is " + sys.version.split()[0])'
	python3 -m venv $(VENV)

# A stamp per set of packages: installing again is skipped until the metadata or the pins change.
$(VENV)/.core: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.core

figures: $(VENV)/.core  ## draw every book figure from its recorded numbers (sets everything up first)
	@$(VENV)/bin/gradflow figures --from-data --out figures

recompute: $(VENV)/.core  ## compute every book figure anew, with all its seeds (takes long)
	$(VENV)/bin/gradflow figures --full --out figures

$(VENV)/.notebooks: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[notebooks]'
	touch $@ $(VENV)/.core

# One thread: two wait for each other longer than they compute on nets as small as these.
notebooks: $(VENV)/.notebooks  ## open the course notebooks in JupyterLab (sets everything up first)
	OMP_NUM_THREADS=1 $(VENV)/bin/jupyter lab notebooks

# As many tests at a time as there are cores, one thread each, and not more than small machines have memory for.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test-notebooks: $(VENV)/.dev  ## run every notebook from top to bottom
	$(PYTEST) --nbmake --nbmake-timeout=300 notebooks

test: $(VENV)/.dev  ## run every test, those in a browser too where there is one (sets everything up first)
	$(PYTEST)

quick: $(VENV)/.dev  ## run the tests that take seconds
	$(PYTEST) -m 'not slow'

lint: $(VENV)/.dev  ## ruff, mypy and the import rules of the house
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

bench: $(VENV)/.dev  ## time tracing and compare() against the bare passes and against other ways
	$(VENV)/bin/python -m benchmarks

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 24
