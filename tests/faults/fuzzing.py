"""Strange words, values and files for hypothesis."""

import json
import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from gantrain.config import options
from gantrain.config.compose import GROUPS

KNOWN = {key: default for key, default, _ in options()}
TEXT = st.text(max_size=12)
"""Any characters, lone surrogates too."""


def _split(text: str) -> list[str]:
    return text.split()


def examples(count: int) -> settings:
    """The same examples at every run, GANTRAIN_FUZZ times as many."""
    return settings(
        max_examples=count * int(os.environ.get("GANTRAIN_FUZZ", "1")),
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],  # shrinking an example takes minutes
        print_blob=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )


NUMBERS = [
    *_split("0 1 -1 -0.0 0.5 1e-320 1e308 1e400 nan -inf 1_0 1.5 0x10 1e ٣"),
    *("9" * 30, "9" * 400, "9" * 5000, str(2**63), str(2**63 - 1)),
]
ODD = [
    *_split("null true [] {} [1,2] [[1,2],[3]] {a:1} [null] '' ' [ ] [1 {a: a:b a,b = ( ${seed} ${model} ${oc.env:NO}"),
    *_split(
        "${nope:1} ${ ${} $ ${oc.decode:'{'} ${now:%Y} ${hydra:run.dir} ${.a} ${job_folder:a,b} .. /etc/passwd ~ --"
    ),
    *("", "a b", "\\", "\x00", "a\nb", "'\x1b[2J'", "\u202e", "\ud800", "'\ud800'", "é", "'🙂'", "a" * 300),
    *("a" * 100_000, "[" * 500, "[" * 300 + "]" * 300, "{a:" * 200 + "1" + "}" * 200, "${" * 300),
]
SWEPT = [
    *_split(
        "a,b 1,2 1,,2 choice(1,2) choice() range(3) range(0,1000000000000) range(0,1,1e-12) range(0,10,0) range(a)"
    ),
    *_split("range(0,1e400) range(nan,1) interval(0,1) interval(0,inf) interval(a,b) glob(*) glob(x*) glob('[')"),
    *_split("shuffle(1,2) sort(3,1) sort(1,a) int('1'),2 json_str([1]) gan,kl dcgan,poole [a],[b] null,1 nope(1)"),
    *("shuffle(range(0,1000000000000))", "'\x1b',a"),
]
BROKEN_TEXTS = [
    *("", " ", "{", "null", "0", '"a"', "[]", "{}", "[NaN]", "1e400", "9" * 5000, "\x00", "\ufeff{}", "a: *b", "\t"),
    *("[" * 100_000, '{"a":' * 100_000, "- " * 20_000, "&a [*a]", "!!python/object/apply:os.getcwd []"),
    *("2020-13-45", "1: 2", "a: .nan", "<<: 1", "a: 1\na: 2"),
]


def keys() -> st.SearchStrategy[str]:
    """Names of keys and groups, most of them known."""
    known = st.sampled_from(sorted(KNOWN))
    misspelled = st.builds(lambda key, place, letter: key[: place % len(key)] + letter, known, st.integers(0, 20), TEXT)
    odd = st.sampled_from(["", ".", "a..b", "model.name.x", "a/b", "loss@x", "hydra", "hydra.x", "hydra.run.dir", "="])
    name = st.one_of(known, known, known, st.sampled_from([*GROUPS, "experiment", "sweep"]), misspelled, odd, TEXT)
    return st.builds(str.__add__, st.sampled_from([*[""] * 9, "+", "++", "~"]), name)


def values() -> st.SearchStrategy[str]:
    """What may follow the =."""
    return st.one_of(
        st.sampled_from(NUMBERS), st.sampled_from(ODD), st.integers().map(str), st.floats().map(repr), TEXT.map(repr)
    )


def words() -> st.SearchStrategy[list[str]]:
    """What may follow `python -m gantrain`: most keys with a value of their own type."""
    fitting = st.sampled_from(sorted(KNOWN)).flatmap(lambda key: _fitting(key).map(lambda value: f"{key}={value}"))
    groups = st.sampled_from([[], ["data=digits"], ["data=ring", "model=mlp"], ["experiment=demo"], ["augment=ada"]])
    pair = st.builds(lambda key, value: f"{key}={value}", keys(), values())
    word = st.one_of(fitting, fitting, pair, pair, keys(), TEXT)
    return st.builds(lambda group, more: [*group, *more], groups, st.lists(word, max_size=2))


def swept_words() -> st.SearchStrategy[list[str]]:
    """One or two keys with several values."""
    key = st.one_of(st.sampled_from(["seed", "loss.gen", "model.width", "optimizer.lr_g", "model"]), keys())
    pair = st.builds(lambda key, value: f"{key}={value}", key, st.sampled_from(SWEPT))
    return st.lists(pair, min_size=1, max_size=2)


def _fitting(key: str) -> st.SearchStrategy[str]:
    default = KNOWN[key]
    if isinstance(default, bool):
        return st.sampled_from(["true", "false"])
    if isinstance(default, int):
        return st.one_of(st.integers(-1, 200), st.integers(-(2**70), 2**70)).map(str)
    if isinstance(default, float):
        return st.one_of(st.floats(0, 1), st.floats()).map(repr)
    return st.sampled_from(["null", "1", "0.25", str(default), "[1]", "[0.5,1]", "[]"])


def trees() -> st.SearchStrategy[Any]:
    """What JSON can hold, NaN and infinity too."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), TEXT, st.sampled_from([*NUMBERS, 10**400, "x" * 100_000])
    )
    return st.recursive(
        leaves, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3))
    )


def configurations() -> st.SearchStrategy[dict[Any, Any]]:
    """What a damaged checkpoint may hold as its configuration."""
    flat = st.dictionaries(st.sampled_from(sorted(KNOWN)), trees(), max_size=3)
    strange = st.dictionaries(st.one_of(st.sampled_from(["model", "loss"]), TEXT, st.integers()), trees(), max_size=2)
    return st.builds(lambda known, more: {**_nested(known), **more}, flat, strange)


def _nested(flat: dict[str, Any]) -> dict[Any, Any]:
    tree: dict[Any, Any] = {}
    for key, value in flat.items():
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = value
    return tree


def broken_text(keys: tuple[str, ...]) -> st.SearchStrategy[bytes]:
    """A file that should be JSON with these keys, and is something else."""
    known = st.dictionaries(st.sampled_from(keys), trees(), max_size=4)
    text = st.one_of(st.sampled_from(BROKEN_TEXTS), st.one_of(trees(), known, known).map(json.dumps))
    return st.one_of(text.map(lambda held: held.encode("utf-8", "surrogatepass")), st.binary(max_size=30))
