"""Fixtures that both packages share: reference data, Workbench, and small real files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no fault of the code's.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def templates() -> Path:
    """HCP's meshes and masks, where the machine has them; they are not shipped."""
    folder = SHARED / "hcp_templates"
    if not folder.is_dir():
        pytest.skip("HCP's reference meshes are not on this machine (../shared/data)")
    return folder


@pytest.fixture(scope="session")
def seed_files() -> Path:
    """The published SIM code's ico6 files, where the machine has them."""
    folder = SHARED / "seed"
    if not folder.is_dir():
        pytest.skip("the published ico6 files are not on this machine (../shared/data)")
    return folder


@pytest.fixture(scope="session")
def wb_command() -> str:
    """Connectome Workbench."""
    command = shutil.which("wb_command")
    if command is None:
        pytest.skip("wb_command is not installed (Debian package connectome-workbench)")
    return command
