"""What training needs to know of a store, read with plain xarray."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import NotRequired, TypedDict, TypeVar, cast, overload

import numpy as np
import xarray as xr

from simdata.common.errors import UserError
from simdata.release.source_records import source_hash
from simdata.release.splits import Splits
from simdata.store.axes import check_axes, is_of_parcels
from simdata.store.damage import check_runs
from simdata.store.location import location, open_zarr
from simdata.store.metadata import Metadata
from simdata.store.provenance import RUNS, run_records
from simdata.store.run_codes import films, reaches, run_codes
from simdata.store.splitting import Sets, divided
from simtrain.common.finite import LARGEST
from simtrain.config import modalities
from simtrain.config.data_sections import PARCELS
from simtrain.config.resolved import Resolved, ResolvedConfig, ResolvedPretrainConfig
from simtrain.config.schema import Config, PretrainConfig
from simtrain.data.kept_statistics import must_be_kept
from simtrain.surface.patches import patch_vertices

SPLITS = ("none", "train", "val", "test")
NOT_SETTINGS = ("long_name", "films")  # attributes of an embedding that say nothing of its encoder
ROUNDING = 1e-6  # s: 30 pictures of .1 s are 3.0000000000000004 s, and not 4
NO_MESH = "is a store of parcels, which have no mesh"
STIMULI = tuple(kind for kind in modalities.KINDS if kind != "fmri")


class Identity(TypedDict):
    """What tells a store from others, as JSON.

    Attributes
    ----------
    subjects : name -> its set
    runs : how many are complete
    cortex : hash of the vertices
    parcels : hash of the names of parcels, in a store of these
    scenes : movie -> hash of its clips and their sets
    """

    path: str
    format_version: str
    catalog_name: str
    catalog_sha256: str
    subjects: dict[str, str]
    runs: int
    cortex: str
    scenes: dict[str, str]
    parcels: NotRequired[str]


@dataclass(frozen=True)
class Embedding:
    """Stimulus features: ``values`` (movie, second, feature) float32, NaN where there is no whole clip.

    Row s describes the ``window`` s that begin at second s. ``made`` is a hash of how the rows were made:
    encoder, weights and settings, but not the films.
    """

    variable: str
    values: np.ndarray
    window: int
    made: str = ""


@dataclass(frozen=True, repr=False)
class Dataset:
    """A store, opened once; positions along its axes are what windows refer to.

    Its small arrays are in memory, and each embedding from its first use on.

    Attributes
    ----------
    path : absolute, or a URL
    subject_split : (subjects,) int8, position in ``SPLITS``
    volumes : (movies,) int, seconds of each run that the store has
    complete : (subjects, movies) bool
    run : (subjects, movies, seconds) int16, the scan that a row of BOLD is of, from 1; 0: there is none;
        -k: it is of scan k and was scrubbed
    reach : (movies,) int, s; rows of a scan less than this apart share volumes
    film : (movies,) int, position of the first movie that is the same film
    segment, scene_split : (movies, seconds) int8; 0 is rest, and no set; the guard between sets has a code
        of its own behind those of ``SPLITS``
    cortex : (hemispheres, vertices) bool; of parcels, (1, parcels): they count as one hemisphere
    lag : s, the catalog's
    identity : of the store, as JSON
    view : the store as xarray has it, lazily; without dask
    segments : code in ``segment`` -> name of the clip
    sources : "SUBJECT/MOVIE" -> hash of what the run was made of, where the store knows it
    given_splits : by which it is divided in place of its own
    only : the subject whose runs alone are in use (`of_subject`)
    """

    path: str | Path
    subjects: list[str]
    subject_split: np.ndarray
    volumes: np.ndarray
    complete: np.ndarray
    run: np.ndarray
    reach: np.ndarray
    film: np.ndarray
    segment: np.ndarray
    scene_split: np.ndarray
    cortex: np.ndarray
    lag: int
    encoders: dict[str, list[str]]
    identity: Identity
    view: xr.Dataset = field(compare=False)
    segments: dict[int, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    given_splits: Splits | None = None
    only: str | None = None
    _embeddings: dict[str, Embedding] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        return f"Dataset({str(self.path)!r}: {len(self.subjects)} subjects, {len(self.movies)} movies)"

    @property
    def movies(self) -> list[str]:
        """Their names, along the axis."""
        return list(self.identity["scenes"])

    @cached_property
    def parcels(self) -> list[str]:
        """Their names, along the axis; none in a store of vertices."""
        return [str(name) for name in self.view.parcel.values] if is_of_parcels(self.view) else []

    def patches(self, ico: int) -> np.ndarray:
        """(patches, vertices of one) int64: faces of an icosphere on the mesh; each parcel by itself."""
        return np.arange(len(self.parcels))[:, None] if self.parcels else patch_vertices(ico)

    def must_have_mesh(self, what: str) -> None:
        """Refuse a store of parcels for ``what`` needs a surface.

        Raises
        ------
        UserError
            If it is one.
        """
        if self.parcels:
            raise UserError(f"{what} needs vertices, and {self.path} {NO_MESH}: give the store of vertices")

    @cached_property
    def splits(self) -> Splits | None:
        """By which it is divided; None if its own are not known, or its sets are not what they say."""
        if self.given_splits is not None:
            return self.given_splits
        try:
            own = divided(self.view, self.path)
        except UserError:  # other hands have taken the catalog off
            return None
        same = np.array_equal(self.subject_split, _codes(own.subjects))
        return own.splits if same and np.array_equal(self.scene_split, own.scenes) else None

    @property
    def variables(self) -> list[str]:
        """Names of its embeddings, such as ``video_clip``."""
        return [f"{kind}_{name}" for kind, names in self.encoders.items() for name in names]

    @property
    def sets(self) -> np.ndarray:
        """(movies, seconds) int8: ``scene_split`` where the guard is in no set, too."""
        return np.where(self.scene_split < len(SPLITS), self.scene_split, 0)

    def with_sets(self, sets: Sets) -> Dataset:
        """The same store with other sets; what was read of it is shared."""
        names, codes = sets.subjects.tolist(), sets.scenes
        identity: Identity = {
            **self.identity,
            "subjects": dict(zip(self.subjects, names, strict=True)),
            "scenes": _scenes(self.view, codes),
        }
        return replace(
            self,
            subject_split=_codes(sets.subjects),
            scene_split=codes,
            identity=identity,
            given_splits=sets.splits,
        )

    def of_subject(self, subject: str) -> Dataset:
        """The same store with the runs of one subject alone, for a model that is adapted to them.

        Raises
        ------
        UserError
            If it has no such subject.
        """
        if subject not in self.subjects:
            raise UserError(f"{self.path} has no subject {subject}, to whom the run is adapted")
        own = np.array(self.subjects) == subject
        run = np.where(own[:, None, None], self.run, 0).astype(self.run.dtype)
        return replace(self, complete=self.complete & own[:, None], run=run, only=subject)

    def embedding(self, variable: str) -> Embedding:
        """The features of an embedding, such as ``video_clip``: read when first asked for, and then kept.

        Raises
        ------
        UserError
            If a row is damaged: infinite or as good as, or NaN in a part of its features.
        """
        if variable not in self._embeddings:
            self._embeddings[variable] = self._read(variable)
        return self._embeddings[variable]

    def embeddings(self, config: Resolved) -> dict[str, Embedding]:
        """The features of every stimulus modality of a configuration; none for `simtrain pretrain`'s.

        Raises
        ------
        UserError
            If the store, which may be another than it was resolved on, lacks one; or as `embedding`.
        """
        if isinstance(config, ResolvedPretrainConfig):
            return {}
        own = resolve(config, self)
        return {modality: self.embedding(own.variable(modality)) for modality in own.stimuli}

    def _read(self, variable: str) -> Embedding:
        array = self.view[variable]
        made = {name: value for name, value in array.attrs.items() if name not in NOT_SETTINGS}
        # Of a selection, even of everything, xarray does not keep the values a second time.
        values = array.isel(movie=slice(None)).values.astype(np.float32)
        _must_be_whole(self.path, variable, values, self.movies)
        return Embedding(
            variable,
            values,
            math.ceil(array.attrs["window"] - ROUNDING),
            digest(json.dumps(made, sort_keys=True).encode()),
        )


StoreLike = str | PathLike[str] | Dataset
Wanted = TypeVar("Wanted", bound=Config | PretrainConfig)


def open_dataset(store: StoreLike) -> Dataset:
    """Open a store for training and testing. All functions that take a store take what this returns too.

    Parameters
    ----------
    store : str, PathLike[str] or Dataset
        Path or URL of a store that simdata built; an opened one is returned as it is.

    Returns
    -------
    Dataset
        Its small arrays, and its axes' names. It reads an embedding once, however often it is used.

    Raises
    ------
    UserError
        If there is no store of a known format, or a part of one that lacks what training needs.

    Examples
    --------
    >>> dataset = simtrain.open_dataset(store)
    >>> dataset.movies
    ['M1', 'M2']
    >>> dataset.cortex.shape  # hemispheres, vertices
    (2, 40962)
    """
    return store if isinstance(store, Dataset) else _opened(location(store))


def _opened(path: str | Path) -> Dataset:
    view = open_zarr(path, "build one with `simdata build`", chunks=None)
    metadata = Metadata.of(view, path)
    check_axes(view, path)
    check_runs(path)
    return Dataset(
        path=path,
        subjects=[str(subject) for subject in view.subject.values],
        subject_split=_codes(view.subject_split.values),
        volumes=np.minimum(view.volumes.values, view.sizes["second"]),
        complete=view.run_status.values == 1,
        run=run_codes(view, path),
        reach=reaches(view, path),
        film=films(view),
        segment=view.segment.values,
        scene_split=view.scene_split.values,
        cortex=np.atleast_2d(view.cortex.values.astype(bool)),
        lag=metadata.stimulus_lag,
        encoders=_known_encoders(view),
        identity=_identity(path, view, metadata),
        view=view,
        segments=_segments(view),
        sources=_sources(view, path),
    )


@overload
def resolve(config: Config, dataset: Dataset) -> ResolvedConfig: ...
@overload
def resolve(config: PretrainConfig, dataset: Dataset) -> ResolvedPretrainConfig: ...
def resolve(config: Config | PretrainConfig, dataset: Dataset) -> Resolved:
    """The configuration with the lag, and for `fit` the encoders, filled in from the store.

    Raises
    ------
    UserError
        If the store lacks an embedding in use, has several to choose from, or one is in use twice; or lacks
        the statistics that ``data.normalise`` takes, or the places that are asked for.
    """
    config = placed(config, dataset)
    lag = dataset.lag if config.data.lag is None else config.data.lag
    if isinstance(config, PretrainConfig):
        alone = ResolvedPretrainConfig.of(config, lag)
        must_be_kept(dataset, alone.data.by_vertex)
        return alone
    found = ResolvedConfig.of(config, lag, _encoders(config, dataset))
    variables = [found.variable(modality) for modality in found.stimuli]
    if twice := [name for name in dict.fromkeys(variables) if variables.count(name) > 1]:
        raise UserError(f"`modalities` {','.join(found.modalities)}: {twice[0]} is in use twice")
    for data in (found.data, found.as_tested.data):
        must_be_kept(dataset, data.by_vertex)
    return found


def placed(config: Wanted, dataset: Dataset) -> Wanted:
    """The configuration with the places that a store has: hemispheres, or parcels with learned positions.

    Raises
    ------
    UserError
        If it asks for places that the store has not.
    """
    data, model = config.data, config.model
    if not dataset.parcels:
        if data.hemispheres == PARCELS:
            raise UserError(f"data.hemispheres: parcels, but {dataset.path} is a store of vertices")
        return config
    for key, asked in (
        (f"data.hemispheres: {data.hemispheres}", data.hemispheres in ("L", "R")),
        ("model.patches", model.patches is not None),
        ("model.layout: stored", model.layout == "stored"),
    ):
        if asked:
            raise UserError(f"{key}: {dataset.path} {NO_MESH}; leave it out")
    # A parcel's number is no place, and where it is is not known. Frames that run on need sines.
    learned = {} if model.frame_positions == "sequence" else {"positions": "learned"}
    update = {
        "data": data.model_copy(update={"hemispheres": PARCELS}),
        "model": model.model_copy(update=learned),
    }
    return cast(Wanted, config.model_copy(update=update))


def _encoders(config: Config, dataset: Dataset) -> dict[str, str | None]:
    """The encoders of ``video``, ``audio`` and ``text``, None for what is not in use."""
    encoders: dict[str, str | None] = dict.fromkeys(STIMULI)
    for modality in config.stimuli:
        if modality in STIMULI:
            encoders[modality] = _encoder(dataset, modality, getattr(config.data, modality))
        else:
            _must_have(dataset, modality)
    return encoders


def _must_have(dataset: Dataset, variable: str) -> None:
    if variable not in (known := dataset.variables):
        raise UserError(
            f"{dataset.path} has no embedding {variable} (`modalities`); it has: {', '.join(known) or 'none'}"
        )


def _known_encoders(store: xr.Dataset) -> dict[str, list[str]]:
    """The names of the embeddings of each kind, video, audio and text first, if only as empty lists."""
    found: dict[str, list[str]] = {kind: [] for kind in STIMULI}
    for name, array in sorted(store.data_vars.items(), key=lambda item: str(item[0])):
        if "modality" in array.attrs:
            kind = str(array.attrs["modality"])
            found.setdefault(kind, []).append(str(name).removeprefix(f"{kind}_"))
    return found


def _encoder(dataset: Dataset, modality: str, wanted: str | None) -> str:
    known = dataset.encoders[modality]
    listed = ", ".join(known) or "none"
    if wanted is None and len(known) == 1:
        return known[0]
    if not known:
        there = dataset.variables
        kinds = ",".join(["fmri", *(kind for kind, names in dataset.encoders.items() if names)])
        advice = f"it has: {', '.join(there)}; take `modalities` {kinds}" if there else "nor of anything else"
        raise UserError(f"{dataset.path} has no embedding of {modality}; {advice}")
    if wanted is None:
        raise UserError(
            f"{dataset.path} has {len(known)} {modality} embeddings ({listed}): choose with "
            f"`overrides` data.{modality}=NAME, take several with `modalities` fmri,{modality}_NAME,..., or "
            f"leave {modality} out of `modalities`"
        )
    if wanted not in known:
        raise UserError(
            f"{dataset.path} has no {modality} embedding {wanted!r} (data.{modality}); it has: {listed}"
        )
    return wanted


def _must_be_whole(path: str | Path, variable: str, values: np.ndarray, movies: list[str]) -> None:
    """Rows can be computed with, or are NaN throughout where there is no clip."""
    broken = ~(np.abs(values) <= LARGEST).all(axis=-1) & ~np.isnan(values).all(axis=-1)
    if broken.any():
        movie, second = np.argwhere(broken)[0]
        raise UserError(
            f"{path}: {broken.sum()} rows of {variable} are infinite, larger than {LARGEST:g}, or NaN in "
            f"some of their features, the first at {second} s of {movies[movie]}: the array is damaged; "
            "embed the films again with `simdata embed`, or import the embeddings again"
        )


def _identity(path: str | Path, store: xr.Dataset, metadata: Metadata) -> Identity:
    subjects = store.subject.values.tolist()
    identity: Identity = {
        "path": str(path),
        "format_version": metadata.format_version,
        "catalog_name": metadata.catalog_name,
        "catalog_sha256": metadata.catalog_sha256,
        "subjects": dict(zip(subjects, store.subject_split.values.tolist(), strict=True)),
        "runs": int((store.run_status == 1).sum()),
        "cortex": digest(np.packbits(store.cortex.values.astype(bool)).tobytes()),
        "scenes": _scenes(store, store.scene_split.values),
    }
    if is_of_parcels(store):
        identity["parcels"] = digest("\n".join(store.parcel.values.tolist()).encode())
    return identity


def _scenes(store: xr.Dataset, split: np.ndarray) -> dict[str, str]:
    """Movie -> hash of its clips and their sets, which ``split`` (movies, seconds) has."""
    segment, volumes, movies = (store[name].values for name in ("segment", "volumes", "movie"))
    return {
        # Up to the film's end: a longer one that joins makes room behind the others.
        str(movie): digest(_division(clips[:length], sets[:length]).tobytes())
        for movie, clips, sets, length in zip(movies, segment, split, volumes, strict=True)
    }


def _codes(names: np.ndarray) -> np.ndarray:
    """(subjects,) int8: positions of sets in ``SPLITS``."""
    return np.array([SPLITS.index(name) for name in names], dtype=np.int8)


def _segments(store: xr.Dataset) -> dict[int, str]:
    """Names of film clips by the code that ``segment`` has for them."""
    attrs = store.segment.attrs
    codes = np.atleast_1d(attrs.get("flag_values", [])).tolist()
    return dict(zip(codes, attrs.get("flag_meanings", "").split(), strict=True))


def _sources(store: xr.Dataset, path: str | Path) -> dict[str, str]:
    """Of the store's provenance, what `Dataset.sources` holds; nothing, if other hands have taken it off."""
    records = run_records(store, path) if RUNS in store else {}
    hashes = {key: source_hash(record) for key, record in records.items() if record.get("sha256")}
    return {key: found for key, found in hashes.items() if found}


def _division(segment: np.ndarray, split: np.ndarray) -> np.ndarray:
    """(2, seconds) int16: the clips of a movie by their order in it, and their sets.

    The store's own numbers of clips change for all movies when one is added.
    """
    order = {code: place for place, code in enumerate(dict.fromkeys(segment.tolist()))}
    return np.array([[order[code] for code in segment.tolist()], split], np.int16)


def digest(content: bytes) -> str:
    """The sha256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
