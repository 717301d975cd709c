"""Each property of the study's miniature by a statistic of what is written, on and off."""

from __future__ import annotations

import itertools
from functools import cache

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from scipy.spatial import cKDTree
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from simdata.cli import cli
from simdata.common.errors import UserError
from simdata.encoders import create_all
from simdata.films.blocks import stimulus_blocks
from simdata.release import catalog as catalogs
from simdata.release.found_runs import find_runs
from simdata.release.sources import find_film
from simdata.surface.meshes import RADIUS, fs_lr_sphere
from simdata.synthetic import write_demo
from simdata.synthetic.demo import KINDS
from simdata.synthetic.grayordinates import CORTEX_ROWS, cortex_vertices
from simdata.synthetic.latents import latents_at
from simdata.synthetic.study.generator import COMMON, Study
from simdata.synthetic.study.properties import ALL, PROPERTIES, remaining
from simdata.synthetic.study.responses import feature_counts, features
from simdata.synthetic.study.scenes import CATEGORIES, HEARD_SIGNS, NAMES, SEEN_SIGNS
from simdata.synthetic.study.topography import REGIONS, places

CATALOG, _ = catalogs.load("demo-study")
LEFT = fs_lr_sphere("32k", "L")[0][cortex_vertices("32k", "L")]
CORTEX = sum(CORTEX_ROWS["32k"].values())


def of_seconds(seconds):
    """The first movie alone, up to the last clip that ends by then."""
    movie = CATALOG.movies[0]
    segments = [one for one in movie.segments if one.stop <= seconds - 10]
    movie = movie.model_copy(update={"volumes": seconds, "segments": segments})
    return CATALOG.model_copy(update={"movies": [movie], "splits": catalogs.Splits()})


SHORT = of_seconds(250)
MOVIE = CATALOG.movies[0]
FILM = SHORT.movies[0]
RUN = "{0}/MNINonLinear/Results/tfMRI_MOVIE1_7T_AP/tfMRI_MOVIE1_7T_AP_Atlas_MSMAll_hp2000_clean.dtseries.nii"


@cache
def scanned(number, without=()):
    """(rows of the left hemisphere, seconds) z-scored BOLD of a subject in the catalog's first movie."""
    data = Study(0, remaining(without)).subject("32k", number)(MOVIE)[: len(LEFT)]
    data -= data.mean(axis=1, keepdims=True)
    return data / data.std(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "release"
    write_demo(folder, kind="study", subjects=2, catalog=SHORT)
    return folder


def near(region, share=1.0):
    """Rows within a share of a region's radius."""
    pole, radius, _ = REGIONS[region]
    middle = RADIUS * np.array(pole) / np.linalg.norm(pole)
    return np.flatnonzero(np.linalg.norm(LEFT - middle, axis=1) < share * radius)


def silent():
    """Rows that no region reaches."""
    return np.setdiff1d(np.arange(len(LEFT)), np.concatenate([near(name, 1.7) for name in REGIONS]))


def neighbours_correlation(data):
    """Of rows without response, 3 mm from each other."""
    rows = silent()
    pairs = cKDTree(LEFT[rows]).sparse_distance_matrix(cKDTree(LEFT[rows]), 3.3, output_type="coo_matrix")
    apart = pairs.data > 2.7
    first, second = rows[pairs.row[apart]], rows[pairs.col[apart]]
    return np.mean(data[first] * data[second])


def spectrum_slope(data):
    """Of the mean power over rows without response, between .015 and .4 Hz."""
    power = (np.abs(np.fft.rfft(data[silent()], axis=1)) ** 2).mean(axis=0)
    frequency = np.fft.rfftfreq(data.shape[1])
    inside = (frequency > 0.015) & (frequency < 0.4)
    return -np.polyfit(np.log(frequency[inside]), np.log(power[inside]), 1)[0]


def global_share(data):
    """Of the variance of rows without response, what their mean explains."""
    mean = data[silent()].mean(axis=0)
    return np.mean((data[silent()] @ mean / len(mean)) ** 2) / mean.var()


def connectivity_agreement(one, other):
    """Correlation of two subjects' correlations between places far from each other, without the mean."""
    rows = silent()
    places = LEFT[rows[::40]]
    around = cKDTree(LEFT[rows]).query_ball_point(places, 12.0)
    far = np.linalg.norm(places[:, None] - places, axis=-1) > 40
    found = []
    for data in (one, other):
        courses = np.stack([data[rows[near]].mean(axis=0) for near in around])
        found.append(np.corrcoef(courses - courses.mean(axis=0))[far])
    return np.corrcoef(*found)[0, 1]


def isc_quantile(without=()):
    """The 99th percentile over vertices of the mean correlation of pairs of subjects."""
    subjects = [scanned(number, without) for number in (1, 2, 3)]
    pairs = [np.mean(a * b, axis=1) for a, b in itertools.combinations(subjects, 2)]
    return np.quantile(np.mean(pairs, axis=0), 0.99)


def peak(data, region, conjunctive=True):
    """Seconds after the film at which its features explain most of a region's BOLD."""
    driven = features(Study(0).scenes(MOVIE), np.arange(MOVIE.volumes), conjunctive)[region]
    rows, lags = near(region, 0.6), np.arange(0, 12)
    explained = []
    for lag in lags:
        design = np.stack([np.roll(one, lag) for one in driven])[:, 12:]
        bold = data[rows, 12:]
        weights = np.linalg.lstsq(design.T, bold.T, rcond=None)[0]
        explained.append(1 - np.mean((bold - weights.T @ design) ** 2))
    best = int(np.argmax(explained))
    curve = np.polyfit(lags[best - 1 : best + 2], explained[best - 1 : best + 2], 2)
    return -curve[1] / (2 * curve[0])


STATISTICS = {
    "smooth": neighbours_correlation,
    "one-over-f": spectrum_slope,
    "global-signal": global_share,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "on", "off"),
    [
        ("smooth", (0.5, 0.75), (0.1, 0.3)),  # off: the global signal and networks alone
        ("one-over-f", (0.85, 1.2), (-0.1, 0.15)),
        ("global-signal", (0.06, 0.18), (-0.01, 0.04)),
    ],
)
def test_noise_has_the_property_and_turned_off_lacks_that_alone(name, on, off):
    data, without = scanned(1), scanned(1, (name,))
    found, gone = STATISTICS[name](data), STATISTICS[name](without)
    assert on[0] < found < on[1]
    assert off[0] < gone < off[1]
    for other, statistic in STATISTICS.items():
        if other != name:
            assert statistic(without) == pytest.approx(statistic(data), abs=0.07), other


