"""`tricks.*`: the keys of all tricks in `gantrain.training.tricks.TRICKS`."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from gantrain.options import merge_options
from gantrain.training.tricks import TRICKS, Trick, TrickOptions, TrickSetup


class _TricksSection:
    """Checks of the section."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Checks the keys of each trick."""
        self._all()

    def build(self, setup: TrickSetup) -> list[Trick]:
        """The tricks that are on."""
        built = [options.build(setup) for options in self._all()]
        return [trick for trick in built if trick is not None]

    def _all(self) -> list[TrickOptions]:
        return [kind(**{f.name: getattr(self, f.name) for f in fields(kind)}) for kind in TRICKS]  # type: ignore[arg-type]


if TYPE_CHECKING:

    class TricksConfig(_TricksSection):
        """Optional training tricks."""

        def __getattr__(self, key: str) -> Any:
            """The value of a key."""
else:
    TricksConfig = merge_options(
        "TricksConfig",
        TRICKS,
        base=_TricksSection,
        distinct=True,
        doc="Optional training tricks, all off by default.",
    )
