#!/usr/bin/env bash
# Regenerates every table and figure into figures/<scale>/, in an environment that it makes itself.
#
#   ./reproduce.sh [--scale smoke|laptop|paper] [--only NAME[,NAME…]] [--jobs N]
#   ./reproduce.sh --list                   the names of the tables and figures
#   ./reproduce.sh tune [--jobs N …]        choose every method's settings anew, as at laptop scale (hours)
#   ./reproduce.sh exercises [--seed N --to FOLDER]  the exercises' student copies and solutions, from their sources
#   ./reproduce.sh test [pytest argument…]  the unit tests, and every notebook re-executed and compared
#   ./reproduce.sh --help
#
#   --scale  smoke: tiny synthetic data, one seed, about a minute; laptop (the default): MovieLens-100K,
#            three seeds, minutes; paper: the papers' data, five seeds, a job for a GPU
#   --only   only what these tables and figures need
#   --jobs   how many processes train side by side (default: the notebooks' own choice)
#
# The environment is the active conda or virtual environment, if it holds the exact versions of environment.yml and
# this checkout's rkd (pip install --no-deps -e .); else .venv in this folder, made or completed as needed.
#
# RKD_DATA     a folder that holds data sets already (only read)
# RKD_CACHE    where data sets and finished runs are kept (default: ~/.cache/rkd)
# RKD_FIGURES  where tables and figures go (default: figures/ in this folder; for tests .cache/test-figures/)
set -euo pipefail

root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$root/.venv
busy=$venv/.installing # holds the installing process's number; left behind by one that was killed

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$root/reproduce.sh"; }

fail() { # fail STATUS MESSAGE…
    echo "reproduce: ${*:2}" >&2
    exit "$1"
}

