"""The seed files and their loader."""

import pytest

from search_spaces import count_costs, load_seed, seed_names
from search_spaces.seeds import read_seed


def test_the_families_are_there() -> None:
    names = set(seed_names())
    assert {"mobilenet_v1", "mobilenet_v2", "mnasnet_a1", "mnasnet_b1"} <= names
    assert {f"mobilenet_v3_{size}" for size in ("large", "small", "small_paper")} <= names
    assert {f"shufflenet_v1_g{groups}" for groups in (1, 2, 3, 4, 8)} <= names
    assert {f"shufflenet_v2_x{width}" for width in ("0_5", "1_0", "1_5", "2_0")} <= names
    assert list(seed_names()) == sorted(names)


@pytest.mark.parametrize("name", seed_names())
def test_a_seed_is_named_like_its_file_and_says_where_it_is_from(name: str) -> None:
    seed = read_seed(name)
    assert seed.architecture.name == name
    assert seed.architecture.resolution == 224
    assert seed.architecture.num_classes == 1000
    assert seed.source
    assert all(figures.source for figures in seed.published)


@pytest.mark.parametrize("name", seed_names())
def test_a_seed_names_published_widths_that_exist(name: str) -> None:
    assert set(read_seed(name).other_widths.values()) <= set(seed_names())


def test_an_unknown_name_gets_near_ones() -> None:
    with pytest.raises(ValueError, match=r"no seed 'mobilenetv2'; did you mean .*mobilenet_v2"):
        load_seed("mobilenetv2")


def test_a_name_that_is_near_none_gets_all() -> None:
    with pytest.raises(ValueError, match=r"no seed 'zzz'\. Seeds: mnasnet_a1, .*x2_0$"):
        load_seed("zzz")


@pytest.mark.parametrize("name", ["", "../seeds/mnasnet_a1", "mnasnet_a1.yaml"])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(ValueError, match="there is no seed"):
        load_seed(name)


@pytest.mark.parametrize("width", [0, -0.5, float("nan"), float("inf"), 17, True, "1"])
def test_bad_widths(width: float) -> None:
    with pytest.raises(ValueError, match=r"width must be a number in 0 < width ≤ 16, but got"):
        load_seed("mobilenet_v2", width)


@pytest.mark.parametrize("resolution", [0, -224, 5000, 224.0, True, "224"])
def test_bad_resolutions(resolution: int) -> None:
    with pytest.raises(ValueError, match=r"Architecture\.resolution must be .* but got"):
        load_seed("mobilenet_v2", resolution=resolution)


def test_resolution_changes_the_image_alone() -> None:
    seed, small = load_seed("mobilenet_v2"), load_seed("mobilenet_v2", resolution=160)
    assert small.resolution == 160
    assert small.blocks == seed.blocks
    assert count_costs(small).params == count_costs(seed).params


@pytest.mark.parametrize("width", [0.5, 1.5, 2.0])
def test_published_widths_of_shufflenet_v2_are_its_own_tables(width: float) -> None:
    by_width = load_seed("shufflenet_v2_x1_0", width)
    assert by_width == load_seed(f"shufflenet_v2_x{width:.1f}".replace(".", "_"))


def test_between_the_published_widths_channels_are_rounded() -> None:
    network = load_seed("shufflenet_v2_x1_0", 0.75)
    assert network.name == "shufflenet_v2_x1_0_x0.75"
    between = count_costs(network).madds
    narrow, wide = load_seed("shufflenet_v2_x0_5"), load_seed("shufflenet_v2_x1_0")
    assert count_costs(narrow).madds < between < count_costs(wide).madds
