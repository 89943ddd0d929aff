"""What a user, an editor or a broken disk may hand to gantrain: hostile words, values and files, for hypothesis."""

import json
import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from gantrain.cli_checks import experiment_names
from gantrain.config import options
from gantrain.hydra_bridge import GROUPS

KNOWN = {key: default for key, default, _ in options()}
TEXT = st.text(max_size=12)
"""Of any characters, lone surrogates among them."""


def examples(count: int) -> settings:
    """So many examples, times GANTRAIN_FUZZ; the same ones at every run."""
    return settings(
        max_examples=count * int(os.environ.get("GANTRAIN_FUZZ", "1")),
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],  # an example is short already, and shrinking one takes minutes
        print_blob=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )


NUMBERS = (
    *("0", "1", "-1", "2", "-0.0", "0.5", "1e-320", "1e308", "1e400", "-1e400", "nan", "NaN", "inf", "-inf", "1_0"),
    *("9" * 30, "-" + "9" * 30, "9" * 400, "9" * 5000, "1.5", "0x10", "1e", "٣", "１", str(2**63), str(2**63 - 1)),
)
ODD = (
    *("", "null", "true", "False", "[]", "{}", "[1,2]", "[[1,2],[3,4]]", "{a:1}", "[null]", "[{a:[1]}]", "''", '""'),
    *("'", '"', "'a", "a'", "[", "]", "[1", "{a:", "a}", "a:b", "a b", "a,b", "=", "a=b", "\\", "\\'", "(", "a)"),
    *("${seed}", "${name}", "${nothing.here}", "${model}", "${oc.env:HOME}", "${oc.env:NOT_THERE}", "${oc.env:A,b}"),
    *("${nope:1}", "${", "${}", "$", "${oc.decode:'{'}", "${oc.select:seed}", "${now:%Y}", "${hydra:run.dir}", "${.a}"),
    *("${oc.create:{a:1}}", "${oc.dict.keys:model}", "${job_folder:1,a}", "${job_folder:a,b}", "${run_folder:a}"),
    *("\x00", "a\x00b", "\n", "a\nb", "'a\nb'", "\x1b[31m", "'\x1b[2J'", "\r", "\x07", "\x7f", "\u202e", "\ufeff"),
    *("\ud800", "'\ud800'", "é", "日本", "🙂", "'🙂'", "..", "../..", "/", "/etc/passwd", "a/b", "~", "-", "--", "*"),
    *("a" * 300, "a" * 100_000, "'" + "a b" * 30_000 + "'", "[" + "1," * 5_000 + "1]"),
    *("[" * 500, "[" * 300 + "]" * 300, "[" * 3000 + "]" * 3000, "{a:" * 200 + "1" + "}" * 200, "${" * 300, "(" * 500),
)
READ_BY_HYDRA = (
    *(
        "-0.0",
        "1e400",
        "-1e400",
        "nan",
        "-inf",
        "9" * 30,
        "9" * 400,
        "1_0",
        str(2**63),
        "null",
        "true",
        "[]",
        "{}",
        "[1,2]",
    ),
    *("{a:1}", "[null]", "[nan,1e400]", "[[a,b],[1,2]]", "''", "'\x1b[31m'", "'\ud800'", "'a\nb'", "'\x00'", "a" * 300),
    *(
        "${seed}",
        "${name}",
        "${model}",
        "${nothing.here}",
        "${oc.env:HOME}",
        "${oc.env:NOT_THERE}",
        "${nope:1}",
        "é",
        "..",
    ),
    *("${oc.select:seed}", "${oc.create:{a:1}}", "${job_folder:a,b}", "${run_folder:a}", "${hydra:run.dir}", "'${'"),
    *(
        "${oc.decode:'{'}",
        "${.a}",
        "${model.name}",
        "'${oc.env:'",
        "../..",
        "/etc/passwd",
        "a" * 100_000,
        "[" * 50 + "]" * 50,
    ),
)
SWEPT = (
    *("a,b", "1,2", "1,2,", "1,,2", "choice(1,2)", "choice()", "choice(a)", "range(3)", "range(0,3)", "range(3,0)"),
    *("range(0,1000000000000)", "range(0,1,1e-12)", "range(0,10,0)", "range(1,2,-1)", "range(0,3,0.5)", "range(a)"),
    *(
        "range(0,1e400)",
        "range(0,nan)",
        "range(nan,1)",
        "range(0,1,nan)",
        "range(-1e308,1e308,1e300)",
        "range(0,3,inf)",
    ),
    *("interval(0,1)", "interval(1,0)", "interval(0,inf)", "interval(nan,1)", "interval(a,b)", "glob(*)", "glob(x*)"),
    *("glob([a*,d*])", "glob(*,exclude=d*)", "glob('[')", "glob()", "shuffle(1,2)", "sort(3,1)", "tag(t,choice(1,2))"),
    *("shuffle(range(0,1000000000000))", "sort(range(0,3))", "sort(1,a)", "cast(1)", "int(a)", "int('1'),2", "str(1)"),
    *("float(range(0,3))", "int(range(0,3))", "int(nan)", "int(inf)", "bool(maybe)", "json_str([1])", "extend_list(1)"),
    *(
        "gan,kl",
        "dcgan,poole",
        "[a],[b]",
        "{a:1},{b:2}",
        "null,1",
        "nan,inf",
        "'\x1b',a",
        "nope(1)",
        "choice(choice(1))",
    ),
)