@pytest.mark.slow
def test_networks_are_the_same_in_subjects_and_turned_off_are_not_there():
    assert connectivity_agreement(scanned(1), scanned(2)) > 0.4
    off = [scanned(number, ("networks",)) for number in (1, 2)]
    assert abs(connectivity_agreement(*off)) < 0.1
    for statistic in STATISTICS.values():
        assert statistic(off[0]) == pytest.approx(statistic(scanned(1)), abs=0.1)


@pytest.mark.slow
def test_subjects_correlate_as_published_warped_or_not():
    assert 0.25 < isc_quantile() < 0.37
    assert isc_quantile(("warp",)) == pytest.approx(isc_quantile(), abs=0.05)


def test_a_warp_is_three_to_four_mm_and_folds_nothing():
    moved = [places("32k", "L", 0, number, warp=True) for number in (1, 2, 3)]
    for one in moved:
        np.testing.assert_allclose(np.linalg.norm(one, axis=1), RADIUS, rtol=1e-6)
        along = RADIUS * np.arccos(np.clip((one * LEFT).sum(axis=1) / RADIUS**2, -1, 1))  # mm on the sphere
        assert 3 < np.sqrt(np.mean(along**2)) < 4
        _, triangles = fs_lr_sphere("32k", "L")
        whole = np.full(triangles.max() + 1, -1)
        whole[cortex_vertices("32k", "L")] = np.arange(len(LEFT))
        corners = one[whole[triangles][(whole[triangles] >= 0).all(axis=1)]]
        outward = np.linalg.det(corners)
        assert (outward > 0).all()
    assert np.abs(moved[0] - moved[1]).max() > 3
    np.testing.assert_array_equal(places("32k", "L", 0, 1, warp=False), LEFT)


def estimated_map(data, seconds):
    """(features * rows,) weights of the visual region's features, from BOLD of some seconds alone."""
    driven = features(Study(0).scenes(MOVIE), np.arange(MOVIE.volumes), True)["visual"]
    design = np.stack([np.roll(one, 5) for one in driven])[:, seconds]
    return np.linalg.lstsq(design.T, data[near("visual", 0.8)][:, seconds].T, rcond=None)[0].ravel()


