"""What goes wrong in a run or a command, in words, with the exit code that says so."""

import sys
import threading

import torch

from gantrain.builders import USER_ERRORS
from gantrain.config import printable
from gantrain.distributed import is_parting
from gantrain.training.nan_guard import NotFiniteError
from gantrain.training.trainer import StoppedByDoctorError

FAILED, BAD_INPUT = 1, 2
LONGEST = 1_900
"""Characters of an error's words; of a longer one the middle is left out."""


def tell(words: str) -> None:
    """An error as the user reads it."""
    print(f"gantrain: error: {printable(words)}", file=sys.stderr)


def leave_files_to_the_main_thread() -> None:
    """Has a thread that cannot write its file end without a traceback.

    TensorBoard's raises the error again in the thread that gives it the next event, where it is told in words.
    """
    threading.excepthook = _unless_of_a_file


def _unless_of_a_file(ended: threading.ExceptHookArgs) -> None:
    if not issubclass(ended.exc_type, OSError):
        threading.__excepthook__(ended)


def readable(words: str) -> str:
    """The words with what no terminal shows escaped as Python does, and of a long text the beginning and the end."""
    if len(words) > LONGEST:
        kept = LONGEST // 2
        words = f"{words[:kept]} ... ({len(words) - 2 * kept} characters left out) ... {words[-kept:]}"
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
    return shown if len(shown) <= LONGEST + 60 else readable(shown)


def words_for(error: BaseException) -> tuple[int, str] | None:
    """Exit code and readable words of a failure; None for one that is a defect of ours and deserves its traceback."""
    found = _words_for(error)
    return None if found is None else (found[0], readable(found[1]))


def _words_for(error: BaseException) -> tuple[int, str] | None:
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
