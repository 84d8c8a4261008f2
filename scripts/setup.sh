#!/bin/sh
# Make .venv, and install in it the groups of packages that are asked for, from lock/<group>.txt:
#
#     scripts/setup.sh [--quiet] base dev ...       PYTHON=<python> picks the Python, GPU=1 adds TensorFlow's CUDA libraries
#
# Quick where nothing is to do: .venv/locks/ holds copies of the locks that are installed. Else a Python is looked for,
# and scripts/support/environment.py does the rest with it.
set -euf
cd "$(dirname "$0")/.."

fail() {
    echo "setup: $*" >&2
    exit 2
}

# The version (3.11) of a Python that runs, with what making an environment takes; else nothing, and not 0.
version_of() {
    "$1" -I -c 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2])' </dev/null 2>/dev/null
}

# The newest Python of the right versions on the PATH that works: a version manager's shim may be there and run nothing,
# and a distribution's Python may lack venv.
find_on_path() {
    broken=
    for wanted in 3.12 3.11 3.10; do
        IFS=:
        for folder in $PATH; do
            unset IFS
            [ "$folder" != "$PWD/.venv/bin" ] || continue
            for name in "python$wanted" python3 python; do
                candidate=$folder/$name
                [ -f "$candidate" ] && [ -x "$candidate" ] || continue
                if version=$(version_of "$candidate") && [ "$version" = "$wanted" ]; then
                    python=$candidate
                    return 0
                fi
                [ "$name" != "python$wanted" ] || broken="$broken${broken:+, }$candidate"
            done
        done
        unset IFS
    done
    return 1
}

# The Python that uv has, or else fetches.
find_with_uv() {
    command -v uv >/dev/null || return 1
    for wanted in 3.12 3.11 3.10; do
        if python=$(UV_PYTHON_PREFERENCE=only-managed UV_PYTHON_DOWNLOADS=never uv python find --no-project "$wanted" \
            2>/dev/null) && version_of "$python" >/dev/null; then
            return 0
        fi
    done
    echo "setup: no Python on the PATH fits; uv fetches Python 3.12"
    uv python install --quiet 3.12 &&
        python=$(UV_PYTHON_PREFERENCE=only-managed uv python find --no-project 3.12) &&
        version_of "$python" >/dev/null
}

find_python() {
    needs="Python 3.12, 3.11 or 3.10 that runs and has venv"
    if [ -n "${PYTHON:-}" ]; then
        python=$(command -v "$PYTHON") || fail "PYTHON=$PYTHON: no such program. It takes a $needs."
        version=$(version_of "$python") || fail "PYTHON=$PYTHON does not run, or lacks venv. It takes a $needs."
        case $version in
        3.12 | 3.11 | 3.10) ;;
        *) fail "PYTHON=$PYTHON is Python $version. It takes a $needs." ;;
        esac
    else
        find_on_path || find_with_uv ||
            fail "found no $needs${broken:+ (tried in vain: $broken)}. Install one, with its venv package, or say" \
                "make setup PYTHON=/path/to/python"
    fi
}

ready() {
    [ -x .venv/bin/python ] || return 1
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
# What was installed once is kept up to date with the rest.
set +f
for stamp in .venv/locks/*.txt; do
    group=$(basename "$stamp" .txt)
    case " $* " in
    *" $group "*) ;;
    *) [ ! -f "$stamp" ] || [ ! -f "lock/$group.txt" ] || set -- "$@" "$group" ;;
    esac
done
set -f

if ready "$@"; then
    [ -n "$quiet" ] || echo "setup: .venv is ready ($(.venv/bin/python --version)). To make it anew, with another" \
        "Python say, remove the folder .venv first."
    exit 0
fi

case $(uname -s) in
MINGW* | MSYS* | CYGWIN*) fail "TensorFlow's packages have no wheels for native Windows. Use WSL 2." ;;
esac
python=.venv/bin/python
if ! version_of "$python" >/dev/null; then find_python; fi
exec "$python" -I scripts/support/environment.py "$@"
