"""``python -m latency.table``: what it says of tables, unites, takes in and refuses."""

import json
import random
import shlex
import subprocess
import sys
from collections.abc import Callable
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency.plan import CALIBRATION, VALIDATION
from latency.table import LatencyTable, read_visits
from latency.table_command import main
from latency.table_diff import Change

REPOSITORY = Path(__file__).parents[3]
ENTRIES = 20
KEYS = [f"InvertedResidual(n={n})@8x4x4 after conv" for n in range(ENTRIES)]
EDGE = "boundary@8x4x4 after conv"

Record = dict[str, Any]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, make_visit: Any, make_header: Any) -> Write:
    """``write("a.jsonl", speed=2.0)``: a table whose machine takes ``speed`` times as long.

    Twenty blocks of 1 to 20 ms beyond a boundary of 0.5 ms, ten networks of three blocks that take
    1.04 times their sum, four visits each, off by 1 %. ``bend(visit)`` changes or drops a line.
    """

    def write(
        name: str,
        speed: float = 1.0,
        seed: int = 0,
        start_s: float = 0.0,
        bend: Callable[[Record], Record | None] = lambda visit: visit,
        **header: Any,
    ) -> Path:
        rng = random.Random(seed)
        graphs: list[tuple[str, float, Record]] = [(EDGE, 0.5, {})]
        graphs += [(key, 1.5 + n, {}) for n, key in enumerate(KEYS)]
        for n in range(10):
            parts = [KEYS[n], KEYS[n + 5], KEYS[n + 9]]
            fields = {"parts": parts, "boundaries": [EDGE] * 2, "role": _role(n)}
            graphs.append((f"Network({n})@3x8x8", 1.04 * (3 * n + 17.5), fields))
        visits = [
            make_visit(key, ms * speed * exp(rng.gauss(0, 0.01)), start_s + at, **fields)
            for at in range(4)
            for key, ms, fields in graphs
        ]
        bent = [line for line in map(bend, visits) if line is not None]
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        records = [make_header(**header), *bent]
        path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
        return path

    return write


def _role(number: int) -> str:
    return (CALIBRATION, VALIDATION)[number % 2]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``said("show", path)``: what the command prints; it must succeed."""

    def said(*arguments: object) -> str:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert (code, captured.err) == (0, "")
        return captured.out

    return said


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``refusal("show", path)``: the one line with which the command refuses."""

    def refusal(*arguments: object) -> str:
        try:
            code: object = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        assert (code, captured.err.count("\n"), captured.out) == (2, 1, "")
        return captured.err

    return refusal


class TestShow:
    def test_what_a_table_holds_and_how_good_it_is(self, write: Write, said: Any) -> None:
        text = said("show", write("a.jsonl"))
        lines = {line.split("  ")[1]: line for line in text.splitlines() if line.startswith("  ")}
        assert "a <fast> CPU" in lines["device.cpu"]
        assert "31: 20 InvertedResidual, 10 Network, 1 boundary" in lines["entries"]
        assert "124, 4 to 4 an entry" in lines["visits"]
        assert "1970-01-01 00:00:00 UTC to 1970-01-01 00:00:03 UTC" in lines["measured"]
        assert "reference 1.000 ms, 1.000 to 1.000 ms" in lines["drift"]
        assert "5 calibration, 5 validation" in lines["networks"]
        assert "fitted on 5 networks" in lines["scale"]
        assert float(lines["scale"].split()[1].rstrip(",")) == pytest.approx(1.04, abs=0.02)
        assert "within ±5 % 100.0%" in lines["predictions"]
        assert "MAPE" in lines["noise floor"]
        spread = float(lines["spread"].split()[1].rstrip("%"))
        assert spread == pytest.approx(1.0, abs=0.3)

    def test_the_slowest_blocks_and_the_widest_intervals_are_named(
        self, write: Write, said: Any
    ) -> None:
        def disturb(visit: Record) -> Record:
            return visit | (
                {"latency_ms": 9.0} if visit["key"] == KEYS[2] and visit["at_s"] else {}
            )

        path = write("a.jsonl", bend=lambda v: disturb(v) | {"median_ms": 99.0})
        text = said("show", path, "--top", 2)
        slowest, widest = text.split("slowest blocks")[1].split("widest intervals")
        assert KEYS[19] in slowest
        assert KEYS[18] in slowest
        assert "Network" not in slowest
        assert KEYS[2] in widest.splitlines()[1]
        assert "slowest blocks" not in said("show", path, "--top", 0)

    def test_a_table_that_predicts_nothing_is_shown_with_the_reason(
        self, write: Write, said: Any
    ) -> None:
        def bend(visit: Record) -> Record:
            return visit | ({"latency_ms": 900.0} if "parts" in visit else {})

        assert "predicts nothing" in said("show", write("a.jsonl", bend=bend))

    def test_text_from_elsewhere_does_a_terminal_no_harm(self, write: Write, said: Any) -> None:
        path = write("a.jsonl", runtime="\x1b[2J", bend=lambda v: v | {"key": "\x1b[2J" + v["key"]})
        assert "\x1b" not in said("show", path)
        assert "\x1b" not in said("diff", path, write("b.jsonl", runtime="\x1b]0;"))


