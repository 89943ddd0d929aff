"""No word runs code that was not installed: what Hydra would import, call or execute, checked when it is composed."""

import argparse
import contextlib
import functools
import io
import re
from collections.abc import Iterator
from typing import Any

import hydra._internal.hydra as hydra_start
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from gantrain.config import ConfigError

OURS = "hydra_plugins.gantrain.SideBySide"
BUILT = ("launcher", "sweeper", "callbacks")
"""Sections of `hydra` that Hydra makes objects of."""
LOGGING = ("job_logging", "hydra_logging")
FILES = tuple(f"logging.{name}" for name in ("FileHandler", "handlers.WatchedFileHandler"))
FILES += tuple(f"logging.handlers.{name}" for name in ("RotatingFileHandler", "TimedRotatingFileHandler"))
LOGGERS = ("logging.StreamHandler", "logging.NullHandler", "logging.Formatter", "logging.Filter", *FILES)
LOGGERS += ("colorlog.ColoredFormatter",)
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
EXECUTED = re.compile(r"setup|srun_args|runtime_env|wrap|export(_file)?|(.+_)?(commands?|prolog|epilog)")
"""Keys of launchers whose values a shell executes, or that say where a worker finds its modules."""
FINDING_CODE = re.compile(
    r"(PYTHON|LD_|DYLD_|GCONV_|GIT_|TORCH|TRITON|INDUCTOR|NCCL_|JOBLIB_|LOKY_|RAY_|HYDRA_|BASH|XDG_|NV|CUDA_(HOME|PATH|"
    r"CACHE|INJECTION|MODULE)).*|(PATH|HOME|SHELL|ENV|IFS|CC|CXX|TMPDIR|TEMP|TMP|PS4)",
    re.IGNORECASE,
)
"""Variables that name code, or folders in which it is looked for."""
CONV_PAIRS = re.compile(
    r"\$\{(hydra\.(run|sweep)\.dir|hydra\.job\.(name|num|id|override_dirname)|hydra\.runtime\.(cwd|output_dir)"
    r"|(now|oc\.env):[^${}]*)\}"
)
"""Interpolations that can be nothing but text."""
LONGEST = 90
"""Characters of a key or a value in a refusal."""
Keys = tuple[str, ...]
"""The names that lead to a value."""
DATABASES = ("sqlite:", "mysql", "postgresql")


def check_flags(words: list[str]) -> None:
    """Refuses flags that load code, or that Hydra would answer with a traceback; argparse answers what it cannot read.

    Raises:
        ConfigError: such a flag.
    """
    asked = _parsed(words)
    if asked.experimental_rerun is not None:
        raise ConfigError(
            f"--experimental-rerun={_cut(asked.experimental_rerun)} would load a pickle, which can hold any code: go "
            "on with a run by resume=RUN, or train it anew with the words of its run.json"
        )
    if "://" in (asked.config_path or ""):
        raise ConfigError(
            f"--config-path={_cut(asked.config_path)} must be a folder, since a package would be imported: write its "
            "path, or add a folder of your own with --config-dir"
        )
    flags = {
        "--run": asked.run,
        "--multirun": asked.multirun,
        "--cfg": asked.cfg,
        "--info": asked.info,
        "--shell-completion": asked.shell_completion,
    }
    given = [flag for flag, value in flags.items() if value]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} ask for different things: leave all but one out")
    if asked.resolve and not (asked.cfg or asked.help):
        raise ConfigError("--resolve goes with --cfg or --help: add one of them, or leave it out")


def _parsed(words: list[str]) -> argparse.Namespace:
    """The words as Hydra will read them, shortened flags too.

    Raises:
        ConfigError: it cannot.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return get_args_parser().parse_args(words)
    except SystemExit as end:
        if not end.code:
            raise  # --version
        reason = said.getvalue().strip().rpartition("error: ")[2]
        raise ConfigError(f"{_cut(reason)}: flags go before key=value words, and --hydra-help lists them") from None


def check_hydra(settings: DictConfig) -> None:
    """Refuses what would have Hydra run code that neither it nor an installed plugin of it has registered.

    Raises:
        ConfigError: the first such key of `hydra`.
    """
    sections: Any = OmegaConf.to_container(settings, resolve=False)
    if not isinstance(sections, dict):
        raise _refused(("hydra",), sections, "must be written out", "give its keys one by one")
    for section in (*BUILT, *LOGGING, "job", "run", "sweep"):
        if isinstance(sections.get(section), str) and sections[section] != "???":
            raise _refused(("hydra", section), sections[section], "must be written out", "give its keys one by one")
    for section in BUILT:
        _check_built(("hydra", section), sections.get(section))
    for section in LOGGING:
        _check_logging(("hydra", section), sections.get(section), str(sections["job"].get("name")))
    _check_environment(sections["job"])
    _check_search(sections.get("sweeper") or {})
    for section, key in (("job", "name"), ("run", "dir"), ("sweep", "dir"), ("sweep", "subdir")):
        _check_lines(("hydra", section, key), sections[section].get(key))


def trust_what_is_installed() -> None:
    """Has every composition of this process, and of the workers it starts, checked; safe to call again."""
    hydra_start.ConfigLoaderImpl = TrustedLoader  # type: ignore[attr-defined]


class TrustedLoader(ConfigLoaderImpl):
    """Hydra's loader, which hands on nothing unchecked."""

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """As Hydra has it.

        Raises:
            ConfigError: it would run code that was not installed.
        """
        composed = super().load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        check_hydra(composed.hydra)
        return composed

    def _process_config_searchpath(
        self, config_name: str | None, parsed_overrides: list[Override], repo: CachingConfigRepository
    ) -> None:
        """A search path may name packages, which are imported to be searched."""
        places = [override.value() for override in parsed_overrides if override.key_or_group == "hydra.searchpath"]
        primary = repo.load_config(config_path=config_name) if config_name is not None else None
        if primary is not None and OmegaConf.is_dict(primary.config):
            places.append(OmegaConf.select(primary.config, "hydra.searchpath"))
        for place in places:
            if place:
                raise ConfigError(
                    f"hydra.searchpath={_cut(place)} is not taken, since a package in it would be imported: add a "
                    "folder of your own with --config-dir"
                )
        super()._process_config_searchpath(config_name, parsed_overrides, repo)


