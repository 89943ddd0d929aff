"""What goes wrong in a run or a command, in words, with the exit code that says so."""

import sys

import torch

from gantrain.builders import USER_ERRORS
from gantrain.config import printable
from gantrain.processes import is_parting
from gantrain.training.finite import NotFiniteError
from gantrain.training.trainer import StoppedByDoctorError

FAILED, BAD_INPUT = 1, 2


def tell(words: str) -> None:
    """An error as the user reads it."""
    print(f"gantrain: error: {printable(words)}", file=sys.stderr)


def words_for(error: BaseException) -> tuple[int, str] | None:
    """Exit code and words of a failure; None for one that is a defect of ours and deserves its traceback."""
    if isinstance(error, USER_ERRORS):
        return BAD_INPUT, str(error)
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    if is_parting(error):
        return FAILED, f"another process of the run has ended, and what it says tells why ({first[:120]})"
    if isinstance(error, NotFiniteError | StoppedByDoctorError):
        return FAILED, str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        hint = "lower schedule.batch_size, model.width or metrics.samples"
        return FAILED, f"memory does not suffice ({first}); {hint}"
    if isinstance(error, OSError):
        return FAILED, f"a file cannot be read or written ({error}); what was saved before is whole"
    return None
