"""What a release is made of: the wheel has all that the checkout has, and versions agree."""

from __future__ import annotations

from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
CATALOGS = "simdata.catalogs"  # lies at catalogs/, as package_dir says


def _setup() -> ConfigParser:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def test_every_package_is_in_the_wheel():
    named = _setup()["options"]["packages"].split()
    inits = [path for top in ("simdata", "simtrain") for path in (ROOT / top).rglob("__init__.py")]
    found = [".".join(path.parent.relative_to(ROOT).parts) for path in inits]
    assert sorted(named) == sorted([*found, CATALOGS])


def _package(path: Path) -> Path:
    """The folder of the package that a file belongs to."""
    return next(folder for folder in path.parents if (folder / "__init__.py").exists())


def test_every_file_of_a_package_is_in_the_wheel():
    data = _setup()["options.package_data"]
    checked = 0
    for top in ("simdata", "simtrain", "catalogs"):
        for path in (ROOT / top).rglob("*"):
            if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
                folder = _package(path)
                name = ".".join(folder.relative_to(ROOT).parts)
                patterns = data.get(CATALOGS if name == "catalogs" else name, "").replace(",", " ").split()
                assert any(fnmatch(str(path.relative_to(folder)), pattern) for pattern in patterns), path
                checked += 1
    assert checked > 10


def test_the_version_to_cite_is_that_of_the_package():
    cited = (ROOT / "CITATION.cff").read_text().splitlines()
    assert f"version: {_setup()['metadata']['version']}" in cited
