"""Whatever a file of weights holds: it is loaded sensibly, or refused in one sentence that leaves the model alone.

How many mutations are tried: see ``conftest.py``.
"""

import copy
import io
import os
import pickle
import pickletools
import zipfile

import numpy as np
import pytest
import torch
from fuzz_answers import answer, changed_bytes, values
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from rle_onestage.engine.checkpoint import apply_weights, load_weights, read_checkpoint, slim
from rle_onestage.errors import CheckpointError
from rle_onestage.utils.pretrained import read_tensors
from rle_onestage.utils.safe_files import save_tensors

JOINTS = ["nose", "left_hand", "right_hand"]


class Head(nn.Linear):
    """Its rows belong to joints."""

    JOINT_ROWS = {"weight": 2, "bias": 2}


class Net(nn.Module):
    """What checkpoints are about: weights, a norm with its count, a table, rows of joints."""

    def __init__(self, joints=3):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.head = Head(4, 2 * joints)
        self.register_buffer("table", torch.ones(3))


def content():
    """A checkpoint of ours."""
    torch.manual_seed(0)
    return {
        "model": Net().state_dict(), "raw": Net().state_dict(), "iteration": 4, "seed": 7, "joints": list(JOINTS),
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(4)}}, "param_groups": [{"lr": 0.1}]}, "scaler": None,
        "best": {"metric": "keypoints/AP", "value": 1.5, "iteration": 3},
    }  # fmt: skip


def arrays():
    """The same weights as the model zoo has them."""
    return {"model": {key: value.numpy() for key, value in content()["model"].items()}, "__author__": "somebody"}


def written(write):
    """The bytes that a function writes to a file object."""
    file = io.BytesIO()
    write(file)
    return file.getvalue()


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A file of each format, by its ending."""
    path = tmp_path_factory.mktemp("samples") / "a.safetensors"
    save_file({key: value.clone() for key, value in content()["model"].items()}, str(path))
    return {
        "zip.pth": written(lambda file: torch.save(content(), file)),
        "old.pth": written(lambda file: torch.save(content(), file, _use_new_zipfile_serialization=False)),
        "numpy.pth": written(lambda file: torch.save(arrays(), file)),
        "zoo.pkl": pickle.dumps(arrays(), protocol=2),
        "new.pkl": pickle.dumps(arrays(), protocol=5),
        "a.safetensors": path.read_bytes(),
    }


def use(path):
    """Do with a file of weights what the tools do; nothing that it says may reach a model half."""
    name = os.path.basename(path)
    if name.endswith(".safetensors"):
        answer(lambda: read_tensors(path, "KEY"), name)
        return
    found = answer(lambda: read_checkpoint(path), name)
    answer(lambda: read_tensors(path, "KEY"), name) if name.endswith(".pth") else None
    if found is None:
        return
    answer(lambda: save_tensors(f"{path}.slim", slim(found, half=True)))
    load(path, found, strict=True)
    load(path, found, strict=True, use_ema=False)
    load(path, found, strict=False, joints=JOINTS[::-1])
    load(path, found, strict=False, joints=["tail", "nose"])


def load(path, found, **options):
    """Put weights into a model: all of them fit and are finite, or it stays as it is."""
    net = Net(len(options.get("joints", JOINTS)))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    loaded = answer(lambda: apply_weights(net, copy.copy(found), path, **options) or True, os.path.basename(path))
    for key, value in net.state_dict().items():
        assert value.shape == before[key].shape and bool(value.isfinite().all())
        assert loaded or torch.equal(value, before[key])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for files, and nothing else that could be made there."""
    folder = tmp_path_factory.mktemp("checkpoints")
    before = os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)
    assert not (folder / "trap").exists()


@given(data=st.data())
def test_damaged_bytes(place, samples, data):
    name = data.draw(st.sampled_from(sorted(samples)))
    (place / name).write_bytes(data.draw(changed_bytes(samples[name])))
    use(str(place / name))


def packed(parts, compression=zipfile.ZIP_STORED):
    """An archive with right checksums, as one who means it makes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return file.getvalue()


def unpacked(raw):
    """The parts of an archive by name."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@given(data=st.data())
