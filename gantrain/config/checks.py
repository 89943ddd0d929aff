"""Checks of the command line that need no composition: keys, experiments, and the folder for the run."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override

from gantrain.config import ConfigError, options
from gantrain.config.compose import CONFIGS, GROUPS


def check_overrides(overrides: Sequence[Override]) -> None:
    """Refuses unknown keys, unknown experiments, and a folder that cannot be made.

    Raises:
        ConfigError: with the nearest known name.
    """
    if not any(
        override.key_or_group == "hydra.searchpath" for override in overrides
    ):  # the search path may add other groups
        _check_keys(overrides)
        _check_experiments(overrides)
    _check_writable(overrides)


def _check_keys(overrides: Sequence[Override]) -> None:
    known = [key for key, _, _ in options()]
    for override in overrides:
        name = override.key_or_group
        if name in known or name in GROUPS or name.split(".")[0].split("/")[0] == "hydra":
            continue
        near = difflib.get_close_matches(name, [*known, *GROUPS], n=3, cutoff=0.5)
        near += [key for key in known if key.endswith(f".{name}")]
        hint = f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
        raise ConfigError(f"{name!r} is not a key; {hint}python -m gantrain --help lists all keys")


def experiment_names() -> list[str]:
    """The values of `experiment=`; files whose names begin with _ are shared parts."""
    folder = CONFIGS / "experiment"
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*.yaml"))
    return [str(path.with_suffix("")) for path in paths if path.name[0] != "_"]


def _check_experiments(overrides: Sequence[Override]) -> None:
    """Refuses an unknown experiment and lists all; Hydra lists only those of one folder."""
    known = experiment_names()
    for override in overrides:
        if override.key_or_group != "experiment" or override.is_sweep_override():
            continue
        value = override.value()
        for name in value if isinstance(value, list) else [value]:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise ConfigError(
                    f"experiment={name} (experiment/{name}) does not exist; {hint}choose one of "
                    f"[{', '.join(known)}], several as experiment=[A,B], or leave it out"
                )


def _check_writable(overrides: Sequence[Override]) -> None:
    """Refuses a folder for runs that cannot be created."""
    places = {str(o.key_or_group): str(o.value()) for o in overrides}
    chosen = [key for key in ("hydra.run.dir", "hydra.sweep.dir") if key in places]
    for key, place in [(key, places[key]) for key in chosen] or [("hydra.run.dir", "outputs")]:
        if "\0" in place or not _is_encodable(place):
            raise ConfigError(f"{key}={place!r} cannot be created: no file system allows such a name")
        folder = Path(place).absolute()
        try:
            while not folder.exists():
                folder = folder.parent
        except OSError as error:
            raise ConfigError(f"{key}={place[:80]!r} cannot be created: {error.strerror}") from None
        system = folder.parts[:2] in (("/", "proc"), ("/", "sys"))  # os.access reports them as writable for root
        if system or not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise ConfigError(f"{key}={place!r} cannot be created: {str(folder)!r} is not a writable folder")


def _is_encodable(place: str) -> bool:
    try:
        os.fsencode(place)
    except UnicodeEncodeError:
        return False
    return True
