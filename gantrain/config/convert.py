"""The schema handed to Hydra, and a `Config` made of what Hydra composes or of a saved one."""

import contextlib
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gantrain.config.root import Config
from gantrain.options import ConfigError


def register() -> None:
    """Hands the schema to Hydra's store; configs/config.yaml builds on it."""
    ConfigStore.instance().store(name="schema", node=Config)


@contextlib.contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from None
    except OverflowError:
        raise ConfigError("a number is larger than any key takes") from None
    except RecursionError:
        raise ConfigError("the configuration is nested too deep") from None


def from_omegaconf(composed: DictConfig) -> Config:
    """A composed configuration, checked.

    Raises:
        ConfigError: a value out of its range, an unknown name, an impossible pair, a key that is none.
    """
    unknown = sorted({str(key) for key in composed} - {field.name for field in fields(Config)})
    if unknown:  # with + or from a folder of the user's own: the schema is closed for other ways
        raise ConfigError(f"{unknown[0]!r} is not a key: leave it out; python -m gantrain --help lists them all")
    with _readable_errors():
        return cast(Config, OmegaConf.to_object(composed))


def from_dict(tree: dict[str, Any]) -> Config:
    """A configuration saved with `to_dict`, checked again.

    Raises:
        ConfigError: as of `from_omegaconf`, or another tree.
    """
    with _readable_errors():
        merged = OmegaConf.merge(OmegaConf.structured(Config), tree)
    return from_omegaconf(cast(DictConfig, merged))


def to_dict(config: Config) -> dict[str, Any]:
    """Nested plain containers, for YAML, JSON and checkpoints."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(config), resolve=True))
