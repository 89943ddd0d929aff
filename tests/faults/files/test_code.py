"""Files that would run code: refused unopened."""

import io
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gantrain.atomic_io import UnreadableFileError, load_safely
from gantrain.commands.trained import load_run
from gantrain.errors import GantrainError
from gantrain.training.checkpoint import BEST, LAST
from tests.faults.files.reading import READERS, as_before_or_refused
from tests.faults.payloads import PAYLOADS


def by_torch(content: object, *, legacy: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def tarred(content: bytes) -> bytes:
    """The form of torch before 0.1.10."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def with_pickle(whole: bytes, pickled: bytes) -> bytes:
    """The archive with another pickle and checksums that agree."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, zipfile.ZipFile(buffer, "w") as made:
        for name in archive.namelist():
            made.writestr(name, pickled if name.endswith("data.pkl") else archive.read(name))
    return buffer.getvalue()


def scripted() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def hostile_files(whole: bytes, canary: Path) -> dict[str, bytes]:
    content = torch.load(io.BytesIO(whole), weights_only=True)
    found = {"TorchScript": scripted(), "nothing but a tar": tarred(b"none")}
    for kind in PAYLOADS:
        payload = kind(canary)
        for protocol in range(6):
            found[f"{kind.__name__}, a raw pickle of protocol {protocol}"] = pickle.dumps(payload, protocol)
            found[f"{kind.__name__}, protocol {protocol} in the archive"] = with_pickle(
                whole, pickle.dumps(payload, protocol)
            )
        found[f"{kind.__name__} in a checkpoint"] = by_torch({**content, "metric_values": payload}, legacy=False)
        found[f"{kind.__name__} in a checkpoint of the old form"] = by_torch({**content, "x": payload}, legacy=True)
        found[f"{kind.__name__} in a tar"] = tarred(pickle.dumps(payload, 2))
    name = str(canary).encode()
    for words, pickled in {
        "a global alone": b"cos\nsystem\n.",
        "reduce": b"cposix\nsystem\n(Vtouch " + name + b"\ntR.",
        "inst": b"(Vtouch " + name + b"\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nVtouch " + name + b"\no.",
        "newobj": b"\x80\x02cbuiltins\neval\n(V1\nt\x81.",
        "a loader of torch's": b"ctorch.serialization\nload\n(V" + name + b"\ntR.",
        "another global of torch's": b"ctorch\n_load_global_deps\n(tR.",
        "a global by attribute": b"\x80\x04\x8c\x05torch\x8c\x0eos.path.exists\x93.",
        "build": b"ccollections\nOrderedDict\n(tR(Va\nVb\ndb.",
        "more memory than there is": b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x10\x85R.",
        "an extension": b"\x82\x01.",
    }.items():
        found[f"by hand, {words}"] = with_pickle(whole, pickled)
    return found


def test_code_is_refused_unopened(run: Path, whole: bytes, usual: dict[str, list[Tensor]], tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for kind, content in hostile_files(whole, canary).items():
        (run / LAST).write_bytes(content)
        for name in READERS:
            assert as_before_or_refused(run, name, usual) is not None, (kind, name)
            assert not canary.exists(), (kind, name)
        (tmp_path / "weights.pth").write_bytes(content)
        with pytest.raises(UnreadableFileError):
            load_safely(tmp_path / "weights.pth", by_old_torch=True)
        assert not canary.exists(), kind


def test_torch_itself_opens_none_of_them(
    run: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are refused by what is in them, before torch has them in its hands."""
    files = hostile_files(whole, tmp_path / "canary")

    def opened(*_: object, **__: object) -> None:
        pytest.fail("torch.load was called")

    monkeypatch.setattr(torch, "load", opened)
    for kind, content in files.items():
        if kind == "by hand, build":  # of what tensors need, so that it is torch that refuses it
            continue
        (run / LAST).write_bytes(content)
        with pytest.raises(UnreadableFileError):
            load_safely(run / LAST)


def test_best_is_read_as_last_is(run: Path, whole: bytes) -> None:
    (run / BEST).write_bytes(whole[:-100])
    try:
        with pytest.raises(GantrainError, match=r"best\.pt' cannot be read as a checkpoint"):
            load_run(run, checkpoint="best")
    finally:
        (run / BEST).unlink()
