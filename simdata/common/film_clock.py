"""How films lie in time in the store: the rate of their sound, and the blocks in which they are decoded."""

AUDIO_RATE = 16_000  # Hz
BLOCK = 32  # s of film that encoders are given at once; blocks begin at its multiples


def block_bounds(seconds: int) -> list[tuple[int, int]]:
    """(start, stop) in s of the blocks in which films are decoded and their arrays chunked."""
    return [(start, min(start + BLOCK, seconds)) for start in range(0, seconds, BLOCK)]
