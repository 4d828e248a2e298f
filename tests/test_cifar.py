"""CIFAR from small files in both official formats, with checksums of their own, whole and broken; never the network."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from gradflow.data import DataCheck, check, cifar10, cifar100, fetch
from gradflow.data.checking import check_official
from gradflow.data.cifar import read
from gradflow.data.fetching import fetch_official
from gradflow.data.formats import decode
from gradflow.data.official import CIFAR10, CIFAR100, OFFICIAL, Official, OfficialFile
from gradflow.data.sources import locate

PER_CLASS = 2


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes text and bytes as Python 2 wrote its str, as the official files have it."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined] # noqa: RUF012

    def save_string(self, text: str | bytes) -> None:
        content = text.encode("latin1") if isinstance(text, str) else text
        short = len(content) < 256
        self.write((b"U" + bytes([len(content)]) if short else b"T" + len(content).to_bytes(4, "little")) + content)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string


def as_pickle(images: np.ndarray, labels: dict[bytes, list[int]]) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump({b"batch_label": b"training batch 1 of 5", b"data": images, **labels})
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def as_records(images: np.ndarray, labels: list[list[int]]) -> bytes:
    """Loops, so that it owes nothing to the reader."""
    content = bytearray()
    for number, image in enumerate(images):
        content.extend(row[number] for row in labels)
        content.extend(int(value) for value in image)
    return bytes(content)


def made(folder: Path, official: Official, *, wrong_label: bool = False) -> tuple[Official, dict[str, np.ndarray]]:
    """The whole data set, small, in both formats; the table with its checksums, and what was written."""
    rng = np.random.default_rng(0)
    classes = max(kind.classes for kind in official.labels)
    truth: dict[str, np.ndarray] = {}
    versions = [{"train": [], "test": []} for _ in official.versions]
    for part in ("train", "test"):
        count = len(getattr(official.versions[0], part))
        fine = rng.permutation(np.tile(np.arange(classes), PER_CLASS * count))
        if wrong_label and part == "test":
            fine[0] = (fine[0] + 1) % classes
        images = rng.integers(0, 256, (len(fine), 3072), dtype=np.uint8)
        truth |= {f"{part} images": images.reshape(-1, 3, 32, 32), f"{part} labels": fine, f"{part} groups": fine // 5}
        for number, (x, y) in enumerate(zip(np.split(images, count), np.split(fine, count), strict=True)):
            columns = [y.tolist()] if len(official.labels) == 1 else [(y // 5).tolist(), y.tolist()]
            keyed = {kind.key: columns[kind.byte] for kind in official.labels}
            for table, version in zip(versions, official.versions, strict=True):
                content = as_pickle(x, keyed) if version.format == "python" else as_records(x, columns)
                path = folder / getattr(version, part)[number].path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                name = getattr(version, part)[number].path
                table[part].append(OfficialFile(name, hashlib.md5(content).hexdigest(), len(x)))
    small = [
        replace(version, train=tuple(table["train"]), test=tuple(table["test"]))
        for version, table in zip(official.versions, versions, strict=True)
    ]
    return replace(official, versions=tuple(small)), truth


def packed(source: Path, folder: Path, official: Official) -> Official:
    """Each version's files in a .tar.gz, in another order and beside others, as in the official archives."""
    folder.mkdir(exist_ok=True)
    versions = []
    for version in official.versions:
        path = folder / version.archive
        with tarfile.open(path, "w:gz") as archive:
            for file in reversed(version.files):
                archive.add(source / file.path, file.path)
                readme = tarfile.TarInfo(file.path + ".html")
                archive.addfile(readme, io.BytesIO())
        versions.append(replace(version, md5=hashlib.md5(path.read_bytes()).hexdigest()))
    return replace(official, versions=tuple(versions))


def only(official: Official, format: str) -> Official:
    return replace(official, versions=tuple(one for one in official.versions if one.format == format))


