#!/usr/bin/env bash
# Regenerates every table and figure into figures/<scale>/, in an environment that it makes itself.
#
#   ./reproduce.sh [--scale smoke|laptop|paper] [--only NAME[,NAME…]] [--jobs N] [--cluster ADDRESS]
#                  [--from-records]
#   ./reproduce.sh --list                   the names of the tables and figures
#   ./reproduce.sh check [argument…]        compare tables made anew with the committed ones
#   ./reproduce.sh test [pytest argument…]  the unit tests, every notebook re-executed and compared, then the check
#   ./reproduce.sh record [--scale …]       write what came of a scale's runs into figures/<scale>/records/
#   ./reproduce.sh verify [--sample N] [--seed N] [--scale …] [--adopt]  train recorded runs anew and compare
#   ./reproduce.sh tune [--only METHOD …]   choose every method's settings anew, as at laptop scale (hours)
#   ./reproduce.sh site [--figures FOLDER]  notebooks, tables and records as pages for a browser, in figures/site/
#   ./reproduce.sh exercises [--seed N --to FOLDER]  the exercises' student copies and solutions, from their sources
#   ./reproduce.sh lock                     write constraints.txt anew
#   ./reproduce.sh --help
#
#   --scale  smoke: tiny synthetic data, one seed, about a minute; laptop (the default): MovieLens-100K,
#            three seeds, minutes; paper: the papers' data, five seeds, a job for a GPU
#   --only   only what these tables and figures need
#   --jobs   how many processes train side by side (default: the notebooks' own choice)
#   --from-records  draw from the records in figures/<scale>/records/: without data and training, in minutes
#   --cluster  train on a dask cluster first: its scheduler's address, tcp://host:8786, or local:N to try it here
#
# The environment is the active conda or virtual environment, if it holds the exact versions of environment.yml and
# this checkout's rkd (pip install --no-deps -e .); else .venv in this folder, made or made anew as needed.
#
# RKD_DATA         a folder that holds data sets already (only read)
# RKD_CACHE        where data sets and finished runs are kept (default: ~/.cache/rkd)
# RKD_FIGURES      where tables and figures go (default: figures/ in this folder; for tests .cache/test-figures/)
# RKD_RECORDS      another folder of records for --from-records
# RKD_TORCH_INDEX  the package index to install torch from, or none for pip's own choice (default: PyTorch's index of
#                  builds for CPUs, where Linux shows no NVIDIA GPU and the index answers; else pip's own choice)
set -euo pipefail

root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$root/.venv

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$root/reproduce.sh"; }

fail() { # fail STATUS MESSAGE…
    echo "reproduce: ${*:2}" >&2
    exit "$1"
}

pins() { sed -n 's/^ *- *\([A-Za-z0-9._-]*==[^ #]*\).*/\1/p' "$root/environment.yml"; }

find_python() { # find_python MODULES: sets python to the first Python that is new enough and has these modules
    for python in python3 python3.13 python3.12 python3.11; do
        ! "$python" -c "import sys, $1; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || return 0
    done
    fail 1 "needs Python 3.11 or newer on the PATH, with its venv module (Debian and Ubuntu: apt install python3-venv);" \
        "python3 is $(python3 --version 2>&1)"
}

lacks() { # lacks PYTHON: prints the first thing this Python's environment lacks; nothing if it is ready
    # shellcheck disable=SC2046 # pins hold no spaces
    "$1" -I - "$root/rkd/__init__.py" $(pins) <<'PY' 2>/dev/null || echo "a working Python"
import sys
from importlib import metadata, util
from os.path import samefile


def held(name):
    return [found.version.split("+")[0] for found in metadata.distributions(name=name)][:1]


lacking = [pin for pin in sys.argv[2:] if held(pin.split("==")[0]) != pin.split("==")[1:]]
spec = util.find_spec("rkd")
ours = spec and spec.origin and samefile(spec.origin, sys.argv[1])
print(*lacking[:1] or ([] if ours else ["this checkout's rkd"]))
PY
}

stamp() { # prints what .venv is made of and for, hashed: its Python, this folder, the two files of versions
    cat environment.yml constraints.txt | "$venv/bin/python" -I -X utf8 -c 'import hashlib, sys
print(hashlib.sha256("\n".join([sys.version, sys.argv[1], sys.stdin.read()]).encode()).hexdigest())' "$root" 2>/dev/null
}

ready() { [ -s "$venv/stamp" ] && [ "$(stamp)" = "$(<"$venv/stamp")" ]; }

