"""The official CIFAR files: their names, what lies in them, and the checksums they must have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Labels:
    """One kind of label: its key in the python version, its byte in a record of the binary version, its classes."""

    name: str
    key: bytes
    byte: int
    classes: int


@dataclass(frozen=True)
class OfficialFile:
    """A file of the data set: where it lies in the archive (and beside it, once extracted), its md5, its images."""

    path: str
    md5: str
    images: int


@dataclass(frozen=True)
class Version:
    """The data set in one format: an archive and the files in it that hold images, in order."""

    format: Literal["python", "binary"]
    archive: str
    md5: str
    train: tuple[OfficialFile, ...]
    test: tuple[OfficialFile, ...]

    @property
    def files(self) -> tuple[OfficialFile, ...]:
        """Training files, then test files."""
        return self.train + self.test


@dataclass(frozen=True)
class Official:
    """A published data set in its versions (the first is the one to fetch), and the kinds of labels it has."""

    name: str
    source: str
    labels: tuple[Labels, ...]
    versions: tuple[Version, ...]

    def url(self, version: Version) -> str:
        """Where a version's archive is published."""
        return f"{self.source}/{version.archive}"


_SOURCE = "https://www.cs.toronto.edu/~kriz"

# Krizhevsky's page gives the md5 of the archives; torchvision's `CIFAR10` and `CIFAR100` give those of
# the files in them. The md5 of the files of the binary versions were computed here: the format (label bytes, then the
# 3,072 pixel bytes of the python version, in the same order) determines them byte for byte. Other projects that list
# checksums of these files list the same.


def _batches(pattern: str, md5s: tuple[str, ...]) -> tuple[OfficialFile, ...]:
    return tuple(OfficialFile(pattern.format(number), md5, 10_000) for number, md5 in enumerate(md5s, start=1))


CIFAR10 = Official(
    name="cifar10",
    source=_SOURCE,
    labels=(Labels("class", b"labels", 0, 10),),
    versions=(
        Version(
            "python",
            "cifar-10-python.tar.gz",
            "c58f30108f718f92721af3b95e74349a",
            train=_batches(
                "cifar-10-batches-py/data_batch_{}",
                (
                    "c99cafc152244af753f735de768cd75f",
                    "d4bba439e000b95fd0a9bffe97cbabec",
                    "54ebc095f3ab1f0389bbae665268c751",
                    "634d18415352ddfa80567beed471001a",
                    "482c414d41f54cd18b22e5b47cb7c3cb",
                ),
            ),
            test=_batches("cifar-10-batches-py/test_batch", ("40351d587109b95175f43aff81a1287e",)),
        ),
        Version(
            "binary",
            "cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            train=_batches(
                "cifar-10-batches-bin/data_batch_{}.bin",
                (
                    "5dd7e06a14cb22eb9f671a540d1b7c25",
                    "5ea93a67294ea407fff1d09f752e9692",
                    "942cd6a4bcdd0dd3c604fbe906cb4421",
                    "ae636b3ba5c66a11e91e8cb52e771fcb",
                    "53f37980c15c3d472c316c40844f3f0d",
                ),
            ),
            test=_batches("cifar-10-batches-bin/test_batch.bin", ("803d5f7f4d78ea53de84dbe85f74fb6d",)),
        ),
    ),
)

CIFAR100 = Official(
    name="cifar100",
    source=_SOURCE,
    labels=(Labels("fine", b"fine_labels", 1, 100), Labels("coarse", b"coarse_labels", 0, 20)),
    versions=(
        Version(
            "python",
            "cifar-100-python.tar.gz",
            "eb9058c3a382ffc7106e4002c42a8d85",
            train=(OfficialFile("cifar-100-python/train", "16019d7e3df5f24257cddd939b257f8d", 50_000),),
            test=(OfficialFile("cifar-100-python/test", "f0ef6b0ae62326f3e7ffdfab6717acfc", 10_000),),
        ),
        Version(
            "binary",
            "cifar-100-binary.tar.gz",
            "03b5dce01913d631647c71ecec9e9cb8",
            train=(OfficialFile("cifar-100-binary/train.bin", "6172c7755cfe09b2fe270c85cebc1b15", 50_000),),
            test=(OfficialFile("cifar-100-binary/test.bin", "4499cfba6c016c1be1438163640a0898", 10_000),),
        ),
    ),
)

OFFICIAL = {official.name: official for official in (CIFAR10, CIFAR100)}


def named(name: str) -> Official:
    """The data set of this name. Raises ValueError for others."""
    if name not in OFFICIAL:
        raise ValueError(f"name must be one of {', '.join(OFFICIAL)}; got {name!r}")
    return OFFICIAL[name]
