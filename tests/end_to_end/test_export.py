"""``python -m nas.export`` after a search on JPEGs, and the twenty lines of docs/inference.md."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor
from torch.nn import functional

from nas.data import Preprocessing
from nas.exporting.onnx_file import Runner
from tests.end_to_end.plugin.jpeg_data import jpeg_data

ROOT = Path(__file__).resolve().parents[2]
SIZE = 32

Run = Callable[[list[str]], subprocess.CompletedProcess[str]]


def _draw_shapes(folder: Path, each: int) -> None:
    """Discs and squares in noise, in three channels that differ."""
    rng = np.random.default_rng(0)
    for name in ("disc", "square"):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            noise = rng.integers(0, 90, (SIZE, SIZE, 3), dtype=np.uint8)
            image = Image.fromarray(noise)
            left, top = rng.integers(2, 12, 2).tolist()
            box = (left, top, left + 16, top + 16)
            colour = (220, 150, 60) if name == "disc" else (190, 170, 80)
            draw = ImageDraw.Draw(image)
            (draw.ellipse if name == "disc" else draw.rectangle)(box, fill=colour)
            image.save(folder / name / f"{number}.jpg", quality=92)


def _example(number: int, path: Path) -> Path:
    """One of the examples of the document, as a file."""
    text = (ROOT / "docs/inference.md").read_text()
    code: str = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[number]
    assert len(code.splitlines()) <= 20
    imported = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import)]
    modules = {name.name for node in imported for name in node.names}
    assert modules == {"json", "sys", "numpy", "onnxruntime"}  # and pillow, from which it imports
    path.write_text(code)
    return path


def _classified(example: Path, model: Path, images: list[Path], folder: Path) -> dict[str, str]:
    """The class that the example prints for each image; it sees nothing of ours."""
    done = subprocess.run(
        [sys.executable, example, model, *images], capture_output=True, text=True, cwd=folder,
        env={"PATH": ""}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert all(0.5 <= float(share) <= 1 for _, _, share in lines)  # of two classes
    return {path: name for path, name, _ in lines}


def test_from_jpegs_to_a_file_that_onnxruntime_alone_runs(
    tmp_path: Path,
    search_command: Callable[..., list[str]],
    run_command: Run,
) -> None:
    _draw_shapes(tmp_path / "images", 60)
    data = ["data=jpegs", f"data.folder={tmp_path}/images"]
    done = run_command(search_command(*data, "trials=1", "final.epochs=12"))
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "run"
    command = [sys.executable, "-m", "nas.export", f"run={run}", "calibration.images=50"]
    done = run_command(command)
    assert done.returncode == 0, done.stderr
    for said in (r"validation .*% before, .*% after quantisation", r"MET", r"model-int8\.onnx"):
        assert re.search(said, done.stdout)
    records = json.loads((run / "export" / "export.json").read_text())
    assert records["model-int8.onnx"]["latency"]["measured_ms"] > 0
    done = run_command([*command, "--with-preprocessing", "precision=int8", "measure=true"])
    assert done.returncode == 0, done.stderr

    found = jpeg_data(folder=str(tmp_path / "images"), seed=0)
    normalised, labels = next(iter(found.test.batches(1000, SIZE)))
    files = _files_of(normalised, found.preprocessing, tmp_path / "images")
    runner = Runner((run / "export/model-int8.onnx").read_bytes())
    ours = [found.class_names[index] for index in runner(normalised).argmax(1)]
    right = np.mean(
        [name == found.class_names[label] for name, label in zip(ours, labels, strict=True)]
    )
    assert right == pytest.approx(records["model-int8.onnx"]["accuracy"]["test"])
    assert right > 0.6
    assert set(ours) == {"disc", "square"}
    expected = dict(zip(map(str, files), ours, strict=True))
    for number, name in enumerate(("model-int8.onnx", "model-int8-with-preprocessing.onnx")):
        example = _example(number, tmp_path / f"classify_{number}.py")
        given = _classified(example, run / "export" / name, files, tmp_path)
        assert given == expected

    other = run_command([*command, "exclude=[blocks.99]"])
    assert (other.returncode, other.stdout.count("Traceback")) == (2, 0)
    assert other.stderr.startswith("error: exclude=blocks.99 names no part of the network")


def _files_of(images: Tensor, preprocessing: Preprocessing, folder: Path) -> list[Path]:
    """The file of each image, by its pixels."""
    decoded = {
        np.asarray(Image.open(path)).tobytes(): path for path in sorted(folder.glob("*/*.jpg"))
    }
    scale, offset = (np.float32(v) for v in (preprocessing.std, preprocessing.mean))
    pixels = np.rint(255 * (images.permute(0, 2, 3, 1).numpy() * scale + offset)).astype(np.uint8)
    return [decoded[np.ascontiguousarray(image).tobytes()] for image in pixels]


@pytest.mark.parametrize("size", [(48, 32), (31, 57), (640, 480), (33, 33)])
@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_the_example_prepares_images_as_preprocessing_says(
    size: tuple[int, int], crop: float, tmp_path: Path
) -> None:
    """Held to torch's own antialiased resize, written out, for images of any shape."""
    code = _example(0, tmp_path / "example.py").read_text()
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
