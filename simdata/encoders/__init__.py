"""Encoders of the stimulus, by name."""

from __future__ import annotations

from simdata.encoders.base import AudioEncoder, Encoder, VideoEncoder
from simdata.errors import UserError

__all__ = ["AudioEncoder", "Encoder", "VideoEncoder", "create", "names"]


def names() -> list[str]:
    """The encoders that `create` knows."""
    return sorted(_factories())


def create(name: str) -> Encoder:
    """The encoder of that name.

    Raises
    ------
    UserError
        If there is none.
    """
    factories = _factories()
    if name not in factories:
        raise UserError(f"no encoder {name!r}: choose from {', '.join(sorted(factories))}")
    return factories[name]()


def _factories() -> dict[str, type[Encoder]]:
    # Imported here because they bring torch, which the rest of simdata does without.
    from simdata.encoders.logmel import LogMel
    from simdata.encoders.motion_energy import MotionEnergy

    return {encoder.name: encoder for encoder in (MotionEnergy, LogMel)}
