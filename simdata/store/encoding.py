"""How z-scored BOLD is stored: int8, float16 or float32.

Every vertex is z-scored over its run, so one CF scale serves the whole array. Noise hardly compresses;
int8 halves float16 at an error far below the scanner's own noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

INT8_STEP = 1 / 16  # s.d.: half a step, the largest error, is 1/32 s.d.; values clip at 7.9 s.d.
INT8_FILL = -128


@dataclass(frozen=True)
class Encoding:
    """One way to store z-scores.

    ``error_bound(z)`` is the largest absolute error, in s.d., of a stored z-score that was not clipped. The
    float32 arithmetic before it adds at most 2 eps * mean / s.d. of the vertex: 1e-5 s.d. for usual data.
    """

    name: str
    dtype: np.dtype
    fill: int | float
    scale: float = 1.0

    @property
    def largest(self) -> float:
        """The largest magnitude that is not clipped, in s.d."""
        return 127 * self.scale if self.name == "int8" else float(np.finfo(self.dtype).max)

    def error_bound(self, z: np.ndarray) -> np.ndarray:
        if self.name == "int8":
            return np.full_like(z, self.scale / 2)
        return np.abs(z) * float(np.finfo(self.dtype).eps) / 2

    def encoded(self, z: np.ndarray) -> np.ndarray:
        """Z-scores as they are stored; NaN is what is missing."""
        if self.name != "int8":
            return z.astype(self.dtype)
        steps = np.clip(np.rint(z / self.scale), -127, 127)
        return np.where(np.isnan(z), self.fill, steps).astype(self.dtype)

    def attributes(self) -> dict[str, float | int]:
        """CF attributes with which any reader decodes the stored values to z-scores."""
        return {"scale_factor": self.scale} if self.name == "int8" else {}


ENCODINGS = {
    "int8": Encoding("int8", np.dtype("int8"), INT8_FILL, INT8_STEP),
    "float16": Encoding("float16", np.dtype("<f2"), float("nan")),
    "float32": Encoding("float32", np.dtype("<f4"), float("nan")),
}
