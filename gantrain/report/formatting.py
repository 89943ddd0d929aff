"""How figures and their numbers are written, on the page, in pictures and in the terminal alike."""

import math

from gantrain.report.run_groups import Spread

WRITTEN = {"fid": "FID", "kid": "KID", "inception_score": "Inception Score", "kl": "KL(q‖p)"}


def written(name: str) -> str:
    """A figure's name in prose: `FID` of `fid`."""
    return WRITTEN.get(name, name.replace("_", " "))


def base_of(figure: str) -> str:
    """Without the network: `fid` of `fid_ema`."""
    return figure.rpartition("_")[0]


def named(figure: str) -> str:
    """A figure with its network: `FID (EMA)` of `fid_ema`."""
    network = figure.rpartition("_")[2]
    return f"{written(base_of(figure))} ({'EMA' if network == 'ema' else network})"


def direction(lower_is_better: bool | None) -> str:
    """Which way is better."""
    return (
        "which describes only" if lower_is_better is None else f"{'lower' if lower_is_better else 'higher'} is better"
    )


def number(value: float | None, digits: int = 4, sign: str = "-") -> str:
    """Four significant digits, whole numbers with thousands apart; a dash for None. `sign` is that of format()."""
    if value is None:
        return "–"
    if (float(value).is_integer() and abs(value) < 1e12) or 10**digits <= abs(value) < 1e12:
        return f"{value:{sign},.0f}"
    return f"{value:{sign}#.{digits}g}".rstrip(".")


def uncertain(value: float, scale: float | None, sign: str = "-") -> str:
    """As many decimals as the second digit of `scale`, its uncertainty; four digits without one."""
    if not scale or not 1e-6 < scale < 1e6:
        return number(value, sign=sign)
    decimals = max(0, 1 - math.floor(math.log10(scale)))
    return f"{round(value, decimals) + 0.0:{sign},.{decimals}f}"


def spread_words(found: Spread | None) -> str:
    """`23.41 ± 0.52`: mean and sample standard deviation over seeds; the value alone of one seed, a dash for None."""
    if found is None:
        return "–"
    if found.std is None:
        return number(found.mean)
    std = uncertain(found.std, found.std) if 1e-6 < found.std < 1e6 else number(found.std, 2)
    return f"{uncertain(found.mean, found.std)} ± {std}"


def counted(count: int, thing: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """`1.2 s`, `12 s`, `4 min 10 s`, `2 h 05 min` or `3 d 04 h`, to the nearest of its last unit; a dash for None."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if 0 < seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 else f"{seconds:.1g} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"