def test_the_same_function_lies_elsewhere_in_each_subject():
    def agreement(without):
        """Of the maps of two subjects, in units of how well each agrees with itself."""
        halves = slice(12, 187), slice(187, 362)
        maps = [[estimated_map(scanned(number, without), half) for half in halves] for number in (1, 2)]
        correlation = np.corrcoef([*maps[0], *maps[1]])
        return (correlation[0, 3] + correlation[1, 2]) / 2 / np.sqrt(correlation[0, 1] * correlation[2, 3])

    assert agreement(()) < agreement(("warp",)) - 0.07
    assert agreement(("warp",)) > 0.85


@pytest.mark.slow
def test_regions_differ_in_their_response_and_turned_off_do_not():
    assert peak(scanned(1), "conjunctions") - peak(scanned(1), "auditory") > 1.2
    off = scanned(1, ("regional-hrf",))
    assert abs(peak(off, "conjunctions") - peak(off, "auditory")) < 0.8


def test_the_response_is_of_the_share_that_is_stated():
    rows = near("visual", 0.4)
    driven = features(Study(0).scenes(MOVIE), np.arange(MOVIE.volumes), True)["visual"]
    design = np.stack([np.roll(one, 5) for one in driven])[:, 12:]
    bold = scanned(1)[rows, 12:]
    weights = np.linalg.lstsq(design.T, bold.T, rcond=None)[0]
    explained = 1 - np.mean((bold - weights.T @ design) ** 2)
    assert 0.6 * Study(0).signal < explained < 1.4 * Study(0).signal
    assert COMMON < Study(0).signal < 0.5


@pytest.fixture(scope="module")
def embedded(release):
    """Pictures' and sound's embeddings of clips within a scene, what the scenes are, and their film clips."""
    encoders = create_all(("motion_energy", "logmel"))
    block = next(stimulus_blocks(find_film(FILM, release / "movies").path, encoders, [(0, FILM.volumes)]))
    return labelled(block.embeddings["video_motion_energy"], block.embeddings["audio_logmel"], Study(0))


def labelled(video, audio, study):
    rows, labels, clips = [], [], []
    for scene in study.scenes(FILM):
        clip = next(one.name for one in FILM.segments if one.start <= scene.start < one.stop)
        for second in range(scene.start, scene.stop - 2):
            rows.append(second)
            labels.append([scene.first[name] for name in NAMES])
            clips.append(clip)
    return video[rows], audio[rows], dict(zip(NAMES, np.array(labels).T, strict=True)), clips