clock() { # milliseconds; whole seconds where bash is older than 5
    local now=${EPOCHREALTIME:-$(date +%s).000000}
    echo $((${now//[.,]/} / 1000))
}

since() { # since MILLISECONDS: how long ago that was, "1.2 s"
    local tenths=$((($(clock) - $1) / 100))
    echo "$((tenths / 10)).$((tenths % 10)) s"
}

pins() { sed -n 's/^ *- *\([A-Za-z0-9._-]*==[^ #]*\).*/\1/p' "$root/environment.yml"; }

find_python() { # find_python MODULES: sets python to the first Python that is new enough and has these modules
    local name version found=""
    for name in python3 python3.13 python3.12 python3.11; do
        version=$("$name" -c 'import platform; print(platform.python_version())' 2>/dev/null) || continue
        if ! "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            found+="${found:+, }$name is $version"
        elif ! "$name" -c "import $1" 2>/dev/null; then
            found+="${found:+, }$name ($version) lacks the venv module (on Debian or Ubuntu: apt install python3-venv)"
        else
            python=$name
            return
        fi
    done
    fail 1 "needs Python 3.11 or newer on the PATH; ${found:-found none}"
}

lacks() { # lacks PYTHON: prints the first thing this Python's environment lacks; nothing if it is ready
    # shellcheck disable=SC2046 # pins hold no spaces
    "$1" -I - "$root" $(pins) <<'PY' 2>/dev/null || echo "a working Python"
import sys
from importlib import metadata, util
from pathlib import Path


def version(name):
    try:
        return metadata.version(name).split("+")[0]
    except metadata.PackageNotFoundError:
        return None


root, *pins = sys.argv[1:]
lacking = [pin for pin in pins if version(pin.split("==")[0]) != pin.split("==")[1]]
spec = util.find_spec("rkd")
if sys.version_info < (3, 11):
    print("Python 3.11")
elif lacking:
    print(lacking[0])
elif not (spec and spec.origin and Path(spec.origin).resolve().parent.parent == Path(root).resolve()):
    print("this checkout's rkd")
PY
}

install() { # install PIP-ARGUMENT…: pip into .venv, silent unless it fails
    if ! "$venv/bin/python" -m pip install --disable-pip-version-check "$@" >>"$venv/pip.log" 2>&1; then
        tail -n 12 "$venv/pip.log" >&2
        rm "$busy" # nothing was cut off: the next call can complete what is there
        fail 1 "pip could not install the environment (its last lines are above, all of them in $venv/pip.log)"
    fi
}

make_venv() { # creates .venv, or completes one whose pins have changed
    local owner half=""
    if [ -e "$busy" ]; then
        owner=$(cat "$busy") half=yes
        if [ -n "$owner" ] && kill -0 "$owner" 2>/dev/null; then
            fail 1 "process $owner is making .venv just now; try again when it is done (if it is not: rm '$busy')"
        fi
        echo "environment  .venv was left half-made; making it again"
    fi
    if [ -n "$half" ] || [[ $(lacks "$venv/bin/python") == *Python* ]]; then
        find_python "ensurepip, venv"
        rm -rf "$venv"
        mkdir "$venv"
        echo $$ >"$busy"
        "$python" -m venv "$venv" || fail 1 "$python could not make .venv"
    fi
    echo $$ >"$busy"
    echo "environment  installing the versions of environment.yml into .venv (minutes, the first time)"
    # shellcheck disable=SC2046 # pins hold no spaces
    install $(pins)
    install --no-deps --no-build-isolation -e "$root"
    rm "$busy"
}

environment() { # makes sure of the environment and puts it first on the PATH
    local start active missing="" prefix=$venv
    start=$(clock)
    for active in "${VIRTUAL_ENV:-}" "${CONDA_PREFIX:-}"; do
        [ -n "$active" ] && [ ! "$active" -ef "$venv" ] || continue
        missing=$(lacks "$active/bin/python")
        if [ -z "$missing" ]; then
            prefix=$active
            break
        fi
        missing="; the active $active lacks $missing"
    done
    if [ "$prefix" = "$venv" ] && { [ -e "$busy" ] || [ -n "$(lacks "$venv/bin/python")" ]; }; then
        make_venv
    fi
    export VIRTUAL_ENV=$prefix PATH=$prefix/bin:$PATH # IPython would add another VIRTUAL_ENV's packages to a kernel's
    echo "environment  ${prefix#"$root/"} ready ($(since "$start"))$missing"
}

run_tuning() { # run_tuning ARGUMENT…: of python -m rkd tune
    python -m rkd tune ml-100k "$@"
    python -m rkd tune ml-100k --split ratio --methods teacher,none,rd,cd,de,rrd,de-rrd,htd,unkd,nkd,cpd,sld,mkd "$@"
    python -m rkd tune ml-100k --backbone lightgcn --epochs 100 --methods teacher,none,rd,cd,de-rrd,htd,unkd "$@"
    python -m rkd tune ml-100k --backbone lightgcn --epochs 100 --split ratio \
        --methods teacher,none,rrd,nkd,cpd,sld,mkd "$@"
}

run_tests() { # run_tests PYTEST-ARGUMENT…: of the files among them, or of all tests and notebooks
    local argument what=""
    for argument; do
        [ ! -e "${argument%%::*}" ] || what=given
    done
    if [ -z "$what" ]; then
        set -- notebooks/*.ipynb notebooks/solutions/*.ipynb tests "$@"
    fi
    export RKD_FIGURES=${RKD_FIGURES:-$root/.cache/test-figures} # tests leave figures/ as it is
    # file by file on all cores, the longest first: the notebooks, which together train no more than there are cores
    OMP_NUM_THREADS=1 python -m pytest --nbval --nbval-cell-timeout=1800 --numprocesses=auto --dist=loadscope \
        --no-loadscope-reorder "$@"
}

# A folder named relative to where the caller stands must mean the same to a notebook.
for variable in RKD_DATA RKD_CACHE RKD_FIGURES; do
    value=${!variable:-}
    case $value in "" | /*) ;; *) export "$variable=$PWD/$value" ;; esac
done
caller=$PWD
cd "$root"

# Only the environment's own packages, kernels and settings count, not those of the caller's home or shell.
unset PYTHONPATH PYTHONHOME JUPYTER_PATH MPLBACKEND
export PYTHONNOUSERSITE=1 PYTHONUTF8=1 JUPYTER_PREFER_ENV_PATH=1

case "${1:-}" in
test | tune | exercises)
    environment
    case $1 in
    test) run_tests "${@:2}" ;;
    tune) run_tuning "${@:2}" ;;
    exercises) cd "$caller" && python -m rkd.coursework.release "${@:2}" ;;
    esac
    exit
    ;;
esac
for argument; do
    case $argument in -h | --help)
        usage
        exit
        ;;
    esac
done
find_python sys
"$python" -I rkd/reproduce.py --check "$@" || exit
case " $* " in *" --list "*) exec "$python" -I rkd/reproduce.py "$@" ;; esac
environment
exec python -m rkd.reproduce "$@"