class TestMerge:
    def test_the_visits_of_all_tables_are_united_and_equal_ones_are_one(
        self, write: Write, said: Any, tmp_path: Path
    ) -> None:
        monday, tuesday = write("a.jsonl"), write("b.jsonl", seed=1, start_s=1000.0)
        out = tmp_path / "new" / "c.jsonl"
        text = said("merge", monday, tuesday, monday, "--out", out)
        assert "248 visits of 31 entries" in text
        assert read_visits(out)[1] == read_visits(monday)[1] + read_visits(tuesday)[1]
        table, half = LatencyTable.load(out), LatencyTable.load(monday)
        assert [entry.rounds for entry in table.entries] == [8] * 31
        ratio = [a.interval / b.interval for a, b in zip(table.entries, half.entries, strict=True)]
        assert np.median(ratio) == pytest.approx(0.5**0.5, rel=0.3)

    def test_again_is_the_same_and_a_table_may_be_added_to_itself(
        self, write: Write, said: Any, tmp_path: Path
    ) -> None:
        one, other, out = write("a.jsonl"), write("b.jsonl", start_s=9.0), tmp_path / "c.jsonl"
        for _ in range(2):
            said("merge", one, other, "--out", out)
        said("merge", one, other, "--out", one)
        assert one.read_bytes() == out.read_bytes()

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ({"threads": 4}, "threads is 1 and 4"),
            ({"device": {"cpu": "another"}}, "device.cpu is a <fast> CPU and another"),
        ],
    )
    def test_tables_of_other_circumstances_are_refused(
        self, write: Write, refusal: Any, tmp_path: Path, header: Record, message: str
    ) -> None:
        tables = write("a.jsonl"), write("b.jsonl", start_s=9.0, **header)
        assert message in refusal("merge", *tables, "--out", tmp_path / "c.jsonl")
        assert not (tmp_path / "c.jsonl").exists()

    def test_two_accounts_of_one_visit_are_refused(
        self, write: Write, refusal: Any, tmp_path: Path
    ) -> None:
        tables = write("a.jsonl"), write("b.jsonl", seed=1)
        message = refusal("merge", *tables, "--out", tmp_path / "c.jsonl")
        assert f"other figures than a table before it for the visit of '{EDGE}' at 0" in message

    def test_another_table_is_not_overwritten(self, write: Write, refusal: Any) -> None:
        one, other, kept = write("a.jsonl"), write("b.jsonl", start_s=9.0), write("c.jsonl", 2.0)
        before = kept.read_bytes()
        assert "give another --out" in refusal("merge", one, other, "--out", kept)
        assert kept.read_bytes() == before
        assert "two tables or more" in refusal("merge", one, "--out", kept)


