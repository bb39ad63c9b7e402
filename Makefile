# Two commands do everything on a fresh machine: `make run` and `make test`.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := label,pydensecrf,train,embedded,datasets,dev

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

.PHONY: setup
setup: $(VENV)/.installed ## Make the virtual environment and install everything, versions locked

.PHONY: run
run: setup ## Start everything, label the sample photos through the API, serve until Ctrl-C
	$(BIN)/toco up --label samples --tags samples/tags.csv

.PHONY: label
label: setup ## Label the sample photos offline into labels/
	$(BIN)/toco label samples --tags samples/tags.csv --out labels --format voc,coco
	$(BIN)/toco preview samples --tags samples/tags.csv --out labels/preview.png

.PHONY: test
test: setup ## Lint, type-check and run all tests, the slow real-program ones too
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-fail-under=95

.PHONY: check
check: setup ## The quick subset: under two minutes
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m 'not slow' -x -q

.PHONY: format
format: setup ## Format the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: figures
figures: setup ## Measure the default model and write its tables (needs the photos beside the project)
	$(BIN)/python -m benchmarks.quality --data ../shared/data

.PHONY: bench
bench: setup ## Measure speed and memory, and write docs/performance.md
	$(BIN)/python -m benchmarks.performance --measure

.PHONY: openapi
openapi: setup ## Write docs/openapi.json anew, after a change of the API
	$(BIN)/toco openapi > docs/openapi.json

.PHONY: pictures
pictures: setup ## Take the pictures of docs/page.md anew, with the default model
	$(BIN)/python -m tests.service.page.screenshots

.PHONY: clean
clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build
