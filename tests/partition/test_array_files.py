"""Inputs from numpy's files: what fits, and one sentence about what does not."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from partition import array_file
from partition.data.array_files import read_samples
from partition.errors import SampleError
from partition.model.split_point import TensorSpec

IMAGE = TensorSpec("images", "float32", (1, 3, 4, 5))
STATE = TensorSpec("state", "float32", (2, 1, 8))
RATE = TensorSpec("sr", "int64", ())


@pytest.mark.parametrize(
    ("spec", "shape", "n"),
    [
        (IMAGE, (7, 3, 4, 5), 7),
        (IMAGE, (7, 1, 3, 4, 5), 7),
        (IMAGE, (3, 4, 5), 1),
        (IMAGE, (1, 3, 4, 5), 1),
        (STATE, (2, 1, 8), 1),
        (STATE, (6, 2, 1, 8), 6),
        (RATE, (), 1),
        (RATE, (5,), 5),
        (TensorSpec("x", "float32", (0, 3, 0, 0)), (2, 3, 9, 11), 2),
    ],
)
def test_rows_are_samples(tmp_path, spec, shape, n):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(spec.dtype)
    np.save(tmp_path / "x.npy", array)
    samples = read_samples(tmp_path / "x.npy", [spec])
    assert len(samples) == n
    assert np.array_equal(np.stack([x for (x,) in samples]).reshape(shape), array)
    (first,) = samples[0]
    assert first.dtype == spec.dtype
    assert [m or first.shape[i] for i, m in enumerate(spec.shape)][1:] == list(first.shape[1:])


def test_several_inputs_go_by_name_and_one_row_stands_for_all(tmp_path):
    path = tmp_path / "audio.npz"
    np.savez(path, sr=16000, state=np.zeros((2, 1, 8)), images=np.ones((3, 3, 4, 5), np.uint8))
    samples = read_samples(path, [IMAGE, STATE, RATE])
    assert len(samples) == 3
    assert [x.shape for x in samples[2]] == [IMAGE.shape, STATE.shape, RATE.shape]
    assert [x.dtype for x in samples[2]] == [np.float32, np.float32, np.int64]
    assert samples[2][2] == 16000
    assert all(isinstance(x, np.ndarray) for x in samples[2])


def test_one_array_needs_no_name(tmp_path):
    np.savez(tmp_path / "x.npz", np.ones((2, 3, 4, 5), np.float32))
    assert len(read_samples(tmp_path / "x.npz", [IMAGE])) == 2


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"images": np.ones((2, 4, 5, 3), np.float32)}, r"images.*\(2, 4, 5, 3\).*rows of \(3, 4"),
        ({"images": np.ones((0, 3, 4, 5), np.float32)}, "0 samples"),
        ({"images": np.full((1, 3, 4, 5), "a")}, "<U1 do not fit float32"),
        ({"images": np.full((1, 3, 4, 5), 1j)}, "complex128 do not fit float32"),
        ({"images": np.full((1, 3, 4, 5), -1e300)}, r"-1e\+300 of float64 does not fit"),
        ({"pictures": np.ones(1), "more": np.ones(1)}, "pictures, more but not input 'images'"),
        ({"images": np.array([{}])}, "cannot be read.*without Python objects"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, arrays, sentence):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(SampleError, match=sentence):
        read_samples(tmp_path / "x.npz", [IMAGE])


def test_numbers_that_the_type_cannot_hold_are_refused(tmp_path):
    pixels = TensorSpec("pixels", "uint8", (1, 2))
    np.save(tmp_path / "x.npy", np.array([[3.0, 255.0]]))
    ((x,),) = read_samples(tmp_path / "x.npy", [pixels])
    assert x.tolist() == [[3, 255]]
    for bad in ([[0.5, 1.0]], [[256.0, 0.0]], [[np.nan, 0.0]]):
        np.save(tmp_path / "x.npy", np.array(bad))
        with pytest.raises(SampleError, match="does not fit uint8"):
            read_samples(tmp_path / "x.npy", [pixels])


def test_different_numbers_of_rows_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.ones((3, 3, 4, 5)), sr=np.array([8000, 16000]))
    with pytest.raises(SampleError, match="2 samples of input 'sr' where another input has 3"):
        read_samples(tmp_path / "x.npz", [IMAGE, RATE])


def test_one_array_for_two_inputs_and_a_missing_file_are_named(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 3, 4, 5)))
    with pytest.raises(SampleError, match=r"write an \.npz with images, sr"):
        read_samples(tmp_path / "x.npy", [IMAGE, RATE])
    with pytest.raises(SampleError, match=r"gone\.npz cannot be read"):
        read_samples(tmp_path / "gone.npz", [IMAGE])


def test_a_small_file_that_unpacks_to_more_than_is_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(array_file, "MAX_BYTES", 100_000)
    np.savez_compressed(tmp_path / "bomb.npz", images=np.zeros((2000, 3, 4, 5), np.float32))
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    with pytest.raises(SampleError, match=r"0\.0 GB of arrays.*fewer samples"):
        read_samples(tmp_path / "bomb.npz", [IMAGE])


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "packed.npz"])
def test_damaged_files_end_in_a_sentence(tmp_path, name):
    """Cut short, overwritten, or with a bit turned; what is read nevertheless has the shape."""
    array = np.random.default_rng(0).normal(size=(4, 3, 4, 5)).astype(np.float32)
    path = tmp_path / name
    save = {"x.npy": np.save, "x.npz": np.savez, "packed.npz": np.savez_compressed}[name]
    if name == "x.npy":
        save(path, array)
    else:
        save(path, images=array)
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    damaged = [whole[:n] for n in (0, 1, 5, 10, 60, 127, 200, len(whole) - 1)]
    damaged += [b"\x00" * 400, b"PK\x03\x04" + b"\xff" * 90, b"\x93NUMPY\x01\x00\xff\xff("]
    for _ in range(150):
        edge = 200 if rng.random() < 0.6 else len(whole)  # headers decide
        flipped = bytearray(whole)
        at = int(rng.integers(edge)) if rng.random() < 0.5 else -1 - int(rng.integers(edge))
        flipped[at] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(flipped))
    for data in damaged:
        path.write_bytes(data)
        try:
            samples = read_samples(path, [IMAGE])
        except SampleError:
            continue
        assert all(x.shape == IMAGE.shape for (x,) in samples)


def test_a_header_that_claims_more_than_memory_is_refused(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 3, 4, 5), }"
    header += b" " * (117 - len(header)) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (tmp_path / "x.npy").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as packed:
        packed.writestr("images.npy", data)
    for name in ("x.npy", "x.npz"):
        with pytest.raises(SampleError, match="cannot be read"):
            read_samples(tmp_path / name, [IMAGE])
