"""How simtrain starts, by its name and by ``python -m simtrain``."""

from __future__ import annotations

import signal


def main() -> None:
    """`cli.root.main`, for which packages are imported that take seconds: Ctrl-C ends that in silence."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from simtrain.cli import root as cli
    from simtrain.common import interrupts

    interrupts.keep_to_the_end()
    signal.signal(signal.SIGINT, before)
    cli.main()


if __name__ == "__main__":
    main()
