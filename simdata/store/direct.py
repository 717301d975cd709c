"""Windows of BOLD straight from the store's shards, in the stored dtype.

zarr-python spends about a millisecond on a chunk; a window of an uncompressed shard is a few contiguous
copies out of a memory map. Layouts that are not as `simdata build` writes them go through zarr, with the
same result.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import zarr

from simdata.store.shards import map_shard

MAPPED_SHARDS = 16_384  # well under Linux's default of 65,530 maps a process


class BoldReader:
    """Reads ``bold`` of a local store without decoding it.

    Attributes
    ----------
    shape : (subjects, movies, seconds, hemispheres, vertices)
    dtype : as stored; ``stored * scale_factor`` is the z-score
    fill : the stored value that means missing (NaN for floats)
    """

    def __init__(self, store: str | Path) -> None:
        self._folder = Path(store) / "bold"
        self._array = zarr.open_array(self._folder, mode="r")
        self.shape: tuple[int, ...] = self._array.shape
        self.dtype: np.dtype = self._array.dtype
        self.fill = self._array.fill_value
        self.scale_factor = float(self._array.attrs.get("scale_factor", 1.0))
        self._layout = _plain_layout(self._folder)
        self._shard = lru_cache(MAPPED_SHARDS)(self._map)

    def read(self, index: np.ndarray, frames: int, out: np.ndarray | None = None) -> np.ndarray:
        """Gather windows.

        Parameters
        ----------
        index : (n, 4) int, rows of subject, movie, first second, hemisphere (positions, not labels)
        frames : seconds a window
        out : (n, frames, vertices) in the stored dtype, written in place if given

        Returns
        -------
        (n, frames, vertices) in the stored dtype; what the store lacks is ``fill``
        """
        if out is None:
            out = np.empty((len(index), frames, self.shape[-1]), self.dtype)
        for window, (subject, movie, second, hemisphere) in zip(out, index.tolist(), strict=True):
            values = self._shard(subject, movie, hemisphere) if self._layout else None
            if values is not None and second + frames <= len(values):
                window[...] = values[second : second + frames]
            else:
                window[...] = self._array[subject, movie, second : second + frames, hemisphere]
        return out

    def _map(self, subject: int, movie: int, hemisphere: int) -> np.ndarray | None:
        path = self._folder / f"c/{subject}/{movie}/0/{hemisphere}/0"
        try:
            return map_shard(path, self.shape[2], self.shape[4], self.dtype, self._layout == "crc32c")
        except FileNotFoundError:
            return None


def _plain_layout(folder: Path) -> str | None:
    """ "raw" or "crc32c" if shards are strided arrays of whole runs, None for any other layout."""
    metadata = json.loads((folder / "zarr.json").read_text())
    *_, seconds, _, vertices = metadata["shape"]
    codecs = metadata["codecs"]
    regular = metadata["chunk_grid"]["configuration"]["chunk_shape"] == [1, 1, seconds, 1, vertices]
    keys = metadata["chunk_key_encoding"]
    if not regular or keys["name"] != "default" or keys.get("configuration", {}).get("separator", "/") != "/":
        return None
    if len(codecs) != 1 or codecs[0]["name"] != "sharding_indexed":
        return None
    sharding = codecs[0]["configuration"]
    names = [codec["name"] for codec in sharding["codecs"]]
    index_names = [codec["name"] for codec in sharding["index_codecs"]]
    endian = sharding["codecs"][0].get("configuration", {}).get("endian", "little")
    plain = (
        sharding["chunk_shape"] == [1, 1, 1, 1, vertices]
        and names in (["bytes"], ["bytes", "crc32c"])
        and endian == "little"
        and index_names == ["bytes", "crc32c"]
        and sharding.get("index_location", "end") == "end"
    )
    return names[-1].replace("bytes", "raw") if plain else None
