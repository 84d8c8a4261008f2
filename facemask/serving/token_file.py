"""Files that hold one token."""

from pathlib import Path

from facemask.core.errors import UserError

SHORTEST = 16
"""The least number of characters of a token. Nothing else stops who tries all of them."""

LARGEST = 4096
"""The most bytes of the file."""


def read_token(path: Path, variable: str = "TOKEN_FILE") -> str:
    """Read a token from its file: printable ASCII without spaces, in one line.

    Args:
        path: The file.
        variable: The variable of make that names the file.

    Raises:
        UserError: The file cannot be read, or holds no such token. The message does not name what it holds.
    """
    make = f" This makes one: openssl rand -hex 32 > {path}" if variable == "TOKEN_FILE" else ""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise UserError(f"{variable}={path}: cannot be read ({error.strerror}).{make}") from None
    token = content.strip()
    if not token:
        raise UserError(f"{variable}={path}: is empty.{make}")
    if len(content) > LARGEST or not all(0x21 <= byte <= 0x7E for byte in token):
        raise UserError(f"{variable}={path}: must hold one line of ASCII characters without spaces.{make}")
    if len(token) < SHORTEST:
        raise UserError(f"{variable}={path}: the token must have at least {SHORTEST} characters.{make}")
    return token.decode("ascii")
