#!/usr/bin/env bash
# From nothing to a trained model on synthetic data: own environment, demo release, store, training, test.
# Usage: bash scripts/quickstart.sh [FOLDER]    (default: quickstart; what is done there is not done again)
set -euo pipefail
folder=$(realpath -m "${1:-quickstart}")
cd "$(dirname "$0")/.."
. scripts/setup.sh
set_up

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

mkdir -p "$folder"
cd "$folder"
[ -d release ] || say simdata demo release
say simdata build demo --source release/hcp --movies release/movies --out demo.zarr --workers 2
say simdata info demo.zarr
say python -c 'import xarray as xr
store = xr.open_zarr("demo.zarr")
print(store.bold.sel(subject="990001", movie="MOVIE1", hemisphere="L", second=slice(20, 60)))'
say simtrain fit demo.zarr --config demo --out run
say simtrain retrieve run demo.zarr