def read_out(rows, labels, clips):
    """Share of rows whose label a linear classifier tells, fitted on other film clips."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    told = cross_val_predict(model, rows, labels, cv=GroupKFold(len(set(clips))), groups=clips)
    return np.mean(told == labels)


@pytest.mark.slow
def test_picture_and_sound_show_their_category(embedded):
    video, audio, labels, clips = embedded
    assert read_out(video, labels["seen"], clips) > 3 / CATEGORIES
    assert read_out(audio, labels["heard"], clips) > 2 / CATEGORIES


def test_categories_are_shared_or_not_and_pictures_stay():
    on, off = Study(0), Study(0, remaining(("shared-categories",)))
    together = [(scene.first["seen"], scene.first["heard"]) for m in CATALOG.movies for scene in on.scenes(m)]
    apart = [(scene.first["seen"], scene.first["heard"]) for m in CATALOG.movies for scene in off.scenes(m)]
    assert all(seen == heard for seen, heard in together)
    assert np.mean([seen == heard for seen, heard in apart]) < 2 / CATEGORIES
    times = np.array([20.0, 60.0])
    shown, other = on.footage(FILM), off.footage(FILM)
    np.testing.assert_array_equal(shown.pictures(times), other.pictures(times))
    assert not np.array_equal(shown.sound, other.sound)


@pytest.mark.slow
def test_signs_show_and_their_products_are_at_chance(embedded):
    video, audio, labels, clips = embedded
    both = np.concatenate([video, audio], axis=1)
    products = []
    for seen, heard in zip(SEEN_SIGNS, HEARD_SIGNS, strict=True):
        assert read_out(video, labels[seen], clips) > 0.8
        assert read_out(audio, labels[heard], clips) > 0.8
        product = labels[seen] * labels[heard]
        products += [read_out(rows, product, clips) for rows in (video, audio, both)]
    assert 0.35 < np.mean(products) < 0.6


def test_the_cortex_has_a_sign_in_two_regions_together_or_turned_off_in_one():
    times = np.concatenate([np.arange(movie.volumes) for movie in CATALOG.movies])
    movies = np.repeat(np.arange(len(CATALOG.movies)), [movie.volumes for movie in CATALOG.movies])

    def told(conjunctive):
        driven, sign, shown = [], [], []
        for number, movie in enumerate(CATALOG.movies):
            scenes, seconds = Study(0).scenes(movie), times[movies == number]
            driven.append(np.concatenate(list(features(scenes, seconds, conjunctive).values())))
            sign.append(np.nan_to_num(latents_at(scenes, seconds, SEEN_SIGNS[:1])[SEEN_SIGNS[0]]))
            shown.append(sign[-1] != 0)
        shown = np.concatenate(shown)
        rows, labels = np.concatenate(driven, axis=1).T[shown], np.concatenate(sign)[shown]
        sizes = np.cumsum([feature_counts()[name] for name in REGIONS])
        _, auditory, _, conjunctions = np.split(rows, sizes[:-1], axis=1)
        products = (auditory[:, :, None] * conjunctions[:, None, :]).reshape(len(rows), -1)
        clips = movies[shown]
        return read_out(rows, labels, clips), read_out(products, labels, clips)

    linear, of_products = told(conjunctive=True)
    assert linear < 0.62
    assert of_products > 0.9
    assert told(conjunctive=False)[0] > 0.95


def test_files_are_what_the_study_says_and_no_run_is_missing(release):
    runs = find_runs(SHORT, release / "hcp").runs
    assert [run.key for run in runs] == ["990001/MOVIE1", "990002/MOVIE1"]
    data = nib.load(runs[0].path).get_fdata(dtype=np.float32).T
    assert data.shape == (91_282, FILM.volumes)
    np.testing.assert_array_equal(data, Study(0).subject("32k", 1)(FILM))
    below = data[CORTEX:]
    assert 100 < np.median(below.std(axis=1)) < 300


def test_a_seed_gives_the_same_run_and_another_another(release):
    again = Study(0).subject("32k", 2)(FILM)
    written = nib.load(release / "hcp" / RUN.format(990_002)).get_fdata(dtype=np.float32).T
    np.testing.assert_array_equal(again, written)
    other = Study(1).subject("32k", 2)(FILM)
    assert (
        abs(np.corrcoef(written[:CORTEX:50].ravel() - 10_000, other[:CORTEX:50].ravel() - 10_000)[0, 1]) < 0.1
    )


def test_the_catalog_has_what_a_study_needs():
    names = [
        segment.name
        for movie in CATALOG.movies
        for segment in movie.segments
        if segment.name != "test-retest"
    ]
    held = CATALOG.splits.scenes.clips
    assert len(set(names)) == len(names) >= 25
    assert len(held["test"]) >= 8
    assert len(held["val"]) >= 4
    subjects, listed = KINDS["study"].subjects, CATALOG.splits.subjects
    assert subjects - len(listed.val) - len(listed.test) >= 12
    assert {int(one) - 990_000 for one in (*listed.val, *listed.test)} <= set(range(1, subjects + 1))


def test_all_turns_every_property_off_and_a_wrong_name_is_refused(tmp_path):
    assert remaining([ALL]) == frozenset()
    assert remaining(["warp"]) == frozenset(PROPERTIES) - {"warp"}
    with pytest.raises(UserError, match="`without`: no property 'warps'"):
        write_demo(tmp_path / "a", kind="study", without=["warps"])
    with pytest.raises(UserError, match="`without` turns off properties of `kind` study"):
        write_demo(tmp_path / "b", without=["warp"])
    with pytest.raises(UserError, match="`kind` is 'other'"):
        write_demo(tmp_path / "c", kind="other")
    assert not list(tmp_path.iterdir())


def test_the_command_line_hands_properties_on(monkeypatch, tmp_path):
    heard = {}
    monkeypatch.setattr("simdata.cli.demo_command.write_demo", lambda folder, **given: heard.update(given))
    words = ["demo", str(tmp_path / "out"), "--kind", "study", "--without", "warp", "--without", "smooth"]
    assert CliRunner().invoke(cli, words).exit_code == 0
    assert (heard["kind"], heard["without"], heard["subjects"]) == ("study", ("warp", "smooth"), None)
    refused = CliRunner().invoke(cli, [*words, "--without", "warps"])
    assert refused.exit_code == 2
    assert "'warps' is not one of" in refused.output
