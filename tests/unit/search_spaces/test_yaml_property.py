"""Whatever a description file holds, reading it gives an ``Architecture`` or a ``ValueError``."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from search_spaces import Architecture, count_costs
from search_spaces.yaml_io import architecture_from_dict

VALID = """\
schema: 1
name: mixed
resolution: 64
image_channels: 3
norm_epsilon: 0.001
blocks:
  - {type: conv_norm_act, out_channels: 16, kernel: 3, stride: 2, activation: h_swish}
  - {type: pool, kind: max, kernel: 3, stride: 2}
  - {type: depthwise_separable, out_channels: 16, kernel: 3, output_activation: relu6}
  - {type: inverted_residual, expanded_channels: 64, out_channels: 24, kernel: 5, skip: none, \
squeeze_excite: {channels: 8, gate: hard_sigmoid}}
  - {type: inverted_residual, expanded_channels: 96, out_channels: 24, kernel: 3, skip: identity}
  - {type: shuffle_v1_unit, bottleneck_channels: 24, out_channels: 48, groups: 3, input_groups: 1, \
stride: 2}
  - {type: shuffle_v2_unit, branch_channels: 24, out_channels: 48}
  - {type: classifier_head, num_classes: 10, hidden_channels: 32, dropout: 0.2}
"""
TREE = yaml.safe_load(VALID)

PLAIN_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.integers(),
    st.integers(0, 4000).map(lambda digits: 10**digits),
    st.floats(),
    st.sampled_from(
        ["relu", "identity", "pool", "max", "sigmoid", "conv_norm_act", "\ud800", "0x"]
    ),
    st.text(max_size=10),
    st.dates(),
    st.binary(max_size=4),
    st.just([]),
    st.just({}),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    st.dictionaries(st.integers(), st.text(max_size=4), max_size=2),
)
# fmt: off
FRAGMENTS = st.sampled_from([
    "&a ", "*a", "!!bool ", "!!int ", "!x ", "<<: ", "? ", "- ", "{", "[", "]", "}", ": ", "'",
    '"', "|", ">", "#", "%YAML 9.9\n", "---\n", "...\n", "\t", "\0", "\ufeff", "\u2028", "\ud800",
    "1:" * 300, "\\U00110000", "0b_", ".nan", "-.inf", "2001-99-99", "=", "~",
])
# fmt: on


def assert_read_or_refused(read: Callable[[], Architecture]) -> None:
    """Any other exception fails the test; what is read can be written, read again and counted."""
    try:
        network = read()
    except ValueError:
        event("refused")
        return
    event("read")
    assert Architecture.from_yaml(network.to_yaml()) == network
    assert count_costs(network).params > 0


def containers(tree: Any) -> list[Any]:
    """Every mapping and list of plain data, the outermost first."""
    if isinstance(tree, dict):
        return [tree] + [inner for value in tree.values() for inner in containers(value)]
    if isinstance(tree, list):
        return [tree] + [inner for value in tree for inner in containers(value)]
    return []


@st.composite
def changed_trees(draw: st.DrawFn) -> Any:
    """The valid network with one to three structural changes."""
    tree = copy.deepcopy(TREE)
    for _ in range(draw(st.integers(1, 3))):
        found = [container for container in containers(tree) if container]
        if not found:
            break
        container = draw(st.sampled_from(found))
        places = list(container) if isinstance(container, dict) else list(range(len(container)))
        place = draw(st.sampled_from(places))
        change = draw(st.sampled_from(["replace", "replace", "delete", "duplicate", "rename"]))
        if change == "replace":
            container[place] = draw(PLAIN_VALUES)
        elif change == "delete":
            del container[place]
        elif isinstance(container, list):
            container.insert(place, copy.deepcopy(container[place]))
        else:
            new_place = draw(st.one_of(st.sampled_from(places), st.text(max_size=8), st.integers()))
            moved = container[place] if change == "duplicate" else container.pop(place)
            container[new_place] = copy.deepcopy(moved)
    return tree


@st.composite
def changed_texts(draw: st.DrawFn) -> str:
    """The valid text with one to three changes of its characters or lines."""
    source = VALID
    for _ in range(draw(st.integers(1, 3))):
        change = draw(st.sampled_from(["flip", "cut", "insert", "fragment", "shuffle", "repeat"]))
        at = draw(st.integers(0, max(0, len(source) - 1)))
        if change == "flip":
            source = source[:at] + draw(st.characters()) + source[at + 1 :]
        elif change == "cut":
            source = source[:at] + source[at + draw(st.integers(1, 40)) :]
        elif change == "insert":
            source = source[:at] + draw(st.text(max_size=5)) + source[at:]
        elif change == "fragment":
            source = source[:at] + draw(FRAGMENTS) + source[at:]
        elif change == "shuffle":
            source = "".join(draw(st.permutations(source.splitlines(keepends=True))))
        else:
            source = source[:at] * draw(st.integers(0, 2)) + source[at:]
    return source


def test_the_unchanged_network_is_read() -> None:
    network = Architecture.from_yaml(VALID)
    assert architecture_from_dict(TREE) == network
    assert len(network.blocks) == len(TREE["blocks"])


@settings(max_examples=600)
@given(tree=changed_trees())
def test_changed_data(tree: Any) -> None:
    assert_read_or_refused(lambda: architecture_from_dict(tree))


@settings(max_examples=400)
@given(tree=changed_trees())
def test_changed_data_as_text(tree: Any) -> None:
    source = yaml.safe_dump(tree, allow_unicode=True)
    assert_read_or_refused(lambda: Architecture.from_yaml(source))


@settings(max_examples=800)
@given(source=changed_texts())
def test_changed_text(source: str) -> None:
    assert_read_or_refused(lambda: Architecture.from_yaml(source))


@settings(max_examples=200)
@given(source=st.one_of(st.text(max_size=200), st.lists(FRAGMENTS, max_size=12).map("".join)))
def test_any_text(source: str) -> None:
    assert_read_or_refused(lambda: Architecture.from_yaml(source))


@settings(max_examples=200)
@given(flips=st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=4))
def test_flipped_bytes_in_a_file(
    flips: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(VALID.encode())
    for at, byte in flips:
        data[at] = byte
    path = tmp_path_factory.getbasetemp() / "flipped.yaml"
    path.write_bytes(data)
    assert_read_or_refused(lambda: Architecture.from_yaml(path))
