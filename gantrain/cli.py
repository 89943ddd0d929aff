"""What stands between the command line and Hydra: help texts, resolvers and readable refusals."""

import contextlib
import difflib
import hashlib
import math
import os
import re
import textwrap
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException, ValidationError

from gantrain import config as schema
from gantrain.config import Config, ConfigError
from gantrain.objectives import discriminator_names, generator_choices
from gantrain.objectives.table import as_text

PACKAGE = Path(__file__).resolve().parent
CONFIGS = next(folder for folder in (PACKAGE / "configs", PACKAGE.parent / "configs") if folder.is_dir())
"""Inside the package in an installed wheel, beside it in a checkout."""

OBJECTIVE_NAMES = {"loss.disc": discriminator_names, "loss.gen": generator_choices}
LONGEST_NAME = 120
"""Characters of a job's folder after its number; file systems allow 255 bytes."""
GROUPS = tuple(sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir() and folder.name != "hydra"))
MOST_JOBS = 10_000
"""Of a sweep: each has a folder, and its words are tried before the first one begins."""
MULTIRUN_FLAGS = ("-m", "--multirun")


def register() -> None:
    """Registers the schema and what configs/ refers to; safe to call again."""
    schema.register()
    for name, resolver in (
        ("run_folder", lambda resume, new: resume or new),
        ("help_keys", _help_keys),
        ("help_objectives", _help_objectives),
        ("job_folder", job_folder),
    ):
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def job_folder(number: int, varied: str) -> str:
    """`003-loss.gen=kl,seed=0`: the folder of a sweep's job, by its number and what varies in Hydra's words.

    What a folder's name or a shell takes amiss is replaced; a name that is cut ends in a digest of the whole.
    """
    safe = re.sub(r"[^\w.+=,-]", "", varied.replace("/", "_").replace(" ", "_"))
    if len(safe) > LONGEST_NAME:
        safe = f"{safe[:LONGEST_NAME]}-{hashlib.sha1(varied.encode()).hexdigest()[:6]}"
    return f"{number:03d}-{safe}" if safe else f"{number:03d}"


def quoted(text: str) -> str:
    """A value as Hydra's grammar takes it, whatever is in it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def with_literal_resume(words: list[str]) -> list[str]:
    """The words, with what `resume=` names taken as it stands: a job's folder has = and , in its name."""
    found = []
    for word in words:
        key, _, value = word.partition("=")
        literal = key == "resume" and value[:1] not in ("'", '"', "")
        found.append(f"{key}={quoted(value)}" if literal else word)
    return found


_defaults: dict[str, Any] = {}


def remember_defaults() -> None:
    """Composes the defaults that --help shows; inside of Hydra's own start it would be too late."""
    _defaults.update(schema.flatten(schema.to_dict(schema.from_omegaconf(compose_config([])))))


def check_command_line(arguments: list[str]) -> None:
    """Refuses a command line before Hydra makes a folder for it.

    A single run is checked whole; of a sweep only the keys are, since each job answers for its own values.

    Raises:
        ConfigError: an unknown key, group, value or pair.
    """
    if any(word.startswith("-") and word not in MULTIRUN_FLAGS for word in arguments):
        return  # --help and the like, or a flag that moves the configuration: Hydra's to answer
    words = [word for word in arguments if word not in MULTIRUN_FLAGS]
    overrides = parse_overrides(words)
    _check_keys(overrides)
    _check_experiment(overrides)
    _check_writable(overrides)
    if len(words) < len(arguments):
        if any(override.key_or_group == "resume" for override in overrides):
            raise ConfigError("resume goes on with one run and cannot be part of a sweep; leave out --multirun")
        _check_each_value(overrides)
        return
    several = [str(override.input_line) for override in overrides if override.is_sweep_override()]
    if several:
        raise ConfigError(
            f"{several[0]} names several values: add -m to train with each of them, or write one list as key=[A,B]"
        )
    composed = compose_config(words)
    if composed.resume is not None:
        if any(override.key_or_group == "hydra.run.dir" for override in overrides):
            raise ConfigError("resume goes on in the run's own folder; leave out hydra.run.dir")
        if not (composed.resume and os.path.isdir(composed.resume)):
            raise ConfigError(f"resume={composed.resume!r} is not a folder; give a run's, e.g. outputs/DATE/TIME-NAME")
    else:
        schema.from_omegaconf(composed)