class TestImport:
    def test_a_table_is_put_where_searches_look_for_it(
        self, write: Write, said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = write("phone.txt", threads=4, affinity=[0, 1], precision="int8")
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b'{"key": "torn')
        for _ in range(2):
            text = said("import", path)
        (command,) = [line for line in text.splitlines() if "nas.search" in line]
        assert shlex.split(command)[3:] == [
            "target_latency=…",
            "table=tables/phone.jsonl",
            "measure.threads=4",
            "measure.affinity=[0, 1]",
            "measure.precision=int8",
        ]
        assert "10 whole networks against the sum of their blocks: MAPE" in text
        assert read_visits(tmp_path / "tables/phone.jsonl") == read_visits(path)
        assert b"\r" not in (tmp_path / "tables/phone.jsonl").read_bytes()

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ({"device": {}}, "line 1: device must be an object, but is {}"),
            ({"runtime": 3}, "line 1: runtime must be a name, but is 3"),
            ({"threads": 0}, "line 1: threads must be an integer in 1..1024, but got 0"),
            ({"batch": None}, "line 1: batch must be an integer"),
            ({"precision": "int4"}, "line 1: precision must be one of fp32, int8, fp16"),
            ({"spinning": "no"}, "line 1: spinning must be true or false"),
            ({"affinity": 3}, "line 1: affinity must be a list of cores, but is 3"),
            ({"affinity": [-1]}, "line 1: a core of affinity must be an integer"),
            ({"reference": "Network(0)@3x96x96"}, "measured beside another reference network"),
        ],
    )
    def test_a_header_that_cannot_be_is_refused(
        self, write: Write, refusal: Any, tmp_path: Path, header: Record, message: str
    ) -> None:
        path = write("a.jsonl", **header)
        assert message in refusal("import", path, "--out", tmp_path / "b.jsonl")
        assert not (tmp_path / "b.jsonl").exists()

    @pytest.mark.parametrize(
        ("key", "fields", "message"),
        [
            (
                KEYS[3],
                {"latency_ms": 5.0, "median_ms": 4.0},
                "latency_ms is 5, above its median_ms, 4",
            ),
            (KEYS[3], {"latency_ms": 90.0, "median_ms": 91.0}, "latency_ms is 90, and 4.5"),
            (KEYS[3], {"reference_ms": 0.01}, "reference_ms is 0.01, and 1 in the usual visit"),
            (KEYS[3], {"latency_ms": -1}, "latency_ms must be a number"),
        ],
    )
    def test_a_line_that_contradicts_itself_or_the_others_is_named(
        self, write: Write, refusal: Any, tmp_path: Path, key: str, fields: Record, message: str
    ) -> None:
        def bend(visit: Record) -> Record:
            return visit | (fields if (visit["key"], visit["at_s"]) == (key, 0.0) else {})

        path = write("a.jsonl", bend=bend)
        found = refusal("import", path, "--out", tmp_path / "b.jsonl")
        assert "a.jsonl, line 6: " in found
        assert message.partition(" and 4.5")[0] in found
        assert "delete the line to measure it again" in found

    @pytest.mark.parametrize("factor", [0.6, 1.5])
    def test_a_network_that_does_not_follow_from_its_blocks_is_refused(
        self, write: Write, refusal: Any, tmp_path: Path, factor: float
    ) -> None:
        def bend(visit: Record) -> Record:
            bent = {name: visit[name] * factor for name in ("latency_ms", "median_ms")}
            return visit | (bent if visit["key"].startswith("Network(7)") else {})

        message = refusal("import", write("a.jsonl", bend=bend), "--out", tmp_path / "b.jsonl")
        assert "contradicts itself: 'Network(7)@3x8x8' took" in message

    @pytest.mark.parametrize("lost", [EDGE, "Network"])
    def test_a_table_without_a_complete_network_is_refused(
        self, write: Write, refusal: Any, tmp_path: Path, lost: str
    ) -> None:
        path = write("a.jsonl", bend=lambda v: None if v["key"].startswith(lost) else v)
        message = refusal("import", path, "--out", tmp_path / "b.jsonl")
        assert "holds no whole network with all of its blocks" in message

    def test_another_table_is_not_overwritten(self, write: Write, refusal: Any) -> None:
        path, kept = write("a.jsonl"), write("b.jsonl", speed=2.0)
        before = kept.read_bytes()
        assert "is there already and holds something else" in refusal("import", path, "--out", kept)
        assert kept.read_bytes() == before


