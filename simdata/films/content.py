"""What a data set's films have, of pictures, sound and words, and what of it a store is to take."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from simdata.common.errors import UserError
from simdata.encoders import Encoder, create_all
from simdata.films.blocks import IN_WORDS
from simdata.films.container import probe
from simdata.release.sources import Film

WEIGHT_FREE = {"video": "motion_energy", "audio": "logmel", "text": "words"}  # encoders by default
MODALITIES = tuple(WEIGHT_FREE)


@dataclass(frozen=True)
class Content:
    """What a store takes of its films.

    Attributes
    ----------
    modalities : some of ``MODALITIES``
    texts : the encoders, as `simdata.encoders.create` reads them
    encoders : made of them
    """

    modalities: tuple[str, ...]
    texts: tuple[str, ...]
    encoders: list[Encoder]

    @classmethod
    def of(
        cls,
        films: Sequence[Film],
        modalities: Collection[str] | None,
        texts: Sequence[str] | None,
        present: Collection[str] | None,
    ) -> Content:
        """That of ``modalities``, or of all that the films have; by default one encoder without weights each.

        Parameters
        ----------
        present : of a store that is there; None for one to be made

        Raises
        ------
        UserError
            If no film has one of the modalities, the store was built with others, or an encoder takes what is
            in none.
        """
        there = {name for film in films for name in modalities_of(film)}
        if present is not None:
            there = set(present)
        chosen = _in_order(modalities or there or ("video", "audio"))
        if present is not None and chosen != _in_order(present):
            raise UserError(
                f"`modalities` {','.join(chosen)}: the store was built with {','.join(_in_order(present))}; "
                "build with the same, or to another `out`"
            )
        for name in chosen:
            if there and name not in there:
                raise UserError(f"`modalities` {','.join(chosen)}: no film has {IN_WORDS[name]}")
        if texts is None:
            texts = [WEIGHT_FREE[name] for name in chosen]
        encoders = create_all(texts)
        for encoder in encoders:
            if encoder.takes not in chosen:
                raise UserError(
                    f"encoder {encoder.name} takes {IN_WORDS[encoder.takes]}, of which there is none "
                    f"(`modalities` {','.join(chosen)}): give other `encoders`"
                )
        if "text" in chosen and not any(encoder.takes == "text" for encoder in encoders):
            if modalities is not None:
                raise UserError(
                    "`modalities` has text, which none of the `encoders` takes: add words, or leave it out"
                )
            chosen = tuple(name for name in chosen if name != "text")
        return cls(chosen, tuple(texts), encoders)

    def differing(self, films: Sequence[Film]) -> list[str]:
        """Films that lack what the store takes, in words."""
        found = []
        for film in films:
            lacks = [name for name in self.modalities if name not in modalities_of(film)]
            if lacks:
                words = " and no ".join(IN_WORDS[name] for name in lacks)
                found.append(
                    f"{film.key} has no {words}, as other films have: the store has no values of it there"
                )
        return found

    def used(self, films: Sequence[Film]) -> list[Film]:
        """The films without their transcripts, if the store takes no words."""
        return (
            list(films) if "text" in self.modalities else [replace(film, transcript=None) for film in films]
        )


def modalities_of(film: Film) -> tuple[str, ...]:
    """What there is of a film."""
    return (*probe(film.path).modalities, *(("text",) if film.transcript is not None else ()))


def _in_order(modalities: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in MODALITIES if name in modalities)
