"""Motion energy: a pyramid of spatio-temporal Gabor filters, without any weights to download.

Adelson & Bergen 1985, J Opt Soc Am A 2:284; as a model of movie responses, Nishimoto et al. 2011, Curr Biol
21:1641. Each filter drifts a Gabor of some frequency, orientation and place at some speed; the energy is the
sum of squares of its two phases, which tells motion from its opposite and does not mind the contrast's sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simdata.encoders.base import Grid, Settings, VideoEncoder

if TYPE_CHECKING:
    import torch

RATE = 12  # Hz
SIZE = 48  # pixels each way: resolves 12 cycles a picture
SPATIAL = (0.0, 2.0, 4.0, 8.0)  # cycles a picture
TEMPORAL = (0.0, 2.0, 4.0)  # Hz
DIRECTIONS = np.arange(8) * np.pi / 4
TAPS = 9  # pictures a temporal filter sees: 0.75 s
ENVELOPE = 0.5  # s.d. of a Gabor in cycles of its carrier
SPACING = 3.0  # s.d. between the centres of neighbours
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


class MotionEnergy(VideoEncoder):
    """Log motion energy of luminance, averaged over the window: (rows, features) float32."""

    encoder = "motion_energy"
    summary = "log energy of a spatio-temporal Gabor pyramid; no weights"
    grid = Grid(RATE, (SIZE, SIZE))

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._spatial, self._temporal, self._pairs = _pyramid()
        self.features = len(self._pairs)

    def encode(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        import torch  # here: a process that only converts runs is half as large without

        per_window = self.window * RATE - TAPS + 1
        with torch.inference_mode():
            luminance = torch.from_numpy(span).float() @ torch.tensor(LUMINANCE) / 255
            spatial = torch.from_numpy(self._spatial)
            even, odd = (luminance.flatten(1) @ spatial).view(len(span), 2, -1).unbind(1)
            energy = torch.log1p(1e3 * self._energy(even, odd))
            return torch.stack([energy[s * RATE :][:per_window].mean(dim=0) for s in starts]).numpy()

    def _energy(self, even: torch.Tensor, odd: torch.Tensor) -> torch.Tensor:
        """(times, features): cos(kx - wt) is even.cos + odd.sin, and sin(kx - wt) is odd.cos - even.sin."""
        import torch

        temporal, pairs = torch.from_numpy(self._temporal), torch.from_numpy(self._pairs)
        phases = []
        for part in (even, odd):
            windows = part.unfold(0, TAPS, 1)
            phases.append(torch.einsum("tsk,fpk->tpfs", windows, temporal))
        (even_cos, even_sin), (odd_cos, odd_sin) = (phase.unbind(1) for phase in phases)
        energy = (even_cos + odd_sin) ** 2 + (odd_cos - even_sin) ** 2
        return energy[:, pairs[:, 0], pairs[:, 1]]

    def parameters(self) -> dict[str, Any]:
        return {
            "picture_rate_hz": RATE,
            "picture_size": SIZE,
            "spatial_cycles_per_picture": list(SPATIAL),
            "temporal_hz": list(TEMPORAL),
            "directions": len(DIRECTIONS),
            "temporal_taps": TAPS,
            "nonlinearity": "log(1 + 1000 energy), mean over the window",
        }


def _pyramid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Filters: spatial (pixels, 2 * gabors), temporal (frequencies, 2, taps), and which pairs make a feature.

    Pairs are (temporal, spatial): opposite directions are the same Gabor when nothing moves.
    """
    gabors, moving = [], []
    for frequency in SPATIAL:
        for direction in DIRECTIONS if frequency else DIRECTIONS[:1]:
            for y, x in _centres(frequency):
                gabors.append(_gabor(frequency, direction, y, x))
                moving.append(direction >= np.pi)
    pairs = [(t, s) for t, hz in enumerate(TEMPORAL) for s, far in enumerate(moving) if hz or not far]
    spatial = np.array(gabors, dtype=np.float32).transpose(2, 1, 0).reshape(SIZE * SIZE, -1)
    return spatial, _temporal_filters(), np.array(pairs)


def _envelope(frequency: float) -> float:
    """S.d. of a Gabor as a fraction of the picture; without a carrier, that of the lowest frequency."""
    return ENVELOPE / (frequency or min(f for f in SPATIAL if f))


def _centres(frequency: float) -> list[tuple[float, float]]:
    count = max(1, int(1 / (SPACING * _envelope(frequency))))
    places = (np.arange(count) + 0.5) / count
    return [(y, x) for y in places for x in places]


def _gabor(frequency: float, direction: float, y: float, x: float) -> np.ndarray:
    """(2 phases, pixels), each of unit length; carriers have no mean under the envelope."""
    place = (np.arange(SIZE) + 0.5) / SIZE
    dy, dx = place[:, None] - y, place[None, :] - x
    gauss = np.exp(-(dy**2 + dx**2) / (2 * _envelope(frequency) ** 2))
    phase = 2 * np.pi * frequency * (np.cos(direction) * dx + np.sin(direction) * dy)
    waves = np.stack([np.cos(phase), np.sin(phase)])
    if frequency:
        waves -= (waves * gauss).sum(axis=(1, 2), keepdims=True) / gauss.sum()
    filters = (waves * gauss).reshape(2, -1)
    return filters / max(np.linalg.norm(filters[0]), 1e-12)


def _temporal_filters() -> np.ndarray:
    time = (np.arange(TAPS) - (TAPS - 1) / 2) / RATE
    gauss = np.exp(-(time**2) / (2 * (TAPS / RATE / 5) ** 2))
    gauss /= gauss.sum()
    phases = 2 * np.pi * np.array(TEMPORAL)[:, None] * time
    return np.stack([np.cos(phases) * gauss, np.sin(phases) * gauss], axis=1).astype(np.float32)
