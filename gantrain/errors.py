"""The base class of errors that users can cause, and exit codes."""

FAILED, BAD_INPUT = 1, 2


class GantrainError(ValueError):
    """Base class of the errors that users can cause; shown as one message, without a traceback.

    Attributes:
        exit_code: of a command that ends with this error: 2 for bad input, 1 for a run that failed.
    """

    exit_code = BAD_INPUT
