import numpy as np
import pytest
import torch
from scipy.signal import get_window

from simdata import encoders
from simdata.encoders import logmel, motion_energy

MOTION, MEL = encoders.create("motion_energy"), encoders.create("logmel")


def grating(frequency, direction, speed, seconds=4, contrast=1.0, size=motion_energy.SIZE):
    """A drifting grating as the encoder gets it: (times, y, x, 3) uint8."""
    time = np.arange(seconds * motion_energy.RATE)[:, None, None] / motion_energy.RATE
    place = (np.arange(size) + 0.5) / size
    along = np.cos(direction) * place[None, None, :] + np.sin(direction) * place[None, :, None]
    wave = np.cos(2 * np.pi * (frequency * along - speed * time))
    return np.repeat((127.5 + 100 * contrast * wave).astype(np.uint8)[..., None], 3, axis=-1)


def feature_table():
    """Spatial frequency, direction and temporal frequency of every feature, from the documented order."""
    rows = []
    for hertz in motion_energy.TEMPORAL:
        for frequency in motion_energy.SPATIAL:
            for direction in motion_energy.DIRECTIONS if frequency else [0.0]:
                if hertz == 0 and direction >= np.pi:
                    continue
                rows += [(frequency, direction, hertz)] * len(motion_energy._centres(frequency))
    return np.array(rows)


@pytest.mark.parametrize("encoder", [MOTION, MEL])
def test_attributes_say_what_the_rows_are(encoder):
    attributes = encoder.attributes()
    assert attributes["encoder"] == encoder.name
    assert (attributes["window"], attributes["stride"], attributes["weights_sha256"]) == (3, 1, "")


@pytest.mark.parametrize(
    ("frequency", "direction", "speed"), [(4, 0, 2), (4, np.pi, 4), (8, np.pi / 2, 2), (2, np.pi / 4, 4)]
)
def test_motion_energy_prefers_what_moves_as_its_filters_do(frequency, direction, speed):
    (row,) = MOTION.encode(grating(frequency, direction, speed, seconds=3), np.arange(1))
    table = feature_table()
    assert len(table) == MOTION.features
    moving = (table[:, 0] > 0) & (table[:, 2] > 0)
    kinds, group = np.unique(table[moving], axis=0, return_inverse=True)
    row = row[moving]
    means = np.array([row[group == kind].mean() for kind in range(len(kinds))])
    np.testing.assert_allclose(kinds[means.argmax()], (frequency, direction, speed))
    opposite = (kinds == (frequency, (direction + np.pi) % (2 * np.pi), speed)).all(axis=1)
    assert means.max() > 2 * means[opposite][0]


def test_motion_energy_does_not_mind_the_contrasts_sign():
    film = grating(4, 0, 2)
    carriers = feature_table()[:, 0] > 0
    np.testing.assert_allclose(
        MOTION.encode(film, np.arange(2))[:, carriers],
        MOTION.encode(255 - film, np.arange(2))[:, carriers],
        atol=0.05,
    )


def test_motion_energy_is_that_of_a_plain_convolution():
    """Against the definition, filter by filter: a drifting Gabor's two phases, squared and summed."""
    rng = np.random.default_rng(0)
    span = rng.integers(0, 256, (36, 48, 48, 3), dtype=np.uint8)
    luminance = (span / 255) @ np.array(motion_energy.LUMINANCE)
    spatial, temporal, pairs = motion_energy._pyramid()
    even, odd = np.split(spatial.astype(np.float64), 2, axis=1)
    for feature in (0, 50, 200, 401, 602):
        hz, gabor = pairs[feature]
        cos, sin = temporal[hz].astype(np.float64)
        energies = []
        for time in range(36 - len(cos) + 1):
            piece = luminance[time : time + len(cos)].reshape(len(cos), -1)
            drifting = np.outer(cos, even[:, gabor]) + np.outer(sin, odd[:, gabor])
            quadrature = np.outer(cos, odd[:, gabor]) - np.outer(sin, even[:, gabor])
            energies.append((piece * drifting).sum() ** 2 + (piece * quadrature).sum() ** 2)
        expected = np.log1p(1e3 * np.array(energies)).mean()
        assert MOTION.encode(span, np.arange(1))[0, feature] == pytest.approx(expected, rel=1e-3)


def test_logmel_is_that_of_a_plain_fourier_transform():
    rng = np.random.default_rng(0)
    sound = 0.1 * rng.standard_normal(3 * 16_000).astype(np.float32)
    (row,) = MEL.encode(sound, np.arange(1))
    window = get_window("hann", logmel.FFT)
    starts = range(0, len(sound) - logmel.FFT + 1, logmel.HOP)
    power = (
        np.stack([np.abs(np.fft.rfft(sound[s : s + logmel.FFT] * window)) ** 2 for s in starts]) / logmel.FFT
    )
    # HTK's mel scale, triangles from 0 to 8 kHz.
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), logmel.MELS + 2) / 2595) - 1)
    frequency = np.fft.rfftfreq(logmel.FFT, 1 / 16_000)
    rising = (frequency[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequency[:, None]) / (edges[2:] - edges[1:-1])
    bank = np.maximum(0, np.minimum(rising, falling))
    log = np.log10(power @ bank + logmel.FLOOR)
    np.testing.assert_allclose(row[: logmel.MELS], log.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(row[logmel.MELS :], log.std(axis=0), atol=1e-3)


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_depend_on_their_own_window_alone(rows):
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, ((rows + 2) * 12, 48, 48, 3), dtype=np.uint8)
    sound = rng.standard_normal((rows + 2) * 16_000).astype(np.float32)
    for encoder, span, rate in ((MOTION, pictures, 12), (MEL, sound, 16_000)):
        together = encoder.encode(span, np.arange(rows))
        assert together.shape == (rows, encoder.features)
        assert together.dtype == np.float32
        alone = [encoder.encode(span[row * rate : (row + 3) * rate], np.arange(1))[0] for row in range(rows)]
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_silence_and_darkness_have_finite_rows():
    assert np.isfinite(MEL.encode(np.zeros(48_000, np.float32), np.arange(1))).all()
    assert np.isfinite(MOTION.encode(np.zeros((36, 48, 48, 3), np.uint8), np.arange(1))).all()
    assert torch.get_default_dtype() is torch.float32
