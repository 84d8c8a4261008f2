"""Splits the addresses of streams, whose password may stand in no message and in no file's name."""

import re
from urllib.parse import SplitResult, urlsplit

from facemask.core.errors import UserError


def is_address(text: str) -> bool:
    """Whether a text begins as a URL does."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def split_address(address: str) -> SplitResult:
    """The parts of a URL. Raises a UserError, without the URL, if it is not clear where the password ends."""
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = None  # the message of the error holds the password
    # An @ after the host shows that a # / or ? of the password has ended the host too early.
    if parts is None or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise UserError(
            "the stream's address cannot be split. Percent-encode special characters of the user or password: "
            "%40 for @, %23 for #, %2F for /, %3F for ?, %5B for [, %5D for ]."
        )
    return parts


def address_title(address: str) -> str:
    """A URL for messages, without user, password and query. Raises as `split_address` does."""
    parts = split_address(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
