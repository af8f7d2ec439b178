"""The latent form of residual shifting: sizes as published, windows as defined, names through the converter."""

import re

import pytest
import torch

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.restoration.convert import resshift
from fewstep.restoration.models.swin_unet import SwinUNet, WindowBlock
from fewstep.restoration.models.vq import VQAutoencoder

TINY = {"width": 32, "multipliers": (1, 2), "blocks": 1, "embed": 16, "window": 4, "head": 8}
VQ = {"width": 8, "multipliers": (1, 2), "blocks": 1, "codes": 16}


@pytest.mark.parametrize("make, millions", [(SwinUNet, 118.59), (VQAutoencoder, 55.32)])
def test_published_sizes(make, millions):
    with torch.device("meta"):
        net = make()
    assert sum(value.numel() for value in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


def test_a_latent_is_quantised_on_the_way_back():
    net = VQAutoencoder(**VQ).requires_grad_(False)
    x = torch.rand(1, 3, 16, 24, generator=rng.generator(0))
    z = net.encode(x)
    assert z.shape == (1, 3, 8, 12)
    assert net.decode(z).shape == x.shape
    codes = net.quantize(z).movedim(1, -1).reshape(-1, 3)
    distances = (z.movedim(1, -1).reshape(-1, 1, 3) - net.quantize.embedding.weight).square().sum(-1)
    assert torch.equal(codes, net.quantize.embedding.weight[distances.argmin(1)])
    assert torch.equal(net.decode(net.quantize(z)), net.decode(z))


@pytest.mark.parametrize("shift", [0, 2])
def test_pixels_see_their_window_and_no_other(shift):
    block = WindowBlock(8, 2, window=4, shift=shift, expansion=2.0).double().requires_grad_(False)
    torch.nn.init.normal_(block.bias)
    x = torch.randn(1, 8, 12, 8, generator=rng.generator(0), dtype=torch.float64)
    changed = x.clone()
    changed[:, :, 5, 1] += torch.linspace(-1, 1, 8, dtype=torch.float64)

    def attended(x):
        return block._attended(x)

    moved = (attended(changed) - attended(x)).abs().amax((0, 1)) > 1e-12
    rows = slice(4, 8) if shift == 0 else slice(2, 6)
    columns = slice(0, 4) if shift == 0 else slice(0, 2)
    expected = torch.zeros(12, 8, dtype=torch.bool)
    expected[rows, columns] = True
    assert torch.equal(moved, expected)


def test_the_net_takes_state_and_picture():
    net = SwinUNet(**TINY).requires_grad_(False)
    x, lq = torch.randn(2, 2, 3, 16, 8, generator=rng.generator(1)).unbind(0)
    out = net(x, lq, torch.tensor([0, 3]))
    assert out.shape == x.shape
    assert not torch.equal(out, net(x, lq, torch.tensor([1, 3])))
    with pytest.raises(UsageError, match="embed a multiple of head"):
        SwinUNet(**{**TINY, "head": 7})


def _their_names(net):
    """The names of the code that the net descends from, from ours; 1 x 1 convolutions of windows as linear layers."""
    rules = [
        (r"^time\.0\.", "time_embed.0."), (r"^time\.1\.", "time_embed.2."), (r"^enter\.", "input_blocks.0.0."),
        (r"^norm\.", "out.0."), (r"^last\.", "out.2."), (r"^middle\.", "middle_block."),
        (r"^down\.(0|2)\.block\.", r"input_blocks.<\1>.0."), (r"^down\.(0|2)\.more\.0\.", r"input_blocks.<\1>.1."),
        (r"^down\.1\.more\.0\.", "input_blocks.2.0.op."), (r"<0>", "1"), (r"<2>", "3"),
        (r"^up\.(\d)\.block\.", r"output_blocks.\1.0."), (r"^up\.(\d)\.more\.0\.", r"output_blocks.\1.1."),
        (r"^up\.(\d)\.more\.1\.", r"output_blocks.\1.2."),
        (r"(_blocks?\.\d\.?\d?)\.norm1\.", r"\1.in_layers.0."), (r"\.first\.", ".in_layers.2."),
        (r"\.told\.", ".emb_layers.1."), (r"(_blocks?\.\d\.?\d?)\.norm2\.", r"\1.out_layers.0."),
        (r"\.second\.", ".out_layers.3."), (r"\.skip\.", ".skip_connection."),
        (r"\.enter\.", ".patch_embed.proj."), (r"\.leave\.", ".patch_unembed.proj."), (r"\.qkv\.", ".attn.qkv."),
        (r"\.out\.", ".attn.proj."), (r"\.bias$(?<=blocks\.\d\.bias)", ".attn.relative_position_bias_table"),
        (r"\.widen\.", ".mlp.fc1."), (r"\.narrow\.", ".mlp.fc2."),
    ]  # fmt: skip
    out = {}
    for name, value in net.state_dict().items():
        new = name
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        out[new] = value.flatten(1) if value.shape[2:] == (1, 1) and "attn." in new else value
    return out


def test_names_of_the_descent_are_read():
    net = SwinUNet(**TINY).requires_grad_(False)
    theirs = _their_names(net)
    assert {name.split(".")[0] for name in theirs} == {
        "time_embed", "input_blocks", "middle_block", "output_blocks", "out"
    }  # fmt: skip
    theirs["output_blocks.0.1.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16)
    again = resshift.unet(theirs, **TINY)
    x, lq = torch.randn(2, 1, 3, 16, 8, generator=rng.generator(1)).unbind(0)
    assert torch.equal(again(x, lq, torch.tensor([2])), net(x, lq, torch.tensor([2])))
    with pytest.raises(UsageError, match="input_blocks.0.0.weight is not there"):
        resshift.unet({})
    vq = VQAutoencoder(**VQ).requires_grad_(False)
    again = resshift.autoencoder({**vq.state_dict(), "loss.logvar": torch.zeros(1)}, **VQ)
    assert torch.equal(again.decode(lq), vq.decode(lq))
    with pytest.raises(UsageError, match="not the weights of the VQ autoencoder"):
        resshift.autoencoder(vq.state_dict())
