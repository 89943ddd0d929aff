"""Interface to Hydra: composes configurations, runs jobs in their folders, and fills in the help."""

import contextlib
import hashlib
import io
import os
import re
import sys
import textwrap
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import run_job as hydra_run_job
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException, ValidationError

from gantrain import config as schema
from gantrain.config import ConfigError

PACKAGE = Path(__file__).resolve().parents[1]
CONFIGS = next(folder for folder in (PACKAGE / "configs", PACKAGE.parent / "configs") if folder.is_dir())
"""Inside the package in an installed wheel, next to it in a checkout."""
GROUPS = tuple(sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir() and folder.name != "hydra"))
LONGEST_NAME = 120
"""Characters of a job's folder name after its number; file systems allow 255 bytes."""


def register() -> None:
    """Registers the schema and the resolvers that configs/ uses; may be called again."""
    schema.register()
    for name, resolver in (
        ("run_folder", lambda resume, new: resume or new),
        ("help_groups", _help_groups),
        ("help_keys", _help_keys),
        ("help_objectives", _help_objectives),
        ("job_folder", job_folder),
    ):
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def job_folder(number: int, varied: str) -> str:
    """The folder of a sweep's job from its number and its varied overrides: `003-loss.gen=kl,seed=0`.

    Characters that folder names or shells treat specially are dropped; a name that is too long ends in a hash.
    """
    safe = re.sub(r"[^\w.+=,-]", "", varied.replace("/", "_").replace(" ", "_"))
    if len(safe) > LONGEST_NAME:
        safe = f"{safe[:LONGEST_NAME]}-{hashlib.sha1(varied.encode()).hexdigest()[:6]}"
    return f"{number:03d}-{safe}" if safe else f"{number:03d}"


def parse_flags(words: Sequence[str]) -> Namespace:
    """Hydra's flags, and the `key=value` words as `overrides`.

    Raises:
        ConfigError: an unknown flag, one without its value, or flags that contradict each other.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            flags = get_args_parser().parse_args(list(words))
    except SystemExit as end:
        if not end.code:
            raise  # --version
        reason = said.getvalue().strip().rpartition("error: ")[2]
        raise ConfigError(f"{reason}: flags go before key=value words; --hydra-help lists them") from None
    modes = {
        "--run": flags.run,
        "--multirun": flags.multirun,
        "--cfg": flags.cfg,
        "--info": flags.info,
        "--shell-completion": flags.shell_completion,
    }
    given = [flag for flag, value in modes.items() if value]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} contradict each other: use only one")
    if flags.resolve and not (flags.cfg or flags.help):
        raise ConfigError("--resolve needs --cfg or --help: add one of them, or leave it out")
    if flags.config_dir is not None and not os.path.isdir(flags.config_dir):
        raise ConfigError(f"--config-dir={flags.config_dir!r} does not exist: give a folder of configurations")
    return flags


def compose(words: Sequence[str], *, with_hydra: bool = False, flags: Namespace | None = None) -> DictConfig:
    """The configuration of these overrides; ranges are not checked yet.

    Args:
        words: `key=value`, each with one value.
        with_hydra: keep Hydra's own keys, under `hydra`.
        flags: Hydra's flags; --config-path and --config-name are used.

    Raises:
        ConfigError: an unknown key, an unknown option of a group, a value of the wrong type.
    """
    register()
    folder, name = str(CONFIGS), "config"
    if flags is not None:
        folder, name = os.path.abspath(flags.config_path or folder), flags.config_name or name
    with readable_errors(words), initialize_config_dir(config_dir=folder, job_name="gantrain", version_base="1.3"):
        composed = hydra_compose(name, overrides=list(words), return_hydra_config=with_hydra)
        if not with_hydra:
            OmegaConf.resolve(composed)
        return composed


def config_loader() -> ConfigLoader:
    """Hydra's loader of the folder of configurations."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        return GlobalHydra.instance().config_loader()


