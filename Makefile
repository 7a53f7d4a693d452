# `make` alone lists what there is. Nothing here needs anything but a Python 3.11 or newer: .venv is made when it is missing.

.DEFAULT_GOAL := help
.PHONY: help run test check format lint types soak bench bench-quick dist clean

# How many processes run the tests; JOBS=0 runs them in one, for a debugger.
JOBS ?= auto
# More arguments for pytest: make test ARGS="-k gate -x"
ARGS ?=
# How many cases each soaking property tries; empty: as many as the `soak` profile in tests/conftest.py says.
SOAK_CASES ?=

export PYTHON
export PYTHON_ONLY := $(if $(filter command line,$(origin PYTHON)),yes)

BIN := .venv/bin
CODE := $(wildcard facts engine suggestors tests examples benchmarks)
# What several tests import.
SHARED := $(foreach folder,support,$(if $(wildcard tests/$(folder)/*.py),$(folder)))
TYPED := build/typing/quiesce $(SHARED:%=build/typing/%) tests $(foreach folder,examples benchmarks,$(if $(wildcard $(folder)/*.py),$(folder)))

# A .venv that was copied from another checkout, or whose Python is gone, is set up anew.
$(shell { [ "$$(cat .venv/.home 2>/dev/null)" = "$$(pwd -P)" ] && [ -x $(BIN)/python ]; } || rm -f .venv/.run .venv/.dev .venv/.bench)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: .venv/.run ## govern three simulated providers, and draw what was learned
	@$(BIN)/python examples/providers.py

test: .venv/.dev ## run the tests, except those that soak
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist=loadgroup $(ARGS)

check: lint types test ## everything that CI checks: format, lint, types, tests

lint: .venv/.dev
	@$(BIN)/ruff format --check --quiet $(CODE) || { echo "quiesce: not formatted. Run make format" >&2; $(BIN)/ruff format --check $(CODE); }
	@$(BIN)/ruff check --quiet $(CODE)

# Type checkers do not follow an editable install into three folders. build/typing shows them what users import, by
# links: `[tool.mypy]` and `[tool.pyright]` in pyproject.toml look there. Faults are told by the paths of the checkout.
types: .venv/.dev
	@mkdir -p build/typing/quiesce
	@for floor in facts engine suggestors; do ln -sfn ../../../$$floor build/typing/quiesce/$$floor; done
	@for shared in $(SHARED); do ln -sfn ../../tests/$$shared build/typing/$$shared; done
	@$(BIN)/mypy $(TYPED) >build/mypy.txt; code=$$?; \
	sed 's|^build/typing/quiesce/||; s|^build/typing/|tests/|' build/mypy.txt; exit $$code

format: .venv/.dev ## format the code, and fix what can be fixed
	@$(BIN)/ruff check --fix-only --quiet $(CODE)
	@$(BIN)/ruff format $(CODE)

soak: .venv/.dev ## run the properties for long; SOAK_CASES=500 bounds them
	@QUIESCE_PROFILE=soak SOAK_CASES=$(SOAK_CASES) $(BIN)/python -m pytest -q -n $(JOBS) --dist=loadgroup -m soak --timeout=7200 $(ARGS)

bench: .venv/.bench ## measure Quiesce beside its peers: one table, in build/bench.{md,json,svg,png}
	@$(BIN)/python benchmarks/kernel.py --out build $(ARGS)

bench-quick: .venv/.bench ## the same with less of the largest works, in some minutes
	@$(BIN)/python benchmarks/kernel.py --quick --out build $(ARGS)

dist: .venv/.dev ## build the wheel and the source archive into dist/
	@rm -rf build/lib dist && mkdir -p build
	@$(BIN)/python -m build --no-isolation --outdir dist . >build/dist.txt 2>&1 || { cat build/dist.txt >&2; exit 1; }
	@ls dist

clean: ## remove .venv and everything that was generated
	@rm -rf .venv build dist quiesce.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.run .venv/.dev .venv/.bench: .venv/.%: pyproject.toml
	@sh .ci/venv install $*
