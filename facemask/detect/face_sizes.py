"""Read the sizes that FACES_SIZE= names. Options are read before anything heavy is imported."""

from facemask.core.errors import UserError

MIN_SIZE, MAX_SIZE = 32, 8192
"""The least and the most pixels of a size in FACES_SIZE=."""


def parse_sizes(text: str) -> tuple[int, ...]:
    """The sizes that FACES_SIZE= names, such as 960 or 960,1280; none for an empty text or 0.

    Raises:
        UserError: One is not a number of pixels, or they are not in ascending order.
    """
    if text.strip() in ("", "0"):
        return ()
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = (0,)
    if list(sizes) != sorted({*sizes}) or not MIN_SIZE <= sizes[0] <= sizes[-1] <= MAX_SIZE:
        raise UserError(
            f"FACES_SIZE={text}: must be pixels from {MIN_SIZE} to {MAX_SIZE}, such as 960; for FACES=yunet also "
            "several in ascending order: 960,1280."
        )
    return sizes
