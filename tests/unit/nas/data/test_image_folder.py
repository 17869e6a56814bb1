"""What a folder may hold, and what is said of one that is no data set."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.data import ImageData, LazySplit, MemorySplit
from nas.data import scan as scan_module
from nas.data.image_folder import image_folder_data

Draw = Callable[..., Path]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """``draw("cat/1.png")`` → a random picture of 8×8 in the folder ``pets``."""
    rng = np.random.default_rng(0)

    def draw(name: str, side: int = 8) -> Path:
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
        return path

    return draw


@pytest.fixture
def pets(draw: Draw, tmp_path: Path) -> Path:
    for kind in ("cat", "dog"):
        for number in range(10):
            draw(f"{kind}/{number}.png")
    return tmp_path / "pets"


def _load(folder: Path, **settings: object) -> ImageData:
    return image_folder_data(path=str(folder), **({"seed": 0} | settings))  # type: ignore[arg-type]


def _images(data: ImageData, part: str) -> set[bytes]:
    split = getattr(data, part)
    assert isinstance(split, MemorySplit)
    return {image.contiguous().numpy().tobytes() for image in split.images}


def test_pictures_are_found_by_their_extension_and_below(pets: Path, draw: Draw) -> None:
    draw("cat/more/11.JPG")
    draw("dog/12.bmp")
    draw("cat/.hidden.png")
    draw(".trash/1.png")
    (pets / "cat/notes.txt").write_text("no picture")
    for name in ("dog/b.heic", "cat/more/a.HEIC", "cat/without", "dog/.DS_Store"):
        (pets / name).write_bytes(b"unknown")
    data = _load(pets)
    assert data.class_names == ("cat", "dog")
    assert len(data.train) + len(data.validation) + len(data.test) == 22
    assert data.name == "pets"
    assert data.notes == (
        f"4 of 26 files of {pets} are of kinds that pillow does not read and are left out, such as "
        "cat/more/a.HEIC",
    )


def test_the_parts_follow_from_contents_not_from_names_or_places(
    pets: Path, tmp_path: Path
) -> None:
    data = _load(pets)
    moved = tmp_path / "elsewhere"
    for number, file in enumerate(sorted(pets.rglob("*.png"), reverse=True)):
        target = moved / file.parent.name / f"{number:02}-renamed.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    for part in ("train", "validation", "test"):
        assert _images(_load(moved), part) == _images(data, part)


def test_copies_of_a_picture_go_the_same_way(pets: Path) -> None:
    for kind in ("cat", "dog"):
        for number in range(10):
            shutil.copy(pets / kind / f"{number}.png", pets / kind / f"copy{number}.png")
    for seed in range(5):
        data = _load(pets, seed=seed)
        assert not _images(data, "test") & (_images(data, "train") | _images(data, "validation"))
        assert data.notes == ()


def test_a_test_picture_that_is_trained_on_is_said(draw: Draw, tmp_path: Path) -> None:
    for part, number in (("train", 10), ("val", 3), ("test", 3)):
        for kind in ("cat", "dog"):
            for index in range(number):
                draw(f"{part}/{kind}/{index}.png")
    pets = tmp_path / "pets"
    shutil.copy(pets / "train/cat/3.png", pets / "test/cat/2.png")
    assert _load(pets).notes == (
        f"1 of 6 test images of {pets} are among those that are trained or chosen on, too: "
        "test/cat/2.png",
    )


def test_folders_beside_the_parts_are_said(draw: Draw, tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        for index in range(10):
            draw(f"train/{kind}/{index}.png")
    draw("test/1.png")
    pets = tmp_path / "pets"
    assert _load(pets).notes == (
        f"the folder test of {pets} is left out: beside train/CLASS/… only val/CLASS/… and "
        "test/CLASS/… are looked at",
    )
    draw("more/1.png")
    assert _load(pets).notes[0].startswith(f"the folders more and test of {pets} are left out")


class TestDamagedPictures:
    def test_they_are_named_counted_and_left_out(self, pets: Path, draw: Draw) -> None:
        whole = draw("dog/large.jpg", side=60).read_bytes()
        for number in range(3):
            (pets / f"cat/cut{number}.jpg").write_bytes(whole[: len(whole) // (2 + number)])
        (pets / "dog/empty.png").write_bytes(b"")
        (pets / "dog/text.jpeg").write_text("not a picture")
        with pytest.raises(OSError, match="truncated") as raised:
            Image.open(pets / "cat/cut0.jpg").load()
        data = _load(pets)
        assert data.notes == (
            f"5 of 26 images of {pets} cannot be read and are skipped: cat/cut0.jpg, cat/cut1.jpg, "
            f"cat/cut2.jpg, dog/empty.png, dog/text.jpeg; the first: {raised.value}",
        )
        assert isinstance(data.train, LazySplit)
        for split in (data.train, data.validation, data.test):
            for _, labels in split.batches(4, 8):
                assert set(labels.tolist()) <= {0, 1}
        assert len(data.train) + len(data.validation) + len(data.test) == 21

    def test_labels_stay_with_their_pictures(self, tmp_path: Path) -> None:
        pets = tmp_path / "pets"
        for kind, level in (("cat", 40), ("dog", 200)):
            (pets / kind).mkdir(parents=True)
            for number in range(12):
                colour = (level, level, level + number)
                Image.new("RGB", (80, 80), colour).save(pets / kind / f"{number:02}.png")
            for number in (0, 5, 11):
                (pets / kind / f"{number:02}.png").write_bytes(b"damaged")
        data = _load(pets)
        for split in (data.train, data.validation, data.test):
            for images, labels in split.batches(3, 8):
                assert ((images.mean((1, 2, 3)) > 0).long() == labels).all()

    def test_only_damaged_ones_are_no_class(self, pets: Path) -> None:
        for file in (pets / "dog").iterdir():
            file.write_bytes(b"damaged")
        with pytest.raises(
            ValueError, match="has 0 images of the class 'dog' that can be read"
        ) as e:
            _load(pets)
        assert "10 of 20 images" in str(e.value)
        assert "dog/0.png, " in str(e.value)
        assert str(e.value).endswith("; the first: no image format that pillow knows")

    def test_one_that_goes_later_is_named(self, draw: Draw, tmp_path: Path) -> None:
        for kind in ("cat", "dog"):
            for number in range(10):
                draw(f"{kind}/{number}.png", side=70)
        data = _load(tmp_path / "pets")
        for file in (tmp_path / "pets").rglob("*.png"):
            file.unlink()
        with pytest.raises(
            ValueError, match=r"(cat|dog)/\d\.png could be read when .* put it back"
        ):
            list(data.train.batches(4, 8))


class TestWhatTheSystemDoesNotHandOver:
    """The images may be whole: they are neither left out, nor is it kept that they are bad."""

    REASON = r"Input/output error; it may be whole, so it is not left out: mend that, or take it"

    @pytest.fixture
    def failing(self, pets: Path) -> Path:
        """A file that can be opened, and of which reading fails: address 0 is never mapped."""
        failing = pets / "dog/3.png"
        failing.unlink()
        failing.symlink_to("/proc/self/mem")
        return failing

    def test_a_file_that_cannot_be_read_ends_the_command(
        self, pets: Path, tmp_path: Path, failing: Path
    ) -> None:
        with pytest.raises(ValueError, match=self.REASON) as raised:
            _load(pets, scans=str(tmp_path / "scans"))
        assert str(raised.value).startswith(f"dog/3.png of {pets} cannot be read: ")
        assert not (tmp_path / "scans").exists()
        failing.unlink()
        assert _load(pets, scans=str(tmp_path / "scans")).notes == ()

    def test_a_file_without_permission_ends_it(
        self, pets: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # By mode bits it would not stop who runs the tests as root.
        read = Path.read_bytes

        def guarded(path: Path) -> bytes:
            if path == pets / "cat/7.png":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return read(path)

        monkeypatch.setattr(Path, "read_bytes", guarded)
        with pytest.raises(
            ValueError, match=r"^cat/7\.png of .*/pets cannot be read: Permission denied; it may be"
        ):
            _load(pets)

    def test_a_folder_that_cannot_be_listed_ends_it(
        self, pets: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        draw("cat/more/1.png")
        scandir = os.scandir

        def guarded(path: str) -> object:
            if Path(path) == pets / "cat/more":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", guarded)
        with pytest.raises(ValueError, match=r"/pets/cat/more cannot be listed: Permission denied"):
            _load(pets)

    def test_a_damaged_file_that_sends_its_decoder_astray_is_left_out(self, pets: Path) -> None:
        # Of a PCX with a palette, pillow looks for it 769 bytes before the end.
        header = bytearray(128)
        header[:4] = 10, 5, 1, 8
        header[8:12] = 7, 0, 7, 0
        header[65:68] = 1, 8, 0
        (pets / "cat/short.pcx").write_bytes(header)
        with pytest.raises(OSError, match="Invalid argument"):
            Image.open(pets / "cat/short.pcx").load()
        (note,) = _load(pets).notes
        assert "1 of 21 images" in note
        assert "cat/short.pcx; the first: [Errno 22] Invalid argument" in note


class TestScans:
    @pytest.fixture
    def scanned(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        numbers: list[int] = []
        scan = scan_module.scan_images

        def counted(source: object, number: int, title: str) -> object:
            numbers.append(number)
            return scan(source, number, title)  # type: ignore[arg-type]

        monkeypatch.setattr(scan_module, "scan_images", counted)
        return numbers

    def test_pictures_are_looked_at_once(
        self, pets: Path, tmp_path: Path, scanned: list[int]
    ) -> None:
        (pets / "dog/bad.png").write_bytes(b"damaged")
        first, second = (_load(pets, scans=str(tmp_path / "scans")) for _ in range(2))
        assert scanned == [21]
        assert first.notes == second.notes != ()
        assert first.preprocessing == second.preprocessing
        assert first.test.fingerprint() == second.test.fingerprint()

    def test_they_are_looked_at_again_when_one_changes(
        self, pets: Path, tmp_path: Path, scanned: list[int]
    ) -> None:
        _load(pets, scans=str(tmp_path / "scans"))
        os.utime(pets / "dog/3.png", (1, 1))
        _load(pets, scans=str(tmp_path / "scans"))
        (pets / "dog/3.png").unlink()
        _load(pets, scans=str(tmp_path / "scans"))
        assert scanned == [20, 20, 19]

    def test_a_damaged_scan_is_made_anew(
        self, pets: Path, tmp_path: Path, scanned: list[int]
    ) -> None:
        expected = _load(pets, scans=str(tmp_path / "scans"))
        (kept,) = (tmp_path / "scans").iterdir()
        for content in (b"", kept.read_bytes()[:200], b"something else"):
            kept.write_bytes(content)
            again = _load(pets, scans=str(tmp_path / "scans"))
            assert again.train.fingerprint() == expected.train.fingerprint()
        assert scanned == [20] * 4


class TestWhatIsNoDataSet:
    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"^data\.path=.*/nowhere is no folder; give the one"):
            _load(tmp_path / "nowhere")

    def test_pictures_without_folders(self, draw: Draw, tmp_path: Path) -> None:
        draw("1.png")
        with pytest.raises(ValueError, match="has no folders; put the images of each class into"):
            _load(tmp_path / "pets")

    def test_a_single_class(self, pets: Path) -> None:
        shutil.rmtree(pets / "dog")
        with pytest.raises(ValueError, match="has the single class 'cat'"):
            _load(pets)

    def test_an_empty_class(self, pets: Path) -> None:
        (pets / "bird").mkdir()
        with pytest.raises(ValueError, match=r"pets/bird holds no images; add some, or take"):
            _load(pets)

    def test_a_class_of_other_files(self, pets: Path) -> None:
        (pets / "bird").mkdir()
        for number in range(12):
            (pets / f"bird/{number:02}.heic").write_bytes(b"unknown")
        with pytest.raises(ValueError, match="pets/bird holds no images, only files of") as raised:
            _load(pets)
        assert str(raised.value).endswith(
            " (12), such as bird/00.heic; convert them, or take the folder away"
        )

    def test_other_classes_in_another_part(self, draw: Draw, tmp_path: Path) -> None:
        for name in ("train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "val/bird/1.png"):
            draw(name)
        with pytest.raises(ValueError, match=r"pets/val and .*pets/train must have .* 'bird' is"):
            _load(tmp_path / "pets")

    def test_no_training_part(self, draw: Draw, tmp_path: Path) -> None:
        draw("val/cat/1.png")
        with pytest.raises(ValueError, match="holds validation images, but no folder train"):
            _load(tmp_path / "pets")

    def test_a_part_under_two_names(self, draw: Draw, tmp_path: Path) -> None:
        for name in ("train/cat/1.png", "val/cat/1.png", "validation/cat/1.png"):
            draw(name)
        with pytest.raises(ValueError, match="are the same part; keep one of them"):
            _load(tmp_path / "pets")

    @pytest.mark.parametrize(
        "names",
        [
            ("train/1.jpg", "test/1.jpg"),
            ("train/1.jpg", "test1/1.jpg"),
            ("Train/1.jpg", "Valid/1.jpg", "Test/1.jpg"),
            ("train/1.jpg", "test/cat/1.jpg"),
            ("train1/cat/1.jpg", "test1/cat/1.jpg"),
            ("train/1.jpg",),
        ],
    )
    def test_parts_are_no_classes(self, draw: Draw, tmp_path: Path, names: tuple[str, ...]) -> None:
        for name in names:
            draw(name)
        folders = sorted({name.split("/")[0] for name in names})
        with pytest.raises(ValueError, match="which are parts and no classes; expected") as raised:
            _load(tmp_path / "pets")
        message = str(raised.value)
        assert message.startswith(f"{tmp_path}/pets holds the folder")
        assert all(folder in message.split(" alone")[0] for folder in folders)
        assert "train/CLASS/" in message
        assert message.endswith("put the images of each class into a folder of its name")
        assert "\n" not in message


class TestNamesOfParts:
    @pytest.mark.parametrize(
        ("train", "test"), [("Training", "Test"), ("TRAIN", "TESTING"), ("train", "Val")]
    )
    def test_capitals_do_not_matter(
        self, draw: Draw, tmp_path: Path, train: str, test: str
    ) -> None:
        for kind in ("cat", "dog"):
            for number in range(10):
                draw(f"{train}/{kind}/{number}.png")
            draw(f"{test}/{kind}/0.png")
        data = _load(tmp_path / "pets")
        assert data.class_names == ("cat", "dog")
        assert (len(data.train), len(data.validation), len(data.test)) == (16, 4, 2)

    def test_a_part_in_capitals_and_not_is_one_too_many(self, draw: Draw, tmp_path: Path) -> None:
        for name in ("train/cat/1.png", "Train/cat/1.png"):
            draw(name)
        with pytest.raises(ValueError, match="are the same part; keep one of them"):
            _load(tmp_path / "pets")

    def test_a_class_may_be_called_train(self, draw: Draw, tmp_path: Path) -> None:
        for kind in ("bus", "train"):
            for number in range(10):
                draw(f"{kind}/{number}.png")
        assert _load(tmp_path / "pets").class_names == ("bus", "train")
