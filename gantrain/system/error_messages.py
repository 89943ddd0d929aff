"""Error messages: which exceptions are expected, their exit codes, and their text."""

import sys
import threading

from gantrain.errors import FAILED, GantrainError

LONGEST = 1_900
"""Characters of an error message; the middle of a longer one is left out."""


def describe_error(error: BaseException) -> tuple[int, str] | None:
    """Exit code and message of an expected error; None for a bug, which keeps its traceback."""
    found = _describe(error)
    return None if found is None else (found[0], readable(found[1]))


def _describe(error: BaseException) -> tuple[int, str] | None:
    if isinstance(error, GantrainError):
        return error.exit_code, str(error)
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    torch = sys.modules.get("torch")
    if torch is not None:
        from gantrain.system.distributed import is_connection_lost

        if is_connection_lost(error):
            return FAILED, f"another process of the run ended; its error message gives the reason ({first[:120]})"
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            return FAILED, _out_of_memory(first)
    if isinstance(error, MemoryError):
        return FAILED, _out_of_memory(first)
    if isinstance(error, OSError):
        return FAILED, f"a file cannot be read or written ({error}); everything saved before is intact"
    return None


def _out_of_memory(reason: str) -> str:
    return f"out of memory ({reason}); lower schedule.batch_size, model.width or metrics.samples"


def readable(text: str) -> str:
    """The text with control characters escaped; a long text keeps its beginning and its end."""
    if len(text) > LONGEST:
        kept = LONGEST // 2
        text = f"{text[:kept]} ... ({len(text) - 2 * kept} characters left out) ... {text[-kept:]}"
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= LONGEST + 60 else readable(shown)


def hide_file_errors_of_threads() -> None:
    """Suppresses tracebacks of threads that cannot write a file.

    TensorBoard's writer raises the same error again in the main thread, where it is reported.
    """
    threading.excepthook = _print_unless_os_error


def _print_unless_os_error(ended: threading.ExceptHookArgs) -> None:
    if not issubclass(ended.exc_type, OSError):
        threading.__excepthook__(ended)
