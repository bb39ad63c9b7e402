# Two commands do everything on a fresh machine: `make run` and `make test`.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Versions and hashes of everything that is installed, direct or not, on each platform and Python that is supported.
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --quiet \
	--custom-compile-command 'make lock'

# Tests start hundreds of processes of ours: each would compile all sources anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
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

.PHONY: lint
lint: setup ## Lint, format, arrows between the floors, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

.PHONY: quick
quick: setup ## The quick tests
	$(BIN)/python -m pytest -m 'not slow' -n 2 --dist loadgroup --max-worker-restart 0 -q --maxfail=1

.PHONY: check
check: setup ## Lint and the quick tests, side by side: under two minutes
	@$(MAKE) --no-print-directory --jobs=2 --output-sync lint quick

.PHONY: test
test: lint ## Lint and all tests, the slow real-program ones too
	$(BIN)/python -m pytest -m 'not slow' -n 2 --dist loadgroup --max-worker-restart 0 --cov --cov-report=
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile --max-worker-restart 0 --cov --cov-append --cov-report=term:skip-covered
	$(BIN)/python -m coverage report --include='model/*' --skip-covered --fail-under=95

.PHONY: stories
stories: setup ## Tell 2,000 random stories of jobs, workers and deaths; the tests tell 80
	TOCO_STORIES=$(or $(STORIES),2000) $(BIN)/python -m pytest -q tests/workers/test_life_of_jobs.py

.PHONY: mutants
mutants: setup ## By night: change the jobs floor a little, thousands of times, and see whether a test notices
	$(BIN)/python -m tests.mutants --minutes $(or $(MINUTES),480)

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

.PHONY: lock
lock: ## Write the locks anew, after a change of a dependency; `make lock UPGRADE=--upgrade` takes the newest
	$(LOCK) $(UPGRADE) --all-extras --output-file requirements.lock
	$(LOCK) --constraint requirements.lock --output-file docker/api.lock
	$(LOCK) --constraint requirements.lock --extra label --output-file docker/worker.lock

.PHONY: openapi
openapi: setup ## Write docs/openapi.json anew, after a change of the API
	$(BIN)/toco openapi > docs/openapi.json

.PHONY: docs
docs: drawing ## Write the documentation as a site to build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: drawing
drawing: setup ## Draw the floors and their imports for docs/architecture.md anew
	$(BIN)/python -m benchmarks.drawing docs/images/architecture.svg

.PHONY: learning-moments
learning-moments: setup ## Kill each part at five moments of a job that learns; writes docs/reliability.md
	$(BIN)/python -m tests.faults.learning_moments --write

.PHONY: faults
faults: setup ## Let every kind of fault strike real processes, and write the table of docs/reliability.md (half an hour)
	$(BIN)/python -m tests.faults.matrix --write

.PHONY: soak
soak: setup ## Label 20,000 photos while parts are killed, an hour at most, and write docs/reliability.md
	$(BIN)/python -m tests.faults.soak --write

.PHONY: pictures
pictures: setup ## Take the pictures of docs/page.md and docs/label-studio.md anew, with the default model
	$(BIN)/python -m tests.service.page.screenshots
	TOCO_WRITE_IMAGES=1 $(BIN)/python -m pytest -q tests/service/label_studio/test_real_label_studio.py -k the_default_models_mask

.PHONY: clean
clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build
