"""Explanations and findings as a person reads them: lines of text."""

from collections.abc import Iterable, Iterator, Sequence

from latency.explain.claims import Claim, Finding
from latency.explain.network import BlockShare, Explanation, KindShare, aligned, share
from latency.explain.trace import OpKind

LEGEND = """\
predicted: by the table. traced: the runtime's own clock around every node it runs, fused as it
fuses them; an activation fused into a convolution counts as convolution. Layout changes are what
the runtime inserts. Shares are of each column's total. 1 M MAdds is 10^6 fused multiply-adds."""
CLAIMS_LEGEND = """\
change: the network less the other one, end to end, ± half its 95 % interval. A claim holds where
the whole interval is within what is claimed, and does not hold where the whole interval is beyond:
faster; at most 1.8 % slower than with ReLU; at most 1 % slower for what costs nothing. A paper's
milliseconds are of its own phones: compare the percentages."""


def network_lines(explanation: Explanation) -> list[str]:
    """One network: what it takes, its blocks, its kinds of operations."""
    return [
        headline(explanation),
        "",
        *_columns(_block_rows(explanation), "><<>>>>>>"),
        "",
        *_columns(_kind_rows(explanation), "<>>>>>"),
        "",
    ]


def headline(explanation: Explanation) -> str:
    """A network's latencies in a line."""
    return (
        f"{explanation.name} at {explanation.resolution}x{explanation.resolution}: predicted "
        f"{explanation.predicted_ms:.2f} ms, measured {explanation.latency_ms:.2f} ms "
        f"±{explanation.interval:.1%} end to end; nodes {explanation.traced_ms:.2f} ms, between "
        f"them {explanation.between_nodes_ms:+.2f} ms"
    )


def comparison_lines(first: Explanation, second: Explanation) -> list[str]:
    """Two networks side by side, by block and by kind."""
    return [
        *_columns(_aligned_rows(first, second), "<><>>"),
        "",
        *_columns(_kind_difference_rows(first, second), "<>>>"),
        "",
    ]


def claim_lines(findings: Sequence[Finding]) -> list[str]:
    """The claims, each under what is compared with what."""
    header, *rows = _columns(_claim_rows(findings), "<<>>>>>><")
    lines, heading = [header], ""
    for finding, row in zip(findings, rows, strict=True):
        if heading != (heading := _heading(finding.claim)):
            lines.append(heading)
        lines.append(row)
    return [*lines, "", CLAIMS_LEGEND]


def _block_rows(explanation: Explanation) -> Iterator[list[str]]:
    yield [
        "#", "block", "output", "MAdds, M", "params, k", "predicted, ms", "%", "traced, ms", "%",
    ]  # fmt: skip
    predicted_ms, traced_ms = explanation.predicted_ms, explanation.traced_ms
    for block in explanation.blocks:
        yield [
            str(block.index),
            block.description,
            str(block.output_shape),
            f"{block.madds / 1e6:.2f}",
            f"{block.params / 1e3:.1f}",
            f"{block.predicted_ms:.3f}",
            _percent(block.predicted_ms, predicted_ms),
            f"{block.traced_ms:.3f}",
            _percent(block.traced_ms, traced_ms),
        ]
    elsewhere_ms = sum(node.latency_ms for node in explanation.nodes if node.block is None)
    if elsewhere_ms:
        percent = _percent(elsewhere_ms, traced_ms)
        yield ["", "in no block", "", "", "", "", "", f"{elsewhere_ms:.3f}", percent]
    params = sum(block.params for block in explanation.blocks)
    yield [
        "", "total", "", f"{explanation.madds / 1e6:.2f}", f"{params / 1e3:.1f}",
        f"{predicted_ms:.3f}", "", f"{traced_ms:.3f}", "",
    ]  # fmt: skip


def _kind_rows(explanation: Explanation) -> Iterator[list[str]]:
    yield ["kind", "traced, ms", "%", "MAdds, M", "%", "GMAdds/s"]
    for kind in explanation.kinds:
        speed = kind.gmadds_per_second
        yield [
            str(kind.kind),
            f"{kind.traced_ms:.3f}",
            _percent(kind.traced_ms, explanation.traced_ms),
            f"{kind.madds / 1e6:.2f}" if kind.madds else "-",
            _percent(kind.madds, explanation.madds) if kind.madds else "-",
            "-" if speed is None else f"{speed:.1f}",
        ]
    speed = explanation.madds / explanation.traced_ms / 1e6
    yield [
        "total", f"{explanation.traced_ms:.3f}", "", f"{explanation.madds / 1e6:.2f}", "",
        f"{speed:.1f}",
    ]  # fmt: skip


def _aligned_rows(first: Explanation, second: Explanation) -> Iterator[list[str]]:
    yield [first.name, "ms", second.name, "ms", "difference"]
    for left, right in aligned(first, second):
        yield [
            _short(left),
            _traced(left),
            _short(right),
            _traced(right),
            _difference(left, right),
        ]
    yield ["total", *_totals(first, second, gap=[""])]


def _kind_difference_rows(first: Explanation, second: Explanation) -> Iterator[list[str]]:
    yield ["traced, ms", first.name, second.name, "difference"]
    kinds = [{kind.kind: kind for kind in explanation.kinds} for explanation in (first, second)]
    for kind in OpKind:
        left, right = kinds[0].get(kind), kinds[1].get(kind)
        if left is not None or right is not None:
            yield [str(kind), _traced(left), _traced(right), _difference(left, right)]
    yield ["total", *_totals(first, second, gap=[])]


def _totals(first: Explanation, second: Explanation, gap: list[str]) -> list[str]:
    difference = f"{second.traced_ms - first.traced_ms:+.3f}"
    return [f"{first.traced_ms:.3f}", *gap, f"{second.traced_ms:.3f}", difference]


def _short(block: BlockShare | None) -> str:
    return "-" if block is None else f"{block.description} → {block.output_shape}"


def _traced(part: BlockShare | KindShare | None) -> str:
    return "-" if part is None else f"{part.traced_ms:.3f}"


def _difference(left: BlockShare | KindShare | None, right: BlockShare | KindShare | None) -> str:
    left_ms, right_ms = (0.0 if part is None else part.traced_ms for part in (left, right))
    return f"{right_ms - left_ms:+.3f}"


def _heading(claim: Claim) -> str:
    other = claim.baseline.name.removeprefix(claim.network.name)
    return f"{claim.title} ({claim.source}), against …{other}"


def _claim_rows(findings: Sequence[Finding]) -> Iterator[list[str]]:
    yield [
        "  network", "published", "MAdds, M", "measured, ms", "change, ms", "change",
        "predicted, ms", "predicted", "verdict",
    ]  # fmt: skip
    for finding in findings:
        yield [
            f"  {finding.claim.network.name}",
            finding.claim.published,
            f"{finding.madds_change / 1e6:+.1f}",
            f"{finding.measured_ms[0]:.2f} | {finding.measured_ms[1]:.2f}",
            f"{finding.change_ms:+.2f} ± {finding.interval_ms:.2f}",
            f"{finding.change:+.1%} ± {finding.interval:.1%}",
            f"{finding.predicted_change_ms:+.2f}",
            f"{finding.predicted_change:+.1%}",
            finding.verdict,
        ]


def _percent(part: float, whole: float) -> str:
    return f"{100 * share(part, whole):.1f}"


def _columns(rows: Iterable[Sequence[str]], sides: str) -> list[str]:
    """Rows of text under each other; ``<`` and ``>`` say on which side a column is flush."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
