"""simdata: movie-watching fMRI and its stimuli as one chunked Zarr store."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simdata.api import (
        build,
        embed,
        import_embeddings,
        open,
        parcellate,
        plays,
        rechunk,
        resplit,
        scene_sets,
    )
    from simdata.release.catalog import Catalog
    from simdata.store.direct import BoldReader

__version__ = version("simdata")

# Where each name of the public interface is: xarray, torch and the rest are imported at the first use of one.
_PLACES: dict[str, str] = {
    "BoldReader": "simdata.store.direct",
    "Catalog": "simdata.release.catalog",
    "build": "simdata.api",
    "embed": "simdata.api",
    "import_embeddings": "simdata.api",
    "open": "simdata.api",
    "parcellate": "simdata.api",
    "plays": "simdata.api",
    "rechunk": "simdata.api",
    "resplit": "simdata.api",
    "scene_sets": "simdata.api",
}
__all__ = [
    "BoldReader",
    "Catalog",
    "__version__",
    "build",
    "embed",
    "import_embeddings",
    "open",
    "parcellate",
    "plays",
    "rechunk",
    "resplit",
    "scene_sets",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