@pytest.mark.parametrize("archive", [False, True], ids=["extracted", "archive"])
@pytest.mark.parametrize("format", ["python", "binary"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_every_way_to_the_tensors(tmp_path: Path, name: str, format: str, archive: bool) -> None:
    official, truth = made(tmp_path, OFFICIAL[name])
    folder = tmp_path
    if archive:
        folder = tmp_path / "archives"
        official = packed(tmp_path, folder, official)
    official = only(official, format)
    for kind in official.labels:
        found = read(official, kind, folder)
        for part, (images, labels) in zip(("train", "test"), found, strict=True):
            assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
            assert images.is_contiguous()
            wanted = truth[f"{part} {'groups' if kind.name == 'coarse' else 'labels'}"]
            np.testing.assert_array_equal(images.numpy(), truth[f"{part} images"])
            np.testing.assert_array_equal(labels.numpy(), wanted)
    if archive:
        assert {path.suffix for path in folder.iterdir()} == {".gz"}, "nothing is extracted"


def test_holdout_takes_the_last_training_images(tmp_path: Path) -> None:
    official, truth = made(tmp_path, CIFAR10)
    train, test = read(official, official.labels[0], tmp_path, holdout=30)
    np.testing.assert_array_equal(train[0].numpy(), truth["train images"][:70])
    np.testing.assert_array_equal(test[0].numpy(), truth["train images"][70:])
    np.testing.assert_array_equal(test[1].numpy(), truth["train labels"][70:])
    for wrong in (-1, 100, True, 5.0):
        with pytest.raises(ValueError, match="holdout must be a whole number from 0 to 99; got holdout="):
            read(official, official.labels[0], tmp_path, holdout=wrong)


def test_labels_are_listed() -> None:
    with pytest.raises(ValueError, match="labels must be one of fine, coarse; got labels='rough'"):
        cifar100(labels="rough")


@pytest.mark.parametrize("archive", [False, True], ids=["extracted", "archive"])
@pytest.mark.parametrize("harm", ["truncated", "altered"])
def test_a_broken_file_is_named_with_both_checksums_and_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str, archive: bool
) -> None:
    official, _ = made(tmp_path, CIFAR10)
    path = tmp_path / "cifar-10-batches-py/data_batch_3"
    if archive:
        official = packed(tmp_path, tmp_path / "archives", official)
        path = tmp_path / "archives" / official.versions[0].archive
    content = path.read_bytes()
    expected = hashlib.md5(content).hexdigest()
    broken = content[:-7] if harm == "truncated" else content[:200] + bytes([content[200] ^ 1]) + content[201:]
    path.write_bytes(broken)
    opened = []
    monkeypatch.setattr("gradflow.data.cifar.decode", lambda *given: opened.append(given[3].path) or decode(*given))
    folder = path.parent if archive else tmp_path
    with pytest.raises(ValueError, match="truncated or altered") as raised:
        read(official, official.labels[0], folder)
    message = str(raised.value)
    command = f"gradflow data fetch cifar10 --data-dir {folder}"
    for part in (str(path), expected, hashlib.md5(broken).hexdigest(), command):
        assert part in message
    assert not {"cifar-10-batches-py/data_batch_3"} & set(opened)
    assert not (archive and opened)
    found = check_official(official, folder)
    assert not found.ok
    assert [file.path for file in found.files if file.state == "altered"] == [path]


def test_a_member_of_a_verified_archive_is_checked_too(tmp_path: Path) -> None:
    official, _ = made(tmp_path, CIFAR10)
    file = tmp_path / "cifar-10-batches-py/test_batch"
    file.write_bytes(file.read_bytes() + b"!")
    archives = packed(tmp_path, tmp_path / "archives", official)
    with pytest.raises(ValueError, match=r"tar.gz/cifar-10-batches-py/test_batch: expected md5 .* altered"):
        read(archives, archives.labels[0], tmp_path / "archives")


def test_an_archive_without_a_file_says_which(tmp_path: Path) -> None:
    official, _ = made(tmp_path, CIFAR10)
    version = official.versions[0]
    less = replace(official, versions=(replace(version, train=version.train[:-1]),))
    archives = packed(tmp_path, tmp_path / "archives", less)
    more = replace(archives, versions=(replace(archives.versions[0], train=version.train),))
    with pytest.raises(FileNotFoundError, match="holds no cifar-10-batches-py/data_batch_5"):
        read(more, more.labels[0], tmp_path / "archives")


def test_missing_files_say_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        cifar10(tmp_path)
    for part in (
        str(tmp_path / "cifar-10-python.tar.gz"),
        "c58f30108f718f92721af3b95e74349a",
        "no such file",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        f"gradflow data fetch cifar10 --data-dir {tmp_path}",
    ):
        assert part in str(raised.value)
    official, _ = made(tmp_path, CIFAR100)
    (tmp_path / "cifar-100-python/test").unlink()
    (tmp_path / "cifar-100-binary/test.bin").unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"cifar-100-python/test: expected md5 {official.versions[0].test[0].md5}"
    ):
        read(official, official.labels[0], tmp_path)


def test_the_command_is_named_where_it_would_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADFLOW_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="Run `gradflow data fetch cifar100`, or by hand"):
        cifar100()


