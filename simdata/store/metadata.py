"""What simdata and simtrain need to know of a store: the attributes of its variable ``simdata_metadata``.

It holds no data, as CF's grid mapping variables do not. Root attributes would not do:
``dataset.to_zarr(store, mode="a")`` puts the dataset's in their place. Nobody else reads or writes these
attributes by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from simdata.common.attributes import flat, structure
from simdata.common.errors import UserError

VARIABLE = "simdata_metadata"
FORMAT_VERSION = "2.1"
COMMENT = f"what simdata needs to know of this store is in the attributes of its variable {VARIABLE!r}"


class Metadata:
    """What a store says of itself.

    Parameters
    ----------
    attributes : of the variable ``simdata_metadata``
    place : of the store, for messages

    Raises
    ------
    UserError
        If the format is another one; on access, if something is missing or damaged.
    """

    def __init__(self, attributes: Mapping[str, Any], place: str | Path) -> None:
        self._attributes, self._place = attributes, place
        self.format_version: str = self._text("format_version")
        if self.format_version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
            raise _other_version(place, self.format_version)

    @classmethod
    def of(cls, store: xr.Dataset | zarr.Group, place: str | Path) -> Metadata:
        """That of an open store.

        Raises
        ------
        UserError
            If it is none, or one of another format version.
        """
        if VARIABLE in store:
            return cls(store[VARIABLE].attrs, place)
        if "format_version" in store.attrs:  # where it stood before version 2
            raise _other_version(place, store.attrs["format_version"])
        raise UserError(
            f"{place}: is not a simdata store: it has no variable {VARIABLE!r}, whose attributes say what is "
            f"in it. If it was made from one, take it from there: xr.open_zarr(STORE)[[{VARIABLE!r}]].to_zarr"
            f'({str(place)!r}, mode="a")'
        )

    @property
    def catalog_name(self) -> str:
        return self._text("catalog_name")

    @property
    def catalog_text(self) -> str:
        """YAML."""
        return self._text("catalog")

    @property
    def catalog_sha256(self) -> str:
        return self._text("catalog_sha256")

    @property
    def stimulus_lag(self) -> int:
        """The catalog's lag from stimulus to BOLD, in s."""
        lag = self._known("stimulus_lag")
        try:
            return int(lag)
        except (TypeError, ValueError):
            raise self._damaged("stimulus_lag", lag) from None

    @property
    def recipe(self) -> dict[str, Any]:
        """All that decides the values, but for the catalog."""
        return self._structure("recipe")

    @property
    def software(self) -> dict[str, str]:
        """Versions of what the values depend on."""
        return self._structure("software")

    @property
    def not_taken(self) -> dict[str, Any]:
        """What the last build saw in its source and did not take; empty if it saw nothing like that."""
        return self._structure("not_taken") if "not_taken" in self._attributes else {}

    @property
    def splits(self) -> dict[str, Any]:
        """Those of `simdata resplit` with their ``name``; empty for a store divided as its catalog says."""
        return self._structure("splits") if "splits" in self._attributes else {}

    @property
    def layout(self) -> dict[str, Any]:
        """Settings of `simdata rechunk`; empty for a store as it was built."""
        return self._structure("layout") if "layout" in self._attributes else {}

    def _known(self, name: str) -> Any:
        if name not in self._attributes:
            raise UserError(
                f"{self._place}: its variable {VARIABLE!r} has lost its attribute {name!r}; {REPAIR}"
            )
        return self._attributes[name]

    def _text(self, name: str) -> str:
        value = self._known(name)
        if not isinstance(value, str):
            raise self._damaged(name, value)
        return value

    def _structure(self, name: str) -> dict[str, Any]:
        self._known(name)
        return structure(self._attributes, name, f"{self._place}: {VARIABLE}")

    def _damaged(self, name: str, value: Any) -> UserError:
        return UserError(f"{self._place}: its variable {VARIABLE!r} has {name} = {value!r}; {REPAIR}")


REPAIR = "write it again as it was, or take the variable from the store that this one was made from"


def as_variable(**attributes: Any) -> xr.Variable:
    """The variable ``simdata_metadata``; the format's version is added."""
    given = flat({"long_name": "what simdata needs to know of this store", "format_version": FORMAT_VERSION})
    return xr.Variable((), np.int8(0), given | flat(attributes))


def change(group: zarr.Group, **attributes: Any) -> None:
    """Set some of a store's own metadata; the consolidated ones are the caller's to write."""
    group[VARIABLE].attrs.update(flat(attributes))


def _other_version(place: str | Path, found: object) -> UserError:
    return UserError(
        f"{place}: has format version {found}, and this simdata reads {FORMAT_VERSION}: build the store "
        "again from its sources, or use the simdata that built it"
    )
