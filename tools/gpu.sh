#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a machine with an NVIDIA GPU is asked first, in one go: does gsplat build, is it right, how
# fast is it. Every step has a time limit of its own, and the next one runs whatever it ended with.
#
#   tools/gpu.sh check|speed|all FOLDER [RECORDING]
#
# FOLDER gets a log per step, the figures as JSON and `steps.txt`, a line per step with its exit
# status and seconds. RECORDING is a folder as `igs run` takes it; without one, the workbench.
# PYTHON=... is another interpreter; nothing is installed here, and no clock or mode is touched.
set -u
cd "$(dirname "$0")/.." || exit 2
what=${1:-}; out=${2:-}; recording=${3:-recordings/workbench}
case $what in check | speed | all) ;; *) sed -n '3,13p' "$0"; exit 2 ;; esac
[ -n "$out" ] && mkdir -p "$out" || { echo 'gpu.sh: which folder gets the results?' >&2; exit 2; }
python=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 MAX_JOBS=${MAX_JOBS:-16}
export NUMBA_CACHE_DIR=${NUMBA_CACHE_DIR:-$PWD/.numba}
failed=0

step() {  # name, limit in seconds, command
  local name=$1 limit=$2 begin=$SECONDS status; shift 2
  timeout "$limit" "$@" > "$out/$name.json" 2> "$out/$name.log"; status=$?
  [ -s "$out/$name.json" ] || rm -f "$out/$name.json"
  echo "$name: exit $status, $((SECONDS - begin)) s" | tee -a "$out/steps.txt"
  [ "$status" = 0 ] || { failed=1; tail -n 5 "$out/$name.log"; }
}
igs() { step "$1" "$2" "$python" -m igs_ros.apps.cli.main "${@:3}"; }

check() {
  step machine 30 nvidia-smi
  step versions 60 "$python" -c 'import cv2, numba, numpy, scipy, torch
print(torch.__version__, torch.version.cuda, numba.__version__, numpy.__version__, cv2.__version__)'
  step build 420 "$python" -c 'from gsplat.cuda._backend import _C; assert _C is not None'
  step tests 300 "$python" -m pytest -q -m gpu test/render test/vision test/stages
  igs run_cuda 120 run "$recording" --out "$out/cuda" --device cuda --frames 0:7 --width 240
  igs run_live 120 run "$recording" --out "$out/live" --device cuda --frames 0:7 --width 240 --live
  igs run_cpu 120 run "$recording" --out "$out/cpu" --device cpu --frames 0:7 --width 240
}

speed() {
  igs refine 120 bench refine --device cuda --json
  igs refine_small 60 bench refine --device cuda --gaussians 30000 --width 480 --height 360 --json
  igs motion 150 bench motion --device cuda --json
  igs neighbors 60 bench neighbors --device cuda --json
  igs live 120 bench live "$recording" --device cuda --minutes 1 --json
  igs quality 300 bench quality "$recording" --device cuda --seeds 0 --frames 0:11 --json
}

case $what in all) check; speed ;; *) "$what" ;; esac
exit $failed
