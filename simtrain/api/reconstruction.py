"""Pictures of what was seen, looked up by BOLD."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

import pandas as pd

from simdata.common.errors import UserError
from simdata.common.local_path import local
from simdata.release.splits_files import SplitsLike
from simtrain.api.arguments import RunLike, one_or_all, open_run, set_to_test
from simtrain.common.device import torch_device
from simtrain.data.dataset import Dataset, StoreLike, open_dataset
from simtrain.data.experiments import ALL, file_of
from simtrain.reconstruction import contact_sheet, score_tables
from simtrain.reconstruction.decoders import Decoder, load_decoder
from simtrain.reconstruction.experiment import ReconstructionResult, ReconstructionSettings, Reconstructor
from simtrain.retrieval import tables
from simtrain.retrieval.figures import require
from simtrain.training.checkpoint import CHECKPOINTS


class Reconstructions:
    """What `reconstruct` returns.

    Attributes
    ----------
    folder : where `reconstruct` writes them
    settings : how it was done
    results : name of the experiment -> its tested windows, their scores and the pictures of some
    """

    def __init__(
        self,
        folder: Path,
        reconstructor: Reconstructor,
        results: dict[str, ReconstructionResult],
        dataset: Dataset,
    ) -> None:
        self.folder = folder
        self.settings, self.results = reconstructor.settings, results
        self.reconstructor, self._dataset = reconstructor, dataset
        self._rows = score_tables.tables(results, dataset)

    @property
    def metrics(self) -> pd.DataFrame:
        """A row for each experiment, score and ``from``, what made the pictures.

        ``mean`` is over windows, ``low`` and ``high`` bound its 95 % interval for other subjects and film
        clips; ``chance`` and
        ``p`` are against BOLD of other moments; ``two_way_...`` the same of two-way identification, a share.
        SSIM, correlation and cosines are without unit, PSNR is in dB. What is not computed is NaN.
        """
        found = pd.DataFrame(self._rows["scores"])
        numbers = found.columns.drop(["experiment", "score", "from"])
        return found.astype(dict.fromkeys(numbers, float))

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """``scores``, ``subjects``, ``clips`` and ``windows``, as in the CSV files."""
        return {name: pd.DataFrame(rows) for name, rows in self._rows.items()}

    def save(self, folder: str | PathLike[str] | None = None) -> None:
        """Write reconstruction.json, the tables, and a contact sheet of every experiment that has panels.

        Parameters
        ----------
        folder : str or PathLike[str], optional
            None: the one that `reconstruct` writes to.
        """
        place = self.folder if folder is None else local(folder, "folder")
        tables.write(place, self._rows)
        score_tables.write(
            place / "reconstruction.json", self._rows, self.results, self.reconstructor, self._dataset
        )
        contact_sheet.write_all(place, self.results, self._dataset, self.settings)

    def __repr__(self) -> str:
        return f"<Reconstructions of {', '.join(self.results)}: {self.settings}>"


def reconstruct(
    run: RunLike,
    store: StoreLike,
    *,
    experiment: str = ALL,
    split: str | None = None,
    exclude: str = ReconstructionSettings.exclude,
    gallery: str = ReconstructionSettings.scenes,
    neighbours: int = ReconstructionSettings.neighbours,
    lag: int | None = None,
    average_subjects: bool = ReconstructionSettings.average_subjects,
    every: int = ReconstructionSettings.every,
    sheet: int = ReconstructionSettings.panels,
    decoder: str | Decoder | None = None,
    decoder_features: str | None = None,
    seed: int = ReconstructionSettings.seed,
    splits: SplitsLike | None = None,
    checkpoint: str = CHECKPOINTS[0],
    device: str = "auto",
    progress: Callable[[str, int, int], None] = lambda experiment, done, total: None,
    save: bool = True,
    out: str | PathLike[str] | None = None,
) -> Reconstructions:
    """Show what the BOLD of held-out windows says was seen, in pictures of other clips of the film.

    Nothing is generated, unless by a ``decoder`` of yours: clips of a gallery are looked up, see
    `simtrain.reconstruction.experiment`.

    Parameters
    ----------
    run : str, PathLike[str] or object with a ``path``
        Folder of a run of `simtrain fit`, or an object whose ``path`` is one; trained with video.
    store : str, PathLike[str] or Dataset
        Path or URL of a store that simdata built, or an opened one.
    experiment : str
        What was held out of training: ``new-subjects``, ``new-scenes``, ``both``, or ``all`` that the store
        has windows for.
    split : {"test", "val"}, optional
        The set of subjects and scenes that is tested; ``val``: to choose by. None: test.
    exclude : {"movie", "scene"}
        What of the target its gallery lacks: its movie, or only its film clip (scene).
    gallery : {"train", "all"}
        Clips of training scenes (train), or of all scenes that are in a set.
    neighbours : int
        Clips in the weighted mean.
    lag : int, optional
        Seconds from stimulus to BOLD; None: as trained.
    average_subjects : bool
        Look up the mean of the subjects' embeddings.
    every : int
        Test clips that begin at multiples of so many s.
    sheet : int
        Windows whose pictures are kept, for a contact sheet; it needs matplotlib.
    decoder : str or Decoder, optional
        Your own, from embeddings to pictures: an object with ``decode``
        (`simtrain.reconstruction.decoders.Decoder`), ``module:factory``, or a registered name.
    decoder_features : str, optional
        Hand the decoder a linear prediction of this video embedding of the store, such as ``clip``; None: the
        embedding of BOLD in the common space.
    seed : int
        Of shifts, intervals, and the windows that the linear prediction is fitted on.
    splits : str, PathLike[str], dict or Splits, optional
        Sets of subjects and scenes in place of those of the run's training, as for `simtrain.fit`, or
        ``store``, its own; a part that they leave out is the run's.
    checkpoint : {"best", "last"}
        Test the weights that were best by validation, if the run kept any, or the last.
    device : {"auto", "cpu", "cuda"}
        Where to compute; auto takes the GPU if there is one.
    progress : callable
        Called with an experiment, the number of the movie that is done, and the number of movies.
    save : bool
        Write files, as `simtrain reconstruct` does.
    out : str or PathLike[str], optional
        Folder to write them to; None: the folder reconstruction of the run, of val reconstruction-val.

    Returns
    -------
    Reconstructions
        Its ``metrics`` are a table, its ``tables`` those by subject, film clip and window.

    Raises
    ------
    UserError
        If the run has no video or no model yet, subjects or scenes that should be new are not, there are too
        few windows, a gallery is empty, or the decoder's pictures are of another shape.

    Examples
    --------
    >>> few = {"experiment": "new-subjects", "every": 2, "device": "cpu", "save": False}
    >>> found = simtrain.reconstruct(run, store, **few)
    >>> found
    <Reconstructions of new-subjects: test set, gallery of training scenes without the target's movie,
    5 neighbours, lag 6 s>
    >>> sorted(set(found.metrics["from"]))
    ['gallery best', 'gallery mean', 'nearest', 'perfect BOLD', 'weighted']
    """
    if sheet:
        require("`sheet`", "give 0")
    if decoder_features is not None and decoder is None:
        raise UserError("`decoder_features` without `decoder`: there is no decoder to hand them to")
    trained, chosen = open_run(run, checkpoint), one_or_all(experiment)
    tested = set_to_test(split, experiment, to_choose=False)
    folder = trained.path / file_of("reconstruction", tested) if out is None else local(out, "out")
    settings = ReconstructionSettings(
        split=tested,
        lag=trained.config.data.lag if lag is None else lag,
        exclude=exclude,
        scenes=gallery,
        neighbours=neighbours,
        average_subjects=average_subjects,
        every=every,
        seed=seed,
        panels=sheet,
        decoder=decoder if isinstance(decoder, str | None) else type(decoder).__qualname__,
        features=decoder_features,
    )
    by = None if decoder is None else load_decoder(decoder)
    dataset = trained.divided(open_dataset(store), splits)
    reconstructor = Reconstructor(trained, dataset, settings, torch_device(device), by)
    found = Reconstructions(folder, reconstructor, reconstructor.experiments(chosen, progress), dataset)
    if save:
        found.save()
    return found
