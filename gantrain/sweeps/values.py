"""Checks of a sweep's values before its first job starts."""

from collections.abc import Sequence

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from gantrain.config import ConfigError
from gantrain.config.compose import compose, readable_errors
from gantrain.config.overrides import count_values, first_values, parse_overrides, refuse_too_many
from gantrain.objectives import discriminator_names, generator_choices

OBJECTIVE_NAMES = {"loss.disc": discriminator_names, "loss.gen": generator_choices}


def check_values(overrides: Sequence[Override], composed: DictConfig) -> None:
    """Checks each value of each swept key, with the first values of the other keys.

    Values of keys are set in `composed`, which is a hundred times faster than composing; options of groups are
    composed. Misspelled objectives are refused; pairs that do not exist are not.

    Args:
        overrides: overrides on the command line.
        composed: configuration of the sweep's first job.

    Raises:
        ConfigError: an unknown name, or a value of the wrong type.
    """
    first = first_values(overrides)
    for place, override in enumerate(overrides):
        if not (override.is_sweep_override() and override.is_discrete_sweep()):
            continue
        name = override.get_key_element()
        known = OBJECTIVE_NAMES[name]() if name in OBJECTIVE_NAMES else None
        present = OmegaConf.select(composed, name)
        for value in override.sweep_string_iterator():
            word = f"{name}={value}"
            if known is not None and value not in known:
                raise ConfigError(f"{word} is unknown; choose from [{', '.join(known)}]")
            if present is None or isinstance(present, DictConfig):
                compose([*first[:place], word, *first[place + 1 :]])
                continue
            with readable_errors([word], f"{word}: "):
                OmegaConf.update(composed, name, parse_overrides([word])[0].value())


def count_jobs(overrides: Sequence[Override], params: dict[str, str]) -> int | None:
    """The number of jobs of Hydra's basic sweeper; None if a value is not discrete.

    Args:
        overrides: overrides on the command line.
        params: hydra.sweeper.params, for keys that the command line does not set.

    Raises:
        ConfigError: too many jobs.
    """
    by_key = {o.get_key_element(): o for o in parse_overrides([f"{key}={value}" for key, value in params.items()])}
    by_key |= {override.get_key_element(): override for override in overrides}
    count = 1
    for override in by_key.values():
        if override.is_sweep_override():
            if not override.is_discrete_sweep():
                return None
            count *= count_values(override)
    refuse_too_many("the sweep", count)
    return count
