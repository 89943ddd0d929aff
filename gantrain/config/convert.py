"""Registers the schema with Hydra, and converts between `Config`, composed configurations and dictionaries."""

import contextlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gantrain.config.root import Config
from gantrain.options import ConfigError


def register() -> None:
    """Registers the schema in Hydra's store; configs/config.yaml starts from it."""
    ConfigStore.instance().store(name="schema", node=Config)


@contextlib.contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from None
    except OverflowError:
        raise ConfigError("a number is larger than a float can hold") from None
    except RecursionError:
        raise ConfigError("the configuration is nested too deeply") from None


def from_omegaconf(composed: DictConfig) -> Config:
    """The checked `Config` of a composed configuration.

    Raises:
        ConfigError: a value out of range, an unknown name or key, a combination that does not work.
    """
    unknown = next(_unknown_keys(composed, Config), None)
    if unknown is not None:  # added with + or by a user's own file; the schema refuses all others
        raise ConfigError(f"{unknown!r} is not a key: leave it out; python -m gantrain --help lists all keys")
    with _readable_errors():
        return cast(Config, OmegaConf.to_object(composed))


def _unknown_keys(composed: DictConfig, cls: Any, prefix: str = "") -> Iterator[str]:
    """The dotted keys that are not in the schema, those inside sections too."""
    kinds = {field.name: field.type for field in fields(cls)}
    for key in map(str, composed):
        if key not in kinds:
            yield prefix + key
        elif is_dataclass(kinds[key]):
            yield from _unknown_keys(composed[key], kinds[key], f"{prefix}{key}.")


def from_dict(tree: dict[str, Any]) -> Config:
    """The checked `Config` of a dictionary made by `to_dict`.

    Raises:
        ConfigError: see `from_omegaconf`.
    """
    with _readable_errors():
        merged = OmegaConf.merge(OmegaConf.structured(Config), tree)
    return from_omegaconf(cast(DictConfig, merged))


def to_dict(config: Config) -> dict[str, Any]:
    """Nested plain containers, for YAML, JSON and checkpoints."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(config), resolve=True))
