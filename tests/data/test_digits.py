"""Digits and their loader; the transforms under their familiar names."""

import pytest
import torch

from tacita.data import Digits, normalise, transforms
from tacita.data.bundled import bundled_digits
from tacita.errors import ShapeError


def digits(count):
    """Image i is all of value i, label i mod 10: each item tells its own place."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1).expand(-1, 28, 28)
    return Digits(images, torch.arange(count) % 10, source="made up")


def test_normalise_at_black_white_and_between():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1)
    expected = (torch.tensor([0.0, 0.2, 1.0]) - 0.1307) / 0.3081
    result = normalise(images)
    assert result.shape == (3, 1, 1, 1)
    # One rounding in each of three steps, of numbers below 4.
    assert (result.flatten() - expected).abs().max() < 3 * 4 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("batch_size", [1, 7, 64, 100, 1000])
def test_loader_gives_every_item_once_in_order(batch_size):
    loader = digits(100).loader(batch_size)
    batches = list(loader)
    assert len(batches) == len(loader) == -(-100 // batch_size)
    assert all(data.shape == (len(target), 1, 28, 28) for data, target in batches)
    assert all(data.dtype == torch.float32 for data, _ in batches)
    assert all(target.dtype == torch.int64 for _, target in batches)
    everything = torch.cat([data for data, _ in batches])
    assert torch.equal(everything, normalise(digits(100).images))
    assert torch.equal(torch.cat([target for _, target in batches]), digits(100).labels)
    assert len(loader.dataset) == 100


def test_shuffled_each_pass_has_an_order_of_its_own_and_labels_keep_their_images():
    loader = digits(100).loader(30, shuffle=True, generator=torch.Generator().manual_seed(1))
    plain = normalise(digits(100).images)
    orders = []
    for _ in range(2):
        order = []
        for data, target in loader:
            places = [int((plain == image).flatten(1).all(1).nonzero()) for image in data]
            assert target.tolist() == [place % 10 for place in places]
            order += places
        assert sorted(order) == list(range(100))
        orders.append(order)
    assert orders[0] != orders[1] != sorted(orders[1])


def test_the_same_seed_gives_the_same_order():
    first, second = (
        digits(50).loader(50, shuffle=True, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert torch.equal(next(iter(first))[1], next(iter(second))[1])


def test_no_images_give_no_batches():
    loader = digits(0).loader(8)
    assert len(loader) == 0
    assert list(loader) == []


def test_first_keeps_order_and_source():
    assert digits(10).first(3).labels.tolist() == [0, 1, 2]
    assert len(digits(10).first(99)) == 10
    assert digits(10).first(3).source == "made up"


def test_batches_of_less_than_one_are_refused():
    with pytest.raises(ShapeError, match="batch_size must be at least 1, got 0"):
        digits(10).loader(0)


def test_images_and_labels_must_be_as_many():
    with pytest.raises(ShapeError, match="3 labels need images of shape"):
        Digits(torch.zeros(4, 28, 28, dtype=torch.uint8), torch.zeros(3), source="made up")


def test_to_tensor_takes_one_grey_image_only():
    image = torch.full((2, 3), 255, dtype=torch.uint8)
    assert torch.equal(transforms.ToTensor()(image), torch.ones(1, 2, 3))
    with pytest.raises(ShapeError, match="one grey image"):
        transforms.ToTensor()(image.float())
    with pytest.raises(ShapeError, match="one grey image"):
        transforms.ToTensor()(image.unsqueeze(0))


def test_normalize_works_channel_by_channel():
    image = torch.ones(2, 1, 1)
    result = transforms.Normalize((0.0, 0.5), (1.0, 0.25))(image)
    assert result.flatten().tolist() == [1.0, 2.0]
    with pytest.raises(ShapeError, match="has 1 channels; the image is"):
        transforms.Normalize((0.5,), (0.5,))(image)
    with pytest.raises(ShapeError, match="positive deviation"):
        transforms.Normalize((0.5,), (0.0,))


def test_the_stand_in_splits_without_overlap_and_is_drawn_in_ink():
    train, test = bundled_digits(train=True), bundled_digits(train=False)
    assert len(train) + len(test) == 1797
    rows = {image.numpy().tobytes() for image in test.images}
    assert not any(image.numpy().tobytes() in rows for image in train.images)
    assert train.images.max() == 255
    assert not train.images[:, :4].any()  # the margin that MNIST has too
    assert torch.equal(bundled_digits(train=True).images, train.images)


@pytest.mark.slow
def test_a_network_learns_from_the_stand_in():
    """Labels that had lost their images in the split would leave it near 10 %."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(5):
        for data, target in bundled_digits(train=True).loader(64, shuffle=True):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(data), target).backward()
            optimizer.step()
    data, target = next(iter(bundled_digits(train=False).loader(350)))
    assert (model(data).argmax(1) == target).sum() > 0.8 * 350
