"""The schema handed to Hydra, and a `Config` made of what Hydra composes or of a saved one."""

import contextlib
from collections.abc import Iterator
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gantrain.config.checks import ConfigError
from gantrain.config.whole import Config


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
        ConfigError: a value out of its range, an unknown name, an impossible pair.
    """
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
