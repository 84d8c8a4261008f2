#!/bin/sh
# Compile pyproject.toml into lock/*.txt: exact versions with hashes, one file a group of packages.
#
# All groups are resolved together first, so that any of them can join the others in one environment; then each is
# written on its own. The locks hold for Python 3.10 to 3.12 and every platform, and name no index and no host. What is
# locked stays at its version while pyproject.toml allows it; UPGRADE=1 takes the newest of everything.
set -eu
cd "$(dirname "$0")/.."

uv=${UV:-uv}
if ! command -v "$uv" >/dev/null; then
    echo "lock: uv is not on the PATH: install it (https://docs.astral.sh/uv) or say UV=/path/to/uv" >&2
    exit 2
fi

new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT INT TERM

compile() { # file, what goes in...
    file=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
        --no-annotate "$@" --output-file "$new/$file"
}

groups="build dev label data beam openvino onnx tflite int8 serve"
[ "${UPGRADE:-0}" = 1 ] || for file in base $groups; do cat "lock/$file.txt" 2>/dev/null || :; done >"$new/all.txt"
compile all.txt pyproject.toml --all-extras $(for group in $groups; do echo "--group $group"; done)
compile base.txt -c "$new/all.txt" pyproject.toml
compile gpu.txt -c "$new/all.txt" pyproject.toml --extra gpu
for group in $groups; do
    compile "$group.txt" -c "$new/all.txt" --group "$group"
done

for file in base gpu $groups; do
    {
        echo "# Made by \`make lock\` from pyproject.toml: edit that."
        cat "$new/$file.txt"
    } >"lock/$file.txt"
done
echo "lock: lock/ holds $(grep -c '==' lock/base.txt) packages in base.txt; try it with \`make setup\`, then commit it"