def _mostly(often: st.SearchStrategy[Any], *seldom: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Two times in three the first."""
    return st.integers(0, 2).flatmap(lambda draw: often if draw else st.one_of(*seldom))


def _near(key: str, place: int, letter: str) -> str:
    """A known name with a slip."""
    return key[: place % len(key)] + letter + key[(place + 1) % len(key) :]


def keys() -> st.SearchStrategy[str]:
    """Names of keys and groups, most of them known."""
    known = st.sampled_from(sorted(KNOWN))
    odd = (
        "",
        ".",
        "..",
        "a.",
        ".a",
        "a..b",
        "model.",
        "model.name.x",
        "/",
        "a/b",
        "@",
        "loss@x",
        "loss@:x",
        "hydra",
        "=",
    )
    hydra = (
        "hydra.run.dir",
        "hydra.sweep.dir",
        "hydra.sweep.subdir",
        "hydra/launcher",
        "hydra.x",
        "hydra.sweeper.params",
    )
    name = _mostly(
        known,
        st.sampled_from((*GROUPS, "experiment", "resume", "sweep", "about", "log", "doctor")),
        st.builds(_near, known, st.integers(0, 20), TEXT),
        st.sampled_from((*odd, *hydra, "a" * 100_000, "a." * 200 + "a")),
        TEXT,
    )
    return st.builds(str.__add__, st.sampled_from((*[""] * 12, "+", "++", "~", "~~", "+~")), name)


def values() -> st.SearchStrategy[str]:
    """What may stand behind the =."""
    scalar = _mostly(
        st.sampled_from(READ_BY_HYDRA),
        st.sampled_from(NUMBERS),
        st.sampled_from(ODD),
        st.integers().map(str),
        st.floats().map(repr),
        TEXT,
        TEXT.map(repr),
        st.sampled_from(sorted({str(default) for default in KNOWN.values()} | set(experiment_names()) | set(GROUPS))),
    )
    nested = st.recursive(
        scalar.filter(lambda word: len(word) < 50),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]"),
            st.dictionaries(st.sampled_from(("a", "name", "0", "")), inner, max_size=2).map(
                lambda parts: "{" + ",".join(f"{key}:{value}" for key, value in parts.items()) + "}"
            ),
        ),
        max_leaves=5,
    )
    return _mostly(scalar, nested)


def fitting(key: str) -> st.SearchStrategy[str]:
    """Values of the key's own type, in and beside its range."""
    default = KNOWN[key]
    if isinstance(default, bool):
        return st.sampled_from(("true", "false"))
    if isinstance(default, int):
        return st.one_of(st.integers(-1, 200), st.integers(-(2**70), 2**70)).map(str)
    if isinstance(default, float):
        return st.one_of(st.floats(0, 1), st.floats()).map(repr)
    return _mostly(st.sampled_from(("null", "1", "5", "0.25", "true", str(default), "[1]", "[0.5,1]", "[]")), values())


def fitting_words() -> st.SearchStrategy[list[str]]:
    """`key=value` words that may be accepted."""
    word = st.sampled_from(sorted(KNOWN)).flatmap(lambda key: fitting(key).map(lambda value: f"{key}={value}"))
    groups = st.sampled_from(
        (
            *(
                [],
                ["data=digits"],
                ["data=ring", "model=mlp"],
                ["model=sngan"],
                ["experiment=demo"],
                ["cond=projection"],
            ),
            *(
                ["data=mixture", "model=mlp", "data.stds=[1]", "data.means=[[0,1e-320]]"],
                ["augment=ada"],
                ["loss=exact"],
            ),
        )
    )
    return st.builds(lambda group, words: [*group, *words], groups, st.lists(word, max_size=2))


def words() -> st.SearchStrategy[list[str]]:
    """What stands behind `python -m gantrain`."""
    pair = st.builds(lambda key, value: f"{key}={value}", keys(), values())
    one = _mostly(pair, pair, keys(), TEXT)
    return st.one_of(st.lists(one, min_size=1, max_size=1), st.lists(one, min_size=2, max_size=3))


def swept_words() -> st.SearchStrategy[list[str]]:
    """The same, where one or two keys have several values."""
    key = _mostly(st.sampled_from(("seed", "loss.gen", "model.width", "optimizer.lr_g", "model", "experiment")), keys())
    pair = st.builds(lambda key, value: f"{key}={value}", key, st.sampled_from(SWEPT))
    return st.lists(pair, min_size=1, max_size=2)


def _leaves() -> st.SearchStrategy[Any]:
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        TEXT,
        st.sampled_from((*NUMBERS, *ODD)),
        st.sampled_from((10**400, -(10**30), "x" * 100_000)),
    )


