"""How data sets of other labs lie on disk: what a miniature of each is laid out as.

Names of files, TR, meshes and the onsets of films are those of the data sets, as their own public files have
them (docs/datasets/). Content, lengths and numbers of subjects are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SECONDS = 140  # of a film


@dataclass(frozen=True)
class Screening:
    """A film, and the scan in which it was shown.

    Attributes
    ----------
    movie : its name in the catalog
    file : of the film, below the folder of films
    task : the entities of the scan behind subject and session
    onset : scan time at which the film begins, s
    """

    movie: str
    file: str
    task: str
    onset: float = 0.0


@dataclass(frozen=True)
class Likeness:
    """A data set.

    Attributes
    ----------
    subjects : labels of the miniature's
    tr : s
    mesh : "32k" for CIFTI of 91,282 grayordinates, or "fsaverage6" or "fsaverage7" for GIFTI
    bold : the end of the names of BOLD files; ``{hemi}`` is L or R
    derivative : folder of the BOLD below that of the data set
    screenings : films, in the order of their scans
    sessions : of each scan by subject, where that differs
    confounds : the end of the names of tables of confounds; none where the BOLD is cleaned
    medial_wall : what stands for it in GIFTI: NaN, or 0
    after : volumes that go on after the film, by subject
    frame_events : whether events tell the film time of every picture
    seconds : of each film
    """

    subjects: Sequence[str]
    tr: float
    mesh: str
    bold: str
    derivative: str
    screenings: Sequence[Screening]
    sessions: Mapping[str, Sequence[str]] | None = None
    confounds: str | None = None
    medial_wall: float = 0.0
    after: Sequence[int] = (4, 4, 4, 4)
    frame_events: bool = False
    seconds: int = SECONDS

    @property
    def modalities(self) -> tuple[str, ...]:
        """Of the films."""
        heard_only = all(one.file.endswith(".wav") for one in self.screenings)
        return ("audio",) if heard_only else ("video", "audio")


LIKENESSES = {
    "cneuromod-friends": Likeness(
        subjects=("01", "02", "03", "05"),
        tr=1.49,
        mesh="32k",
        bold="space-fsLR_den-91k_bold.dtseries.nii",
        derivative="",
        screenings=(
            Screening("s01e01a", "stimuli/s1/friends_s01e01a.mkv", "task-s01e01a"),
            Screening("s06e01a", "stimuli/s6/friends_s06e01a.mkv", "task-s06e01a"),
        ),
        sessions={
            "01": ("001", "001"),
            "02": ("001", "002"),
            "03": ("003", "001"),
            "05": ("002", "002"),
        },
        confounds="desc-confounds_timeseries.tsv",
        after=(4, 5, 4, 6),
    ),
    "narratives": Likeness(
        subjects=("001", "002", "003", "004"),
        tr=1.5,
        mesh="fsaverage6",
        bold="space-fsaverage6_hemi-{hemi}_desc-clean.func.gii",
        derivative="derivatives/afni-nosmooth",
        screenings=(
            Screening("tunnel", "tunnel_audio.wav", "task-tunnel", onset=3.0),
            Screening("bronx", "bronx_audio.wav", "task-bronx", onset=12.0),
        ),
        medial_wall=float("nan"),
    ),
    "studyforrest": Likeness(
        subjects=("01", "02", "03", "04"),
        tr=2.00000061,
        mesh="32k",
        bold="space-fsLR_den-91k_bold.dtseries.nii",
        derivative="derivatives/fmriprep",
        screenings=(
            Screening("movie_run-1", "fg_av_ger_seg0.mkv", "task-movie_run-1"),
            Screening("movie_run-8", "fg_av_ger_seg7.mkv", "task-movie_run-8"),
        ),
        sessions=dict.fromkeys(("01", "02", "03", "04"), ("movie", "movie")),
        confounds="desc-confounds_timeseries.tsv",
        frame_events=True,
    ),
    "budapest": Likeness(
        subjects=("sid000005", "sid000007", "sid000009", "sid000010"),
        tr=1.0,
        mesh="fsaverage7",
        bold="space-fsaverage_hemi-{hemi}_bold.func.gii",
        derivative="derivatives/fmriprep",
        screenings=(
            Screening("movie_run-1", "budapest_part2.mp4", "task-movie_run-1", onset=10.0),
            Screening("movie_run-5", "budapest_part6.mp4", "task-movie_run-5", onset=10.0),
        ),
        confounds="desc-confounds_regressors.tsv",
        after=(10, 10, 10, 10),
        seconds=100,
    ),
}
