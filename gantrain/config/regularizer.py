"""`regularizer.*`: the keys of all constraints in `gantrain.training.regularizers.REGULARIZERS`."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from gantrain.options import ConfigError, merge_options
from gantrain.training.regularizers import REGULARIZERS, Regularizer


class _RegularizerSection:
    """Checks of the section."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Checks the keys of each constraint, and that only one is active."""
        active = [name for regularizer in self._all() for name in regularizer.active()]
        if len(active) > 1:
            choices = [name for kind in REGULARIZERS for name in kind.alternatives or _keys(kind)]
            choices = list(dict.fromkeys([*choices, *active]))
            raise ConfigError(
                f"regularizer: {' and '.join(active)} constrain the same gradient; choose one of "
                f"{', '.join(choices)} (model.d_norm=spectral can be combined with all but clip)"
            )

    def build(self) -> list[Regularizer]:
        """The active constraints."""
        return [regularizer for regularizer in self._all() if regularizer.active()]

    def _all(self) -> list[Regularizer]:
        return [kind(**{key: getattr(self, key) for key in _keys(kind)}) for kind in REGULARIZERS]


def _keys(kind: type[Regularizer]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))  # type: ignore[arg-type]


if TYPE_CHECKING:

    class RegularizerConfig(_RegularizerSection):
        """Constraints on the discriminator."""

        def __getattr__(self, key: str) -> Any:
            """The value of a key."""
else:
    RegularizerConfig = merge_options(
        "RegularizerConfig",
        REGULARIZERS,
        base=_RegularizerSection,
        distinct=True,
        doc="Constraints on the discriminator besides its loss; spectral norm is model.d_norm=spectral.",
    )
