"""diffusers' own nets under our caches, and our first-block cache against theirs on the same net."""

import pytest
import torch

from fewstep.core import caches, nfe
from fewstep.core.caches import Cache, Every

pytestmark = pytest.mark.slow  # importing diffusers' nets takes most of it


@pytest.fixture(scope="module")
def diffusers():
    try:
        from fewstep.audio.torchaudio_import import load

        load()  # diffusers imports it, and its wheel does not load beside every torch
        import diffusers.models
    except ImportError as error:
        pytest.skip(f"diffusers' nets cannot be imported here: {error}")
    return diffusers


X, T = torch.linspace(-9, 9, 2 * 3 * 256).sin().view(2, 3, 16, 16), torch.tensor(3.0)


def unets(diffusers):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"sample_size": 16, "in_channels": 3, "out_channels": 3, "norm_num_groups": 8}
        plain = diffusers.UNet2DModel(
            layers_per_block=2, block_out_channels=(16, 24, 32),
            down_block_types=("DownBlock2D",) * 2 + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * 2, **sizes,
        ).eval()  # fmt: skip
        told = diffusers.UNet2DConditionModel(
            layers_per_block=1, block_out_channels=(16, 32), down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=8, attention_head_dim=8, **sizes,
        ).eval()  # fmt: skip
        text = torch.randn(2, 5, 8)
    return [(plain, lambda x, t: plain(x, t).sample), (told, lambda x, t: told(x, t, text).sample)]


@pytest.mark.parametrize("which", [0, 1])
@torch.no_grad()
def test_branches_of_unets(diffusers, which):
    net, ask = unets(diffusers)[which]
    full = ask(X, T)
    for level in range(len(caches.layers(net).up) - 1):
        with caches.attach(net, caches.deepcache(level, every=2)) as attached, nfe.count():
            assert torch.equal(nfe.call(ask, X, T), full)
            torch.testing.assert_close(nfe.call(ask, X, T), full, rtol=0, atol=1e-6)
        assert attached.report.skips == 1
    with caches.attach(net, Cache(caches.encoder(), Every(2))), nfe.count():
        nfe.call(ask, X, T)
        torch.testing.assert_close(nfe.call(ask, -X, T), full, rtol=0, atol=1e-6)
    assert torch.equal(ask(X, T), full)


@torch.no_grad()
def test_blocks_that_hand_on_two_states(diffusers):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = diffusers.FluxTransformer2DModel(
            patch_size=1, in_channels=4, num_layers=2, num_single_layers=3, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
        ).eval()  # fmt: skip
        told = {"encoder_hidden_states": torch.randn(2, 6, 32), "pooled_projections": torch.randn(2, 32)}
    told |= {"img_ids": torch.zeros(16, 3), "txt_ids": torch.zeros(6, 3)}

    def ask(x, t):
        return net(hidden_states=x, timestep=t.expand(2), **told).sample

    x, t, carries = (
        X.reshape(2, -1)[:, :64].reshape(2, 16, 4),
        torch.tensor(0.5),
        ("encoder_hidden_states", "hidden_states"),
    )
    full = ask(x, t)
    for scope in (
        caches.span("transformer_blocks", carries=carries),
        caches.span("single_transformer_blocks", 1, what="output", carries=carries),
        caches.deltas("single_transformer_blocks", carries=carries),
        caches.outputs(r"transformer_blocks\.\d+\.attn"),
    ):
        for predictor in (caches.Reuse(), caches.Newton(1)):
            with caches.attach(net, Cache(scope, Every(2), predictor)) as attached, nfe.count():
                assert torch.equal(nfe.call(ask, x, t), full)
                torch.testing.assert_close(nfe.call(ask, x, t), full, rtol=0, atol=1e-5)
            assert attached.report.skips > 0


@torch.no_grad()
def test_against_diffusers_first_block_cache(diffusers):
    from diffusers.hooks import FirstBlockCacheConfig, apply_first_block_cache
    from diffusers.hooks.hooks import CacheContext, _set_cache_context

    def made():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = diffusers.DiTTransformer2DModel(
                num_attention_heads=2, attention_head_dim=8, in_channels=3, num_layers=4, sample_size=16, patch_size=4,
                num_embeds_ada_norm=2, dropout=0.0, norm_num_groups=1,
            )  # fmt: skip
            for value in net.parameters():
                torch.nn.init.normal_(value, std=0.15)
        return net.eval()

    label, states = torch.zeros(2, dtype=torch.long), [X * (1 + 0.02 * i * i) for i in range(8)]

    def ask(net, x):
        return net(x, timestep=torch.full((2,), 500.0), class_labels=label).sample

    theirs, ran = made(), []
    theirs.transformer_blocks[-1].ff.register_forward_pre_hook(lambda *_: ran.append(len(said)))
    apply_first_block_cache(theirs, FirstBlockCacheConfig(threshold=0.05))
    said: list = []
    for x in states:
        _set_cache_context(theirs, CacheContext("cond"))
        said.append(ask(theirs, x))
    ours, computed = made(), []
    ours.transformer_blocks[-1].ff.register_forward_pre_hook(lambda *_: computed.append(len(found)))
    found: list = []
    cache = caches.first_block("transformer_blocks", 0.05, reduce="mean")
    with caches.attach(ours, cache), nfe.count():
        for x in states:
            found.append(nfe.call(lambda x, t: ask(ours, x), x, T))
    assert computed == ran
    assert 1 < len(ran) < 8, "some rows are left out and some are not"
    for one, other in zip(found, said, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
