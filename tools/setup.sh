#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the virtual environment with everything that building, running and testing needs.
# Called by make; usage: tools/setup.sh VENV PYTHON WHAT ("" is python3; WHAT: all or package)
set -eu
cd "$(dirname "$0")/.."
venv=$1 python=$2 what=$3
done_file=$venv/.installed

say() { echo "igs_ros: $*" >&2; }
stop() { say "$*"; exit 1; }
# Isolated (-I): in the checkout pip takes its egg-info for an installation, and a foreign
# PYTHONPATH is none of pip's business. As a module: a moved environment's pip is the old one's.
pip() { "$venv/bin/python" -I -m pip --disable-pip-version-check "$@"; }
has() { "$venv/bin/python" -I -c "import $1" 2>/dev/null; }

# --- what can fail early: nothing has been downloaded yet ---
if [ -x "$venv/bin/python" ]; then
  [ -z "$python" ] || [ "$("$python" -c 'import sys; print(sys.version)')" = \
                        "$("$venv/bin/python" -c 'import sys; print(sys.version)')" ] ||
    stop "$venv is of another Python than PYTHON=$python: make clean first, or take another folder: make VENV=.venv2 PYTHON=$python"
  python=$venv/bin/python
elif [ -L "$venv/bin/python" ]; then
  stop "the Python that $venv was made with is gone: make clean, then call this again"
fi
python=${python:-python3}
command -v "$python" >/dev/null || stop "missing: $python. Install with: sudo apt install g++ python3-dev python3-venv"
requirements=$("$python" tools/preflight.py) || exit 1
missing='' packages=''
need() { missing="$missing, $1"; packages="$packages $2"; }
command -v g++ >/dev/null || need g++ g++
"$python" -c 'import ensurepip, venv' 2>/dev/null || need "venv of $python" python3-venv
"$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
  need "Python.h of $python" python3-dev
[ -z "$missing" ] || stop "missing: ${missing#, }. Install with: sudo apt install$packages"
mkdir -p "$venv" 2>/dev/null && [ -w "$venv" ] ||
  stop "$venv can't be written. Elsewhere: make VENV=/another/folder OUT=/yet/another demo"

# Without a place for its cache pip fails at packages that it has to build.
cache=${XDG_CACHE_HOME:-${HOME:-}/.cache}
mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || export PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1

# --- one at a time: of two first calls the second waits, and finds all done ---
exec 9<"$venv"
lock() { "$python" -c "import fcntl; fcntl.flock(9, fcntl.LOCK_EX | $1)" 2>/dev/null; }
if ! lock fcntl.LOCK_NB; then
  say "another set-up of $venv is running; waiting for it"
  lock 0
  ! make -q "$done_file" VENV="$venv" >/dev/null 2>&1 || exit 0
fi

[ -x "$venv/bin/python" ] && has pip || "$python" -m venv "$venv"
# INSTALLER is what pip writes last: where it is lacking a set-up was killed half way, and
# pip would take what is there of the package for all of it.
for info in "$venv"/lib/python*/site-packages/*.dist-info; do
  [ -e "$info/INSTALLER" ] || rm -rf "$info"
done

# --- the package's own wheel, before anything heavy. No build isolation: the generators are
# installed once and not again for each build. ---
echo "$requirements" > "$venv/build-requirements.txt"
[ "$what" = package ] || pip install -r "$venv/build-requirements.txt"
rm -rf "$venv/wheel"
say "building the package with its messages (a minute or less)"
pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$venv/wheel" .
wheel=$(echo "$venv"/wheel/*.whl)
pip install --quiet --no-deps --force-reinstall "$wheel"

# --- torch, which comes in very different sizes, then the rest ---
cpu_torch() {
  torch=$(sed -n '/^torch==/p' constraints/cpu.txt)
  if pip index versions torch 2>/dev/null | grep -Eq "^Available versions:.* ${torch#torch==}\+cpu(,|$)"; then
    pip install "$torch"
  else
    pip install --quiet uv && UV_HTTP_TIMEOUT=20 "$venv/bin/python" -m uv pip install \
      --python "$venv/bin/python" "$torch" --torch-backend=cpu
  fi
}
if [ "$what" = all ]; then
  extras=dev constraint=''
  if nvidia-smi >/dev/null 2>&1; then
    extras=dev,cuda
  elif ! has torch; then
    constraint=constraints/cpu.txt
    cpu_torch || say "no CPU build of $torch for $("$python" --version) can be had from here (above: why)." \
      "The usual one is taken, with CUDA's libraries: 3.1 GB to download, 5.9 GB in $venv." \
      "To stop: Ctrl-C. Instead: another Python (make clean; make PYTHON=python3.11), or a torch" \
      "of your own first ($venv/bin/pip install TORCH), then call this again."
  fi
  pip install ${constraint:+-c "$constraint"} "$wheel[$extras]"
fi
# For the checkout, which make demo and make test run; the installed copy compiles its own.
PYTHONPATH=$PWD "$venv/bin/python" -m igs_ros.stages.warm_up
touch "$done_file"
