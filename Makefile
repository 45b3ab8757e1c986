# SPDX-License-Identifier: Apache-2.0
# make demo    the main job on the recording that ships with the package, results in demo_out/
# make test    the whole test suite
# make venv    only the virtual environment; make lint; make clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Run the checkout's modules, in child processes too; messages and data are the installed ones.
# They are the same code (see .installed), but a reinstall would throw away the compiled kernels.
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))

# What decides about dependencies, and what is packed.
DEPENDENCIES := pyproject.toml setup.py $(wildcard constraints/*) tools/setup.sh
PACKAGED := CMakeLists.txt package.xml tools/ros_wheels.cmake $(shell find \
  msg igs_ros scripts launch config recordings -type f ! -path '*/__pycache__/*' 2>/dev/null)

.PHONY: demo test venv lint clean

demo: venv
	$(BIN)/igs demo --out demo_out

# -rs is on: what was skipped, and why, stands above the closing line.
test: venv
	$(BIN)/python -m pytest

lint: venv
	$(BIN)/ruff check .

venv: $(VENV)/.installed

$(VENV)/.dependencies: $(DEPENDENCIES)
	tools/setup.sh $(VENV) $(PYTHON)
	@touch $@ $(VENV)/.installed

# Some seconds: so that the installed copy, e.g. `.venv/bin/igs`, is never behind the checkout.
$(VENV)/.installed: $(VENV)/.dependencies $(PACKAGED)
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation .
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info demo_out .pytest_cache .ruff_cache .hypothesis
	find igs_ros test launch -name __pycache__ -prune -exec rm -rf {} +
