"""Each augmentation against loops over images and pixels, the statistics of what is drawn, and normalising."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gradflow.data import (
    Augmentation,
    Erase,
    Flip,
    Normalise,
    PadCrop,
    Resize,
    Rotate,
    Translate,
    augmented,
    normaliser,
)

SHAPE = (9, 3, 12, 10)
ALL = (Flip(0.5), Rotate(30), Translate(0.2), Erase(0.7), PadCrop(3), PadCrop(3, mode="reflect"), Resize(16))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(shape: tuple[int, ...] = SHAPE, seed: int = 5) -> Tensor:
    return torch.randn(shape, generator=generator(seed))


# ── the slow reference: one image, plain loops ──


def moved(image: np.ndarray, source: object) -> np.ndarray:
    """A new image, each pixel from ``source(y, x)`` of the old one, 0 where that lies outside."""
    new = np.zeros_like(image)
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            row, column = source(y, x)  # type: ignore[operator]
            if 0 <= row < image.shape[1] and 0 <= column < image.shape[2]:
                new[:, y, x] = image[:, row, column]
    return new


def mirrored(place: int, size: int) -> int:
    if place < 0:
        return -place
    return place if place < size else 2 * (size - 1) - place


def reference(augmentation: Augmentation, image: np.ndarray, drawn: list[float]) -> np.ndarray:
    _, height, width = image.shape
    match augmentation:
        case Flip():
            return moved(image, lambda y, x: (y, width - 1 - x)) if drawn[0] else image
        case PadCrop(padding, mode):
            top, left = int(drawn[0]) - padding, int(drawn[1]) - padding
            if mode == "constant":
                return moved(image, lambda y, x: (y + top, x + left))
            return moved(image, lambda y, x: (mirrored(y + top, height), mirrored(x + left, width)))
        case Translate():
            return moved(image, lambda y, x: (y - int(drawn[0]), x - int(drawn[1])))
        case Erase():
            top, left, tall, wide = map(int, drawn)
            return moved(image, lambda y, x: (-1, -1) if top <= y < top + tall and left <= x < left + wide else (y, x))
        case Rotate():
            return moved(image, lambda y, x: tuple(round(place) for place in turned(y, x, drawn[0], height, width)))
    raise AssertionError(augmentation)


def turned(y: int, x: int, degrees: float, height: int, width: int) -> tuple[float, float]:
    """Where the pixel at (y, x) comes from when the image turns counter-clockwise about its centre, in float64."""
    # With rows counted upwards, as in mathematics: z = e^{iθ} z₀, hence z₀ = e^{−iθ} z.
    point = complex(x - (width - 1) / 2, (height - 1) / 2 - y)
    old = point * complex(math.cos(math.radians(degrees)), -math.sin(math.radians(degrees)))
    return (height - 1) / 2 - old.imag, old.real + (width - 1) / 2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("augmentation", ALL[:-1], ids=repr)
def test_against_loops_over_images_and_pixels(augmentation: Augmentation, layout: torch.memory_format) -> None:
    x = images().contiguous(memory_format=layout)
    before = x.clone()
    drawn = augmentation.draw(SHAPE, generator(3))
    assert drawn.dtype == torch.float32
    found = augmentation.apply(x, drawn)
    assert found.dtype == torch.float32
    assert x.equal(before), "the images that came are left alone"
    assert not found.requires_grad
    sure = np.ones((SHAPE[0], *SHAPE[2:]), bool)
    if isinstance(augmentation, Rotate):  # where float32 and float64 may round to different pixels
        for n, y, z in np.ndindex(sure.shape):
            places = turned(y, z, float(drawn[n, 0]), *SHAPE[2:])
            sure[n, y, z] = all(abs(place % 1 - 0.5) > 1e-4 for place in places)
    assert sure.mean() > 0.99
    for n in range(SHAPE[0]):
        wanted = reference(augmentation, x[n].numpy(), drawn[n].tolist())
        np.testing.assert_array_equal(found[n].numpy()[:, sure[n]], wanted[:, sure[n]], err_msg=f"image {n}")


def test_what_is_drawn_makes_a_difference_to_most_images() -> None:
    """The comparison with loops would hold for augmentations that do nothing, if their parameters said so."""
    for augmentation in ALL[:-1]:
        x = images()
        changed = (augmented(x, [augmentation], generator(3)) != x).flatten(1).any(1)
        assert changed.float().mean() > 0.3, augmentation


def test_resize_is_torchs_bilinear_scaling() -> None:
    x = images()
    up = augmented(x, [Resize(16)], generator())
    torch.testing.assert_close(up, F.interpolate(x, size=(16, 16), mode="bilinear", align_corners=False))
    ramp = torch.arange(8.0).repeat(8, 1)[None, None]
    # A pixel twice as small lies a quarter of the old ones beside the centre of the old pixel.
    wanted = (torch.arange(16.0) / 2 - 0.25).clamp(0, 7)
    torch.testing.assert_close(Resize(16).apply(ramp, torch.empty(1, 0))[0, 0, 3], wanted)
    assert augmented(torch.ones(2, 3, 9, 9), [Resize(3)], generator()).allclose(torch.ones(2, 3, 3, 3))
    stripes = (torch.arange(16.0) % 4 == 0).float().expand(1, 1, 16, 16)
    small = Resize(4).apply(stripes, torch.empty(1, 0))
    torch.testing.assert_close(float(small.mean()), 0.25, atol=0.05, rtol=0)  # seen from afar they are a quarter grey


def test_known_turns() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3)
    turn = Rotate(180)
    for degrees, wanted in ((0.0, x), (90.0, x.rot90(1, (2, 3))), (-90.0, x.rot90(-1, (2, 3))), (180.0, x.flip(2, 3))):
        assert turn.apply(x, torch.tensor([[degrees]])).equal(wanted), degrees


@pytest.mark.parametrize("augmentation", [Flip(0), Rotate(0), Translate(0), Erase(0), PadCrop(0)], ids=repr)
def test_nothing_to_do_changes_nothing(augmentation: Augmentation) -> None:
    assert augmented(images(), [augmentation], generator()).equal(images())


def test_certain_ones_happen_to_all() -> None:
    x = images((200, 1, 16, 16))
    assert augmented(x, [Flip(1)], generator()).equal(x.flip(3))
    assert bool((augmented(x, [Erase(1)], generator()) == 0).flatten(1).any(1).all())


# ── what is drawn ──

MANY = (20_000, 3, 32, 24)


def test_crops_are_uniform_over_all_places() -> None:
    drawn = PadCrop(4).draw(MANY, generator())
    assert drawn.shape == (20_000, 2)
    for column in drawn.T:
        shares = torch.bincount(column.long()) / 20_000
        assert len(shares) == 9
        assert float((shares - 1 / 9).abs().max()) < 0.01  # four standard errors are 0.009
    assert abs(float(torch.corrcoef(drawn.T)[0, 1])) < 0.03


def test_flips_come_as_often_as_asked() -> None:
    for p in (0.1, 0.5):
        drawn = Flip(p).draw(MANY, generator())
        assert set(drawn.unique().tolist()) == {0.0, 1.0}
        assert float(drawn.mean()) == pytest.approx(p, abs=0.015)


def test_angles_are_uniform() -> None:
    drawn = Rotate(10).draw(MANY, generator())
    assert drawn.shape == (20_000, 1)
    assert -10 <= float(drawn.min()) < -9.99
    assert 9.99 < float(drawn.max()) <= 10
    assert float(drawn.mean()) == pytest.approx(0, abs=0.2)
    assert float(drawn.std()) == pytest.approx(10 / math.sqrt(3), abs=0.1)


def test_shifts_are_rounded_uniform_numbers() -> None:
    drawn = Translate(0.1).draw(MANY, generator())  # up to 3.2 rows and 2.4 columns
    for column, furthest in zip(drawn.T, (3.2, 2.4), strict=True):
        for pixels in range(-4, 5):
            low, high = max(pixels - 0.5, -furthest), min(pixels + 0.5, furthest)
            wanted = max(high - low, 0) / (2 * furthest)
            assert float((column == pixels).float().mean()) == pytest.approx(wanted, abs=0.015), (pixels, furthest)


def test_rectangles_as_torchvision_draws_them() -> None:
    """The rule of RandomErasing, one image at a time, from the same uniform numbers."""
    _, _, height, width = MANY
    erase, count = Erase(0.6, area=(0.1, 0.9), ratio=(0.2, 5.0)), 3000  # so large that many do not fit
    drawn = erase.draw((count, *MANY[1:]), generator(1))
    numbers = torch.rand((count, 23), generator=generator(1)).double()
    tries = []
    for row, (gate, y, x, *rest) in zip(drawn.tolist(), numbers.tolist(), strict=True):
        wanted = (0, 0, 0, 0)
        for attempt in range(10):
            area = height * width * (0.1 + 0.8 * rest[attempt])
            ratio = math.exp(math.log(0.2) + math.log(25) * rest[10 + attempt])
            tall, wide = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if tall < height and wide < width:
                wanted = (math.floor(y * (height - tall + 1)), math.floor(x * (width - wide + 1)), tall, wide)
                tries.append(attempt)
                break
        assert tuple(row) == (wanted if gate < 0.6 else (0, 0, 0, 0))
    assert max(tries) > 2, "some needed more than one attempt"


def test_rectangles_lie_inside_with_the_area_and_ratio_asked_for() -> None:
    drawn = Erase(0.25).draw(MANY, generator())
    erased = drawn[drawn[:, 2] > 0]
    assert len(erased) / 20_000 == pytest.approx(0.25, abs=0.015)
    top, left, height, width = erased.T
    assert float(top.min()) == 0
    assert float((top + height).max()) == 32
    assert float(left.min()) == 0
    assert float((left + width).max()) == 24
    assert float((height * width).mean()) / (32 * 24) == pytest.approx((0.02 + 0.33) / 2, abs=0.01)
    assert float((height / width).log().mean()) == pytest.approx(math.log(0.3 * 3.3) / 2, abs=0.1)
    # Nothing smaller than the image fits: no rectangle in ten attempts, and none is taken.
    assert not Erase(1, area=(1, 1), ratio=(1, 1)).draw((5, 1, 8, 8), generator()).any()
    assert Erase(1, area=(1, 1), ratio=(1, 1)).apply(images((5, 1, 8, 8)), torch.zeros(5, 4)).all()


# ── the chain ──


def test_a_seed_decides_everything_and_only_the_generator_moves() -> None:
    x = images((16, 3, 16, 16))
    state = torch.get_rng_state()
    first = augmented(x, ALL, generator(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.equal(augmented(x, ALL, generator(1)))
    assert not first.equal(augmented(x, ALL, generator(2)))
    going_on = generator(1)
    assert first.equal(augmented(x, ALL, going_on))
    assert not first.equal(augmented(x, ALL, going_on))


def test_they_are_applied_in_the_order_given() -> None:
    x = images((32, 1, 8, 8))
    crop, flip = PadCrop(3), Flip(1)
    shared = generator(4)
    drawn = crop.draw(x.shape, shared)
    wanted = flip.apply(crop.apply(x, drawn), flip.draw(x.shape, shared))
    assert augmented(x, (crop, flip), generator(4)).equal(wanted)
    assert not augmented(x, (flip, crop), generator(4)).equal(wanted)
    # The sizes are those of the images at that point: shifts of 20 pixels need the larger ones.
    big = Translate(0.4).draw((32, 1, 64, 64), generator(4))
    assert augmented(x, (Resize(64), Translate(0.4)), generator(4)).equal(
        Translate(0.4).apply(Resize(64).apply(x, torch.empty(32, 0)), big)
    )


@pytest.mark.parametrize("rows", [slice(3, 7), torch.tensor([8, 0, 5])], ids=["slice", "numbers"])
def test_processes_that_share_a_batch_change_it_as_one_alone(rows: slice | Tensor) -> None:
    x = images((10, 3, 12, 12))
    whole, ours = generator(7), generator(7)
    wanted = augmented(x, ALL, whole)
    found = augmented(x[rows], ALL, ours, rows=rows, batch=10)
    assert found.equal(wanted[rows])
    assert torch.equal(whole.get_state(), ours.get_state()), "the next batch agrees, too"


def test_gradients_pass_through() -> None:
    x = images().requires_grad_()
    (gradient,) = torch.autograd.grad(augmented(x, [Flip(1), PadCrop(2)], generator()).sum(), x)
    assert set(gradient.unique().tolist()) == {0.0, 1.0}


def test_images_and_rows_are_checked() -> None:
    x = images()
    with pytest.raises(TypeError, match=r"expected floating-point images; got torch.uint8: normalise them first"):
        augmented(x.byte(), [Flip()], generator())
    with pytest.raises(TypeError, match="normalise them first"):
        Flip().apply(x.byte(), torch.zeros(9, 1))
    with pytest.raises(ValueError, match=r"expected images \(B, C, H, W\); got shape \(9, 3\)"):
        augmented(x[:, :, 0, 0], [Flip()], generator())
    with pytest.raises(ValueError, match=r"needs parameters \(9, 2\) for these images; got \(9, 1\)"):
        PadCrop(1).apply(x, torch.zeros(9, 1))
    with pytest.raises(ValueError, match=r"needs parameters \(9, 1\) for these images; got \(4, 1\)"):
        augmented(x, [Flip()], generator(), rows=slice(0, 4), batch=10)
    with pytest.raises(ValueError, match="rows and batch go together"):
        augmented(x, [Flip()], generator(), rows=slice(0, 9))
    with pytest.raises(ValueError, match="rows and batch go together"):
        augmented(x, [Flip()], generator(), batch=9)
    with pytest.raises(ValueError, match="reflecting needs images larger than padding=10"):
        augmented(x, [PadCrop(10, mode="reflect")], generator())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flip(1.5), r"p must lie between 0 and 1; got p=1.5"),
        (lambda: Erase(-0.1), r"p must lie between 0 and 1; got p=-0.1"),
        (lambda: Flip(math.nan), "p must lie between 0 and 1; got p=nan"),
        (lambda: Rotate(-3), "degrees must lie between 0 and 180; got degrees=-3"),
        (lambda: Translate(2), "fraction must lie between 0 and 1; got fraction=2"),
        (lambda: PadCrop(-1), "padding must be a whole number of at least 0; got padding=-1"),
        (lambda: PadCrop(1.5), r"padding must be a whole number of at least 0; got padding=1.5"),
        (lambda: PadCrop(4, mode="edge"), "mode must be one of constant, reflect; got mode='edge'"),
        (lambda: Resize(0), "size must be a whole number of at least 1; got size=0"),
        (lambda: Erase(0.1, area=(0.5, 0.2)), r"area must be .* in order; got area=\(0.5, 0.2\)"),
        (lambda: Erase(0.1, area=(0.5, 1.2)), r"got area=\(0.5, 1.2\)"),
        (lambda: Erase(0.1, ratio=(0, 2)), r"got ratio=\(0, 2\)"),
    ],
)
def test_settings_are_checked(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


# ── normalising ──


def photographs(count: int = 50) -> Tensor:
    return torch.randint(0, 256, (count, 3, 6, 5), generator=generator(2)).to(torch.uint8)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_by_channel(monkeypatch: pytest.MonkeyPatch, layout: torch.memory_format) -> None:
    monkeypatch.setattr("gradflow.data.normalisation._CHUNK", 7)
    x = (photographs() // torch.tensor([1, 2, 5]).view(3, 1, 1)).to(torch.uint8)
    wide = x.numpy().astype(np.float64) / 255
    mean, std = (value[:, None, None] for value in (wide.mean((0, 2, 3)), wide.std((0, 2, 3))))
    normalise = normaliser("channel", x)
    np.testing.assert_allclose(normalise.mean, mean[:, 0, 0], rtol=1e-7)
    np.testing.assert_allclose(normalise.std, std[:, 0, 0], rtol=1e-7)
    found = normalise(x.contiguous(memory_format=layout))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), (wide - mean) / std, rtol=0, atol=1e-6)


def test_by_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradflow.data.normalisation._CHUNK", 7)
    x = photographs()
    wide = x.numpy().astype(np.float64) / 255
    normalise = normaliser("pixel", x)
    assert normalise.mean.shape == (3, 6, 5)
    assert normalise.std.eq(1).all()
    np.testing.assert_allclose(normalise(x).numpy(), wide - wide.mean(0), rtol=0, atol=1e-6)


def test_by_numbers_and_on_a_device() -> None:
    x = photographs()
    pair = ((0.5071, 0.4856, 0.4409), (0.2673, 0.2564, 0.2762))  # the source chapter's
    mean, std = (np.array(value)[:, None, None] for value in pair)
    wanted = (x.numpy() / 255 - mean) / std
    for normalise in (normaliser(pair, x), normaliser(pair, x).to("cpu"), Normalise(*map(torch.tensor, pair))):
        np.testing.assert_allclose(normalise(x).numpy(), wanted, rtol=0, atol=1e-6)


def test_the_mean_of_many_bright_images_is_exact() -> None:
    """A float32 sum of these would have lost the last image."""
    x = torch.full((3000, 1, 100, 100), 255, dtype=torch.uint8)
    x[-1] = 0
    normalise = normaliser("channel", x)
    assert float(normalise.mean) == pytest.approx(2999 / 3000, rel=1e-7)
    assert float(normalise.std) == pytest.approx(math.sqrt(2999) / 3000, rel=1e-7)


def test_normalising_is_checked() -> None:
    x = photographs()
    with pytest.raises(TypeError, match=r"expected uint8 images; got torch.float32"):
        normaliser("channel", x)(x.float())
    with pytest.raises(TypeError, match=r"expected uint8 images; got torch.float32"):
        normaliser("channel", x.float())
    with pytest.raises(ValueError, match=r"normalise by channel or pixel, or by .*; got 'batch'"):
        normaliser("batch", x)
    with pytest.raises(ValueError, match="expected images of 3 channels; got"):
        normaliser("channel", x)(x[:, :1])
    with pytest.raises(ValueError, match="expected 3 means and deviations"):
        normaliser(((0.5,), (0.2,)), x)
    with pytest.raises(ValueError, match="same channels; got 3 and 1"):
        normaliser(((0.5, 0.5, 0.5), (0.2,)), x)
    with pytest.raises(ValueError, match="std must be positive"):
        normaliser(((0.5, 0.5, 0.5), (0.2, 0.0, 0.2)), x)
    with pytest.raises(ValueError, match="mean must be finite"):
        normaliser(((0.5, math.inf, 0.5), (0.2, 0.2, 0.2)), x)
    with pytest.raises(ValueError, match="all alike"):
        normaliser("channel", torch.zeros_like(x))
    with pytest.raises(ValueError, match="got none"):
        normaliser("pixel", x[:0])
    with pytest.raises(ValueError, match=r"expected images \(N, C, H, W\)"):
        normaliser("channel", x[0])
