#!/bin/sh
# Compile pyproject.toml into lock/*.txt: exact versions with hashes, one file for each group of packages.
#
# All groups are resolved together first, so that any of them can be installed in one environment; then each is written
# on its own. The locks are valid for Python 3.10 to 3.13 and every platform, and name no index and no host. A locked
# package keeps its version while pyproject.toml allows it; UPGRADE=1 takes the newest version of every package.
set -eu
cd "$(dirname "$0")/.."

uv=${UV:-.uv/bin/uv}
if ! command -v "$uv" >/dev/null; then
    echo "lock: there is no $uv: run \`make setup\`, or name another with UV=/path/to/uv" >&2
    exit 2
fi

new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT INT TERM

compile() { # file, its sources...
    file=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
        --no-annotate "$@" --output-file "$new/$file"
}

# One extra's requirements, without those of the wheel.
requirements_of() {
    "$uv" run --quiet --no-project --python ">=3.11" python -c "if True:
        import sys, tomllib
        with open('pyproject.toml', 'rb') as file:
            print(*tomllib.load(file)['project']['optional-dependencies'][sys.argv[1]], sep='\n')" "$1"
}

groups="build dev docs uv"
extras="beam data int8 label mqtt onnx serve tflite"
[ "${UPGRADE:-0}" = 1 ] || for file in base $groups $extras; do cat "lock/$file.txt" 2>/dev/null || :; done |
    grep -v '^#' >"$new/all.txt" || :
compile all.txt pyproject.toml --all-extras $(for group in $groups; do echo "--group $group"; done)
compile base.txt -c "$new/all.txt" pyproject.toml --extra train
compile gpu.txt -c "$new/all.txt" pyproject.toml --extra train --extra gpu
for group in $groups; do
    compile "$group.txt" -c "$new/all.txt" --group "$group"
done
for extra in $extras; do
    requirements_of "$extra" >"$new/$extra.in"
    compile "$extra.txt" -c "$new/all.txt" "$new/$extra.in"
done

for file in base gpu $groups $extras; do
    {
        echo "# Made by \`make lock\` from pyproject.toml: edit that."
        cat "$new/$file.txt"
    } >"lock/$file.txt"
done
echo "lock: lock/ holds $(grep -c '==' lock/base.txt) packages in base.txt; try it with \`make setup\`, then commit it"