def test_where_the_files_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADFLOW_DATA", str(tmp_path))
    assert locate(None) == tmp_path
    assert locate("elsewhere") == Path("elsewhere")
    assert locate("~/data") == Path.home() / "data"
    monkeypatch.setenv("GRADFLOW_DATA", "")
    pooch = pytest.importorskip("pooch")
    assert locate(None) == Path(pooch.os_cache("gradflow"))


def test_a_complete_version_is_read_whatever_lies_beside_it(tmp_path: Path) -> None:
    official, truth = made(tmp_path, CIFAR10)
    (tmp_path / "cifar-10-batches-py/data_batch_2").unlink()
    found = check_official(official, tmp_path)
    assert found.ok
    assert {file.path.parent.name for file in found.files} == {"cifar-10-batches-bin"}
    np.testing.assert_array_equal(read(official, official.labels[0], tmp_path).test[1].numpy(), truth["test labels"])


def test_a_fetched_archive_mends_broken_files(tmp_path: Path) -> None:
    official, _ = made(tmp_path, CIFAR10)
    official = packed(tmp_path, tmp_path, official)
    (tmp_path / "cifar-10-batches-py/data_batch_2").write_bytes(b"broken")
    assert len(read(official, official.labels[0], tmp_path).train[0]) == 100


@pytest.mark.parametrize("format", ["python", "binary"])
def test_classes_must_be_balanced_and_known(tmp_path: Path, format: str) -> None:
    official, _ = made(tmp_path, CIFAR10, wrong_label=True)
    official = only(official, format)
    with pytest.raises(ValueError, match=r"test_batch.* expected 2 images of each of 10 classes; got \["):
        read(official, official.labels[0], tmp_path)
    fewer = replace(official.labels[0], classes=9)
    with pytest.raises(ValueError, match=r"data_batch_1.*: expected class labels 0 … 8; got labels from 0 to 9"):
        read(official, fewer, tmp_path)


def test_what_is_not_in_the_format_is_refused() -> None:
    version, binary = CIFAR10.versions
    images = np.zeros((2, 3072), np.uint8)

    def decoded(content: bytes, images: int = 2, version: object = version) -> object:
        file = OfficialFile("some/file", "", images)
        return decode(content, CIFAR10, version, file, CIFAR10.labels[0])  # type: ignore[arg-type]

    assert decoded(as_pickle(images, {b"labels": [1, 2]}))[1].tolist() == [1, 2]  # type: ignore[index]
    with pytest.raises(ValueError, match="expected 3 images of 3,072 bytes"):
        decoded(as_pickle(images, {b"labels": [1, 2]}), images=3)
    with pytest.raises(ValueError, match="as many class labels"):
        decoded(as_pickle(images, {b"labels": [1]}))
    for content in (
        as_pickle(images, {b"other": [1, 2]}),
        as_pickle(images, {b"labels": [0.5, 2.0]}),  # type: ignore[list-item]
        as_pickle(images.astype(np.int16), {b"labels": [1, 2]}),
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": 3, b"labels": 4}),
        b"",
        b"no pickle",
    ):
        with pytest.raises(ValueError, match=r"some/file is not in the format of cifar-10-python.tar.gz"):
            decoded(content)
    with pytest.raises(ValueError, match=r"some/file is not in the format of cifar-10-binary.tar.gz"):
        decoded(bytes(3072), version=binary)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm",)


def test_a_pickle_can_call_nothing_but_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = OfficialFile("some/file", "", 1)
    for protocol in (2, 5):
        with pytest.raises(ValueError, match=r"no use for (posix|nt)\.mkdir: refused"):
            decode(pickle.dumps(Harmful(), protocol), CIFAR10, CIFAR10.versions[0], file, CIFAR10.labels[0])
    assert not (tmp_path / "harm").exists()


def test_check_says_how_each_file_is(tmp_path: Path) -> None:
    found = check("cifar10", tmp_path)
    assert isinstance(found, DataCheck)
    assert not found.ok
    assert [(file.path.name, file.state) for file in found.files] == [("cifar-10-python.tar.gz", "missing")]
    assert "missing  cifar-10-python.tar.gz  md5 c58f30108f718f92721af3b95e74349a" in repr(found)
    assert "by hand" in repr(found)
    official, _ = made(tmp_path, CIFAR10)
    official = only(official, "python")
    good = check_official(official, tmp_path)
    assert good.ok
    assert len(good.files) == 6
    assert repr(good).startswith(f"cifar10 in {tmp_path}: ok\nfound ")
    assert "by hand" not in repr(good)
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(b"x")
    (tmp_path / "cifar-10-batches-py/data_batch_1").unlink()
    bad = check_official(official, tmp_path)
    assert [file.state for file in bad.files] == ["missing", "found", "found", "found", "found", "altered"]
    assert f"found {hashlib.md5(b'x').hexdigest()}" in repr(bad)
    with pytest.raises(ValueError, match="name must be one of cifar10, cifar100; got 'mnist'"):
        check("mnist", tmp_path)


