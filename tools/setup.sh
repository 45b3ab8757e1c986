#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the virtual environment with everything that building, running and testing needs.
# Called by make; usage: tools/setup.sh VENV [PYTHON]
set -eu
cd "$(dirname "$0")/.."
venv=$1
python=${2:-python3}

stop() { echo "igs_ros: $*" >&2; exit 1; }
# Not `python -m pip`: with the checkout on sys.path pip takes its egg-info for an installation.
pip() { "$venv/bin/pip" --disable-pip-version-check "$@"; }
torch_is_there() { "$venv/bin/python" -c 'import torch' 2>/dev/null; }

# --- what the system has to bring: name all of it at once ---
command -v "$python" >/dev/null || stop "missing: $python. Install it: sudo apt install python3 python3-dev python3-venv g++"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  stop "$("$python" --version) is too old, 3.10 or newer is needed (Debian 12 and Ubuntu 24.04 have it); another one: make PYTHON=python3.12"
missing='' packages=''
need() { missing="$missing, $1"; packages="$packages $2"; }
command -v g++ >/dev/null || need g++ g++
"$python" -c 'import ensurepip, venv' 2>/dev/null || need "venv of $python" python3-venv
"$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
  need "Python.h of $python" python3-dev
[ -z "$missing" ] || stop "missing: ${missing#, }. Install with: sudo apt install$packages"

[ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"

# --- torch, which comes in very different sizes ---
if nvidia-smi >/dev/null 2>&1; then
  extras=dev,cuda constraint=''
else
  extras=dev constraint=constraints/cpu.txt
  if ! torch_is_there; then
    torch=$(sed -n '/^torch==/p' $constraint)
    if pip index versions torch 2>/dev/null | grep -Eq "^Available versions:.* ${torch#torch==}\+cpu(,|$)"; then
      pip install "$torch"
    elif pip install --quiet uv && "$venv/bin/python" -m uv pip install --python "$venv/bin/python" "$torch" --torch-backend=cpu; then
      :
    else
      echo "igs_ros: no CPU build of $torch could be had; the usual one brings several GB of CUDA libraries." >&2
    fi
  fi
fi

# --- build tools, then the package with all it needs. No build isolation: the generators are
# installed once and not again for each build. ---
# On a sourced ROS 2 the ros-* parts come from there.
sed -n '/^requires = \[/,/^\]/s/^ *"\(.*\)",$/\1/p' pyproject.toml |
  if [ -n "${ROS_DISTRO:-}" ]; then grep -v '^ros-'; else cat; fi > "$venv/build-requirements.txt"
pip install ${constraint:+-c "$constraint"} -r "$venv/build-requirements.txt"
pip install ${constraint:+-c "$constraint"} --no-build-isolation ".[$extras]"