answers() { # answers URL: within five seconds in all
    { "$venv/bin/python" -c 'import signal, sys, urllib.request
signal.alarm(5)
urllib.request.urlopen(sys.argv[1])' "$1"; } 2>/dev/null
}

torch_index() { # prints the index to install torch from, or nothing for pip's own choice
    local cpu=https://download.pytorch.org/whl/cpu
    if [ -n "${RKD_TORCH_INDEX+set}" ]; then
        echo "${RKD_TORCH_INDEX#none}"
    elif [ "$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null && [ ! -e /proc/driver/nvidia ] &&
        answers "$cpu/torch/"; then
        echo "$cpu" # pip's own choice would bring gigabytes of CUDA
    fi
}

install() { # install PIP-ARGUMENT…: pip into .venv, silent unless it fails
    if ! "$venv/bin/python" -m pip install --disable-pip-version-check "$@" >>"$venv/pip.log" 2>&1; then
        tail -n 12 "$venv/pip.log" >&2
        fail 1 "pip could not install the environment (its last lines are above)"
    fi
}

install_pins() { # install_pins PIP-ARGUMENT…: the versions of environment.yml
    local index
    index=$(torch_index)
    # Only torch comes from that index; what it depends on comes from where all the rest does.
    [ -z "$index" ] || install --no-deps --index-url "$index" "$(pins | grep '^torch==')"
    # shellcheck disable=SC2046 # pins hold no spaces
    install "$@" $(pins)
}

make_venv() { # makes .venv, one call at a time; the stamp is written last, so that one cut off is made anew
    find_python "ensurepip, venv"
    exec 9<>environment.yml # what is locked, until this call and its pip end, however they do
    if ! "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null; then
        echo "environment  another call is making .venv; waiting for it"
        "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' || true # a file system without locks
    fi
    if ! ready; then
        echo "environment  installing the versions of environment.yml into .venv (minutes, the first time)"
        if [ -e "$venv/stamp" ] || ! "$venv/bin/python" -c "" 2>/dev/null; then # else it is yours, and is completed
            rm -rf "$venv"
            mkdir "$venv"
            touch "$venv/stamp"
            "$python" -m venv "$venv" || fail 1 "$python could not make .venv"
        fi
        install_pins --constraint constraints.txt
        install --no-deps --no-build-isolation --editable .
        stamp >"$venv/stamp"
    fi
    exec 9>&-
}

environment() { # makes sure of the environment and puts it first on the PATH
    local active=${VIRTUAL_ENV:-${CONDA_PREFIX:-}} missing="" prefix=$venv
    if [ -n "$active" ] && [ ! "$active" -ef "$venv" ]; then
        missing=$(lacks "$active/bin/python")
        if [ -z "$missing" ]; then prefix=$active; else missing="; the active $active lacks $missing"; fi
    fi
    [ "$prefix" != "$venv" ] || ready || make_venv
    export VIRTUAL_ENV=$prefix PATH=$prefix/bin:$PATH # IPython would add another VIRTUAL_ENV's packages to a kernel's
    echo "environment  ${prefix#"$root/"} ready$missing"
}

lock() { # writes below the comments of constraints.txt what pip installs today for the pins of environment.yml
    find_python "ensurepip, venv"
    venv=$(mktemp -d)
    trap 'rm -rf "$venv"' EXIT
    "$python" -m venv "$venv" || fail 1 "$python could not make an environment"
    install_pins
    { # without what only builds for one device have
        grep '^#' constraints.txt
        "$venv/bin/python" -m pip freeze | sed -E '/^(cuda|nvidia|triton)/d; s/\+.*//'
    } >"$venv/constraints.txt"
    cat "$venv/constraints.txt" >constraints.txt
}

run_tests() { # run_tests PYTEST-ARGUMENT…: of the files among them, or of all tests and notebooks, then the check
    local argument all=yes status=0
    for argument; do
        case ${argument%%::*} in *.py | *.ipynb) all="" ;; esac
        [ ! -e "${argument%%::*}" ] || all=""
    done
    [ -z "$all" ] || set -- notebooks/*.ipynb notebooks/solutions/*.ipynb tests "$@"
    export RKD_FIGURES=${RKD_FIGURES:-$root/.cache/test-figures} # tests leave figures/ as it is
    # file by file on all cores, the longest first: the notebooks, which together train no more than there are cores
    OMP_NUM_THREADS=1 python -m pytest --nbval --nbval-sanitize-with=tests/sanitize.cfg --nbval-cell-timeout=1800 \
        --numprocesses=auto --dist=loadscope --no-loadscope-reorder "$@" || status=$?
    if [ -n "$all" ] && [ "$status" -le 1 ]; then # more than 1: not all were run
        python -m rkd.study.check || status=$?
    fi
    return "$status"
}

# A folder named relative to where the caller stands must mean the same to a notebook.
for variable in RKD_DATA RKD_CACHE RKD_FIGURES RKD_RECORDS; do
    value=${!variable:-}
    case $value in "" | /*) ;; *) export "$variable=$PWD/$value" ;; esac
done
caller=$PWD
cd "$root"

# Only the environment's own packages, kernels and settings count, not those of the caller's home or shell.
unset PYTHONPATH PYTHONHOME JUPYTER_PATH MPLBACKEND
export PYTHONNOUSERSITE=1 PYTHONUTF8=1 JUPYTER_PREFER_ENV_PATH=1

# The same bits on every x86-64 processor (rkd/pinned.py); without effect on others.
export ATEN_CPU_CAPABILITY=avx2 MKL_CBWR=AVX2

case "${1:-}" in
check | test | tune | site | exercises | record | verify)
    environment
    case $1 in
    check) cd "$caller" && python -m rkd.study.check "${@:2}" ;;
    test) run_tests "${@:2}" ;;
    tune) python -m rkd tune --scale laptop --to rkd/tuning "${@:2}" ;;
    site) cd "$caller" && python -m rkd.study.site "${@:2}" ;;
    record | verify) cd "$caller" && python -m rkd "$@" ;;
    exercises) cd "$caller" && python -m rkd.coursework.release "${@:2}" ;;
    esac
    exit
    ;;
lock)
    lock
    exit
    ;;
esac
case " $* " in *" -h "* | *" --help "*)
    usage
    exit
    ;;
esac
find_python sys
"$python" -I rkd/study/reproduce.py --check "$@" || exit
case " $* " in *" --list "*) exec "$python" -I rkd/study/reproduce.py "$@" ;; esac
environment
exec python -m rkd.study.reproduce "$@"
