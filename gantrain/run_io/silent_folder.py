"""The run folder of a process other than the main one, which writes nothing."""

from pathlib import Path
from typing import Any

from gantrain.run_io.run_folder import SAMPLES, RunFolder


class SilentFolder(RunFolder):
    """A run folder that writes nothing."""

    def __init__(self, path: Path) -> None:
        """Keeps the paths that the main process writes to."""
        self.path = path
        self.samples = path / SAMPLES
        self.tensorboard = path / "tensorboard"

    def scalars(self, *_: Any) -> None: ...  # noqa: D102
    def diagnostics(self, *_: Any) -> None: ...  # noqa: D102
    def finding(self, *_: Any) -> None: ...  # noqa: D102
    def measurements(self, *_: Any) -> None: ...  # noqa: D102
    def status(self, *_: Any, now: bool) -> None: ...  # noqa: D102
    def end(self, *_: Any) -> None: ...  # noqa: D102
    def sync(self) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102
    def animate(self) -> None: ...  # noqa: D102

    def grid(self, _step: int, _picture: Any, name: str) -> Path:
        """The path that the main process writes."""
        return self.samples / f"{name}.png"
