"""What the commands share: options → settings, devices, networks and spaces."""

import argparse
from pathlib import Path

import pytest

from latency.devices import LocalDevice, SshDevice
from latency.options import (
    add_device_options,
    add_measure_options,
    add_network_options,
    add_space_options,
    device_of,
    make_parser,
    networks_of,
    run_command,
    settings_of,
    spaces_of,
)
from latency.plan import MeasureSettings
from search_spaces import load_seed
from search_spaces.precision import Precision
from search_spaces.spaces import mnasnet_space, mobilenet_v3_space


def _options(*arguments: str) -> argparse.Namespace:
    parser = make_parser("latency.command", "What it does.\n\n    python -m latency.command")
    add_space_options(parser)
    add_network_options(parser)
    add_measure_options(parser)
    add_device_options(parser)
    return parser.parse_args(arguments)


def test_without_options_the_settings_are_the_usual_ones_on_this_machine() -> None:
    options = _options()
    assert settings_of(options) == MeasureSettings()
    assert isinstance(device_of(options), LocalDevice)
    assert networks_of(options) == []
    assert spaces_of(options) == []


def test_every_setting_has_an_option() -> None:
    options = _options(
        *("--threads", "2", "--batch", "4", "--precision", "int8", "--affinity", "0,3"),
        *("--spinning", "--runs", "5", "--min-rounds", "7", "--max-rounds", "9"),
    )
    assert settings_of(options) == MeasureSettings(
        threads=2,
        batch=4,
        precision=Precision.INT8,
        affinity=[0, 3],
        spinning=True,
        runs=5,
        min_rounds=7,
        max_rounds=9,
    )


def test_more_rounds_than_the_usual_most_raise_the_most() -> None:
    assert settings_of(_options("--min-rounds", "50")).max_rounds == 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "0"], "threads must be an integer in 1..1024, but got 0"),
        (["--affinity", "a"], "--affinity must be cores like 0 or 2,3, but got 'a'"),
        (["--affinity", "5000"], "a core of affinity must be an integer in 0..1023, but got 5000"),
        (["--max-rounds", "2000", "--min-rounds", "1"], "max_rounds must be an integer in 1..1000"),
    ],
)
def test_settings_out_of_range_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_of(_options(*arguments))


@pytest.mark.parametrize("where", ["ssh:phone", "ssh:me@phone", "ssh:me@phone:2222"])
def test_a_device_is_named_by_where_it_is(where: str) -> None:
    assert isinstance(device_of(_options("--device", where)), SshDevice)


@pytest.mark.parametrize("where", ["", "phone", "ssh:", "ssh:two words", "LOCAL"])
def test_what_names_no_device_is_refused(where: str) -> None:
    with pytest.raises(ValueError, match=r"--device must be local, .* but got "):
        device_of(_options("--device", where))


def test_networks_are_seeds_with_widths_and_files_as_they_are_used(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(load_seed("mobilenet_v1", resolution=96).to_yaml())
    options = _options(
        *("--seed", "mobilenet_v2:0.5", "--arch", str(file)),
        *("--resolution", "64", "--num-classes", "10"),
    )
    assert [network.blocks for network in networks_of(options)] == [
        load_seed("mobilenet_v2", 0.5).with_num_classes(10).blocks,
        load_seed("mobilenet_v1").with_num_classes(10).blocks,
    ]
    assert {network.resolution for network in networks_of(options)} == {64}
    options = _options("--arch", str(file))
    assert networks_of(options) == [load_seed("mobilenet_v1", resolution=96)]


def test_spaces_are_built_around_their_base_or_another() -> None:
    options = _options("--space", "mobilenet_v3", "--space", "mnasnet", "--resolution", "64")
    ours = [space.build(space.base_choices) for space in spaces_of(options)]
    theirs = [make(resolution=64) for make in (mobilenet_v3_space, mnasnet_space)]
    assert ours == [space.build(space.base_choices) for space in theirs]
    (space,) = spaces_of(_options("--space", "mnasnet", "--base", "mobilenet_v2"))
    assert space.name == mnasnet_space(base="mobilenet_v2").name
    with pytest.raises(ValueError, match="--base mobilenet_v2 is for a space; give --space"):
        spaces_of(_options("--base", "mobilenet_v2"))


def test_several_resolutions_are_of_every_network_and_a_choice_of_a_space() -> None:
    options = _options("--seed", "mobilenet_v2", "--space", "mnasnet", "--resolution", "64,96")
    assert [(n.name, n.resolution) for n in networks_of(options)] == [
        ("mobilenet_v2_64", 64),
        ("mobilenet_v2_96", 96),
    ]
    assert {n.blocks for n in networks_of(options)} == {load_seed("mobilenet_v2").blocks}
    (space,) = spaces_of(options)
    assert space.choices["resolution"] == (64, 96)


@pytest.mark.parametrize("text", ["64 96", "64,", "large", "6.4"])
def test_what_names_no_resolutions_is_refused(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        _options("--resolution", text)
    said = capsys.readouterr().err
    assert f"--resolution: must be pixels like 224 or 160,192,224, but got {text!r}\n" in said


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("threads must be 1"), 2, "latency.command: error: threads must be 1\n"),
        (LookupError("no entry"), 2, "latency.command: error: no entry\n"),
        (FileNotFoundError("gone"), 2, "latency.command: error: gone\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_what_a_person_can_mend_is_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    def run() -> None:
        raise error

    assert run_command("latency.command", run) == code
    assert capsys.readouterr().err == said


def test_what_nobody_can_mend_is_not_hidden() -> None:
    def run() -> None:
        raise AssertionError

    with pytest.raises(AssertionError):
        run_command("latency.command", run)


def test_an_option_that_there_is_not_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        _options("--fast")
    assert end.value.code == 2
    assert capsys.readouterr().err == ("latency.command: error: unrecognized arguments: --fast\n")
