# SPDX-License-Identifier: Apache-2.0
# make demo    the main job on the recording that ships with the package, results in demo_out/
# make test    the whole test suite
# make fuzz    every fuzzer with 10,000 cases; SEED=... repeats a run, CASES=... for more or fewer
# make venv    only the virtual environment; make lint; make clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

# Run the checkout's modules, in child processes too; messages and data are the installed ones.
# They are the same code (see .installed), but a reinstall would throw away the compiled kernels.
CHECKOUT := PYTHONPATH="$(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))"

# What decides about dependencies, and what is packed.
DEPENDENCIES := pyproject.toml setup.py $(wildcard constraints/*) tools/setup.sh
PACKAGED := CMakeLists.txt package.xml tools/ros_wheels.cmake $(shell find \
  msg igs_ros scripts launch config recordings -type f ! -path '*/__pycache__/*' 2>/dev/null)

.PHONY: demo test fuzz venv lint clean

demo: venv
	$(CHECKOUT) $(BIN)/igs demo --out demo_out

# What was skipped, and why, stands above pytest's closing line.
test: venv
	$(CHECKOUT) $(BIN)/python -m pytest

# Prints its seed, and per fuzzer: cases, tracebacks, slowest case (CPU s), largest growth of memory.
fuzz: venv
	IGS_FUZZ_CASES=$(or $(CASES),10000) IGS_FUZZ_SEED=$(SEED) $(CHECKOUT) $(BIN)/python -m pytest -q test/fuzz

lint: venv
	$(BIN)/ruff check .

venv: $(VENV)/.installed

# The whole set-up if anything that decides about dependencies is newer; else only the package, in
# some seconds, so that the installed copy (`.venv/bin/igs`) is never behind the checkout.
$(VENV)/.installed: $(DEPENDENCIES) $(PACKAGED)
	$(if $(filter $(DEPENDENCIES),$?),tools/setup.sh $(VENV) $(PYTHON),$(PIP) install --no-deps --no-build-isolation .)
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info demo_out .pytest_cache .ruff_cache .hypothesis
	find igs_ros test launch -name __pycache__ -prune -exec rm -rf {} +
