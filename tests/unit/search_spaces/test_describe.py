"""``python -m search_spaces.describe``: its rows, its output and its exit codes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces import Architecture, load_seed, seed_names
from search_spaces.blocks import (
    Activation,
    ClassifierHead,
    ConvNormAct,
    Pool,
    PoolKind,
    ShuffleV2Unit,
    Skip,
)
from search_spaces.describe import CONVENTION, main, notes, summary_rows
from search_spaces.layer_table import layer_rows

REPOSITORY = Path(__file__).parents[3]

MOBILENET_V3_LARGE = """\
224² × 3 | conv2d, 3x3 | - | 16 | - | HS | 2 | 1
112² × 16 | bneck, 3x3 | 16 | 16 | - | RE | 1 | 1
112² × 16 | bneck, 3x3 | 64 | 24 | - | RE | 2 | 1
56² × 24 | bneck, 3x3 | 72 | 24 | - | RE | 1 | 1
56² × 24 | bneck, 5x5 | 72 | 40 | 24 | RE | 2 | 1
28² × 40 | bneck, 5x5 | 120 | 40 | 32 | RE | 1 | 2
28² × 40 | bneck, 3x3 | 240 | 80 | - | HS | 2 | 1
14² × 80 | bneck, 3x3 | 200 | 80 | - | HS | 1 | 1
14² × 80 | bneck, 3x3 | 184 | 80 | - | HS | 1 | 2
14² × 80 | bneck, 3x3 | 480 | 112 | 120 | HS | 1 | 1
14² × 112 | bneck, 3x3 | 672 | 112 | 168 | HS | 1 | 1
14² × 112 | bneck, 5x5 | 672 | 160 | 168 | HS | 2 | 1
7² × 160 | bneck, 5x5 | 960 | 160 | 240 | HS | 1 | 2
7² × 160 | conv2d, 1x1 | - | 960 | - | HS | 1 | 1
7² × 960 | pool, 7x7 | - | - | - | - | 1 | 1
1² × 960 | conv2d 1x1, NBN | - | 1280 | - | HS | 1 | 1
1² × 1280 | conv2d 1x1, NBN | - | 1000 | - | - | 1 | 1
"""


def printed(name: str) -> list[str]:
    return [
        " | ".join(
            "-" if cell is None else str(cell)
            for cell in (
                f"{row.input_shape.height}² × {row.input_shape.channels}",
                row.operator,
                row.inside,
                row.out,
                row.squeeze_excite,
                row.nonlinearity,
                row.stride,
                count,
            )
        )
        for row, count in layer_rows(load_seed(name))
    ]


def test_mobilenet_v3_large_is_its_papers_table() -> None:
    """Table 1 of the paper, with equal lines folded and the squeeze's width for its tick."""
    assert printed("mobilenet_v3_large") == MOBILENET_V3_LARGE.splitlines()


def test_mobilenet_v1_prints_the_two_layers_of_a_block() -> None:
    lines = printed("mobilenet_v1")
    assert lines[13:15] == [
        "14² × 512 | conv dw, 3x3 | - | 512 | - | RE | 1 | 5",
        "14² × 512 | conv2d, 1x1 | - | 512 | - | RE | 1 | 5",
    ]
    assert len(lines) == 21


def test_shufflenet_v1_prints_its_groups_and_repeats() -> None:
    rows = [(r.operator, r.groups, r.inside, r.out, r.stride, n)
            for r, n in layer_rows(load_seed("shufflenet_v1_g3"))][1:5]  # fmt: skip
    assert rows == [
        ("maxpool, 3x3", None, None, None, 2, 1),
        ("shuffle v1, 3x3", "1, 3", 60, 240, 2, 1),
        ("shuffle v1, 3x3", "3", 60, 240, 1, 3),
        ("shuffle v1, 3x3", "3", 120, 480, 2, 1),
    ]


def test_layers_tell_their_skips() -> None:
    network = Architecture(
        name="skips",
        blocks=(
            ConvNormAct(out_channels=8, kernel=3, activation=Activation.SWISH),
            ConvNormAct(out_channels=8, kernel=3, skip=Skip.IDENTITY),
            ConvNormAct(out_channels=8, kernel=3, stride=2, skip=Skip.POOL),
            Pool(kind=PoolKind.AVERAGE, kernel=5),
            ShuffleV2Unit(branch_channels=4, out_channels=8),
            ClassifierHead(num_classes=2),
        ),
        resolution=8,
    )
    rows = [row for row, _ in layer_rows(network)]
    assert [row.skip for row in rows] == [None, "identity", "pool", None, None, None, None]
    assert [row.nonlinearity for row in rows[:4]] == ["SW", "RE", "RE", None]
    assert [row.operator for row in rows[3:5]] == ["avgpool, 5x5", "shuffle v2, 3x3"]


