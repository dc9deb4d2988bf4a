# `make demo` shows what the package does, `make test` proves it, `make` lists the rest.

# Environments and results go here, or into the user's cache when this folder is not writable.
WORK ?= $(shell if [ -w . ]; then echo .; else echo "$${XDG_CACHE_HOME:-$$HOME/.cache}/lunar_potential"; fi)

# The first Python of a tested version that can make virtual environments.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  "$$p" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo "$$p" && break; done)
NO_PYTHON = No Python 3.11, 3.12 or 3.13 that can make virtual environments (Debian: apt install python3-venv); else name one: make PYTHON=...

BIN = $(WORK)/.venv/bin
export MPLBACKEND := Agg

.PHONY: help demo test venv check format accuracy speed readme export run-notebooks docs release hooks

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1@\2/p' Makefile | awk -F@ '{printf "%-20s %s\n", $$1, $$2}'

demo: ## simulate a day, map it: table, NPZ, PNG and HTML in demo/
	@py="$(PYTHON)"; "$${py:?$(NO_PYTHON)}" .ci/venv.py "$(WORK)/.venv-demo"
	@"$(WORK)/.venv-demo/bin/python" -P -m lunar_potential demo --output-dir "$(WORK)/demo"

# Each notebook is tested in a process of its own, as a reader would run it: nothing is left behind by the one before.
test: venv ## all checks: generated files, docs, every notebook, pytest
	@$(MAKE) --no-print-directory check
	find nbs -name '*.ipynb' -not -path '*/[._]*' -print0 | sort -z | xargs -0 -n 1 -P 2 "$(BIN)/nbdev_test" --n_workers 0 --timing --path
	"$(BIN)/python" -m pytest -rs -n 2 --dist loadfile tests

venv: ## the environment for development, .venv
	@py="$(PYTHON)"; "$${py:?$(NO_PYTHON)}" .ci/venv.py "$(WORK)/.venv" --dev

check: venv ## format, imports, sizes; package, notebooks, README.md and docs agree
	"$(BIN)/ruff" format --check --quiet . || { echo "Run \`make format\`."; exit 1; }
	"$(BIN)/ruff" check --quiet .
	"$(BIN)/ruff" check --quiet --isolated --select F811,F821 lunar_potential
	"$(BIN)/lint-imports" --no-cache
	"$(BIN)/python" .ci/house.py
	"$(BIN)/python" .ci/fresh.py
	"$(BIN)/python" .ci/accuracy.py --check
	"$(BIN)/python" .ci/readme.py --check
	"$(BIN)/python" .ci/docs.py

format: venv ## format notebooks, tests and scripts, and sort their imports
	"$(BIN)/ruff" check --quiet --select I --fix .
	"$(BIN)/ruff" format --quiet .

accuracy: venv ## measure the potentials by scenario, write the tables of the front page
	"$(BIN)/python" .ci/accuracy.py

speed: venv ## measure what a user waits for, add it to the history of versions
	"$(BIN)/lunar-potential" bench speed --repeats 3 --record nbs/quality/speed.json

readme: venv ## write README.md from nbs/index.ipynb
	"$(BIN)/python" .ci/readme.py

export: venv ## write the package from the notebooks, and clean them
	"$(BIN)/nbdev_export"
	"$(BIN)/nbdev_clean"
	"$(BIN)/python" -c 'from nbdev.quarto import refresh_quarto_yml; refresh_quarto_yml()'

run-notebooks: venv ## run every notebook and store its outputs
	"$(BIN)/python" .ci/run_notebooks.py

docs: venv ## render the documentation into _docs (needs Quarto)
	"$(BIN)/python" .ci/docs.py --render

release: venv ## build dist/ and prove the wheel in clean environments; PYTHONS="python3.11 python3.12"
	"$(BIN)/python" .ci/release.py $(PYTHONS)

hooks: venv ## nbdev's git and Jupyter hooks: clean on save, merge cell by cell
	bin="$$(cd "$(BIN)" && pwd)"; PATH="$$bin:$$PATH" nbdev_install_hooks
