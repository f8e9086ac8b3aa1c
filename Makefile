# Two commands matter: `make demo` runs the main job, `make test` passes all tests.
# Both set up what they need on a machine that has Python 3.11 or later and make.
# Another Python, beside the first: make test PYTHON=python3.12 VENV=.venv-3.12

VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
# An older uv does not know dependency groups; pip is brought up to date instead.
UV := $(shell uv pip install --help 2>/dev/null | grep -q -e --group && echo uv)

.PHONY: bench check clean coverage demo demo-sandbox docs format format-check lint mutants setup soak test types
.DEFAULT_GOAL := test

setup: $(READY)

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "ASTRO needs Python 3.11 or later, and found none." \
		"Install it, or say where it is: make PYTHON=/path/to/python" >&2; exit 1; }
	@test -x $(BIN)/python || { \
		echo "Setting up $(VENV) with $$("$(PYTHON)" --version)"; \
		if test -n "$(UV)"; then UV_PYTHON_DOWNLOADS=never uv venv --quiet --python "$(PYTHON)" $(VENV); \
		else "$(PYTHON)" -m venv $(VENV); fi; \
	} || { rm -rf $(VENV); echo "$(PYTHON) could not make a virtual environment." \
		"On Debian and Ubuntu, run: scripts/install-system-packages" >&2; exit 1; }
	@if test -n "$(UV)"; then \
		uv pip install --quiet --python $(BIN)/python --editable '.[all]' --group dev; \
	else \
		$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' && \
		$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev; \
	fi
	@touch $@

demo: $(READY)
	@$(BIN)/python -m examples.audit

demo-sandbox: $(READY)
	@$(BIN)/python -m examples.mending

# Before a release, about two hours. A part, or less of it: make soak PART=killing ASTRO_SOAK_SHARE=0.1
soak: $(READY)
	$(BIN)/python -m soak $(PART)

# In an environment of its own: what no test notices, by module.
mutants:
	$(MAKE) setup VENV=.venv-mutants
	@if test -n "$(UV)"; then uv pip install --quiet --python .venv-mutants/bin/python --group mutation; \
	else .venv-mutants/bin/python -m pip install --quiet --group mutation; fi
	.venv-mutants/bin/python scripts/mutation-test

# Half as many processes again as there are cores, for some tests only wait; a file of tests stays in
# one. Coverage would double the time.
PROCESSES ?= $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2 )))
test: $(READY)
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile

coverage: $(READY)
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

check: format-check lint types docs test

format-check: $(READY)
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(READY)
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs docs/_build/html

bench: $(READY)
	$(BIN)/python -m benchmarks.run

clean:
	rm -rf $(VENV) .coverage .mypy_cache .pytest_cache .ruff_cache docs/_build audit-report build dist
