import av
import nibabel as nib
import numpy as np
import pytest
from scipy.spatial import cKDTree

from simdata.bold.cifti import open_dtseries
from simdata.common.errors import UserError
from simdata.release import catalog as catalogs
from simdata.release.found_runs import find_runs
from simdata.release.sources import find_film
from simdata.surface.meshes import fs_lr_sphere
from simdata.synthetic import stimuli, write_demo
from simdata.synthetic.film import FRAME_RATE
from simdata.synthetic.grayordinates import brain_models, cortex_vertices
from simdata.synthetic.latents import LATENTS, Scene, features, latents_at, scenes
from simdata.synthetic.response import (
    NETWORK_NOISE,
    bold,
    expected_response,
    haemodynamic_response,
    make_subject,
)

DEMO, _ = catalogs.load("demo")


def short_catalog():
    """Two movies of 40 s with a clip of their own and the repeated one."""
    movies = []
    for movie in DEMO.movies[:2]:
        clip, repeat = movie.segments[0], movie.segments[-1]
        segments = [
            clip.model_copy(update={"start": 4, "stop": 22}),
            repeat.model_copy(update={"start": 26, "stop": 36}),
        ]
        movies.append(movie.model_copy(update={"volumes": 40, "segments": segments}))
    return DEMO.model_copy(update={"movies": movies})


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "release"
    write_demo(folder, subjects=2, density="32k", catalog=short_catalog())
    return folder


@pytest.mark.parametrize(
    ("density", "cortex", "total"), [("59k", (54_216, 54_225), 170_494), ("32k", (29_696, 29_716), 91_282)]
)
def test_brain_models_have_hcps_sizes(density, cortex, total):
    models = brain_models(density)
    assert models.size == total
    structures = [(name, len(model)) for name, _, model in models.iter_structures()]
    assert len(structures) == 21
    assert structures[0] == ("CIFTI_STRUCTURE_CORTEX_LEFT", cortex[0])
    assert structures[1] == ("CIFTI_STRUCTURE_CORTEX_RIGHT", cortex[1])
    voxels = models.voxel[models.volume_mask]
    assert len(np.unique(voxels, axis=0)) == len(voxels) == total - sum(cortex)
    assert (voxels < models.volume_shape).all()


@pytest.mark.templates
def test_brain_models_equal_a_real_header_but_for_places(templates):
    real = nib.load(templates / "170494_Greyordinates.dscalar.nii").header.get_axis(1)
    ours = brain_models("59k")
    assert [(n, len(m)) for n, _, m in ours.iter_structures()] == [
        (n, len(m)) for n, _, m in real.iter_structures()
    ]
    assert ours.nvertices == real.nvertices
    assert ours.volume_shape == real.volume_shape
    np.testing.assert_allclose(ours.affine, real.affine, atol=1e-5)


def test_files_lie_where_the_catalog_looks_and_open_with_nibabel(release):
    runs = find_runs(DEMO, release / "hcp").runs
    assert [run.key for run in runs] == [f"99000{s}/MOVIE{m}" for s in (1, 2) for m in (1, 2)]
    for run in runs:
        series = open_dtseries(run.path)
        assert (series.tr, series.volumes) == (1.0, 40)
        assert series.grayordinates == 91_282
        image = nib.load(run.path)
        assert isinstance(image, nib.Cifti2Image)
        data = image.get_fdata(dtype=np.float32)
        assert data.shape == (40, 91_282)
        assert np.isfinite(data).all()
        assert 9000 < data.mean() < 11_000
        assert 100 < np.median(data.std(axis=0)) < 300


def test_films_have_picture_and_sound(release):
    for movie in short_catalog().movies:
        with av.open(str(find_film(movie, release / "movies").path)) as film:
            picture, sound = film.streams.video[0], film.streams.audio[0]
            assert (picture.codec_context.name, sound.codec_context.name) == ("h264", "aac")
            assert float(picture.average_rate) == FRAME_RATE
            assert float(picture.duration * picture.time_base) == pytest.approx(40, abs=0.05)


def decoded(path):
    with av.open(str(path)) as film:
        pictures = np.stack([frame.to_ndarray(format="gray") for frame in film.decode(video=0)])
    with av.open(str(path)) as film:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in film.decode(audio=0)])
    return pictures, sound


def test_rest_is_still_and_silent_and_the_repeated_clip_repeats(release):
    one, two = (decoded(find_film(movie, release / "movies").path) for movie in short_catalog().movies)
    repeat = slice(26 * FRAME_RATE, 36 * FRAME_RATE)
    difference = np.abs(one[0][repeat].astype(int) - two[0][repeat])
    assert difference.mean() < 2  # of 255: two encodings of the same pictures
    clip = slice(6 * FRAME_RATE, 20 * FRAME_RATE)
    assert np.abs(one[0][clip].astype(int) - two[0][clip]).mean() > 10
    rate = 48_000
    assert np.abs(one[1][rate : 3 * rate]).max() < 1e-3
    assert np.abs(one[1][8 * rate : 20 * rate]).std() > 1e-2
    assert np.corrcoef(one[1][27 * rate : 35 * rate], two[1][27 * rate : 35 * rate])[0, 1] > 0.95


def test_a_demo_is_a_function_of_its_seed(release, tmp_path):
    small = short_catalog()
    for folder, seed in (("same", 0), ("other", 1)):
        write_demo(tmp_path / folder, subjects=2, density="32k", catalog=small, seed=seed)
    first = find_runs(DEMO, release / "hcp").runs[0]
    assert first.path.read_bytes() == (tmp_path / "same/hcp" / first.relative).read_bytes()
    assert first.path.read_bytes() != (tmp_path / "other/hcp" / first.relative).read_bytes()


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match="is not empty"):
        write_demo(tmp_path)