def test_rows_of_all_seeds_and_their_published_widths() -> None:
    rows = {row.label: row for row in summary_rows()}
    assert set(seed_names()) < set(rows)
    assert {"mobilenet_v1 ×0.25", "mobilenet_v2 ×1.4", "mobilenet_v3_large ×0.75"} < set(rows)
    large = rows["mobilenet_v3_large"]
    assert (large.costs.params, large.params_difference) == (5_483_032, 0)
    assert large.madds_difference == pytest.approx(100 * (216.58976 / 219 - 1))
    quarter = rows["mobilenet_v1 ×0.25"]
    assert quarter.params_difference == 0, "0.47 M is printed as 0.5 M"
    assert rows["mobilenet_v2 ×1.4"].params_difference == pytest.approx(100 * (6.1 / 6.9 - 1))
    stem32 = rows["mobilenet_v3_large_stem32"]
    assert (stem32.published, stem32.params_difference, stem32.madds_difference) == (None,) * 3


def test_every_difference_beyond_two_percent_is_explained() -> None:
    rows = summary_rows()
    differing = [
        row
        for row in rows
        if abs(row.madds_difference or 0) > 2 or abs(row.params_difference or 0) > 2
    ]
    assert {row.label for row in differing} == {"mobilenet_v2 ×1.4", "mobilenet_v3_small_paper"}
    explained = "\n".join(notes(rows))
    assert all(f"{row.label}: " in explained for row in differing)


def test_another_resolution_is_not_compared_with_published_madds() -> None:
    (row,) = summary_rows(["mobilenet_v2"], width=1.0, resolution=160)
    assert (row.resolution, row.madds_difference, row.params_difference) == (160, None, 0)


def test_a_width_replaces_the_published_ones() -> None:
    rows = summary_rows(["mobilenet_v1", "mobilenet_v2"], width=0.5)
    assert [row.label for row in rows] == ["mobilenet_v1 ×0.5", "mobilenet_v2 ×0.5"]
    assert rows[0].madds_difference == pytest.approx(0.33, abs=0.01)
    assert rows[1].published is None


def test_a_file_is_described_like_a_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(replace(load_seed("mobilenet_v2"), name="[b]mine[/b]").to_yaml())
    (row,) = summary_rows([str(path)])
    assert (row.label, row.costs.params) == ("[b]mine[/b]", 3_504_872)
    assert main([str(path), "--resolution", "192"]) == 0
    out = capsys.readouterr().out
    assert "[b]mine[/b] @192" in out
    assert "192² × 3" in out


def test_one_name_prints_its_layers_and_totals(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mobilenet_v3_large", "--width", "0.75"]) == 0
    out = capsys.readouterr().out
    assert "exp size" in out
    assert "mobilenet_v3_large ×0.75" in out
    assert "3,993,528" in out
    assert "5,483,032" not in out


def test_the_command_piped_prints_every_row_in_full() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "search_spaces.describe"],
        cwd=REPOSITORY, capture_output=True, text=True, encoding="utf-8", check=True,
        env={"PYTHONIOENCODING": "utf-8", "COLUMNS": "40"},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    for row in summary_rows():
        (line,) = [line for line in lines if line.split("  ")[1:2] == [row.label]]
        assert f"{row.costs.params:,}" in line
        assert f"{row.costs.madds / 1e6:.2f}" in line
    assert "…" not in done.stdout
    assert "\x1b" not in done.stdout
    assert CONVENTION in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mobilenetv2"], "there is no seed 'mobilenetv2'; did you mean mobilenet_v2"),
        (["mobilenet_v2", "zzz"], "there is no seed 'zzz'"),
        (["mobilenet_v2", "--width", "0"], "width must be a number in 0 < width ≤ 16, but got 0.0"),
        (["mobilenet_v2", "--width", "nan"], "width must be a number"),
        (["mobilenet_v2", "--width", "wide"], "--width: invalid float value: 'wide'"),
        (["mobilenet_v2", "--resolution", "0"], "resolution must be in 1..4096, but got 0"),
        (["mobilenet_v2", "--resolution", "1.5"], "--resolution: invalid int value: '1.5'"),
        (["shufflenet_v1_g8", "--width", "0.01"], "leaves it 0 beside 32 input channels"),
        (["no/such.yaml"], "No such file or directory: 'no/such.yaml'"),
        (["{folder}"], "Is a directory"),
        (["{folder}/bad.yaml"], "bad.yaml: blocks[0]: ConvNormAct.kernel must be odd, but got 2"),
        (["{folder}/latin.yaml"], "latin.yaml is not UTF-8 text"),
        (["{folder}/bad.yaml", "--width", "0.5"], "--width needs a seed"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    (folder / "bad.yaml").write_text(
        "schema: 1\nname: bad\nblocks: [{type: conv_norm_act, out_channels: 8, kernel: 2}]\n"
    )
    (folder / "latin.yaml").write_bytes(b"name: \xe9")
    assert main([argument.format(folder=folder) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_the_command_exits_with_two() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "search_spaces.describe", "zzz"],
        cwd=REPOSITORY, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("describe: there is no seed 'zzz'")
