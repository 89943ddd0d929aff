"""Messages on stderr: short lines such as `gantrain: warning: ...`; results go to stdout instead.

Training configures logging through Hydra (configs/hydra/job_logging/gantrain.yaml), which also writes train.log;
commands call `log_to_console`.
"""

import logging
import sys

from gantrain.formatting import printable


class ConsoleFormatter(logging.Formatter):
    """Prints info unchanged; prefixes warnings and errors with program name and level."""

    def format(self, record: logging.LogRecord) -> str:
        """The line to print."""
        text = printable(super().format(record))
        if record.levelno < logging.WARNING:
            return text
        return f"{record.name.partition('.')[0]}: {record.levelname.lower()}: {text}"


class ConsoleHandler(logging.Handler):
    """Writes to the current sys.stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one record."""
        try:
            text = self.format(record)
            tqdm = sys.modules.get("tqdm")
            if tqdm is None:
                print(text, file=sys.stderr, flush=True)
            else:
                tqdm.tqdm.write(text, file=sys.stderr)
        except Exception:
            self.handleError(record)


def log_to_console(level: int = logging.INFO) -> None:
    """Sends messages to stderr only, and closes the log file of an earlier run of this process."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if type(handler) in (ConsoleHandler, logging.FileHandler):
            root.removeHandler(handler)
            handler.close()
    console = ConsoleHandler()
    console.setFormatter(ConsoleFormatter())
    root.addHandler(console)
    root.setLevel(level)
    logging.getLogger("hydra").setLevel(logging.WARNING)  # the launcher would print each job a second time
