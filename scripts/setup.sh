# Sourced by the other scripts: a virtual environment in .venv with this checkout and an extra.
# Usage: source scripts/setup.sh; set_up [EXTRA]

set_up() {  # a function, since a sourced file without arguments sees those of the script that sources it
    local python
    for python in python3.11 python3.12 python3.13 python3; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
        python=
    done
    [ -n "$python" ] || { echo "Python 3.11 or newer is needed, and was not found" >&2; exit 1; }
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    . .venv/bin/activate
    pip install --quiet --editable ".${1:+[$1]}"
}