# ── fetching, from a server on this machine ──


@contextmanager
def server(content: bytes, *, ranges: bool = True, break_after: int | None = None) -> Iterator[tuple[str, list[str]]]:
    """Serves these bytes at any path; the first answer may break off. Gives its address and the ranges asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and ranges else 0
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            # Some servers say so of a .tar.gz; what is saved must be the packed bytes all the same.
            self.send_header("Content-Encoding", "x-gzip")
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            stop = break_after if break_after is not None and len(asked) == 1 else None
            self.wfile.write(content[start:stop])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", asked
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Official, bytes]:
    official, _ = made(tmp_path / "made", CIFAR10)
    official = packed(tmp_path / "made", tmp_path / "made", official)
    return official, (tmp_path / "made" / official.versions[0].archive).read_bytes()


def test_a_fetched_archive_is_read(archive: tuple[Official, bytes], tmp_path: Path) -> None:
    official, content = archive
    folder = tmp_path / "new" / "folder"
    with server(content) as (address, asked):
        local = replace(official, source=address)
        path = fetch_official(local, folder, progress=False)
        assert path == folder / "cifar-10-python.tar.gz"
        assert path.read_bytes() == content
        assert fetch_official(local, folder, progress=False) == path
        assert asked == [""], "what is there is not fetched again"
        path.write_bytes(b"altered")
        fetch_official(local, folder, progress=False)
    assert len(read(local, local.labels[0], folder).train[0]) == 100
    assert [one.name for one in folder.iterdir()] == [path.name]


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_a_broken_download_goes_on_where_it_stopped(
    archive: tuple[Official, bytes], tmp_path: Path, ranges: bool
) -> None:
    official, content = archive
    with server(content, ranges=ranges, break_after=150_000) as (address, asked):
        local = replace(official, source=address)
        with pytest.raises(ConnectionError, match="Try again to go on") as raised:
            fetch_official(local, tmp_path, progress=False)
        assert all(
            part in str(raised.value) for part in (local.versions[0].md5, str(tmp_path), "cifar-10-python.tar.gz")
        )
        assert not (tmp_path / "cifar-10-python.tar.gz").exists()
        have = (tmp_path / "cifar-10-python.tar.gz.part").stat().st_size
        assert 0 < have <= 150_000
        assert fetch_official(local, tmp_path, progress=False).read_bytes() == content
    assert asked == ["", f"bytes={have}-"]
    assert not (tmp_path / "cifar-10-python.tar.gz.part").exists()


def test_a_download_that_was_whole_when_the_program_died_is_kept(
    archive: tuple[Official, bytes], tmp_path: Path
) -> None:
    official, content = archive
    (tmp_path / "cifar-10-python.tar.gz.part").write_bytes(content)
    with server(content) as (address, _):
        path = fetch_official(replace(official, source=address), tmp_path, progress=False)
    assert path.read_bytes() == content


def test_wrong_bytes_are_thrown_away_and_the_next_download_starts_afresh(
    archive: tuple[Official, bytes], tmp_path: Path
) -> None:
    official, content = archive
    (tmp_path / "cifar-10-python.tar.gz.part").write_bytes(b"something else")
    with server(content) as (address, asked):
        local = replace(official, source=address)
        with pytest.raises(ValueError, match="does not match") as raised:
            fetch_official(local, tmp_path, progress=False)
        assert all(part in str(raised.value) for part in (local.versions[0].md5, "by hand", str(tmp_path)))
        assert not list(tmp_path.glob("cifar*"))
        assert fetch_official(local, tmp_path, progress=False).read_bytes() == content
    assert asked == ["bytes=14-", ""]


def test_the_bar_counts_bytes(
    archive: tuple[Official, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    official, content = archive
    with server(content) as (address, _):
        fetch_official(replace(official, source=address), tmp_path, progress=True)
    assert "100%" in capsys.readouterr().err


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with server(b"") as (address, _):
        pass
    with pytest.raises(ConnectionError, match="could not be downloaded"):
        fetch_official(replace(CIFAR10, source=address), tmp_path, progress=False)
    with pytest.raises(ValueError, match="name must be one of cifar10, cifar100; got 'mnist'"):
        fetch("mnist", tmp_path)
