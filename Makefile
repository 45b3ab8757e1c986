# SPDX-License-Identifier: Apache-2.0
# make demo    the main job on the recording that ships with the package, results in demo_out/
# make test    the whole test suite
# make test-jazzy   the node with the OpenCV and numpy of Ubuntu 24.04 (Python 3.10 to 3.12)
# make fuzz    every fuzzer with 10,000 cases; SEED=... repeats a run, CASES=... for more or fewer
# make mutants which changed thresholds and guards no test notices; COUNT=... per file, SEED=...,
#              FILES='live/budget.py ...'
# make architecture   the picture of docs/architecture.md, from the imports
# make venv    only the virtual environment; make lint; make clean
# Another Python: make PYTHON=python3.12; other folders: VENV=/path (no spaces), OUT=/path
VENV := .venv
OUT := demo_out
BIN := $(VENV)/bin

# Run the checkout's modules, in child processes too; messages and data are the installed ones.
# They are the same code (see .installed), but a reinstall would throw away the compiled kernels.
CHECKOUT := PYTHONPATH="$(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))"

# What decides about dependencies, and what is packed.
DEPENDENCIES := pyproject.toml setup.py $(wildcard constraints/*) tools/setup.sh tools/preflight.py
PACKAGED := CMakeLists.txt package.xml $(addprefix tools/,backend.py build_tools.py ros_wheels.cmake) $(shell find \
  msg igs_ros scripts launch config recordings tools/tf2_msgs -type f ! -path '*/__pycache__/*' 2>/dev/null)

.PHONY: demo test test-jazzy fuzz mutants architecture venv lint clean

demo: venv
	$(CHECKOUT) $(BIN)/python -m igs_ros.apps.cli.main demo --out "$(OUT)"

# What was skipped, and why, stands above pytest's closing line. JOBS=1: one after the other.
test: venv
	$(CHECKOUT) $(BIN)/python -m pytest -n $(or $(JOBS),2) --dist loadfile

# Prints its seed, and per fuzzer: cases, tracebacks, slowest case (CPU s), largest growth of memory.
fuzz: venv
	IGS_FUZZ_CASES=$(or $(CASES),10000) IGS_FUZZ_SEED=$(SEED) $(CHECKOUT) $(BIN)/python -m pytest -q test/fuzz

# A sample of one-token changes per file that decides quality, and which of them no test notices.
mutants: venv
	$(BIN)/python tools/mutants.py $(FILES) --count $(or $(COUNT),15) --seed $(or $(SEED),0)

# The node with Ubuntu 24.04's OpenCV 4.6 and numpy 1, on a Python that they know: 3.10 to 3.12.
test-jazzy:
	$(MAKE) venv VENV=.venv-jazzy
	.venv-jazzy/bin/python -I -m pip --disable-pip-version-check install -q -r constraints/jazzy.txt
	$(CHECKOUT) .venv-jazzy/bin/python -m pytest test/node test/io test/vision/test_preparer.py

architecture:
	python3 tools/architecture.py

lint: venv
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

venv: $(VENV)/.installed

# The whole set-up if anything that decides about dependencies is newer; else only the package, in
# some seconds, so that the installed copy (`.venv/bin/igs`) is never behind the checkout.
$(VENV)/.installed: $(DEPENDENCIES) $(PACKAGED)
	@tools/setup.sh "$(VENV)" "$(PYTHON)" $(if $(filter $(DEPENDENCIES),$?),all,package)

clean:
	rm -rf $(VENV) .venv-jazzy build *.egg-info demo_out .pytest_cache .ruff_cache .hypothesis
	find igs_ros test launch tools -name __pycache__ -prune -exec rm -rf {} +
