"""The weights that training starts from: another run's encoder, kept in the run folder.

``model.init`` names a run or a checkpoint. Its encoder is copied to ``initial.pt`` of the new run, with what
is known of its origin beside it in ``initial.json``, and the resolved configuration holds the hash of the
weights in place of the path: the run is repeated and gone on with when the other folder is gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Required, TypedDict

import torch
import yaml
from torch import Tensor

from simdata.common import json_text
from simdata.common.errors import UserError
from simtrain.common.finite import must_be_sound
from simtrain.config import composition
from simtrain.config.model_sections import EncoderConfig
from simtrain.config.schema import Config, PretrainConfig
from simtrain.data.dataset import Dataset
from simtrain.models.factory import surface_encoder
from simtrain.models.sit import SiT
from simtrain.training import checkpoint, records
from simtrain.training.exposure import Exposure
from simtrain.training.kept_store import RECORD as STORE
from simtrain.training.kept_store import kept_stores

WEIGHTS, RECORD = "initial.pt", "initial.json"
IMPORTED = "imported.json"  # what a run of `simtrain import-weights` keeps of the files
HASH = "sha256:"
TOKEN = "class_token"
PLACES = ("sim.encoder.", "mae.encoder.")  # of the encoder in a learner's weights
SHAPING = (
    "ico",
    "dim",
    "depth",
    "heads",
    "dim_head",
    "mlp_ratio",
    "final_norms",
    "layout",
    "temporal",
    "frame_positions",
    "patch_embedding",
    "components",
    "positions",
    "degree",
    "attention",
)


class Around(TypedDict, total=False):
    """What the run folder around a checkpoint says of it, as JSON; empty where there is none.

    Attributes
    ----------
    config : of the run
    stores : of the identity of each, the catalog and the number of runs
    exposures : what the weights have seen of each data set (`Exposure.as_json`), in each training
    """

    config: dict[str, Any]
    stores: list[dict[str, str | int]]
    exposures: list[list[dict[str, Any]]]


class Origin(Around, total=False):
    """Where weights come from: the name of the run or file, and what is known of it."""

    name: Required[str]
    step: int | None


@dataclass(frozen=True)
class Initial:
    """An encoder's weights, and where they come from."""

    encoder: dict[str, Tensor]
    origin: Origin

    @property
    def key(self) -> str:
        """``sha256:`` and the hash of the names, types, shapes and values of all weights."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.encoder.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return HASH + digest.hexdigest()

    @classmethod
    def read(cls, path: Path) -> Initial:
        """The encoder in a run folder, in a checkpoint, or in the ``initial.pt`` of a run.

        Raises
        ------
        UserError
            If there is none, or it is not finite.
        """
        file = checkpoint.weights_file(path) if path.is_dir() else path
        if not file.is_file():
            raise UserError(f"model.init: there is no {file}; give a run folder with a checkpoint, or a file")
        try:
            state = checkpoint.load(file)
        except UserError as error:
            raise UserError(f"model.init: {error}") from None
        encoder = _encoder_of(state)
        if not encoder:
            raise UserError(f"model.init: {file} holds no surface encoder; give a run of `simtrain pretrain`")
        must_be_sound(encoder, f"model.init: {file}", "training cannot start from it; give other weights")
        if file.name == WEIGHTS and (record := file.with_name(RECORD)).is_file():
            return cls(encoder, records.read(record, ["origin"])["origin"])
        return cls(encoder, {"name": path.name, "step": state.get("step"), **_run_around(file)})

    @staticmethod
    def exposures(run: Path) -> list[list[Exposure]]:
        """What the weights with which the run in ``run`` began have seen in each training before it."""
        origin, imported = _origin(run), frozenset(_imported_subjects(run))
        found = [[Exposure.read(one) for one in training] for training in origin.get("exposures", [])]
        if "seen_subjects" in origin:  # records of before they told data sets apart
            found.append([_of_before(origin)])
        return [*found, [Exposure(None, imported, imported, {})]] if imported else found

    def must_fit(self, config: Config, dataset: Dataset) -> None:
        """Compare sizes with the encoder of a configuration; a class token may join, as published.

        Raises
        ------
        UserError
            If they differ; every key is listed.
        """
        if known := self.origin.get("config"):
            wanted = config.model_dump(mode="json")
            known = {
                **known,
                "model": EncoderConfig().model_dump() | known["model"],
            }  # runs from before a key
            keys = [("data", "frames"), *(("model", name) for name in SHAPING)]
            faults = [
                f"{section}.{name}: {known[section][name]} != {wanted[section][name]}"
                for section, name in keys
                if known[section][name] != wanted[section][name]
            ]
            if known["model"]["class_token"] and not wanted["model"]["class_token"]:
                faults.append("model.class_token: True != False")
            if dataset.parcels and not faults:  # of which there are as many as the store has
                faults = self._misshapen(config, dataset)
        else:
            faults = self._misshapen(config, dataset)
        if faults:
            raise UserError(
                f"model.init: the encoder of {self.origin['name']} is not of the size asked for "
                "(its value != asked for):\n  " + "\n  ".join(faults)
            )

    def write(self, folder: Path) -> None:
        checkpoint.save(folder / WEIGHTS, {"encoder": self.encoder})
        record = {"key": self.key, "origin": self.origin}
        json_text.write(folder / RECORD, record)

    def _misshapen(self, config: Config, dataset: Dataset) -> list[str]:
        patches, vertices = dataset.patches(config.model.ico).shape
        with torch.device("meta"):
            wanted = _shapes(
                surface_encoder(config.model, (patches, vertices), config.data.frames).state_dict()
            )
        found = _shapes(self.encoder)
        return [
            f"encoder.{name}: {found.get(name, 'missing')} != {wanted.get(name, 'none')}"
            for name in [*wanted, *(found.keys() - wanted.keys())]
            if found.get(name) != wanted.get(name) and not (name == TOKEN and name not in found)
        ]


def resolve_initial(config: Config, out: Path, dataset: Dataset) -> tuple[Config, Initial | None]:
    """``model.init`` read, checked, and replaced by its hash in the configuration of the run in ``out``."""
    given = config.model.init
    if given is None:
        if config.model.freeze != "none":
            raise UserError("model.freeze needs model.init: there is no use in keeping random weights")
        return config, None
    initial = _kept(given, out) or _named(given)
    initial.must_fit(config, dataset)
    return config.model_copy(update={"model": config.model.model_copy(update={"init": initial.key})}), initial


def start_options(config: Config | PretrainConfig, run: Path) -> list[str]:
    """What `simtrain fit` must be given, beside the store and --out, to start from the encoder of a run."""
    standard = composition.load(composition.DEFAULT_PRESET)
    wanted = {
        "data": config.data.model_dump(include={"frames", "hemispheres", "normalise", "test_normalise"}),
        # Weights keep their order; an encoder without a class token gets one, as in the published code.
        "model": config.model.model_dump(exclude={"patches", "init", "freeze", TOKEN}),
    }
    settings = {
        f"{section}.{name}": value
        for section, values in wanted.items()
        for name, value in values.items()
        if value != getattr(getattr(standard, section), name)
    }
    settings["model.init"] = run
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def load_kept(run: Path, key: str, encoder: SiT) -> None:
    """Give an encoder the weights in the folder of a run whose ``model.init`` is ``key``.

    A class token that those weights lack, as vsMAE's do, begins at 0, as published.
    """
    initial = Initial.read(run / WEIGHTS)
    if initial.key != key:
        raise UserError(f"{run / WEIGHTS} is not what the run began with: it has {initial.key}, not {key}")
    weights = initial.encoder
    if encoder.class_token is not None and TOKEN not in weights:
        weights = {**weights, TOKEN: torch.zeros_like(encoder.class_token)}
    encoder.load_state_dict(weights)


def _kept(given: str, out: Path) -> Initial | None:
    """What the run in ``out`` keeps, if it is meant: by its hash, or by the name of what is gone."""
    if not (out / WEIGHTS).exists():
        return None
    kept, path = Initial.read(out / WEIGHTS), Path(given)
    return kept if given == kept.key or (not path.exists() and path.name == kept.origin["name"]) else None


def _named(given: str) -> Initial:
    if given.startswith(HASH):
        raise UserError(
            f"model.init: {given[:19]}... is the hash of weights that another run keeps: give the path of "
            f"its {WEIGHTS}"
        )
    return Initial.read(Path(given))


def _encoder_of(state: Any) -> dict[str, Tensor]:
    if not isinstance(state, dict):
        return {}
    if "encoder" in state:
        return state["encoder"]
    weights = checkpoint.tested_weights({"learner": {}, **state})
    return {
        name.removeprefix(place): tensor
        for place in PLACES
        for name, tensor in weights.items()
        if name.startswith(place)
    }


def _run_around(file: Path) -> Around:
    """What the run folder that a checkpoint lies in says of it."""
    folder, config = file.parent, file.with_name("config.yaml")
    stores = kept_stores(folder)
    if not (config.is_file() and (stores[0].folder / STORE).is_file()):
        return {}
    known = [store.record for store in stores]
    exposures = [[Exposure.of(one) for one in known], *Initial.exposures(folder)]
    return {
        "config": yaml.safe_load(config.read_text()),
        "stores": [
            {
                "catalog_name": one["catalog_name"],
                "catalog_sha256": one["catalog_sha256"],
                "runs": one["runs"],
            }
            for one in known
        ],
        "exposures": [[one.as_json for one in training] for training in exposures],
    }


def _of_before(origin: Mapping[str, Any]) -> Exposure:
    """That of a record of before they told data sets apart, or even whom weights were trained on."""
    seen = origin["seen_subjects"]
    scenes = {movie: frozenset(hashes) for movie, hashes in origin.get("seen_scenes", {}).items()}
    return Exposure(None, frozenset(origin.get("trained_subjects", seen)), frozenset(seen), scenes)


def _origin(run: Path) -> Mapping[str, Any]:
    """What the run in a folder says of the weights that it began with."""
    record = run / RECORD
    origin: Mapping[str, Any] = records.read(record, ["origin"])["origin"] if record.exists() else {}
    return origin


def _imported_subjects(run: Path) -> list[str]:
    """Whom imported weights count as trained on."""
    file = run / IMPORTED
    subjects: list[str] = records.read(file).get("seen_subjects", []) if file.exists() else []
    return subjects


def _shapes(weights: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}
