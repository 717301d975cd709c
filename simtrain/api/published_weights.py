"""Weights of the published code, as a run."""

from __future__ import annotations

from os import PathLike

from simdata.common.local_path import local
from simdata.release.splits_files import SplitsLike
from simtrain.api.runs import Overrides, TrainedRun, override_texts
from simtrain.data.dataset import StoreLike, open_dataset
from simtrain.models.published_frames import TemporalRep
from simtrain.training import published


def import_weights(
    store: StoreLike,
    out: str | PathLike[str],
    fmri_encoder: str | PathLike[str],
    *,
    fmri_wrapper: str | PathLike[str] | None = None,
    video_wrapper: str | PathLike[str] | None = None,
    audio_wrapper: str | PathLike[str] | None = None,
    patches: str | PathLike[str] | None = None,
    temporal_rep: TemporalRep | None = None,
    frames: int | None = None,
    heads: int | None = None,
    splits: SplitsLike | None = None,
    overrides: Overrides = (),
) -> TrainedRun:
    """Make a run of published weights of SIM or vsMAE, as `simtrain import-weights` does.

    With the wrappers, `retrieve` tests it; the encoder alone can start a `fit`. When outputs are those of
    the published code is in docs/testing.md.

    Parameters
    ----------
    store : str, PathLike[str] or Dataset
        Path or URL of a store, or what `open_dataset` returned.
    out : str or PathLike[str]
        Run folder to make: new or empty.
    fmri_encoder : str or PathLike[str]
        fmri-encoder-best.pt, or a checkpoint of vsMAE.
    fmri_wrapper, video_wrapper, audio_wrapper : str or PathLike[str], optional
        The projectors, such as fmri-wrapper-best.pt: fMRI's with another, or none.
    patches : str or PathLike[str], optional
        The table that the weights were made with, such as triangle_indices_ico_6_sub_ico_3.csv; None: the
        geometry's own order, with which outputs do not equal the published ones.
    temporal_rep : {"channels", "concat", "avg", "mix", "tubelet"}, optional
        fMRI.temporal_rep of the published training's hparams.yml; None: what the weights show.
    frames : int, optional
        fMRI.nbr_frames of it; None: what the weights show.
    heads : int, optional
        Attention heads; None: as many as give 64 dimensions each.
    splits : str, PathLike[str], dict or Splits, optional
        Whose training subjects and scenes the weights have seen; None: published-code in a store of
        hcp7t-movie, and in others that is not known.
    overrides : dict or iterable of str
        Such as ``{"data.video": "videomae"}``, where the store has several encoders.

    Returns
    -------
    TrainedRun
        At step 0; its ``notes`` say what is not as in the published training.

    Raises
    ------
    UserError
        If ``out`` is not new or empty, files, table, store and configuration do not fit, or weights are not
        finite, or make the same of everything in the store.

    Examples
    --------
    >>> run = simtrain.import_weights(
    ...     store, out, encoder, fmri_wrapper=fmri, video_wrapper=video, audio_wrapper=audio
    ... )
    >>> run.config.data.normalise, run.config.data.features
    ('vertex-demean', 'raw')
    >>> few = {"clips": 10, "draws": 2, "device": "cpu", "save": False}
    >>> found = simtrain.retrieve(run, store, experiment="new-subjects", **few)
    >>> found.metrics.direction.unique().tolist()
    ['fmri->video', 'video->fmri', 'fmri->audio', 'audio->fmri', 'fmri->video+audio', 'video+audio->fmri']
    """
    given = {"fmri": fmri_wrapper, "video": video_wrapper, "audio": audio_wrapper}
    wrappers = {name: local(file, f"{name}_wrapper") for name, file in given.items() if file is not None}
    table = None if patches is None else local(patches, "patches")
    files = published.Files(local(fmri_encoder, "fmri_encoder"), wrappers, table, temporal_rep, frames)
    run = published.import_weights(
        open_dataset(store), local(out, "out"), files, override_texts(overrides), heads, splits
    )
    return TrainedRun(run)
