"""Text that every terminal shows."""


def printable(text: str) -> str:
    r"""Text with what no terminal shows written as \x.. and the like."""
    safe = text.encode(errors="backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in safe)
