"""All packets of a film, read once without decoding: when each stream really begins and ends.

Headers may say anything; packets are what there is. One pass takes about a second for each hour of film.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.codec.context import ThreadType

from simdata.common.errors import UserError
from simdata.films.streams import convert, in_seconds, packets

JUMP = 10.0  # s: FFmpeg's own limit, beyond which a broadcast's clock was set anew
STEP_BACK = 0.5  # s
LONGEST = 1e6  # s, of a film: what is longer is no time
MISSING = 0.5  # s: a film that ends so much before its header says is cut short
NO_LENGTH = 2**31 - 2**12  # bytes: programs that write a wav to a pipe state as many, or more
RESETTABLE = {"mpegts", "mpeg"}  # formats whose clock may be set anew
STATED = {
    "matroska,webm",
    "avi",
    "flv",
    "asf",
    "mxf",
    "flac",
    "wav",
}  # formats whose header, and nothing else, says their length


@dataclass
class Track:
    """The packets of one stream that are shown.

    Attributes
    ----------
    frame : the first one decoded; None if there is none
    pts, dts, durations : (packets,) float64 s, in the file's order; NaN where not stated
    """

    stream: av.VideoStream | av.AudioStream
    frame: av.VideoFrame | av.AudioFrame | None = None
    _rows: list[tuple[int | None, int | None, int]] = field(default_factory=list)

    def add(self, packet: av.Packet) -> None:
        if packet.size and not packet.is_discard:
            self._rows.append((packet.pts, packet.dts, packet.duration or 0))
        if self.frame is None:
            try:
                self.frame = next((frame for frame in packet.decode() if not frame.is_corrupt), None)
            except Exception:  # a player goes on to the first that it can decode
                self.frame = None

    def close(self) -> None:
        table = np.array(self._rows, np.float64).reshape(-1, 3) * in_seconds(1, self.stream.time_base)
        self.pts, self.dts, self.durations = table.T

    @property
    def start(self) -> float:
        """s, of the first frame decoded, from which a codec's priming has been cut."""
        if self.frame is not None and self.frame.time is not None:
            return self.frame.time
        return float(np.nanmin(self.pts))

    @property
    def ends(self) -> np.ndarray:
        return self.pts + np.where(self.durations > 0, self.durations, 0)


def read_packets(
    path: Path,
    container: av.container.InputContainer,
    picture: av.VideoStream | None,
    sound: av.AudioStream | None,
) -> tuple[Track | None, Track | None]:
    """Tracks of picture and sound, None for what there is not.

    Raises
    ------
    UserError
        If the file is damaged or cut short, or its times are not those of one film.
    """
    tracks: dict[int, Track] = {}
    for stream in (picture, sound):
        if stream is not None:
            stream.codec_context.thread_type = ThreadType.NONE  # the first frame, at once
            tracks[stream.index] = Track(stream)
    last = -np.inf
    for packet in packets(path, container):
        track = tracks.get(packet.stream.index)  # the last, empty ones have no number of their own
        if track is not None:
            track.add(packet)
        if packet.pts is not None:
            last = max(last, in_seconds(packet.pts + (packet.duration or 0), packet.time_base))
    for track in tracks.values():
        track.close()
        _check_times(path, container, track)
    _check_whole(path, container, tracks.values(), last)
    of_picture, of_sound = (None if s is None else tracks[s.index] for s in (picture, sound))
    return of_picture, of_sound


def _check_times(path: Path, container: av.container.InputContainer, track: Track) -> None:
    what = "picture" if track.stream.type == "video" else "sound"
    if not len(track.pts):
        return
    if np.isnan(track.pts).all():
        raise UserError(f"{path}: its {what} has no times; give it some: {convert(path, '-fflags +genpts ')}")
    times = track.pts[np.isfinite(track.pts)]
    if not 0 <= np.ptp(times) < LONGEST or np.abs(times).max() > 100 * LONGEST:
        raise UserError(f"{path}: its {what} has times that cannot be true; {convert(path)}")
    order = track.dts[np.isfinite(track.dts)]
    steps = np.diff(order)
    jumps = np.flatnonzero((steps < -STEP_BACK) | (steps > JUMP) & (container.format.name in RESETTABLE))
    if len(jumps):
        at = order[jumps[0]] - order[0]
        raise UserError(
            f"{path}: the clock of its {what} jumps by {steps[jumps[0]]:.1f} s at {at:.1f} s, as where "
            f"recordings are joined; {convert(path)}"
        )


def _check_whole(
    path: Path, container: av.container.InputContainer, tracks: Collection[Track], last: float
) -> None:
    """Raise a UserError if what the header announces is not there."""
    for track in tracks:
        entries = track.stream.index_entries
        # An mp4 whose index comes first opens even if what it points to is missing.
        if len(entries) and entries[-1].pos + entries[-1].size > path.stat().st_size:
            raise UserError(f"{path}: is cut short: its index points behind its end; download it again")
    if container.format.name in STATED:
        stated, there = _stated(path, container, tracks), last - (container.start_time or 0) / av.time_base
        if there < stated - MISSING and stated < LONGEST:
            raise UserError(
                f"{path}: ends at {there:.1f} s, its header says {stated:.1f} s: is it cut short? Download "
                f"it again, or if it is whole, {convert(path)}"
            )


def _stated(path: Path, container: av.container.InputContainer, tracks: Collection[Track]) -> float:
    """s, by the header; 0 where it says nothing."""
    # Of these two, FFmpeg's own figure shrinks with the file.
    if container.format.name == "avi":
        return max(in_seconds(track.stream.frames, track.stream.time_base) for track in tracks)
    if container.format.name == "wav":
        (track,) = tracks
        rate = track.stream.codec_context.bit_rate
        return 8 * _bytes_of_sound(path) / rate if rate else 0.0
    return (container.duration or 0) / av.time_base


def _bytes_of_sound(path: Path) -> int:
    """What the RIFF header of a wav states; 0 where it says nothing."""
    with path.open("rb") as file:
        if file.read(12)[:4] != b"RIFF":
            return 0
        while len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                return size if size < NO_LENGTH else 0
            file.seek(size + size % 2, 1)
    return 0
