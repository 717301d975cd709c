"""Miniatures of data sets: their files, and the planted response in a store that is built of them."""

import nibabel as nib
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import simdata
from simdata.cli.root import cli
from simdata.common.errors import UserError
from simdata.release.sources import Play
from simdata.surface.meshes import HEMISPHERES, icosphere
from simdata.synthetic.likeness import LIKENESSES
from simdata.synthetic.likeness_release import places, scenes_of, write_like
from simdata.synthetic.response import response_in_scan, subject_at

SHIFTS = np.arange(-150, 151) / 10  # s
STEP = 0.1  # s, in which the expected response is worked out


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    """Name and subjects -> folder with files and a store; made once."""
    made = {}

    def of(name, subjects, catalog=None):
        folder = tmp_path_factory.mktemp(name)
        if (name, subjects) not in made:
            write_like(folder / "like", name, subjects=subjects)
            made[name, subjects] = folder / "like"
        like = made[name, subjects]
        out = folder / "like.zarr"
        encoders = ("logmel",) if LIKENESSES[name].modalities == ("audio",) else ()
        summary = simdata.build(
            catalog or name, source=like / "bids", movies=like / "movies", out=out, encoders=encoders
        )
        return like, simdata.open(out), summary

    return of


def lag_of(store, name, subject, movie):
    """The shift (s) at which a cell is most like the planted response, and how like it is then.

    Likeness is the correlation over all rows and vertices with what the subject's maps make of the response.
    """
    like = LIKENESSES[name]
    screening = next(one for one in like.screenings if one.movie == movie)
    person = subject_at(dict.fromkeys(HEMISPHERES, icosphere(6)[0]), 0, 1 + like.subjects.index(subject))
    cell = store.bold.sel(subject=subject, movie=movie).values
    rows = np.flatnonzero(np.isfinite(cell).any(axis=(1, 2)))
    bold = np.nan_to_num(cell[rows].reshape(len(rows), -1))
    courses, overlap = bold @ person.maps, person.maps.T @ person.maps
    film = [(scenes_of(screening, like, 0), Play(0, 0, float(like.seconds)))]
    steps = round((like.seconds + 40) / STEP)
    fine = response_in_scan(film, steps, STEP, person.delay, like.modalities)
    fine /= np.maximum(fine.std(axis=1, keepdims=True), 1e-6)
    times = (np.arange(steps) + 0.5) * STEP
    drifts, _ = np.linalg.qr(np.vander(np.linspace(-1, 1, len(rows)), 3))
    likeness = []
    for shift in SHIFTS:
        planted = np.stack([np.interp(rows + 0.5 - shift, times, row, left=0) for row in fine], axis=1)
        planted -= drifts @ (drifts.T @ planted)  # as the catalogs clean
        size = np.sqrt(np.einsum("tf,fg,tg->", planted, overlap, planted)) * np.linalg.norm(bold)
        likeness.append((courses * planted).sum() / size)
    return SHIFTS[int(np.argmax(likeness))], max(likeness)


def test_the_response_follows_the_scan_s_clock():
    like = LIKENESSES["cneuromod-friends"]
    film = scenes_of(like.screenings[0], like, 0)
    early = response_in_scan([(film, Play(0.0, 0.0, 100.0))], 1400, 0.1)
    fine = response_in_scan([(film, Play(7.0, 0.0, 100.0))], 1400, 0.1)
    np.testing.assert_allclose(fine[:, 70:1000], early[:, :930], atol=1e-5)
    coarse = response_in_scan([(film, Play(7.0, 0.0, 100.0))], 90, 1.5)
    np.testing.assert_allclose(coarse, fine[:, 7:1357:15], atol=0.02 * np.abs(fine).max())
    later = response_in_scan([(film, Play(2.0, 20.0, 50.0))], 1400, 0.1)
    np.testing.assert_allclose(later[:, 500:520], early[:, 680:700], atol=1e-5)
    assert not later[:, :20].any()
    heard = response_in_scan([(film, Play(2.0, 20.0, 50.0))], 1400, 0.1, modalities=("audio",))
    assert (heard.any(axis=1) == ([False] * 8 + [True] * 4)).all()


def test_files_are_as_the_data_set_has_them(tmp_path):
    write_like(tmp_path / "like", "narratives", subjects=1)
    (left,) = (tmp_path / "like").rglob("sub-001_task-bronx_space-fsaverage6_hemi-L_desc-clean.func.gii")
    image = nib.load(left)
    values = np.stack([array.data for array in image.darrays])
    assert values.shape[1] == 40_962
    walls = np.isnan(values)
    assert (walls.all(axis=0) == walls.any(axis=0)).all()
    assert 0.05 < walls[0].mean() < 0.15
    assert float(image.meta["TimeStep"]) == 1500
    events = (tmp_path / "like/bids/sub-001/func/sub-001_task-bronx_events.tsv").read_text()
    assert events.splitlines()[1].split("\t") == ["12.0", "140.0", "story", "bronx_audio.wav"]
    assert sorted(path.name for path in (tmp_path / "like/movies").iterdir()) == [
        "bronx_audio.wav",
        "tunnel_audio.wav",
    ]


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(UserError, match=r"choose one of cneuromod-friends, narratives"):
        write_like(tmp_path / "new", "hcp")
    with pytest.raises(UserError, match="has 1 to 4"):
        write_like(tmp_path / "new", "budapest", subjects=5)
    options = ["demo", str(tmp_path / "new"), "--like", "budapest", "--density", "32k"]
    refused = CliRunner().invoke(cli, options).exception
    assert isinstance(refused, UserError)
    assert "leave out kind, without and density" in str(refused)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not empty"):
        write_like(tmp_path, "budapest")


@pytest.mark.slow
@pytest.mark.parametrize("name", LIKENESSES)
def test_the_planted_response_is_found_at_the_right_second(miniature, name):
    like = LIKENESSES[name]
    _, store, summary = miniature(name, 2)
    assert not summary.skipped
    assert store.subject.values.tolist() == list(like.subjects[:2])
    assert store.movie.values.tolist() == [one.movie for one in like.screenings]
    found = [
        lag_of(store, name, subject, screening.movie)
        for subject in like.subjects[:2]
        for screening in like.screenings
    ]
    lags, likeness = np.transpose(found)
    # Noise moves one cell's by some .1 s; volumes that were taken at k TR would move all by TR / 2.
    assert np.abs(lags).max() <= 0.4, lags
    assert abs(lags.mean()) <= 0.25, lags
    assert likeness.min() > 0.05, likeness


@pytest.mark.slow
def test_with_the_onset_ignored_it_is_found_as_much_later(miniature, tmp_path):
    text = yaml.safe_load(simdata.release.catalog.shipped()["narratives"])
    for movie in text["movies"]:
        movie.pop("plays")
    (tmp_path / "ignored.yaml").write_text(yaml.safe_dump(text))
    _, store, _ = miniature("narratives", 2, tmp_path / "ignored.yaml")
    for screening in LIKENESSES["narratives"].screenings:
        lag, _ = lag_of(store, "narratives", "001", screening.movie)
        assert abs(lag - screening.onset) <= 0.4


def test_places_of_fsaverage_mirror_each_other_but_for_the_registration():
    left, right = (places("fsaverage6")[hemisphere] for hemisphere in HEMISPHERES)
    np.testing.assert_allclose(np.linalg.norm(left, axis=1), 100)
    apart = np.linalg.norm(left - right * [1, 1, 1], axis=1)
    assert np.median(apart) > 1  # fsaverage's spheres are one, and their registrations are not