def _check_writable(overrides: list[Override]) -> None:
    """Refuses a place for runs that Hydra could not make a folder in."""
    places = {str(o.key_or_group): str(o.value()) for o in overrides}
    chosen = [key for key in ("hydra.run.dir", "hydra.sweep.dir") if key in places]
    for key, place in [(key, places[key]) for key in chosen] or [("hydra.run.dir", "outputs")]:
        if "\0" in place or not _is_encodable(place):
            raise ConfigError(f"{key}={place!r} cannot be made: no file system takes such a name")
        folder = Path(place).absolute()
        try:
            while not folder.exists():
                folder = folder.parent
        except OSError as error:
            raise ConfigError(f"{key}={place[:80]!r} cannot be made: {error.strerror}") from None
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)) or _is_system(folder):
            raise ConfigError(f"{key}={place!r} cannot be made: {str(folder)!r} is no folder that can be written")


def _is_encodable(place: str) -> bool:
    try:
        os.fsencode(place)
    except UnicodeEncodeError:
        return False
    return True


def _is_system(folder: Path) -> bool:
    """/proc and /sys say that root may write, and refuse."""
    return folder.parts[:2] in (("/", "proc"), ("/", "sys"))


def _check_each_value(overrides: list[Override]) -> None:
    """Tries every value that is swept, beside the first ones of the other keys.

    A group's is composed; a key's is set in what was composed, a hundred times as fast.
    """
    plain = [first_value(override) for override in overrides]
    composed = compose_config(plain)
    for place, override in enumerate(overrides):
        if not (override.is_sweep_override() and override.is_discrete_sweep()):
            continue
        name = override.get_key_element()
        known = OBJECTIVE_NAMES[name]() if name in OBJECTIVE_NAMES else None
        for value in override.sweep_string_iterator():
            word = f"{name}={value}"
            if known is not None and value not in known:  # a pair may be impossible, a name that is not there is a slip
                raise ConfigError(f"{word} is not known; choose from [{', '.join(known)}]")
            if OmegaConf.select(composed, name) is None or isinstance(OmegaConf.select(composed, name), DictConfig):
                compose_config([*plain[:place], word, *plain[place + 1 :]])
                continue
            with _explained([word], f"{word}: "):
                OmegaConf.update(composed, name, parse_overrides([word])[0].value())


def first_value(override: Override) -> str:
    """The override as a word, of what is swept the first value alone.

    Raises:
        ConfigError: as of `count_values`.
    """
    word = str(override.input_line)
    if not override.is_sweep_override():
        return word
    if override.is_discrete_sweep():
        count_values(override)
        return f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"
    interval = override.value()
    assert isinstance(interval, IntervalSweep)
    return f"{override.get_key_element()}={interval.start}"


def count_values(override: Override) -> int:
    """How many values a discrete sweep names; a range is not gone through.

    Raises:
        ConfigError: none, more than `MOST_JOBS`, or a range that does not end.
    """
    word, value = str(override.input_line), override.value()
    if isinstance(value, RangeSweep):
        start, stop, step = value.start, value.stop, value.step
        assert start is not None
        assert stop is not None
        if not all(isinstance(number, int) or math.isfinite(number) for number in (start, stop, step)) or step == 0:
            raise ConfigError(f"{word} does not end: a range goes from one finite number to another in steps beside 0")
        count = max(0, math.ceil((Fraction(stop) - Fraction(start)) / Fraction(step)))
    else:
        count = sum(1 for _ in override.sweep_string_iterator())
    if count == 0:
        raise ConfigError(f"{word} names no value; give one at least, or leave it out")
    refuse_too_many(word, count)
    return count


def refuse_too_many(word: str, count: int) -> None:
    """Refuses a sweep that no one could wait for.

    Raises:
        ConfigError: more than `MOST_JOBS`.
    """
    if count > MOST_JOBS:
        shown = f"{count:,}" if count < 10**15 else "more than 10^15"
        raise ConfigError(f"{word} asks for {shown} jobs, and a sweep has at most {MOST_JOBS:,}: name fewer values")


def first_values(words: list[str]) -> list[str]:
    """The words of a sweep's first job."""
    return [first_value(override) for override in parse_overrides(words)]


def compose_config(overrides: list[str]) -> DictConfig:
    """The configuration that these overrides compose, not yet checked for ranges.

    Raises:
        ConfigError: an unknown key, an option that a group does not have, a value of the wrong type.
    """
    return _compose(overrides, with_hydra=False)


def compose_with_hydra(overrides: list[str]) -> DictConfig:
    """The same, with Hydra's own keys under `hydra`, not resolved.

    Raises:
        ConfigError: as of `compose_config`.
    """
    return _compose(overrides, with_hydra=True)