def trees() -> st.SearchStrategy[Any]:
    """What JSON can hold, NaN and infinity too."""
    return st.recursive(
        _leaves(),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
        max_leaves=6,
    )


def configurations() -> st.SearchStrategy[dict[Any, Any]]:
    """What a hostile checkpoint may call its configuration."""
    sections = sorted({key.rpartition(".")[0] for key in KNOWN})
    flat = st.dictionaries(st.sampled_from(sorted(KNOWN)), st.one_of(trees(), _leaves()), max_size=3)
    strange = st.dictionaries(st.one_of(st.sampled_from(sections), TEXT, st.integers(), st.none()), trees(), max_size=2)
    return st.builds(lambda known, more: {**_nested(known), **more}, flat, strange)


def _nested(flat: dict[str, Any]) -> dict[Any, Any]:
    tree: dict[Any, Any] = {}
    for key, value in flat.items():
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = value
    return tree


BROKEN_TEXTS = (
    *(
        "",
        " ",
        "{",
        "[",
        "null",
        "0",
        '"a"',
        "[]",
        "{}",
        "NaN",
        "[NaN]",
        "1e400",
        "9" * 5000,
        '{"a": ' + "9" * 5000 + "}",
    ),
    *(
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000,
        "{a: " * 2000,
        "- " * 20_000,
        "\x00",
        "\ufeff{}",
    ),
    *("a: *b", "a: &a [*a]", "&a {a: *a}", "&a [*a]", "!!python/object/apply:os.getcwd []", "2020-13-45", "? [a]\n: 1"),
    *("1: 2", "null: 1", "a: 2020-01-01", "a: !!binary aGk=", "a: .nan", "a: !!set {b}", "<<: 1", "a: 1\na: 2", "\t"),
)


def broken_text(keys: tuple[str, ...]) -> st.SearchStrategy[bytes]:
    """A file that should be JSON with these keys, and is something else."""
    known = st.dictionaries(st.sampled_from(keys), st.one_of(_leaves(), trees()), max_size=4)
    as_json = st.one_of(trees(), known, known, st.lists(known, max_size=2)).map(json.dumps)
    lines = st.lists(st.one_of(as_json, st.sampled_from(BROKEN_TEXTS)), max_size=3).map("\n".join)
    text = st.one_of(st.sampled_from(BROKEN_TEXTS), as_json, as_json, lines)
    return st.one_of(text.map(lambda held: held.encode("utf-8", "surrogatepass")), st.binary(max_size=30))