def test_latents_keep_to_their_ranges_and_rest_has_none():
    movie = DEMO.movies[0]
    found = scenes(movie, 0)
    assert found == scenes(movie, 0)
    assert found != scenes(movie, 1)
    values = latents_at(found, np.arange(movie.volumes) + 0.5)
    covered = np.zeros(movie.volumes, bool)
    for segment in movie.segments:
        covered[segment.start : segment.stop] = True
    for name, (low, high) in LATENTS.items():
        np.testing.assert_array_equal(np.isfinite(values[name]), covered)
        assert values[name][covered].min() > low - 0.2 * (high - low)
        assert values[name][covered].max() < high + 0.2 * (high - low)


def test_response_peaks_five_seconds_after_the_stimulus():
    response = haemodynamic_response()
    assert response.argmax() / 10 == pytest.approx(5, abs=0.2)
    assert response.sum() == pytest.approx(1)
    assert haemodynamic_response(delay=1.0).argmax() / 10 == pytest.approx(6, abs=0.2)


def test_signal_is_planted_where_the_maps_are_and_nowhere_else():
    movie = DEMO.movies[0]
    subject = make_subject("32k", seed=0, number=1)
    data = bold(subject, scenes(movie, 0), movie.volumes, 91_282, np.random.default_rng(0))
    expected = expected_response(scenes(movie, 0), movie.volumes, subject.delay)
    expected /= expected.std(axis=1, keepdims=True)
    predicted = subject.maps @ expected
    power = (subject.maps**2).sum(axis=1)
    strong, none = np.argsort(power)[-500:], np.flatnonzero(power == 0)
    assert len(none) > 10_000

    def correlation(rows, other):
        a, b = data[rows] - data[rows].mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True)
        return (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))

    # At most SIGNAL of the variance: r is some 0.5 at the strongest vertices.
    assert 0.35 < correlation(strong, predicted[strong]).mean() < 0.65
    assert abs(correlation(none[:20_000], predicted[np.resize(strong, 20_000)]).mean()) < 0.02


def test_sound_is_planted_as_clearly_as_pictures():
    maps = make_subject("32k", seed=0, number=1).maps
    pictures = len(features([], np.zeros(1))["video"])
    strongest = [np.linalg.norm(part, axis=1).max() for part in np.split(maps, [pictures], axis=1)]
    assert 0.8 < strongest[0] / strongest[1] < 1.25


def test_subjects_share_their_maps_but_not_quite():
    one, two = (make_subject("32k", 0, number).maps for number in (1, 2))
    active = (one**2).sum(axis=1) > 0.05
    assert 0.6 < np.corrcoef(one[active].ravel(), two[active].ravel())[0, 1] < 0.97


def test_neighbours_share_spontaneous_activity():
    subject, other = (make_subject("32k", 0, number) for number in (1, 2))
    np.testing.assert_allclose(np.linalg.norm(subject.networks, axis=1), 1, rtol=1e-5)
    assert 0.6 < np.corrcoef(subject.networks.ravel(), other.networks.ravel())[0, 1] < 0.97
    left = fs_lr_sphere("32k", "L")[0][cortex_vertices("32k", "L")]
    silent = np.flatnonzero((subject.maps[: len(left)] ** 2).sum(axis=1) == 0)
    distance, near = cKDTree(left[silent]).query(left[silent], k=2)
    assert distance[:, 1].max() < 10  # mm
    near = silent[near[:, 1]]
    far = np.roll(silent, len(silent) // 2)
    movie = DEMO.movies[0]
    data = bold(subject, scenes(movie, 0), movie.volumes, 91_282, np.random.default_rng(0))[: len(left)]
    z = (data - data.mean(axis=1, keepdims=True)) / data.std(axis=1, keepdims=True)
    # The noise of a vertex is its own but for the networks' share.
    assert np.mean(z[silent] * z[near]) == pytest.approx(NETWORK_NOISE, abs=0.03)
    assert abs(np.mean(z[silent] * z[far])) < 0.03


def test_the_best_lag_of_the_miniature_is_its_catalogs():
    """BOLD over [t, t + 3) tells most of the clip [t - lag, t - lag + 3) at the stated lag."""
    movie = DEMO.movies[0]
    subject = make_subject("32k", seed=0, number=1)
    expected = expected_response(scenes(movie, 0), movie.volumes, subject.delay)
    groups = features(scenes(movie, 0), np.arange(movie.volumes) + 0.5)
    shown = np.concatenate([groups["video"], groups["audio"]])
    clip, seen = (np.lib.stride_tricks.sliding_window_view(x, 3, axis=1).mean(-1) for x in (shown, expected))
    scores = {}
    for lag in range(12):
        a, b = clip[:, : clip.shape[1] - lag], seen[:, lag:]
        scores[lag] = np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)])
    assert abs(max(scores, key=scores.get) - DEMO.stimulus_lag) <= 1


@pytest.mark.parametrize("noise", [0.0, 0.4, 0.9])
def test_a_scene_is_as_loud_as_its_latent_says_whatever_it_is_made_of(noise):
    latents = {name: low for name, (low, _) in LATENTS.items()} | {"loudness": 0.5, "noise": noise}
    sound = stimuli.sound([Scene(0, 6, latents, latents)], 6)
    trembling = 0.6**2 + 0.4**2 / 2
    expected = 0.5 * stimuli.HEADROOM * np.sqrt(trembling)
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(expected, rel=0.02)
