#!/usr/bin/env bash
# Set up an environment and run the tests. Arguments go to pytest.
# Tests that compare with Connectome Workbench or HCP's meshes are skipped where those are not at hand.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
set_up test
python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile "$@"
