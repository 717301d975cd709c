"""Retrieval tests by name: ours, that of SIM's published code, and that of the paper.

``published-code`` is ``tools/retrieval.py`` of metrics-lab/sim at 8ce726e with its configuration; what of it
our stores have no windows for is on docs/published.md. ``published-paper`` is what is told of the paper
(Dahan et al., ICLR 2025), second-hand.
"""

from __future__ import annotations

from typing import Any

from simtrain.common.choices import must_be_one_of
from simtrain.retrieval.by_modality import as_text
from simtrain.retrieval.joint import NONE
from simtrain.retrieval.protocol import DRAWN_CLIPS, EXACT, OR_RETEST, Protocol

OURS = Protocol.based_on
OF_EACH_RUN = {"hemispheres": "each", "clips": 100, "clips_of": "run", "draws": 1, "joint": NONE}
NAMED: dict[str, dict[str, Any]] = {
    OURS: {},
    "published-code": {
        **OF_EACH_RUN,
        "pool": 33,  # 32 beside the true one
        "negatives": OR_RETEST,
        "gap": {"video": 4, "audio": 1},
    },
    "published-paper": {
        **OF_EACH_RUN,
        "pool": {"video": 64, "audio": 32},
        "negatives": "same-clip",  # hard; other-clips are soft
        "gap": 3,
    },
}
OWN = ("split", "lag", "seed")  # of a choice, a run or a repetition: they make no other protocol


def named(name: str, lag: int, **given: Any) -> Protocol:
    """A protocol by its name; what is ``given`` and not None counts before what it has.

    Raises
    ------
    UserError
        If there is none of this name, or as `Protocol`.
    """
    must_be_one_of("protocol", name, NAMED)
    chosen = {key: value for key, value in given.items() if value is not None}
    return Protocol(lag=lag, based_on=name, **(NAMED[name] | chosen))


def name_of(protocol: Protocol) -> str:
    """``ours``, or ``ours, but pool 64 and negatives same-clip``."""
    plain = named(protocol.based_on, protocol.lag).settings
    if plain["clips"] is None and protocol.draws != EXACT:
        plain["clips"] = DRAWN_CLIPS
    changed = {
        name: value for name, value in protocol.settings.items() if name not in OWN and value != plain[name]
    }
    if not changed:
        return protocol.based_on
    *most, last = (_told(*setting) for setting in changed.items())
    told = f"{', '.join(most)} and {last}" if most else last
    return f"{protocol.based_on}, but {told}"


def title_of(protocol: Protocol) -> str:
    """Its name and what it is: the heading of every table and picture."""
    return f"Retrieval ({name_of(protocol)}): {protocol}"


def _told(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if value is True:
        return words
    return f"{words} {' '.join(value) if isinstance(value, list) else as_text(value)}"