def test_damaged_pickles_in_whole_archives(place, samples, data):
    """What no checksum tells."""
    parts = unpacked(samples[data.draw(st.sampled_from(["zip.pth", "numpy.pth"]))])
    name = next(name for name in parts if name.endswith("data.pkl"))
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(parts)))
    if data.draw(st.booleans()):
        parts[name] = data.draw(changed_bytes(parts[name]))
    else:
        parts.pop(name) if data.draw(st.integers(0, 3)) == 0 else None
        parts[data.draw(st.sampled_from(["archive/data.pkl", "archive/data/0", "x"]))] = b"\x80\x02}q\x00."
    compression = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    (place / "archive.pth").write_bytes(packed(parts, compression))
    use(str(place / "archive.pth"))


def numbers_of_pickles():
    """A pickle's operations with odd arguments."""
    ops = [op.code.encode("latin1") for op in pickletools.opcodes]
    names = ["numpy ndarray", "numpy dtype", "numpy.core.multiarray _reconstruct", "numpy._core.multiarray scalar",
             "_codecs encode", "collections OrderedDict", "os mkdir", "builtins eval", "builtins getattr"]  # fmt: skip
    called = [b"c" + name.replace(" ", "\n").encode() + b"\n" for name in names]
    plain = [b"N", b"K\x01", b"X\x04\x00\x00\x00trap", b"U\x02f4"]
    plain += [bytes([op]) for op in b"]})(tRb02."]
    return st.lists(st.sampled_from(ops + called + plain) | st.binary(max_size=5), max_size=20).map(b"".join)


@given(start=st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"\x80\x05"]), code=numbers_of_pickles())
@example(start=b"\x80\x04", code=b"Nr\xff\xff\xff\x7f.")  # the number of a memo, for which C's unpickler takes 34 GB
@example(start=b"\x80\x02", code=b"cnumpy.core.multiarray\nscalar\n(NN}U\x0c__defaults__)stb.")
@example(start=b"\x80\x05", code=b"\x96\x10\x00\x00\x00\x01\x00\x00\x00abc")  # three bytes that are said to be 4 GB
@example(start=b"\x80\x02", code=b"cos\nmkdir\n(X\x04\x00\x00\x00traptR.")
def test_pickles_of_any_operations(place, start, code):
    for name in ("any.pkl", "any.pth"):
        (place / name).write_bytes(start + code + b".")
        use(str(place / name))
    (place / "whole.pth").write_bytes(packed({"archive/data.pkl": start + code + b".", "archive/version": b"3\n"}))
    use(str(place / "whole.pth"))


def tensors():
    """Tensors that no weight is, and some that one is."""
    weight = torch.arange(12.0).reshape(4, 3)
    return st.sampled_from(
        [
            weight, weight.half(), weight.double(), weight.bfloat16(), weight.double() * 1e300, weight.int(),
            weight > 3, weight.to_sparse(), weight.to("meta"), weight + 0j, weight * float("nan"), weight / 0,
            weight.T, weight[:0],
            torch.tensor(1.0), torch.zeros(0), torch.zeros(6, 4), torch.zeros(6), torch.zeros(4), torch.zeros(35, 4),
            torch.zeros(4, 4), torch.ones(1).expand(10**12), torch.ones(1).expand(6, 4), torch.zeros(3, 0, 10**6),
            torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), weight.to(torch.float8_e4m3fn),
            nn.Parameter(weight), torch.tensor([2**62]), weight.to(torch.uint8), torch.zeros(6, 4, requires_grad=True),
        ]
    )  # fmt: skip


def names():
    """Names of weights, ours and strange ones."""
    own = sorted(Net().state_dict())
    odd = ["", "module.head.weight", "\ud800", "a\nb", "x" * 3000, "criterion.flow.0", "backbone.1.num_batches_tracked"]
    return st.sampled_from(own) | st.sampled_from(odd) | st.integers() | st.tuples(st.integers()) | st.booleans()


@given(data=st.data())
def test_other_fields_and_tensors(place, data):
    """Fields and weights of other kinds, shapes and names in a file that is whole."""
    changed = content()
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.sampled_from([changed, changed.get("model"), changed.get("raw")]))
        if not isinstance(where, dict):
            continue
        key = data.draw(st.sampled_from(sorted(changed)) if where is changed else names())
        how = data.draw(st.sampled_from(["tensor", "value", "drop", "names"]))
        if how == "drop":
            where.pop(key, None)
        elif how == "names":
            some = st.lists(st.sampled_from(JOINTS) | st.text(max_size=3), max_size=5)
            changed["joints"] = data.draw(some | values())
        else:
            where[key] = data.draw(tensors() if how == "tensor" else values())
    path = str(place / "fields.pth")
    try:
        torch.save(changed, path)
    except (RuntimeError, UnicodeEncodeError, NotImplementedError):
        return  # torch writes no such file
    use(path)