class TestDiff:
    def test_the_same_machine_twice_agrees(self, write: Write, said: Any) -> None:
        text = said("diff", write("a.jsonl"), write("b.jsonl", seed=1))
        assert "the tables agree: " in text
        assert "0 only" not in text
        row = _row(text, "all entries in common")
        assert row[0] == "31"
        assert float(row[1]) == pytest.approx(1.0, abs=0.01)

    def test_a_slower_machine_differs_by_its_factor(self, write: Write, said: Any) -> None:
        text = said("diff", write("a.jsonl"), write("b.jsonl", speed=1.2, seed=1, threads=2))
        assert "the tables differ: 0.0% of the differences" in text
        for name in ("all entries in common", "InvertedResidual", "boundary", "predicted networks"):
            assert float(_row(text, name)[1]) == pytest.approx(1.2, abs=0.025)
        assert _row(text, "predicted networks")[0] == "10"
        assert [line.split() for line in text.splitlines() if "threads" in line] == [
            ["threads", "1", "2"]
        ]

    def test_the_largest_differences_are_named(self, write: Write, said: Any) -> None:
        def bend(visit: Record) -> Record:
            return visit | (
                {"latency_ms": 0.5 * visit["latency_ms"]} if visit["key"] == KEYS[7] else {}
            )

        text = said("diff", write("a.jsonl"), write("b.jsonl", bend=bend))
        assert KEYS[7] in text.split("largest differences\n")[1].splitlines()[0]
        assert float(_row(text, "all entries in common")[-2]) == pytest.approx(0.5)

    def test_tables_of_different_things_have_nothing_in_common(
        self, write: Write, said: Any
    ) -> None:
        other = write("b.jsonl", bend=lambda v: v | {"key": f"other {v['key']}"})
        assert "no entry in common" in said("diff", write("a.jsonl"), other)

    def test_what_intervals_explain_is_within_them(self) -> None:
        # Intervals of 3 and 4 % explain 5 %.
        change = Change.between(
            [(1.0, 0.03), (1.0, 0.03), (2.0, 0.0)], [(1.049, 0.04), (0.94, 0.04), (2.0, 0.0)]
        )
        assert change.allowed == pytest.approx([0.05, 0.05, 0.0])
        assert change.within == pytest.approx(2 / 3)
        assert change.order == [1, 0, 2]


def _row(text: str, name: str) -> list[str]:
    """The words of a line behind its name: number, median, quartiles, largest, share within."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{name}  ")]
    return line.strip().removeprefix(name).split()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "latency.table: error: the following arguments are required: command"),
        (["shw"], "invalid choice: 'shw'"),
        (["show"], "latency.table show: error: the following arguments are required: table"),
        (["show", "gone.jsonl"], "gone.jsonl"),
        (["show", "."], "Is a directory"),
        (["show", "{table}", "--top", "-1"], "--top must be 0 or more, but got -1"),
        (["show", "{header}"], "holds a header and no visits"),
        (["show", "{letter}"], "is no latency table"),
        (["diff", "{table}", "{header}"], "holds a header and no visits"),
        (["merge", "{table}", "{letter}", "--out", "c"], "is no latency table"),
        (["merge", "{table}"], "required: --out"),
        (["import", "{table}", "--out", "{letter}"], "is no latency table"),
        (["import", "{table}", "--out", "{letter}/table.jsonl"], "letter"),
    ],
)
def test_a_mistake_is_answered_in_one_line_and_exit_code_2(
    write: Write, refusal: Any, tmp_path: Path, arguments: list[str], message: str
) -> None:
    files = {"table": write("a.jsonl"), "header": write("b.jsonl", bend=lambda _: None)}
    files["letter"] = tmp_path / "letter"
    files["letter"].write_text("Dear madam")
    assert message in refusal(*(argument.format(**files) for argument in arguments))
    assert len(list(tmp_path.iterdir())) == 3
    assert files["letter"].read_text() == "Dear madam"


def test_it_is_a_module_to_run(write: Write) -> None:
    command = [sys.executable, "-m", "latency.table", "show", str(write("a.jsonl"))]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "slowest blocks" in done.stdout