def _compose(overrides: list[str], *, with_hydra: bool) -> DictConfig:
    register()
    with _explained(overrides), initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        composed = compose("config", overrides=overrides, return_hydra_config=with_hydra)
        if not with_hydra:
            OmegaConf.resolve(composed)
        return composed


@contextlib.contextmanager
def _explained(words: list[str], where: str = "") -> Iterator[None]:
    """What Hydra and OmegaConf do not read, in our words."""
    try:
        yield
    except ConfigError:
        raise
    except InterpolationResolutionError as error:
        holders = " ".join(word for word in words if "${" in word)
        raise ConfigError(f"{where or (holders and holders + ': ')}{explain(error)}") from None
    except (HydraException, OmegaConfBaseException) as error:
        told = explain(error)
        named = where and told.startswith(where.partition("=")[0] + "=")
        raise ConfigError(told if named else f"{where}{told}") from None
    except (ValueError, ArithmeticError, TypeError, AttributeError) as error:  # of another form than they count on
        raise ConfigError(f"{where or ' '.join(words) + ': '}{explain(error)}") from None
    except RecursionError:
        deepest = max(words, key=len)
        raise ConfigError(f"{deepest} is nested too deep; no key takes more than two brackets in each other") from None


def asked_keys(overrides: list[str], composed: Config) -> dict[str, Any]:
    """The dotted keys that a command line sets, with their composed values.

    A group sets all of its section but what may change on resume: that counts only where it is named.
    """
    flat = schema.flatten(schema.to_dict(composed))
    asked: dict[str, Any] = {}
    for override in parse_overrides(overrides):
        name = override.key_or_group
        chosen = [key for key in flat if name in ("experiment", key) or key.startswith(f"{name}.")]
        chosen = [key for key in chosen if key == name or key not in schema.MAY_CHANGE_ON_RESUME]
        asked |= {key: flat[key] for key in chosen}
    return asked


def parse_overrides(words: list[str]) -> list[Override]:
    """Hydra's reading of `key=value` words.

    Raises:
        ConfigError: a word that it cannot read.
    """
    globs = any("glob(" in word for word in words)  # which only the folder of configurations can tell
    with _explained(words, f"{' '.join(words)}: "):
        return list(OverridesParser.create(_config_loader() if globs else None).parse_overrides(words))


def _config_loader() -> ConfigLoader:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        return GlobalHydra.instance().config_loader()


def _check_keys(overrides: list[Override]) -> None:
    known = [key for key, _, _ in schema.options()]
    for override in overrides:
        name = override.key_or_group
        if name in known or name in GROUPS or name.split(".")[0].split("/")[0] == "hydra":
            continue
        near = difflib.get_close_matches(name, [*known, *GROUPS], n=3, cutoff=0.5)
        near += [key for key in known if key.endswith(f".{name}")]
        hint = f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
        raise ConfigError(f"{name!r} is not a key; {hint}python -m gantrain --help lists them all")


def experiment_names() -> list[str]:
    """What `experiment=` takes; a file whose name begins with _ is what a family has in common."""
    folder = CONFIGS / "experiment"
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*.yaml"))
    return [str(path.with_suffix("")) for path in paths if path.name[0] != "_"]


def _check_experiment(overrides: list[Override]) -> None:
    """Refuses an experiment that is not there, with all that are: Hydra lists those of one folder only."""
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
                    f"experiment={name} (experiment/{name}) is not there; {hint}choose one of "
                    f"[{', '.join(known)}], several as experiment=[A,B], or leave it out"
                )


def explain(error: BaseException) -> str:
    """A value of the wrong kind in our words; else Hydra's without its search path, with the cause that it wraps."""
    lines = []
    for part in (error, error.__cause__):
        if isinstance(part, ValidationError):
            kind = schema.kind_of(str(part.full_key))
            if kind is not None:
                return f"{part.full_key}={part.value!r} must be {kind}; python -m gantrain --help tells of each key"
        if part is not None:
            text = str(part).split("Config search path")[0].split("See https")[0]
            lines += [line.strip() for line in text.splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("object_type", "reference_type"))]
    return "; ".join(dict.fromkeys(useful))


def _help_keys() -> str:
    defaults = _defaults or {key: default for key, default, _ in schema.options()}
    rows = [(f"{key}={schema.as_word(defaults[key])}", text) for key, _, text in schema.options()]
    width = max(len(key) for key, _ in rows) + 2
    lines = []
    for key, text in rows:
        first, *rest = textwrap.wrap(text, max(40, 118 - width))
        lines.append(key.ljust(width) + first)
        lines += [" " * width + line for line in rest]
    return "\n".join(lines).replace("$", "$$")


def _help_objectives() -> str:
    return as_text().replace("$", "$$")