def run_job(composed: DictConfig, task: Callable[[], None], *, resumed: bool) -> None:
    """Runs a task as Hydra runs a job: in the folder hydra.run.dir, with `.hydra/`, logging and callbacks.

    The `.hydra/` of a resumed run stays as its first start wrote it; run.json lists every start.
    """
    if resumed:
        with read_write(composed.hydra), open_dict(composed.hydra):
            composed.hydra.output_subdir = None
    callbacks = Callbacks(composed)
    callbacks.on_run_start(config=composed, config_name="config")
    ended = hydra_run_job(
        task_function=lambda _: task(),
        config=composed,
        job_dir_key="hydra.run.dir",
        job_subdir_key=None,
        hydra_context=HydraContext(config_loader=config_loader(), callbacks=callbacks),
    )
    callbacks.on_run_end(config=composed, config_name="config", job_return=ended)
    with contextlib.redirect_stderr(io.StringIO()):  # Hydra prints the overrides of a failed job
        _ = ended.return_value  # raises the task's error


def run_hydra(words: Sequence[str], task: Callable[[DictConfig], Any]) -> None:
    """Gives the command line to Hydra: for a sweep, and for flags that print something.

    Raises:
        ConfigError: an error of Hydra's own keys, which our schema does not cover.
    """
    register()
    sys.argv[1:] = words
    full_error = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them and exiting
    try:
        hydra.main(config_path=str(CONFIGS), config_name="config", version_base="1.3")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error)) from None
    finally:
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error


@contextlib.contextmanager
def readable_errors(words: Sequence[str], where: str = "") -> Iterator[None]:
    """Turns errors of Hydra and OmegaConf into a ConfigError; `where` begins the message."""
    try:
        yield
    except ConfigError:
        raise
    except InterpolationResolutionError as error:
        holders = " ".join(word for word in words if "${" in word)
        raise ConfigError(f"{where or (holders and holders + ': ')}{explain(error)}") from None
    except (HydraException, OmegaConfBaseException) as error:
        text = explain(error)
        named = where and text.startswith(where.partition("=")[0] + "=")
        raise ConfigError(text if named else f"{where}{text}") from None
    except (ValueError, ArithmeticError, TypeError, AttributeError) as error:  # Hydra assumes well-formed values
        raise ConfigError(f"{where or ' '.join(words) + ': '}{explain(error)}") from None
    except RecursionError:
        deepest = max(words, key=len)
        raise ConfigError(f"{deepest} is nested too deeply; no key takes more than two levels of brackets") from None


def explain(error: BaseException) -> str:
    """Hydra's message and its cause, without the search path; wrong types get a message of our own."""
    lines = []
    for part in (error, error.__cause__):
        if isinstance(part, ValidationError):
            kind = schema.kind_of(str(part.full_key))
            if kind is not None:
                return f"{part.full_key}={part.value!r} must be {kind}; python -m gantrain --help describes each key"
        if part is not None:
            text = str(part).split("Config search path")[0].split("See https")[0]
            lines += [line.strip() for line in text.splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("object_type", "reference_type"))]
    return "; ".join(dict.fromkeys(useful))


def _help_groups() -> str:
    """The groups of configs/, including nested ones, with their options."""
    lines = []
    for group in GROUPS:
        for folder in (CONFIGS / group, *sorted(path for path in (CONFIGS / group).rglob("*") if path.is_dir())):
            options = sorted(path.stem for path in folder.glob("*.yaml") if path.name[0] != "_")
            lines.append(f"{folder.relative_to(CONFIGS)}: {', '.join(options)}")
    return "\n".join(lines)


def _help_keys(*, _root_: DictConfig) -> str:
    """Each key with its composed value and its help."""
    values = {key: OmegaConf.select(_root_, key) for key, _, _ in schema.options()}
    rows = [(f"{key}={schema.as_word(_plain(values[key]))}", text) for key, _, text in schema.options()]
    width = max(len(key) for key, _ in rows) + 2
    lines = []
    for key, text in rows:
        first, *rest = textwrap.wrap(text, max(40, 118 - width))
        lines.append(key.ljust(width) + first)
        lines += [" " * width + line for line in rest]
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _help_objectives() -> str:
    from gantrain.objectives.table import as_text

    return as_text()
