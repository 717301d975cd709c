"""What simdata offers to Python: its public names, and what importing them costs."""

import subprocess
import sys

import pytest

HEAVY = ("numba", "scipy", "dask.distributed", "distributed", "pydantic", "torch", "yaml")


def imported_by(statement):
    """Names of the modules that a fresh process has after a statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


@pytest.mark.parametrize("module", ["simdata", "simdata.store"])
def test_opening_stores_needs_little_more_than_xarray_and_zarr(module):
    """A notebook that only reads does not wait for what builds."""
    alone = imported_by("import xarray, zarr")
    ours = imported_by(f"import {module}")
    assert module in ours
    assert [name for name in HEAVY if name in ours - alone] == []
    others = {name.split(".")[0] for name in ours - alone} - set(sys.stdlib_module_names)
    assert others == {"simdata"}
