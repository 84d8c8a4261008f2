#!/bin/sh
# Make .venv, and install in it the groups of packages that are asked for, from lock/<group>.txt:
#
#     scripts/setup.sh [--quiet] base dev ...       PYTHON=<python> picks the Python, GPU=1 adds TensorFlow's CUDA libraries
#
# It ends at once if everything is installed: .venv/locks/ holds copies of the locks that are installed. Otherwise any
# Python from 3.8 on runs scripts/environment.py, which installs the rest with uv.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "setup: $*" >&2
    exit 2
}

ready() {
    [ -x .venv/bin/python ] && [ ! -e .venv/unfinished ] || return 1
    for group in "$@"; do
        cmp -s "lock/$group.txt" ".venv/locks/$group.txt" || return 1
    done
}

quiet=
if [ "${1:-}" = --quiet ]; then
    quiet=yes
    shift
fi
[ "${GPU:-}" != 1 ] || set -- "$@" gpu
# Groups that were installed earlier are kept up to date as well.
for stamp in .venv/locks/*.txt; do
    group=$(basename "$stamp" .txt)
    case " $* " in
    *" $group "*) ;;
    *) [ ! -f "$stamp" ] || [ ! -f "lock/$group.txt" ] || set -- "$@" "$group" ;;
    esac
done

if ready "$@"; then
    [ -n "$quiet" ] || echo "setup: .venv is ready ($(.venv/bin/python --version)). To use another Python, remove" \
        "the folder .venv first."
    exit 0
fi

case $(uname -s) in
MINGW* | MSYS* | CYGWIN*) fail "training needs TensorFlow, which has no packages for native Windows: use WSL 2. All" \
    "else is there without make, after pip install . (facemask --help lists it)." ;;
esac
# pip installs uv; a Python without pip needs ensurepip, which installs pip.
usable='import sys
from importlib.util import find_spec
sys.exit(not (sys.version_info >= (3, 8) and (find_spec("pip") or find_spec("ensurepip"))))'
for python in ${PYTHON:+"$PYTHON"} .venv/bin/python python3 python python3.13 python3.12 python3.11 python3.10; do
    if "$python" -I -c "$usable" </dev/null >/dev/null 2>&1; then exec "$python" -I scripts/environment.py "$@"; fi
done
command -v uv >/dev/null || fail "found no Python 3.8 or later that has pip or venv. Install one (Debian, Ubuntu:" \
    "apt install python3-venv), name one (make setup PYTHON=/path/to/python), or install uv."
exec uv run --quiet --no-project --python ">=3.10,<3.14" scripts/environment.py "$@"
