"""The code that the results of a run depend on, as its run folder keeps it."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from simdata.common import json_text
from simdata.common.errors import UserError
from simdata.common.nested import leaves
from simdata.common.registry import Registry
from simtrain.config.registries import BY_KEY
from simtrain.config.schema import BaseConfig
from simtrain.training import records

FILE = "software.json"
OURS = "simdata"
PACKAGES = (OURS, "torch", "numpy", "zarr", "xarray")


def software_versions() -> dict[str, str]:
    """Versions of Python and of what all results depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def software_of(recipe: BaseConfig) -> dict[str, str]:
    """The `software_versions`, with the packages that registered what a configuration names.

    Of ``package.module:Class`` no more is known than the configuration says.
    """
    packages = {registry.package(name) or OURS for _, registry, name in _named(recipe)} - {OURS}
    return software_versions() | {name: version(name) for name in sorted(packages)} | _added(recipe)


def write(folder: Path, recipe: BaseConfig) -> None:
    """Write what a run in ``folder`` begins with."""
    json_text.write(folder / FILE, software_of(recipe))


def must_be_the_same(folder: Path, recipe: BaseConfig) -> None:
    """Refuse to go on with a run if what its configuration names is another object now.

    Other versions of the same packages may come.

    Raises
    ------
    UserError
        If a name was registered by another package then, or stood for another object.
    """
    file = folder / FILE
    then, now = records.read(file) if file.exists() else {}, _added(recipe)
    faults = [
        f"{key}: {then.get(key, name)} != {now.get(key, registry.place(name))}"
        for key, registry, name in _named(recipe)
        if then.get(key) != now.get(key)
    ]
    if faults:
        raise UserError(
            f"{folder} was begun with other code than is installed (then != now):\n  "
            + "\n  ".join(faults)
            + "\nInstall what it was begun with, or give another `out`."
        )


def _added(recipe: BaseConfig) -> dict[str, str]:
    """The names in a configuration that other packages register: key -> name, package and object."""
    return {
        key: registry.place(name)
        for key, registry, name in _named(recipe)
        if registry.package(name) not in (None, OURS)
    }


def _named(recipe: BaseConfig) -> Iterator[tuple[str, Registry, str]]:
    values = leaves(recipe.model_dump(mode="json"))
    return ((key, registry, values[key]) for key, registry in BY_KEY.items() if key in values)