@functools.cache
def _installed() -> tuple[frozenset[str], frozenset[str]]:
    """What Hydra and its installed plugins register: names of classes, and all text in their configurations."""
    plugins = Plugins.instance()
    classes = [*plugins.discover(Launcher), *plugins.discover(Sweeper)]
    targets = {f"{found.__module__}.{found.__name__}" for found in classes} | {OURS}
    texts = set()
    for node in _nodes(ConfigStore.instance().repo.get("hydra", {})):
        for path, value in _leaves((), node):
            if isinstance(value, str):
                texts.add(value)
                if path[-1] == "_target_":
                    targets.add(value)
    return frozenset(targets - {"???"}), frozenset(texts)


def _nodes(store: dict[str, Any]) -> Iterator[Any]:
    for inside in store.values():
        if isinstance(inside, ConfigNode):
            yield OmegaConf.to_container(inside.node, resolve=False)
        else:
            yield from _nodes(inside)


def _leaves(path: Keys, value: Any) -> Iterator[tuple[Keys, Any]]:
    """The values in dicts and lists, each with the keys that lead to it."""
    if isinstance(value, dict):
        for name, inside in value.items():
            yield from _leaves((*path, str(name)), inside)
    elif isinstance(value, list):
        for place, inside in enumerate(value):
            yield from _leaves((*path, str(place)), inside)
    elif value is not None and value != "???":
        yield path, value


def _check_built(section: Keys, content: Any) -> None:
    targets, texts = _installed()
    for path, value in _leaves(section, content):
        _check_lines(path, value)
        if path[-1] == "_target_" and value not in targets:
            rule = "must be one that Hydra or an installed plugin of it registers"
            raise _refused(path, value, rule, "leave it out, or install the plugin that has it")
        if path[-1] == "custom_search_space":
            raise _refused(path, value, "would be imported and called", "write the space as KEY=interval(A,B)")
        if any(EXECUTED.fullmatch(name.lower().replace("-", "_")) for name in path) and value not in texts:
            raise _refused(path, value, "would be executed where the jobs run", "set that up before the sweep starts")
        if isinstance(value, str) and "${" in CONV_PAIRS.sub("", value) and value not in texts:
            rule = "may refer to folders, the job and the environment alone"
            raise _refused(path, value, rule, "write the value out")


def _check_lines(path: Keys, value: Any) -> None:
    """A value of several lines would end a comment of the script that a queue is given."""
    if isinstance(value, str) and len(value.splitlines()) > 1:
        raise _refused(path, value, "must be one line", "leave the line breaks out")


def _check_logging(section: Keys, content: Any, job: str) -> None:
    for path, value in _leaves(section, content):
        text = str(value).replace("${hydra.runtime.output_dir}", "/").replace("${hydra.job.name}", job)
        if {"()", "class"} & {*path} and value not in LOGGERS:
            rule = "must be one of Python's that write to a stream or a file, or colorlog's formatter"
            raise _refused(path, value, rule, f"use {LOGGERS[0]} or {FILES[0]}")
        if {".", "queue", "listener"} & {*path}:
            raise _refused(path, value, "may be code that logging calls", "leave it out")
        if path[-1] == "filename" and not text.endswith(".log"):
            raise _refused(path, value, "must end in .log", "name such a file")
        if "${" in text or (text.startswith(("ext://", "cfg://")) and value not in STREAMS):
            rule = "would be looked up, and may be any code"
            raise _refused(path, value, rule, f"write the value out; streams are {' and '.join(STREAMS)}")


def _check_environment(job: dict[str, Any]) -> None:
    copied = job.get("env_copy") or []
    for path, value in _leaves(("hydra", "job", "env_set"), job.get("env_set")):
        if len(path) == 3 or (FINDING_CODE.fullmatch(path[-1]) and path[-1] not in copied):
            raise _refused(path, value, "may change which code is found", "set it before you start python")


def _check_search(sweeper: dict[str, Any]) -> None:
    """Jobs take their words from the sweeper's parameters; some of Optuna's stores hold pickles."""
    for section in ("params", "search_space"):
        for key, value in (sweeper.get(section) or {}).items():
            if str(key).lstrip("+~").split(".")[0].split("/")[0] == "hydra":
                path = ("hydra", "sweeper", section, str(key))
                raise _refused(path, value, "must be a key of the run", "Hydra's own keys have one value for all jobs")
    store = sweeper.get("storage")
    pickles = "CmaEs" in str((sweeper.get("sampler") or {}).get("_target_"))
    if isinstance(store, str) and (pickles or not store.startswith(DATABASES)):
        rule = "would be read as pickles, which can hold any code"
        raise _refused(
            ("hydra", "sweeper", "storage"), store, rule, "leave it out; sweep.resume=DIR goes on with a search"
        )


def _refused(path: Keys, value: Any, rule: str, way_out: str) -> ConfigError:
    return ConfigError(f"{_cut('.'.join(path))}={_cut(value)!r} {rule}: {way_out}")


def _cut(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