# ------------------------------------------------------------------------------------------ what was found, one by one


def saved(folder, **weights):
    """A file of ours with these weights in place of its own."""
    changed = content()
    changed["model"] |= {key.replace("_DOT_", "."): value for key, value in weights.items()}
    torch.save(changed, folder / "m.pth")
    return str(folder / "m.pth")


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("table", torch.tensor([1.0, 2.0, 1e300], dtype=torch.float64), "NaN or infinite .table"),
        ("table", torch.tensor([1, 2, 3]), "table holds int64 numbers where the model has float32"),
        ("table", torch.ones(3).to(torch.float8_e4m3fn), "table is of type float8_e4m3fn"),
        ("criterion.x", torch.ones(1).expand(10**12), "repeat numbers"),
        ("module.table", torch.ones(3), "two weights of the name"),
        ("a\nb", torch.ones(3), "a weight whose name is"),
    ],
)
def test_what_a_sentence_says(tmp_path, name, value, words):
    with pytest.raises(CheckpointError, match=rf"m.pth.*{words}"):
        load_weights(Net(), saved(tmp_path, **{name: value}), strict=True)


def test_an_archive_that_unpacks_to_far_more_is_not_unpacked(tmp_path):
    raw = written(lambda file: torch.save({"model": {"w": torch.zeros(2_000_000)}}, file))
    (tmp_path / "m.pth").write_bytes(packed(unpacked(raw), zipfile.ZIP_DEFLATED))
    assert (tmp_path / "m.pth").stat().st_size < 20_000
    with pytest.raises(CheckpointError, match="m.pth is damaged .*unpacks to far more"):
        read_checkpoint(str(tmp_path / "m.pth"))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["<f4", ">f4", "f8", "i8", "u1", "bool"])
def test_arrays_of_pickles_are_what_numpy_wrote(tmp_path, protocol, kind):
    """In rows, in columns, empty, of no axis: without numpy's own unpickling."""
    expected = {"rows": np.arange(6).reshape(2, 3).astype(kind), "empty": np.zeros((0, 3), kind)}
    expected |= {"columns": np.asfortranarray(expected["rows"]), "number": np.array(1).astype(kind)}
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"model": expected, "__author__": "x"}, protocol=protocol))
    found = read_checkpoint(str(tmp_path / "m.pkl"))["model"]
    for name, value in expected.items():
        assert found[name].shape == value.shape and found[name].numpy().dtype == value.dtype.newbyteorder("=")
        assert np.array_equal(found[name].numpy(), value)


@pytest.mark.parametrize("value", [np.array(["a"]), np.array([None]), np.zeros(2, "V8"), np.zeros(1, "M8[s]")])
def test_arrays_of_other_things_are_refused(tmp_path, value):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"model": {"w": value}, "__author__": "x"}))
    with pytest.raises(CheckpointError, match="m.pkl is not loaded.*other than numbers"):
        read_checkpoint(str(tmp_path / "m.pkl"))


def test_an_array_without_numbers_is_refused(tmp_path):
    """``_reconstruct`` alone, with a shape of 8 TB."""
    code = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(J\x00\x00\x00\x7ftU\x01dtR."
    (tmp_path / "m.pkl").write_bytes(b"\x80\x02" + code)
    with pytest.raises(CheckpointError, match="m.pkl is not loaded.*no numbers for"):
        read_checkpoint(str(tmp_path / "m.pkl"))


def test_rows_of_joints_that_are_no_multiple_are_a_misfit(tmp_path):
    """Not an error of the mapping by names."""
    path = saved(tmp_path, **{"head.weight": torch.zeros(7, 4)})
    net = Net()
    with pytest.raises(CheckpointError, match="m.pth"):
        load_weights(net, path, strict=True)
    load_weights(net, path, strict=False, joints=JOINTS[::-1])
    assert bool(net.head.weight.any())


@pytest.mark.parametrize("address, words", [("http://a b/c.pth", "cannot be had"), ("foo://x/y.pth", "nobody here")])
def test_addresses_that_are_none(address, words):
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(address)
