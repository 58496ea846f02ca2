"""Networks: any sizes, what they are told, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from difftool.errors import DifftoolError
from difftool.models import NetworkModel
from difftool.nn import MLP, DiT, UNet
from difftool.sampling import sample
from difftool.schedules import Flow

TEXT = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(5))
LABELS, TIME = torch.tensor([0, 4, 2]), torch.tensor([0.1, 0.5, 0.9])


def unet(**options):
    return awake(UNet(**{"channels": 1, "widths": (8, 16), "depth": 1, "heads": 2, "classes": 5, "text": 6, **options}))


def dit(**options):
    return awake(DiT(**{"channels": 1, "width": 16, "depth": 2, "heads": 2, "classes": 5, "text": 6, **options}))


def mlp(**options):
    return awake(MLP(**{"size": 2, "widths": (16,), "classes": 5, **options}))


def awake(net):
    """The network with random numbers where it begins with zeros."""
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=g)
    return net.eval()


def state(net, size=(8, 8)):
    shape = (3, 2) if isinstance(net, MLP) else (3, 1, *size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


MAKERS = [unet, dit, mlp]
PICTURES = [unet, dit]


@settings(max_examples=10)
@given(st.integers(1, 19), st.integers(1, 19), st.integers(1, 3), st.integers(1, 3))
def test_pictures_of_any_size(height, width, levels, channels):
    x = torch.randn(2, channels, height, width)
    for net in (
        UNet(channels, tuple(8 * (k + 1) for k in range(levels)), depth=1, heads=2),
        DiT(channels, patch=levels, width=16, depth=1, heads=2),
    ):
        assert net(x, torch.rand(2)).shape == x.shape


@pytest.mark.parametrize("make", MAKERS)
def test_a_sample_does_not_depend_on_its_batch(make):
    net = make()
    x = state(net)
    whole = net(x, TIME, label=LABELS)
    for i in range(3):
        torch.testing.assert_close(net(x[i : i + 1], TIME[i : i + 1], label=LABELS[i : i + 1]), whole[i : i + 1])


@pytest.mark.parametrize("make", MAKERS)
def test_time_and_class_are_heard(make):
    net = make()
    x = state(net)
    out = net(x, TIME, label=LABELS)
    assert differ(out, net(x, TIME + 0.05, label=LABELS))
    assert differ(out, net(x, TIME, label=(LABELS + 1) % 5))
    assert differ(out, net(x, TIME))


@pytest.mark.parametrize("make", MAKERS)
def test_no_class_is_minus_one(make):
    net = make()
    x = state(net)
    mixed = net(x, TIME, label=torch.tensor([0, -1, -1]))
    torch.testing.assert_close(mixed[1:], net(x, TIME)[1:])
    torch.testing.assert_close(mixed[:1], net(x, TIME, label=LABELS)[:1])


@pytest.mark.parametrize("make", PICTURES)
def test_text_is_heard_and_zeros_are_none(make):
    net = make()
    x = state(net)
    out = net(x, TIME, text=TEXT)
    assert differ(out, net(x, TIME, text=TEXT.flip(0)))
    torch.testing.assert_close(out, net(x, TIME, text=torch.cat([TEXT, torch.zeros(3, 2, 6)], 1)))
    torch.testing.assert_close(net(x, TIME, text=0 * TEXT), net(x, TIME))
    assert differ(out, net(x, TIME))


@pytest.mark.parametrize("make", PICTURES)
def test_words_of_a_text_have_no_order(make):
    net = make()
    x = state(net)
    torch.testing.assert_close(net(x, TIME, text=TEXT), net(x, TIME, text=TEXT.flip(1)))


@pytest.mark.parametrize("net", [UNet(1, (8, 16), depth=1, heads=2), DiT(1, width=16, depth=1, heads=2)])
def test_they_begin_with_zero(net):
    assert float(net(torch.randn(2, 1, 8, 8), torch.rand(2)).detach().abs().max()) == 0


@pytest.mark.parametrize("make", PICTURES)
def test_more_channels_out(make):
    net = make(outputs=2)
    assert net(state(net), TIME).shape == (3, 2, 8, 8)


def test_attention_is_where_it_is_asked_for():
    def has(net):
        return [any(level.attention is not None for level in blocks) for blocks in net.down]

    assert has(UNet(1, (8, 16, 32), 1)) == [False, False, True]
    assert has(UNet(1, (8, 16, 32), 1, attention=(0, 1))) == [True, True, False]


@pytest.mark.parametrize("make", MAKERS)
def test_in_float64_and_bfloat16(make):
    for dtype in (torch.float64, torch.bfloat16):
        net = make().to(dtype)
        out = net(state(net).to(dtype), TIME, label=LABELS)
        assert out.dtype == dtype
        assert torch.isfinite(out).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: MLP(0), "size >= 1"),
        (lambda: MLP(widths=()), "widths >= 1"),
        (lambda: UNet(1, ()), "widths >= 1"),
        (lambda: UNet(1, (8,), 0), "depth >= 1"),
        (lambda: UNet(1, (8, 16), attention=(2,)), "levels from 0 to 1, got"),
        (lambda: UNet(1, (8, 18), heads=4), "heads must divide the widths with attention, got heads=4 for width 18"),
        (lambda: UNet(1, (8,), dropout=1.0), "below 1, got 1.0"),
        (lambda: DiT(width=18), "a width divisible by 4 and heads"),
        (
            lambda: UNet(1, (8,), heads=2)(torch.zeros(1, 1, 4, 4), torch.zeros(1), label=torch.tensor([0])),
            "no classes",
        ),
        (lambda: UNet(1, (8,), heads=2)(torch.zeros(1, 1, 4, 4), torch.zeros(1), text=TEXT[:1]), "takes no text"),
        (
            lambda: dit()(torch.zeros(2, 1, 4, 4), torch.zeros(2), text=TEXT[:2, :, :3]),
            r"must have the shape \(2, L, 6\)",
        ),
    ],
)
def test_refusals(call, words):
    with pytest.raises(DifftoolError, match=words):
        call()


@pytest.mark.parametrize("net", [UNet(1, (8,), heads=2, classes=3), DiT(1, 2, 8, 1, 2, classes=3)])
def test_a_class_that_the_network_does_not_know(net):
    model = NetworkModel(net, Flow(), "flow", shape=(1, 4, 4))
    with pytest.raises(DifftoolError, match="unknown class 3; the network knows 0 to 2"):
        sample(model, shape=(2, 1, 4, 4), steps=2, cond={"label": torch.tensor([0, 3])})


def differ(a, b):
    return float((a - b).detach().abs().max()) > 1e-4
