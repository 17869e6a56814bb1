"""README and docs/tutorial.md: their three commands as they stand there, on small JPEGs."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.nn import functional

from nas.data import Preprocessing
from tests.end_to_end.conftest import PLUGIN, ROOT
from tests.pages import Page
from tests.shapes import SIZE, draw_shapes

SMALL = {
    "nas.search": (
        "space=tiny", "resolution=224", "trials=2", "evaluator.settings.epochs=1",
        "final.epochs=6", "executor=threads", "netadapt={steps:1,divisor:4,target_latency:95%}",
    ),
    "nas.train": ("training=small", "training.epochs=6"),
    "nas.export": ("calibration.images=64",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Flowers:
    """A folder in which the tutorial has been gone through."""

    folder: Path
    said: dict[str, str]

    @property
    def export(self) -> Path:
        return self.folder / "runs/flowers_trained/export"

    @property
    def tested(self) -> list[Path]:
        return sorted(self.folder.glob("flowers/test/*/*.jpg"))


def _commands(document: str) -> list[list[str]]:
    """What a document says to run here, in order."""
    text = (ROOT / document).read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(".venv/bin/python")]


def _device(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Over ssh where a server can be had, as in the tutorial; otherwise this machine."""
    try:
        login = request.getfixturevalue("ssh_login")
    except pytest.skip.Exception:
        return ("device=local", "~device.host")
    return (
        "device.host=127.0.0.1", f"device.user={login.user}", f"device.port={login.port}",
        f"device.identity={login.folder}/key", f"device.python={login.python}",
        f"+device.options.UserKnownHostsFile={login.folder}/known_hosts",
    )  # fmt: skip


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Flowers:
    folder, device = tmp_path_factory.mktemp("tutorial"), _device(request)
    for seed, (part, each) in enumerate((("train", 100), ("val", 30), ("test", 30))):
        draw_shapes(folder / "flowers" / part, each, seed)
    paths = [str(ROOT), str(PLUGIN), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    said = {}
    for _, *arguments in _commands("docs/tutorial.md"):
        module = arguments[1]
        where = device if "device=ssh" in arguments else ()
        plugin = ("--config-dir", str(PLUGIN)) if module == "nas.search" else ()
        settings = (*arguments[2:], *SMALL[module], *where)
        command = [sys.executable, "-m", module, *plugin, *settings]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        said[module] = done.stdout
    assert list(said) == ["nas.search", "nas.train", "nas.export"]
    return Flowers(folder, said)


def _example(document: str) -> str:
    """The first Python of a document: twenty lines, and nothing of ours."""
    text = (ROOT / document).read_text()
    code: str = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert len(code.splitlines()) <= 20
    imported = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import)]
    modules = {name.name for node in imported for name in node.names}
    assert modules == {"json", "sys", "numpy", "onnxruntime"}  # and pillow, from which it imports
    return code


def _classify(flowers: Flowers, model: str, document: str = "README.md") -> dict[str, str]:
    """The class that the example prints for each test image, where chronas is not installed."""
    example = flowers.folder / "classify.py"
    example.write_text(_example(document))
    done = subprocess.run(
        [sys.executable, example, flowers.export / model, *flowers.tested],
        capture_output=True, text=True, cwd=flowers.folder, env={"PATH": ""}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert all(0.5 <= float(share) <= 1 for _, _, share in lines)  # of two classes
    return {path: name for path, name, _ in lines}


def _export(flowers: Flowers, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nas.export", f"run={flowers.export.parent}", *options],
        cwd=flowers.folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_the_readme_gives_the_commands_of_the_tutorial() -> None:
    shorter = [c for c in _commands("README.md") if "flowers" in " ".join(c)]
    assert len(shorter) == 3
    for ours, whole in zip(shorter, _commands("docs/tutorial.md"), strict=True):
        assert set(ours) <= set(whole)


def test_every_stage_has_a_page_and_a_verdict(flowers: Flowers) -> None:
    for run in ("flowers", "netadapt_flowers", "flowers_trained"):
        folder = flowers.folder / "runs" / run
        Page((folder / "report.html").read_bytes())
        assert json.loads((folder / "summary.json").read_text())["verdict"] in ("met", "missed")


def test_the_int8_file_is_as_accurate_as_the_report_says(flowers: Flowers) -> None:
    given = _classify(flowers, "model-int8.onnx")
    right = sum(Path(path).parent.name == name for path, name in given.items()) / len(given)
    record = json.loads((flowers.export / "export.json").read_text())["model-int8.onnx"]
    assert len(given) == 60
    assert right == pytest.approx(record["accuracy"]["test"])
    assert right > 0.7
    assert record["latency"]["measured_ms"] > 0
    assert re.search(r"validation .*% before, .*% after quantisation", flowers.said["nas.export"])


def test_with_preprocessing_in_the_graph_the_file_takes_bytes(flowers: Flowers) -> None:
    options = ("--with-preprocessing", "precision=int8", "measure=false")
    done = _export(flowers, *options, *SMALL["nas.export"])
    assert done.returncode == 0, done.stderr
    given = _classify(flowers, "model-int8-with-preprocessing.onnx", "docs/inference.md")
    assert given == _classify(flowers, "model-int8.onnx")


def test_a_part_that_the_network_has_not_is_refused(flowers: Flowers) -> None:
    done = _export(flowers, "exclude=[blocks.99]", *SMALL["nas.export"])
    assert (done.returncode, done.stdout.count("Traceback")) == (2, 0)
    assert done.stderr.startswith("error: exclude=blocks.99 names no part of the network")


@pytest.mark.parametrize("size", [(48, 32), (31, 57), (640, 480), (33, 33)])
@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_the_example_prepares_images_as_preprocessing_says(
    size: tuple[int, int], crop: float, tmp_path: Path
) -> None:
    """Held to torch's own antialiased resize, written out, for images of any shape."""
    code = _example("README.md")
    preprocessing = Preprocessing(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), crop=crop)
    smooth = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(smooth).resize(size, Image.Resampling.BICUBIC)
    image.save(tmp_path / "image.png")
    body = code[code.index("    image =") : code.index("    logits =")]
    names = {
        "np": np, "Image": Image, "ImageOps": ImageOps,
        "path": tmp_path / "image.png", "size": SIZE, "shorter": preprocessing.resized(SIZE),
        "prepared": preprocessing.as_dict(),
    }  # fmt: skip
    exec("if True:\n" + body, names)

    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    shorter = preprocessing.resized(SIZE)
    height, width = (round(side * shorter / min(size)) for side in size[::-1])
    resized = functional.interpolate(
        pixels, size=(height, width), mode="bilinear", antialias=True, align_corners=False
    )
    top, left = (height - SIZE) // 2, (width - SIZE) // 2
    cut = resized[:, :, top : top + SIZE, left : left + SIZE]
    expected = preprocessing.normalise(cut)[0].permute(1, 2, 0).numpy()
    found = names["normalised"]
    assert found.shape == (SIZE, SIZE, 3)  # type: ignore[attr-defined]
    np.testing.assert_allclose(found, expected, atol=2 / 255 / 0.2)
