"""How the numbers of a picture become RGB.

A film's own tags are obeyed. Without a tag it is BT.709 from HD sizes on and BT.601 below, as in players, and
of limited range.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import av
from av.video.reformatter import ColorRange, Colorspace, ColorTrc

from simdata.common.errors import UserError
from simdata.films.streams import convert

# By H.273's numbers, under which FFmpeg keeps them.
MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
NAMES = {
    Colorspace.ITU709: "bt709",
    Colorspace.FCC: "fcc",
    Colorspace.ITU601: "bt601",
    Colorspace.SMPTE240M: "smpte240m",
    Colorspace.BT2020: "bt2020",
}
UNTAGGED = {0, 2, 3}
HD_WIDTH, SD_HEIGHT = 1280, 576  # pixels
HDR: dict[int, str] = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}
TONE_MAP = (
    "ffmpeg -i {name} -vf zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv420p -c:v libx264 -crf 15 -c:a aac {stem}-sdr.mp4"
)


@dataclass(frozen=True)
class Colours:
    """The matrix and range of a film's pictures.

    ``matrix`` and ``range`` are None for pictures that are RGB or grey: FFmpeg knows what to do with those.
    ``text`` is the record of both for the store.
    """

    matrix: Colorspace | None
    range: ColorRange | None
    text: str

    @classmethod
    def of(cls, path: Path, frame: av.VideoFrame) -> Colours:
        """Raises a UserError for colours that cannot be brought to a usual screen's without more ado."""
        if frame.color_trc in HDR:
            command = TONE_MAP.format(name=shlex.quote(path.name), stem=shlex.quote(path.stem))
            kind = HDR[frame.color_trc]
            raise UserError(f"{path}: is HDR ({kind}): map it to the range of usual screens first: {command}")
        if frame.format.is_rgb or frame.format.has_palette or len(frame.format.components) < 3:
            return cls(None, None, frame.format.name)
        full = frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG
        matrix, why = _matrix(path, frame)
        text = f"{NAMES[matrix]}, {'full' if full else 'limited'} range{why}"
        return cls(matrix, ColorRange.JPEG if full else ColorRange.MPEG, text)


def _matrix(path: Path, frame: av.VideoFrame) -> tuple[Colorspace, str]:
    if frame.colorspace in MATRICES:
        return MATRICES[frame.colorspace], ""
    if frame.colorspace not in UNTAGGED:
        raise UserError(
            f"{path}: has colours by a matrix that is not known here (number {int(frame.colorspace)} of "
            f"H.273); {convert(path)}"
        )
    hd = frame.width >= HD_WIDTH or frame.height > SD_HEIGHT
    return (Colorspace.ITU709 if hd else Colorspace.ITU601), " (matrix assumed from its size)"
