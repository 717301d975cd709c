"""Layouts that a user can ask for by name."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from simdata.common.errors import UserError
from simdata.common.pydantic_faults import key_values, validate
from simdata.release.catalog import MOST_SECONDS


class NamedLayout(BaseModel):
    """How a run and hemisphere is to be stored: as a shard with a chunk for so many ``seconds``.

    Attributes
    ----------
    seconds : of a chunk; None is the whole run, which is then no shard but a chunk
    codec : the compression; None is none, but a crc32c with every chunk
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    seconds: int | None = None
    codec: str | None = None
    level: int | None = None

    @property
    def codecs(self) -> tuple[str, ...]:
        """The codecs, in the order of `simdata.store.layout.Layout.codecs`."""
        return ("crc32c",) if self.codec is None else (self.codec, "crc32c")


class Seconds(NamedLayout):
    """What `simdata build` writes: any window is read at memory speed."""

    seconds: Literal[1] = 1
    codec: None = None


class Blocks(NamedLayout):
    """Fewer and longer chunks: fewer requests for plain zarr and xarray."""

    seconds: int = Field(10, ge=1, le=MOST_SECONDS)
    codec: None = None


class Runs(NamedLayout):
    """A file a run and hemisphere, with nothing but its values and a checksum: for whole runs only."""

    seconds: None = None
    codec: None = None


class Compressed(NamedLayout):
    """For archives and slow networks: noise saves little."""

    seconds: int = Field(1, ge=1, le=MOST_SECONDS)
    codec: Literal["zstd", "blosc", "gzip"] = "zstd"
    level: int = Field(3, ge=1, le=9)


LAYOUTS: dict[str, type[NamedLayout]] = {
    "seconds": Seconds,
    "blocks": Blocks,
    "runs": Runs,
    "compressed": Compressed,
}


def parse_layout(text: str) -> NamedLayout:
    """A layout written as ``name,key=value,...``.

    Raises
    ------
    UserError
        If there is no such layout or setting.
    """
    name, *pairs = text.split(",")
    if name not in LAYOUTS:
        raise UserError(f"`layout` {text}: there is no layout {name!r}; choose one of {', '.join(LAYOUTS)}")
    settings = key_values([f"name={name}", *pairs], f"`layout` {text}", "seconds=10")
    return validate(LAYOUTS[name], settings, f"`layout` {text} has invalid settings")
