"""Architecture ↔ YAML: what is written is read back, and everything else is refused clearly."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Architecture, load_seed, seed_names
from search_spaces.blocks import (
    Activation,
    ClassifierHead,
    ConvNormAct,
    Pool,
    PoolKind,
    ShuffleV2Unit,
    Skip,
    SqueezeExcite,
)
from search_spaces.yaml_io import MAX_YAML_BYTES

STEM = "{type: conv_norm_act, out_channels: 16, kernel: 3, stride: 2}"
HEAD = "{type: classifier_head, num_classes: 10}"


def text(*blocks: str, schema: str = "schema: 1", name: str = "name: tiny", extra: str = "") -> str:
    lines = [schema, name, extra, "blocks:", *(f"  - {block}" for block in blocks or (STEM, HEAD))]
    return "\n".join(lines) + "\n"


def test_reads_what_a_person_writes() -> None:
    network = Architecture.from_yaml(
        text(
            STEM,
            "{type: conv_norm_act, out_channels: 16, kernel: 5, activation: h_swish, "
            "squeeze_excite: {channels: 4, gate: hard_sigmoid}, skip: identity}",
            "{type: pool, kind: average, kernel: 3}",
            "{type: shuffle_v2_unit, branch_channels: 20, out_channels: 40, stride: 2}",
            HEAD,
            extra="resolution: 64",
        )
    )
    assert network == Architecture(
        name="tiny",
        resolution=64,
        blocks=(
            ConvNormAct(out_channels=16, kernel=3, stride=2),
            ConvNormAct(
                out_channels=16,
                kernel=5,
                activation=Activation.H_SWISH,
                squeeze_excite=SqueezeExcite(channels=4, gate=Activation.HARD_SIGMOID),
                skip=Skip.IDENTITY,
            ),
            Pool(kind=PoolKind.AVERAGE, kernel=3),
            ShuffleV2Unit(branch_channels=20, out_channels=40, stride=2),
            ClassifierHead(num_classes=10),
        ),
    )


@pytest.mark.parametrize("name", seed_names())
def test_round_trip(name: str) -> None:
    network = load_seed(name)
    written = network.to_yaml()
    assert Architecture.from_yaml(written) == network
    assert len(written.splitlines()) == len(network.blocks) + 6


@given(
    name=st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1),
    epsilon=st.floats(min_value=0, max_value=1, exclude_min=True, exclude_max=True),
    dropout=st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_round_trip_of_any_name_and_number(name: str, epsilon: float, dropout: float) -> None:
    if not name.isprintable():
        return
    head = ClassifierHead(num_classes=2, dropout=dropout)
    network = Architecture(name=name, blocks=(head,), norm_epsilon=epsilon)
    assert Architecture.from_yaml(network.to_yaml()) == network


@pytest.mark.parametrize(
    "name", ["yes", "null", "1e5", "1", "a: b", "- x", "#", "{", "'", " ", "~"]
)
def test_a_name_stays_a_string(name: str) -> None:
    network = Architecture(name=name, blocks=(ClassifierHead(),))
    assert Architecture.from_yaml(network.to_yaml()).name == name


def test_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "network.yaml"
    path.write_text(load_seed("mnasnet_a1").to_yaml(), encoding="utf-8")
    assert Architecture.from_yaml(path) == load_seed("mnasnet_a1")


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        Architecture.from_yaml(tmp_path / "none.yaml")


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: é".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.yaml is not UTF-8 text"):
        Architecture.from_yaml(path)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (MAX_YAML_BYTES + 1))
    with pytest.raises(ValueError, match=r"large\.yaml is larger than 1000000 bytes"):
        Architecture.from_yaml(path)
    with pytest.raises(ValueError, match="longer than 1000000 characters"):
        Architecture.from_yaml("#" * (MAX_YAML_BYTES + 1))


REFUSED = {
    "empty": ("", "expected a mapping at the top level, but got NoneType"),
    "a list": ("[1, 2]", "expected a mapping at the top level, but got list"),
    "not YAML": ("{", "not valid YAML: while parsing"),
    "a control character": ("name: \0", "not valid YAML: unacceptable character"),
    "two documents": (text() + "---\n" + text(), "not valid YAML: expected a single document"),
    "no schema": (text(schema=""), "the architecture lacks the key 'schema'"),
    "no name": (text(name=""), "the architecture lacks the key 'name'"),
    "no blocks": ("schema: 1\nname: x", "the architecture lacks the key 'blocks'"),
    "another schema": (text(schema="schema: 2"), "schema must be 1, but got 2"),
    "a true schema": (text(schema="schema: true"), "schema must be 1, but got True"),
    "a fractional schema": (text(schema="schema: 1.0"), "schema must be 1, but got 1.0"),
    "an unknown key": (
        text(extra="colour: red"),
        "the architecture has the unknown key 'colour'; allowed: blocks, image_channels",
    ),
    "a duplicate key": (text(extra="name: twice"), r"the key 'name' stands twice \(line 3\)"),
    "a key that is no string": (text(extra="7: x"), "keys must be strings, but got 7"),
    "a merge key": (text(extra="<<: {resolution: 3}"), "not valid YAML.*merge"),
    "an alias": (text("&stem " + STEM, "*stem", HEAD), "aliases are not allowed"),
    "many laughs": (
        "a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]",
        "aliases are not allowed",
    ),
    "a Python tag": (text(name="name: !!python/name:os.system x"), "the tag .* is not allowed"),
    "a bool tag": (text(name="name: !!bool x"), r"the tag .*bool' is not allowed \(line 2\)"),
    "an int tag": (text(schema='schema: !!int ""'), "the tag .*int' is not allowed"),
    "a timestamp tag": (text(name="name: !!timestamp x"), "the tag .* is not allowed"),
    "deep lists": ("[" * 20_000, "not valid YAML: nested too deeply"),
    "deep mappings": ("{a: " * 20_000, "not valid YAML: nested too deeply"),
    "no such date": (text(name="name: 2001-99-99"), "not valid YAML: month must be in"),
    "no such character": (text(name=r'name: "\UFFFFFFFF"'), "not valid YAML"),
    "an endless float": (text(extra="norm_epsilon: " + "1:" * 400 + "1.5"), "not valid YAML"),
    "an endless integer": (text(extra="resolution: " + "9" * 5000), "not valid YAML: Exceeds"),
    "a surrogate": (text(name=r'name: "\ud800"'), "Architecture.name must be printable"),
    "blocks that are no list": (
        "schema: 1\nname: x\nblocks: 3",
        "blocks must be a list, but got 3",
    ),
    "no block": ("schema: 1\nname: x\nblocks: []", r"must be a tuple of 1\.\.1000 blocks, .*got 0"),
    "a block that is no mapping": (
        text("conv", HEAD),
        r"blocks\[0\] must be a mapping with a 'type', but got 'conv'",
    ),
    "a block without a type": (
        text("{kernel: 3}", HEAD),
        r"blocks\[0\] must be a mapping with a 'type', but got \{'kernel': 3\}",
    ),
    "an unknown type": (
        text("{type: conv}", HEAD),
        r"blocks\[0\]\.type must be one of classifier_head, conv_norm_act, .* but got 'conv'",
    ),
    "an unknown key of a block": (
        text("{type: conv_norm_act, out_channels: 16, kernel: 3, strides: 2}", HEAD),
        r"blocks\[0\] has the unknown key 'strides'; allowed: activation, kernel",
    ),
    "a missing key of a block": (
        text("{type: conv_norm_act, kernel: 3}", HEAD),
        r"blocks\[0\] lacks the key 'out_channels'",
    ),
    "a missing key of a squeeze": (
        text("{type: conv_norm_act, out_channels: 8, kernel: 3, squeeze_excite: {}}", HEAD),
        r"blocks\[0\]\.squeeze_excite lacks the key 'channels'",
    ),
    "a squeeze that is a number": (
        text("{type: conv_norm_act, out_channels: 8, kernel: 3, squeeze_excite: 0.25}", HEAD),
        r"blocks\[0\]\.squeeze_excite must be a mapping, but got 0.25",
    ),
    "a negative width": (
        text("{type: conv_norm_act, out_channels: -16, kernel: 3}", HEAD),
        r"blocks\[0\]: ConvNormAct\.out_channels must be in 1\.\.65536, but got -16",
    ),
    "a true width": (
        text("{type: conv_norm_act, out_channels: true, kernel: 3}", HEAD),
        r"ConvNormAct\.out_channels must be an integer, but got True",
    ),
    "a width in quotes": (
        text("{type: conv_norm_act, out_channels: '16', kernel: 3}", HEAD),
        r"ConvNormAct\.out_channels must be an integer, but got '16'",
    ),
    "no width": (
        text("{type: conv_norm_act, out_channels: null, kernel: 3}", HEAD),
        r"ConvNormAct\.out_channels must be an integer, but got None",
    ),
    "an unknown activation": (
        text("{type: conv_norm_act, out_channels: 8, kernel: 3, activation: gelu}", HEAD),
        r"blocks\[0\]\.activation must be one of identity, relu, .* but got 'gelu'",
    ),
    "a skip that is false": (
        text("{type: conv_norm_act, out_channels: 8, kernel: 3, skip: false}", HEAD),
        r"blocks\[0\]\.skip must be one of none, identity, pool, but got False",
    ),
    "an identity between unequal widths": (
        text(STEM, "{type: conv_norm_act, out_channels: 24, kernel: 3, skip: identity}", HEAD),
        r"blocks\[1\]: ConvNormAct\.skip=identity needs equal .* 16 and out_channels=24",
    ),
    "no head": (text(STEM), r"must end in its only ClassifierHead, but blocks\[0\] of 1"),
    "a dropout of nan": (
        text(STEM, "{type: classifier_head, dropout: .nan}"),
        r"blocks\[1\]: ClassifierHead\.dropout must be a number in 0 ≤ value < 1, but got nan",
    ),
    "an infinite dropout": (
        text(STEM, "{type: classifier_head, dropout: .inf}"),
        r"ClassifierHead\.dropout must be a number in 0 ≤ value < 1, but got inf",
    ),
    "an infinite epsilon": (
        text(extra="norm_epsilon: .inf"),
        r"Architecture\.norm_epsilon must be a number in 0 ≤ value < 1, but got inf",
    ),
}


@pytest.mark.parametrize(("source", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Architecture.from_yaml(source)
    assert "\n" not in str(caught.value)
