"""What simdata offers to Python, a function for each thing that the command line does.

The command line calls these too and takes its defaults from their signatures. Nothing heavy is imported
before a function is called. None of them prints, needs the main thread, or changes the working folder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from simdata.common.errors import UserError
from simdata.common.local_path import local
from simdata.common.progress import Callback, Progress, as_progress

if TYPE_CHECKING:
    import xarray as xr

    from simdata.build_recipe import BuildSummary
    from simdata.embedding import EmbedSummary
    from simdata.imports.importing import ImportSummary
    from simdata.parcellation import ParcellateSummary
    from simdata.play_listing import PlayListing
    from simdata.rechunking import RechunkSummary
    from simdata.release.catalog import Catalog
    from simdata.release.scene_sets import SceneSet
    from simdata.release.splits_files import SplitsLike
    from simdata.resplitting import ResplitSummary

StrPath = str | Path
OnError = Literal["stop", "skip"]
ON_ERROR: tuple[OnError, ...] = get_args(OnError)


def open(path: StrPath) -> xr.Dataset:
    """Open a store lazily with xarray, after checking that it is one.

    Parameters
    ----------
    path : str or Path
        A folder, or a URL that fsspec knows (``https://``, ``s3://``).

    Returns
    -------
    xarray.Dataset
        What ``xr.open_zarr`` gives, with int8 values decoded to float32 z-scores and dask chunks of whole
        runs and movies. Its accessor ``.simdata`` has ``catalog``, ``metadata``, ``scanner_units()`` and
        ``flag_names(name)``.

    Raises
    ------
    UserError
        If there is no store, or one of another format version.

    Examples
    --------
    >>> store = simdata.open("mini.zarr")
    >>> store.bold.dims
    ('subject', 'movie', 'second', 'hemisphere', 'vertex')
    >>> store.bold.sel(subject="1", movie="A").shape  # (seconds, hemispheres, vertices), float32
    (40, 2, 40962)
    """
    from simdata.store import open_store

    return open_store(path)


def build(
    catalog: StrPath | Catalog,
    *,
    source: StrPath,
    movies: StrPath,
    out: StrPath,
    encoding: str = "int8",
    encoders: Iterable[str] | None = None,
    modalities: Iterable[str] | None = None,
    subjects: Iterable[str] | None = None,
    workers: int = 1,
    max_memory: int | None = None,
    on_error: OnError = "stop",
    checksum: bool = True,
    spheres: StrPath | None = None,
    progress: Progress | Callback | None = None,
) -> BuildSummary:
    """Convert a release to a store, or bring a store up to what is on disk.

    Parts that are done are left alone: the same call resumes a build that was killed, adds new subjects, and
    does nothing when there is nothing to do. A run or film shows in the store when it is whole.

    Parameters
    ----------
    catalog : str, Path or Catalog
        What the release holds: the name of a catalog that comes with simdata, the path of a YAML file, or a
        `simdata.Catalog`.
    source, movies : str or Path
        Folders with the runs and with the films.
    out : str or Path
        The store to make or to bring up to date.
    encoding : {"int8", "float16", "float32"}
        Of the z-scores in the store.
    encoders : iterable of str, optional
        Embeddings of the films, each ``name,key=value,...`` (`simdata encoders list` lists them); by default
        one without weights for each modality: motion_energy, logmel, words.
    modalities : iterable of str, optional
        What of the films to take: ``video``, ``audio``, ``text`` (of transcripts); all that they have by
        default.
    subjects : iterable of str, optional
        Only these; all by default.
    workers : int
        Processes. With more than one, call from under ``if __name__ == "__main__":`` in a script.
    max_memory : int, optional
        In bytes: fewer workers are used if they might need more.
    on_error : {"stop", "skip"}
        What to do when a source is short, broken or not what the catalog says.
    checksum : bool
        Whether to hash every source with sha256.
    spheres : str or Path, optional
        Folder with HCPpipelines' or TemplateFlow's spheres (docs/surfaces.md): in place of the registration
        of fsaverage that comes with simdata, and for runs on fs_LR 164k, which need it.
    progress : Progress or callable, optional
        Hears ``(what, done, total)``; silence by default. ``simdata.common.progress.Bars`` draws bars.

    Returns
    -------
    BuildSummary
        What was converted, what was there already, and what was left out, with reasons.

    Raises
    ------
    UserError
        For the first bad source unless ``on_error`` is "skip"; if ``out`` is something else than a store of
        this recipe, or cannot be written; if a parameter is not what is said here.

    Examples
    --------
    >>> simdata.build("mini.yaml", source="bold", movies="movies", out="mini.zarr")  # it is there already
    BuildSummary(converted=0, current=3, skipped=0, complete=1, possible=2)
    """
    from simdata.build_recipe import Options, Recipe
    from simdata.building import build as build_store
    from simdata.catalog_completion import completed
    from simdata.films.content import MODALITIES
    from simdata.store.encoding import ENCODINGS
    from simdata.surface.sphere_files import SphereFiles

    _check_choice("encoding", encoding, ENCODINGS)
    _check_choice("on_error", on_error, ON_ERROR)
    if workers < 1:
        raise UserError(f"`workers` is {workers}: give 1 or more")
    out = local(out, "`out`")
    chosen, made, wanted = (None if g is None else _texts(g) for g in (subjects, encoders, modalities))
    for modality in wanted or ():
        _check_choice("modalities", modality, MODALITIES)
    folder = local(source, "`source`")
    known, text = _catalog_and_text(catalog, out)
    if known.is_bids:
        known, text = _catalog_and_text(completed(known, folder, out), out)
    return build_store(
        Recipe(
            known,
            text,
            encoding=encoding,
            encoders=made,
            modalities=wanted,
            spheres=None if spheres is None else SphereFiles.of(local(spheres, "`spheres`")),
        ),
        source=folder,
        movies=local(movies, "`movies`"),
        out=out,
        options=Options(workers, max_memory, on_error, checksum, chosen),
        progress=as_progress(progress),
    )


def plays(
    catalog: StrPath | Catalog,
    *,
    source: StrPath,
    movies: StrPath | None = None,
    subjects: Iterable[str] | None = None,
) -> PlayListing:
    """Which stretch of which film was shown in which run, and what is missing: what a build would convert.

    Parameters
    ----------
    catalog : str, Path or Catalog
        As for `build`.
    source : str or Path
        Folder with the runs, of which the headers are read.
    movies : str or Path, optional
        Folder with the films; without it, nothing is said of them.
    subjects : iterable of str, optional
        Only these; all by default.

    Returns
    -------
    PlayListing
        ``table``, a pandas.DataFrame with a row per stretch of film in a scan: ``subject, session, run,
        movie``, and in s ``onset`` in the scan, ``film_start`` in the film, ``duration`` (NaN: to the end of
        either), ``scan_seconds``, ``tr``; and ``file``. And ``missing``, a list of what is missing or cannot
        be used, and why.

    Raises
    ------
    UserError
        If the catalog is not valid, or the source has no run of it.

    Examples
    --------
    >>> simdata.plays("mini.yaml", source="bold").table[["subject", "movie", "onset", "duration"]]
      subject movie  onset  duration
    0       1     A    0.0       NaN
    """
    from simdata.catalog_completion import completed
    from simdata.play_listing import list_plays
    from simdata.release.catalog import Catalog

    known = catalog if isinstance(catalog, Catalog) else Catalog.load(catalog)
    folder = None if movies is None else local(movies, "`movies`")
    chosen = None if subjects is None else _texts(subjects)
    known = completed(known, local(source, "`source`"))
    return list_plays(known, local(source, "`source`"), folder, chosen)


def embed(
    store: StrPath,
    *,
    movies: StrPath,
    encoders: Iterable[str],
    on_error: OnError = "stop",
    progress: Progress | Callback | None = None,
) -> EmbedSummary:
    """Add embeddings of the films to a store, or replace them.

    An array appears when it is whole. The same call continues one that was killed, and does nothing when
    there is nothing to do. A film is decoded once for all encoders; the fMRI is not touched.

    Parameters
    ----------
    store : str or Path
        A store on this machine.
    movies : str or Path
        Folder with the films that the store was built from.
    encoders : iterable of str
        Such as ``"videomae,weights=FOLDER,layer=6"``.
    on_error : {"stop", "skip"}
        What to do about a film that is missing, broken or another one.
    progress : Progress or callable, optional
        Hears ``(what, done, total)``; silence by default.

    Returns
    -------
    EmbedSummary
        Names of the arrays that were written and of those already there; movies left out, with reasons.

    Raises
    ------
    UserError
        For the first bad film unless ``on_error`` is "skip"; for encoders that cannot be made; if the store
        cannot be written.

    Examples
    --------
    >>> simdata.embed("mini.zarr", movies="movies", encoders=["logmel,name=sparse,stride=2"])
    EmbedSummary(written=['audio_sparse'], current=[], skipped=0)
    """
    from simdata.embedding import embed as embed_films

    _check_choice("on_error", on_error, ON_ERROR)
    return embed_films(
        local(store, "`store`"),
        movies=local(movies, "`movies`"),
        encoders=_texts(encoders),
        on_error=on_error,
        progress=as_progress(progress),
    )


def import_embeddings(
    store: StrPath,
    sources: Mapping[str, StrPath] | StrPath | Iterable[StrPath],
    *,
    name: str,
    modality: str,
    window: int = 3,
    first: int = 0,
    stride: int = 1,
    key: str | None = None,
    drop_last: int | Mapping[str, int] | Iterable[str] = (),
    allow_missing: bool = False,
) -> ImportSummary:
    """Add embeddings that you computed elsewhere to a store, or replace them.

    Row i describes the clip of ``window`` s that begins at second ``first + i * stride`` of the movie; there
    must be a row for each clip that lies wholly inside the film. All is checked before anything is written.

    Parameters
    ----------
    store : str or Path
        A store on this machine.
    sources : dict, str, Path, or iterable of str
        ``{movie: path}``; or the path of a file with an array for each movie; or texts ``"MOVIE=PATH"``. A
        path is an .npy, .npz, .h5 or .hdf5 file with an array (clips, features) of numbers, or a folder with
        a file per clip, in the order of the numbers in their names.
    name : str
        The array becomes ``<modality>_<name>``.
    modality : str
        What of the film a row tells of: ``video``, ``audio``, or another word of lower-case letters and
        digits, such as ``text``.
    window, first, stride : int
        Length of a clip, second at which row 0's clip begins, and from one clip to the next, in s.
    key : str, optional
        Array in files that hold several; ``{movie}`` stands for the movie's name.
    drop_last : int, dict, or iterable of str
        Rows to drop from the end: of every movie, ``{movie: rows}``, or texts ``"[MOVIE=]N"``.
    allow_missing : bool
        Whether clips and movies without a row are NaN, instead of an error.

    Returns
    -------
    ImportSummary
        The array's name, whether it was written, and the rows of each movie in words.

    Raises
    ------
    UserError
        If files cannot be read, do not have a row for each clip of the film, or have rows that no clip of the
        film can have given.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(18, 4))  # B lasts 20 s: 18 clips of 3 s
    >>> np.save("b.npy", rows)
    >>> simdata.import_embeddings(
    ...     "mini.zarr", {"B": "b.npy"}, name="mine", modality="video", allow_missing=True
    ... )
    ImportSummary('video_mine', written=True, movies=['B'])
    """
    from simdata.common.pydantic_faults import validate
    from simdata.imports.clip_rows import ClipLayout
    from simdata.imports.importing import import_embeddings as import_files

    options = {"name": name, "modality": modality, "window": window, "first": first, "stride": stride}
    return import_files(
        local(store, "`store`"),
        _pairs(sources),
        layout=validate(ClipLayout, options, "import-embeddings has invalid options"),
        key=key,
        drop_last=(str(drop_last),) if isinstance(drop_last, int) else _pairs(drop_last),
        allow_missing=allow_missing,
    )


def rechunk(
    store: StrPath, out: StrPath, *, layout: str, progress: Progress | Callback | None = None
) -> RechunkSummary:
    """Write a store to another place with its BOLD in another layout; its values stay what they are.

    ``out`` appears when it is whole; the same call goes on after a kill. `simdata.build` continues only
    stores in the layout "seconds".

    Parameters
    ----------
    store, out : str or Path
        The store, and the one to make.
    layout : str
        "seconds", as built; "blocks,seconds=10"; "runs"; "compressed,codec=zstd,level=3,seconds=1".
    progress : Progress or callable, optional
        Hears ``(what, done, total)``; silence by default.

    Returns
    -------
    RechunkSummary
        ``before`` and ``after``: bytes of BOLD in the one and in the other.

    Raises
    ------
    UserError
        If ``store`` is no store or is being written to, if ``out`` exists, or for an invalid layout.
    OSError
        If a chunk is damaged.

    Examples
    --------
    >>> sizes = simdata.rechunk("mini.zarr", "blocks.zarr", layout="blocks,seconds=10")
    >>> simdata.open("blocks.zarr").simdata.metadata.layout
    {'name': 'blocks', 'seconds': 10}
    """
    from simdata.rechunking import rechunk as rewrite

    return rewrite(
        local(store, "`store`"), local(out, "`out`"), layout=layout, progress=as_progress(progress)
    )


def parcellate(
    store: StrPath,
    atlas: StrPath | Iterable[StrPath],
    *,
    out: StrPath,
    mesh: str | None = None,
    encoding: str = "float32",
    progress: Progress | Callback | None = None,
) -> ParcellateSummary:
    """Write a store to another place with the parcels of an atlas in place of hemispheres and vertices.

    A parcel's value is the mean over its vertices of the cortex in the scanner's units, as of Connectome
    Workbench's ``-cifti-parcellate``, and is then z-scored over its run. Everything else is copied. ``out``
    appears when it is whole; the same call goes on after a kill.

    Parameters
    ----------
    store : str or Path
        A store of vertices.
    atlas : str, Path or iterable of them
        A dlabel.nii; or of each hemisphere a label.gii, or a FreeSurfer annot called ``lh.`` or ``rh.``. Its
        first map counts.
    out : str or Path
        The store to make.
    mesh : {"ico6", "32k", "59k", "fsaverage5", "fsaverage6", "fsaverage7"}, optional
        That the atlas is on; None: the one with so many vertices, of fsaverage for annots.
    encoding : {"int8", "float16", "float32"}
        Of the z-scores of parcels.
    progress : Progress or callable, optional
        Hears ``(what, done, total)``; silence by default.

    Returns
    -------
    ParcellateSummary
        ``parcels``, their names; how many ``runs``; vertices of the smallest parcel, ``fewest``; and names of
        the parcels ``without`` cortex.

    Raises
    ------
    UserError
        If ``store`` is no store of vertices or is being written to, if ``out`` exists, or if the atlas cannot
        be read, is on another mesh, or has no parcel with cortex.
    OSError
        If a chunk is damaged.

    Examples
    --------
    >>> from nibabel.freesurfer import write_annot
    >>> halves, colours = np.arange(40962) % 2, np.array([[250, 0, 0, 0], [0, 0, 250, 0]])
    >>> write_annot("lh.halves.annot", halves, colours, ["even", "odd"], fill_ctab=True)
    >>> done = simdata.parcellate("mini.zarr", "lh.halves.annot", out="halves.zarr", mesh="ico6")
    >>> simdata.open("halves.zarr").parcel.values.tolist()
    ['even', 'odd']
    """
    from simdata.parcellation import parcellate as average
    from simdata.store.encoding import ENCODINGS
    from simdata.surface.atlas import MESHES

    _check_choice("encoding", encoding, ENCODINGS)
    if mesh is not None:
        _check_choice("mesh", mesh, MESHES)
    files = [atlas] if isinstance(atlas, str | Path) else list(atlas)
    return average(
        local(store, "`store`"),
        [local(file, "`atlas`") for file in files],
        local(out, "`out`"),
        mesh=mesh,
        encoding=encoding,
        progress=as_progress(progress),
    )


def resplit(store: StrPath, splits: SplitsLike) -> ResplitSummary:
    """Divide the subjects and scenes of a store into other sets, in seconds and without a conversion.

    Readers see the old sets or the new ones, also if it is killed. `simdata.build` with the same catalog
    keeps the new sets, for new subjects too. Training runs of before keep those that they were trained with.

    Parameters
    ----------
    store : str or Path
        A store on this machine.
    splits : str, PathLike[str], dict or Splits
        Name of splits that come with simdata (`simdata splits list`), path of a YAML file, or a mapping with
        the keys of a catalog's ``splits``; a part that it leaves out stays as the store has it.

    Returns
    -------
    ResplitSummary
        ``subjects`` and ``seconds`` of each set, whether they ``changed``, and ``warnings``.

    Raises
    ------
    UserError
        If ``splits`` are not valid or not for the store's catalog, or the store cannot be written to.

    Examples
    --------
    >>> simdata.resplit("mini.zarr", {"scenes": {"fractions": {"test": [0.5, 1.0]}}}).seconds
    {'train': 14, 'val': 0, 'test': 14}
    >>> simdata.open("mini.zarr").simdata.splits.scenes.fractions
    {'test': (0.5, 1.0)}
    """
    from simdata.resplitting import resplit as divide

    return divide(local(store, "`store`"), splits)


def scene_sets(
    catalog: StrPath | Catalog, splits: SplitsLike | None = None, *, frames: int = 3
) -> dict[str, SceneSet]:
    """How the film of a catalog is divided: how much of it each set has, and how near it is to training film.

    Parameters
    ----------
    catalog : str, Path or Catalog
        Name of a catalog that comes with simdata, path of a YAML file, or a Catalog.
    splits : str, PathLike[str], dict or Splits, optional
        As for `resplit`; None: the catalog's own. A part that they leave out is the catalog's.
    frames : int
        Seconds of the windows that are counted.

    Returns
    -------
    dict
        ``train``, ``val``, ``test`` and ``guard``: each with its ``seconds``, its ``windows``, the s to the
        ``nearest`` training film of the same run (None if it shares no run with it), and the share of it that
        is ``near``, within 20 s.

    Raises
    ------
    UserError
        If the catalog or the splits are not valid, or not for each other.

    Examples
    --------
    >>> simdata.scene_sets("demo", {"scenes": {"movies": {"test": ["MOVIE3"]}}})["test"]
    SceneSet(seconds=122, windows=116, nearest=None, near=0.0)
    """
    from simdata.release.catalog import Catalog
    from simdata.release.scene_sets import described
    from simdata.release.splits_files import load_splits, place_of

    if frames < 1:
        raise UserError(f"`frames` is {frames}: a window has 1 s or more")
    known = catalog if isinstance(catalog, Catalog) else Catalog.load(catalog)
    if splits is not None:
        known = known.with_splits(load_splits(splits).over(known.splits), place_of(splits))
    return described(known, frames)


def _catalog_and_text(catalog: StrPath | Catalog, out: Path) -> tuple[Catalog, str]:
    """A catalog and the text that the store keeps of it: of the store's own catalog, the text it has."""
    from simdata.release.catalog import Catalog, load, parse, text_of
    from simdata.store import open_store

    if not isinstance(catalog, Catalog):
        return load(catalog)
    if (out / "zarr.json").exists() and catalog == (there := open_store(out).simdata).catalog:
        return catalog, there.metadata.catalog_text
    text = text_of(catalog)
    return parse(
        text, "the catalog given", catalog.folder
    ), text  # again: a copy with other values was not checked


def _check_choice(name: str, value: object, choices: Collection[str]) -> None:
    if value not in choices:
        raise UserError(f"`{name}` is {value!r}: choose one of {', '.join(choices)}")


def _texts(given: StrPath | Iterable[StrPath]) -> tuple[str, ...]:
    """One or several texts; a single one is no sequence of letters."""
    return (str(given),) if isinstance(given, str | Path) else tuple(map(str, given))


def _pairs(given: Mapping[str, Any] | StrPath | Iterable[StrPath]) -> tuple[str, ...]:
    """``{movie: value}`` as the texts "movie=value" of the command line; texts as they are."""
    if isinstance(given, Mapping):
        return tuple(f"{movie}={value}" for movie, value in given.items())
    return _texts(given)
