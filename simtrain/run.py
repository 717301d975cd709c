"""The run folder: all that is needed to repeat a run, to go on with it, and to test its model.

``config.yaml`` (resolved), ``store.json``, ``software.json``, ``checkpoint.pt``, ``metrics.jsonl``,
``tensorboard/``, and later ``retrieval.json``, ``retrieval/`` and ``reconstruction/``; ``initial.pt`` and
``initial.json`` if training began from an encoder of another run, ``patches.csv`` if its patches
have an order of their own, and ``best.pt`` if it may stop early.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path

from simdata import json_text
from simdata.errors import UserError
from simtrain import config as configuration
from simtrain.config import Config, PretrainConfig, Recipe
from simtrain.dataset import Dataset, Embedding
from simtrain.initial import Initial, merged
from simtrain.patch_table import PatchTable

SOFTWARE = ("simdata", "torch", "numpy", "zarr", "xarray")


class Run:
    """A folder and the resolved configuration in it."""

    def __init__(self, path: Path, config: Recipe) -> None:
        self.path, self.config = path, config

    @classmethod
    def open(cls, path: str | Path, kind: type[Recipe] = Config) -> Run:
        """An existing run of a kind: of `simtrain fit` (`Config`) or `simtrain pretrain` (`PretrainConfig`).

        Raises
        ------
        UserError
            If ``path`` is not a run folder, or one of another kind.
        """
        file = Path(path) / "config.yaml"
        if not file.is_file():
            raise UserError(
                f"{path} is not a run folder: it has no config.yaml; make one with `simtrain fit`"
            )
        data = configuration.read_yaml(file.read_text(), str(file))
        if not (isinstance(data, dict) and data):
            raise UserError(f"{file} holds no configuration: the run is damaged; train it anew elsewhere")
        if ("mae" in data) != (kind is PretrainConfig):
            found, wanted = ("pretrain", "fit") if "mae" in data else ("fit", "pretrain")
            raise UserError(f"{path} is a run of `simtrain {found}`: this needs one of `simtrain {wanted}`")
        return cls(Path(path), configuration.parse(data, str(file), kind))

    @classmethod
    def start(
        cls,
        path: str | Path,
        config: Recipe,
        dataset: Dataset,
        initial: Initial | None = None,
        table: PatchTable | None = None,
    ) -> Run:
        """A new run, or the one in ``path`` to go on with.

        Raises
        ------
        UserError
            If ``path`` holds something else: files, or a run of another configuration or store.
        """
        path = Path(path)
        if (path / "config.yaml").exists():
            run = cls.open(path, type(config))
            run._must_match(config, dataset)
            return run
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path} exists and is not a run folder: give --out a new or empty folder")
        path.mkdir(parents=True, exist_ok=True)
        json_text.write(path / "store.json", _identity(config, dataset))
        json_text.write(path / "software.json", software_versions())
        if initial is not None:
            initial.write(path)
        if table is not None:
            table.write(path)
        (path / "config.yaml").write_text(config.to_yaml())  # last: its presence makes the folder a run
        return cls(path, config)

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def store(self) -> dict:
        """Identity of the store that the run was trained on, and of the embeddings in use."""
        return json.loads((self.path / "store.json").read_text())

    @property
    def seen_subjects(self) -> set[str]:
        """The subjects that its weights were trained or validated on, before this run too."""
        own = {subject for subject, split in self.store["subjects"].items() if split != "test"}
        return own | Initial.seen_subjects(self.path)

    @property
    def seen_scenes(self) -> dict[str, set[str]]:
        """For each movie, hashes of its clips and their sets in this training and in those before it."""
        return merged(self.store.get("scenes", {}), Initial.seen_scenes(self.path))

    def must_know(self, embedding: Embedding) -> None:
        """Refuse features that were made otherwise than those of the training.

        Raises
        ------
        UserError
            If encoder, weights or settings differ.
        """
        known = self.store.get("embeddings", {}).get(embedding.variable)
        if known is not None and known["made"] != embedding.made:
            raise UserError(
                f"{self.path} was trained on a {embedding.variable} of another encoder, other weights or "
                "other settings than the store has now: embed the films as then, or train anew"
            )

    def _must_match(self, config: Recipe, dataset: Dataset) -> None:
        if changed := configuration.differences(self.config, config):
            raise UserError(
                f"{self.path} holds a run of another configuration (its value != asked for):\n  "
                + "\n  ".join(changed)
                + "\nGive another --out, or leave --config, --set and --modalities out to go on with it."
            )
        before, now = self.store, _identity(config, dataset)
        if changed := [key for key in before if key != "path" and before[key] != now[key]]:
            raise UserError(
                f"{self.path} holds a run on another store than {dataset.path} "
                f"({', '.join(changed)} differ): give another --out"
            )


def software_versions() -> dict[str, str]:
    """Versions of Python and of what the results of a run depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in SOFTWARE}}


def _identity(config: Recipe, dataset: Dataset) -> dict:
    """Of the store, and of those of its embeddings that are in use."""
    used = dataset.embeddings(config).values() if isinstance(config, Config) else ()
    return dataset.identity | {"embeddings": {one.variable: one.identity for one in used}}
