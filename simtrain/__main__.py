"""How simtrain starts, by its name and by ``python -m simtrain``."""

from simtrain.cli import root
from simtrain.common import interrupts


def main() -> None:
    """`simtrain.cli.root.main`, in a process that a late signal doesn't kill while it leaves."""
    interrupts.keep_to_the_end()
    root.main()


if __name__ == "__main__":
    main()
