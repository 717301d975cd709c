"""Fixtures that both packages share: reference data, Workbench, and small real files."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import time
from collections.abc import Callable
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
def fsaverage_files() -> Path:
    """HCPpipelines' registration of fs_LR to fsaverage, where the machine has it."""
    folder = SHARED / "fsaverage_registration"
    if not folder.is_dir():
        pytest.skip("HCPpipelines' spheres of fsaverage are not on this machine (../shared/data)")
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


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Callable[..., None]:
    """Installs a package with a module, ``NAME_module``, and entries of an entry point group."""
    site = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(site)

    def install(package: str, group: str, entries: str, code: str = "") -> None:
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (site / f"{package}_module.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{entries}\n")
        monkeypatch.delitem(sys.modules, f"{package}_module", raising=False)
        importlib.invalidate_caches()
        os.utime(site, ns=(now := time.time_ns(), now))  # a file system's clock may tick every 4 ms only

    return install
