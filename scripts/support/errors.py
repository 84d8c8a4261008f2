"""The one error that a user can cause."""


class UserError(Exception):
    """Something is wrong that the user can put right.

    The message is one line (or a short list under one line) that names the file and says what to do. `command.run`
    prints it without a traceback and ends the process with code 2.

    Example:
        >>> raise UserError(f"{path}: not a Pascal VOC file. Save it again from labelImg as PascalVOC.")
    """
