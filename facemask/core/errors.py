"""The exception for every error that a user can cause."""


class UserError(Exception):
    """An error that the user can correct.

    The message is one line, or a short list under one line. It names the file and tells the user what to do.
    `command_line.run_command` prints it without a traceback and ends the process with code 2.

    Example:
        >>> raise UserError(f"{path}: not a Pascal VOC file. Save it again from labelImg as PascalVOC.")
    """
