"""Patches in an order of the user's own: a table of vertices in a CSV file (``model.patches``).

The layout is that of the published index files (`surface.patches.read_patches`). The table's patches must be
the geometry's as sets; which of them is at which position, and the order in each, are the file's.

The run folder keeps the file as ``patches.csv``, and the configuration its hash in place of its path. The
weights hold the order itself (``model.layout: stored``): only the start of training needs the table.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from simdata.common.errors import UserError
from simtrain.config.schema import AnyConfig
from simtrain.models.sit import SiT
from simtrain.surface.patches import arrangement, read_patches

FILE = "patches.csv"
HASH = "sha256:"


@dataclass(frozen=True)
class PatchTable:
    """A file's bytes, and the table in it: (patches, vertices of one) int64, of icosphere ``ico``."""

    content: bytes
    vertices: np.ndarray
    ico: int

    @property
    def key(self) -> str:
        return HASH + hashlib.sha256(self.content).hexdigest()

    @classmethod
    def read(cls, path: Path, ico: int) -> PatchTable:
        """The table in a file.

        Raises
        ------
        UserError
            If it is no table of the faces of icosphere ``ico``.
        """
        try:
            vertices = read_patches(path, ico)
        except UserError as error:
            raise UserError(f"model.patches: {error}; give a table for model.ico: {ico}") from None
        return cls(path.read_bytes(), vertices, ico)

    def write(self, folder: Path) -> None:
        (folder / FILE).write_bytes(self.content)

    @torch.no_grad()
    def lay_out(self, encoder: SiT, *positions: Tensor) -> None:
        """Give an encoder that stores its layout, and has the geometry's, that of the table.

        And ``positions`` beside its own, (1, patches or frames * patches, any), such as a decoder's.
        """
        column, vertices = (torch.from_numpy(values) for values in arrangement(self.vertices, self.ico))
        frames = torch.arange(encoder.frames)
        # The frames of a vertex lie together.
        values = (vertices[:, :, None] * encoder.frames + frames).flatten(1)
        assert encoder.order is not None  # it stores its layout
        encoder.order.copy_(values)
        for rows in (encoder.positions, *positions):
            # Where positions run through all frames, those of each frame are put in the same order.
            of_frames = rows.unflatten(1, (-1, len(column)))
            rows.copy_(of_frames[:, :, column.to(of_frames.device)].flatten(1, 2))


def resolve_patches(config: AnyConfig, out: Path) -> tuple[AnyConfig, PatchTable | None]:
    """``model.patches`` read, checked, and replaced by its hash in the configuration of a run in ``out``."""
    given, ico = config.model.patches, config.model.ico
    if given is None:
        return config, None
    if given.startswith(HASH) or ((out / FILE).exists() and not Path(given).exists()):
        table = kept_table(out, given, ico)
    else:
        table = PatchTable.read(Path(given), ico)
    model = config.model.model_copy(update={"patches": table.key, "layout": "stored"})
    return config.model_copy(update={"model": model}), table


def kept_table(run: Path, key: str, ico: int) -> PatchTable:
    """The table in a run folder whose ``model.patches`` is ``key``, or the name of a file that is gone."""
    table = PatchTable.read(run / FILE, ico)
    if key.startswith(HASH) and table.key != key:
        raise UserError(
            f"model.patches: {run / FILE} is not what the run began with: {table.key} is not {key}"
        )
    return table
