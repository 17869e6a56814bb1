"""What a run that begins from another's weights takes over from it, and what it is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from latency.files import write_json
from latency.plan import MeasureSettings
from nas.data import ImageData
from nas.earlier_run import EarlierRun
from nas.setup import build
from tests.shapes import draw_shapes

DIGITS = {
    "_target_": "nas.data.digits.digits_data",
    "seed": 3,
    "validation_share": 0.2,
    "test_share": 0.25,
}
BOARD = {"_target_": "latency.devices.SshDevice", "host": "board", "port": None}
MEASURE = {"_target_": "latency.plan.MeasureSettings", "threads": 2, "runs": 6}
MEASURED = MeasureSettings(threads=2)

MakeEarlier = Callable[..., EarlierRun]


@pytest.fixture
def make_earlier(tmp_path: Path) -> MakeEarlier:
    """``make_earlier(target_ms=20.0, data=…)``: as ``EarlierRun.of`` reads it from its folder."""

    def make(target_ms: float | None = 20.0, **config: Any) -> EarlierRun:
        folder = tmp_path / "earlier"
        folder.mkdir()
        (folder / "best.yaml").write_text("name: a\n")
        given = {"data": DIGITS, "device": BOARD, "measure": MEASURE, **config}
        (folder / "config.yaml").write_text(yaml.safe_dump(given))
        write_json(folder / "summary.json", {"latency": {"target_ms": target_ms}})
        earlier = EarlierRun.of(folder / "best.pt")
        assert earlier is not None
        return earlier

    return make


def _check(earlier: EarlierRun, node: dict[str, Any]) -> None:
    data: ImageData = build("data", OmegaConf.create(node))
    earlier.check_parts(node, data)


@pytest.mark.parametrize(
    ("changed", "were", "now"),
    [
        ({"seed": 0}, "data.seed=3", "data.seed=0"),
        ({"validation_share": 0.1}, "data.validation_share=0.2", "data.validation_share=0.1"),
        (
            {"test_share": 0.2, "seed": 1},
            "data.seed=3 data.test_share=0.25",
            "data.seed=1 data.test_share=0.2",
        ),
    ],
)
def test_images_that_were_learnt_are_not_tested(
    changed: dict[str, Any], were: str, now: str, make_earlier: MakeEarlier
) -> None:
    earlier = make_earlier()
    _check(earlier, DIGITS)
    with pytest.raises(ValueError, match="would validate or test them") as refused:
        _check(earlier, {**DIGITS, **changed})
    said = str(refused.value)
    assert said.startswith(f"{earlier.folder} was trained with {were}, but now it is {now}: ")
    assert said.endswith(f"; give {were}")


def test_settings_that_a_version_did_not_have_are_not_compared(make_earlier: MakeEarlier) -> None:
    earlier = make_earlier(data={"_target_": DIGITS["_target_"], "seed": 3})
    _check(earlier, {**DIGITS, "test_share": 0.2})


@pytest.mark.parametrize(
    ("given", "same"), [(("train", "val", "test"), True), (("train", "test"), False), ((), False)]
)
def test_parts_that_the_data_set_has_itself_follow_from_no_seed(
    given: tuple[str, ...], same: bool, make_earlier: MakeEarlier, tmp_path: Path
) -> None:
    for number, part in enumerate(given or [""]):
        draw_shapes(tmp_path / "photos" / part, 20, number)
    target = "nas.data.image_folder.image_folder_data"
    node = {"_target_": target, "path": f"{tmp_path}/photos", "seed": 3, "name": None}
    earlier = make_earlier(data=node)
    # However the folder is written, and whatever the data set is called.
    again = {**node, "path": f"{tmp_path}/earlier/../photos/", "name": "pets", "seed": 0}
    if same:
        _check(earlier, again)
    else:
        with pytest.raises(ValueError, match=r"; give data\.seed=3$"):
            _check(earlier, again)
    _check(earlier, {**again, "seed": 3})


def test_other_data_is_split_as_it_likes(make_earlier: MakeEarlier, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "photos", 20, 0)
    draw_shapes(tmp_path / "others", 20, 1)
    target = "nas.data.image_folder.image_folder_data"
    node = {"_target_": target, "path": f"{tmp_path}/photos", "seed": 3}
    earlier = make_earlier(data=node)
    _check(earlier, {**node, "path": f"{tmp_path}/others", "seed": 0})
    _check(earlier, {**DIGITS, "seed": 0})


def test_of_several_targets_the_settings_are_those_of_the_search(
    make_earlier: MakeEarlier,
) -> None:
    folder = make_earlier().folder
    (folder / "8ms").mkdir()
    (folder / "8ms" / "best.yaml").write_text("name: a\n")
    earlier = EarlierRun.of(folder / "8ms" / "best.pt")
    assert earlier is not None
    assert earlier.config["data"] == DIGITS


def test_a_file_of_weights_may_be_of_no_run(tmp_path: Path, make_earlier: MakeEarlier) -> None:
    assert EarlierRun.of(tmp_path / "mobilenet_v3_large.pth") is None
    folder = make_earlier().folder
    (folder / "config.yaml").write_text("a: [")
    with pytest.raises(ValueError, match=r"config\.yaml does not say which data the run had"):
        EarlierRun.of(folder / "best.pt")


def test_a_target_of_the_same_device_measured_alike_is_taken_over(
    make_earlier: MakeEarlier,
) -> None:
    # How long was measured is no part of what a millisecond is.
    assert make_earlier().target_ms(BOARD, MEASURED) == (20.0, None)


@pytest.mark.parametrize(
    ("device", "measure", "reason"),
    [
        (
            {"_target_": "latency.devices.LocalDevice"},
            MEASURED,
            "device._target_=latency.devices.SshDevice, and now it is latency.devices.LocalDevice",
        ),
        ({**BOARD, "host": "other"}, MEASURED, "device.host=board, and now it is other"),
        (BOARD, MeasureSettings(threads=1), "measure.threads=2, and now it is 1"),
        (
            BOARD,
            MeasureSettings(threads=2, precision="int8"),  # type: ignore[arg-type]
            "measure.precision=fp32, and now it is int8",
        ),
        (
            BOARD,
            MeasureSettings(threads=2, affinity=[0]),
            "measure.affinity=None, and now it is [0]",
        ),
    ],
)
def test_a_target_of_another_clock_is_not(
    device: dict[str, Any], measure: MeasureSettings, reason: str, make_earlier: MakeEarlier
) -> None:
    earlier = make_earlier()
    target_ms, said = earlier.target_ms(device, measure)
    assert target_ms is None
    assert said == (
        f"the target of {earlier.folder}, 20 ms, is not taken over: it is of {reason}; give "
        "target_latency=20ms to be judged by it all the same"
    )


def test_where_there_was_no_target_nothing_is_said(make_earlier: MakeEarlier) -> None:
    earlier = make_earlier(target_ms=None)
    assert earlier.target_ms({"_target_": "latency.devices.LocalDevice"}, MEASURED) == (None, None)


def test_without_settings_a_target_is_of_nobody_knows_what(make_earlier: MakeEarlier) -> None:
    folder = make_earlier().folder
    (folder / "config.yaml").unlink()
    earlier = EarlierRun.of(folder / "best.pt")
    assert earlier is not None
    target_ms, said = earlier.target_ms(BOARD, MEASURED)
    assert target_ms is None
    assert said is not None
    assert "without its config.yaml it is not known of which device it is" in said
