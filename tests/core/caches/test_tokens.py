"""Tokens that wait keep their answers; none waits for ever; all tokens is the plain net."""

import pytest
import torch

from fewstep.core import nfe, parameterize, paths, sample, solvers, times
from fewstep.core.caches import TokenCache
from fewstep.core.errors import UsageError
from fewstep.core.nn.dit import DiT, Tokens

PATH = paths.rectified_flow()


def net(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = DiT(size=8, patch=2, labels=2, depth=2, width=16, heads=2, **options)
        for value in made.parameters():
            torch.nn.init.normal_(value, std=0.3)
    return made.eval().requires_grad_(False)


def draw(answer, x, rows=10):
    label = torch.zeros(len(x), dtype=torch.long)
    denoise = parameterize.flow(answer, PATH, cond=label)
    return sample(denoise, PATH, times=times.uniform(PATH, rows), solver=solvers.ddim(), x=x).x


X = torch.linspace(0, 40, 3 * 64).sin().view(3, 1, 8, 8)
BOTH = pytest.mark.parametrize("urgency", ["region", "stability"])


@BOTH
def test_all_tokens_is_the_net(urgency):
    made = net()
    plain = draw(made, X)
    torch.testing.assert_close(draw(TokenCache(made, ratio=1.0, urgency=urgency), X), plain, rtol=1e-5, atol=1e-5)
    cached = TokenCache(made, ratio=0.1, urgency=urgency, dense=range(10))
    torch.testing.assert_close(draw(cached, X), plain, rtol=1e-5, atol=1e-5)
    assert cached.share == 1.0


@BOTH
def test_less_is_computed_and_a_batch_is_its_items(urgency):
    made = net()
    cached, seen = TokenCache(made, ratio=0.25, urgency=urgency, warmup=3), []
    hook = made.blocks[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[1]))
    together = draw(cached, X)
    hook.remove()
    assert seen == [16] * 3 + [4] * 7
    assert cached.share == pytest.approx((3 * 16 + 7 * 4) / 160)
    assert not torch.allclose(together, draw(made, X), atol=1e-4)
    for item in range(3):
        alone = draw(cached, X[item : item + 1])
        torch.testing.assert_close(alone, together[item : item + 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("starvation", "starving"), [(0.0, True), (2.0, False)])
def test_starvation_gives_every_token_a_turn(starvation, starving):
    """With one half of the picture much livelier than the other."""

    class Lively(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = torch.zeros(8)

        def forward(self, x, t, tokens=None):
            said = torch.where(torch.arange(8) < 4, 5.0, 1.0)[None, :, None].expand(1, 8, 1)
            if tokens.active is not None:
                self.seen[tokens.active[0]] += 1
                said = said.gather(1, tokens.active[:, :, None])
            return tokens.answer(said)[:, :, 0]

    made = Lively()
    cached = TokenCache(made, ratio=0.5, starvation=starvation, warmup=1)
    with torch.no_grad(), nfe.count():
        for _ in range(13):
            nfe.call(cached, torch.zeros(1, 8), torch.tensor(0.5))
    assert (made.seen[4:] == 0).all() == starving
    assert made.seen.sum() == 48


def test_outside_a_run_and_with_gradients_it_is_the_net():
    made, label = net(), torch.zeros(3, dtype=torch.long)
    cached, t = TokenCache(made, ratio=0.2, warmup=1), torch.full((3,), 0.5)
    assert torch.equal(cached(X, t, label), made(X, t, label))
    with nfe.count():
        for _ in range(3):
            x = X.clone().requires_grad_()
            assert nfe.call(lambda x, t: cached(x, t, label), x, t).requires_grad


@torch.no_grad()
def test_another_shape_and_a_failure_begin_again():
    made, label = net(), torch.zeros(3, dtype=torch.long)
    cached, t = TokenCache(made, ratio=0.2, warmup=1), torch.full((3,), 0.5)

    def call(x):
        return nfe.call(lambda x, t: cached(x, t[: len(x)], label[: len(x)]), x, t)

    with nfe.count():
        call(X)
        call(X)
        torch.testing.assert_close(call(X[:2]), made(X[:2], t[:2], label[:2]), rtol=1e-5, atol=1e-5)
    with nfe.count():
        call(X)
        broken = made.blocks[1].register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            call(X)
        broken.remove()
        torch.testing.assert_close(call(X), made(X, t, label), rtol=1e-5, atol=1e-5)


def test_bad_options():
    for options in ({"ratio": 0.0}, {"starvation": -1.0}, {"urgency": "none"}):
        with pytest.raises(UsageError, match="expected 0 < ratio <= 1 and starvation >= 0"):
            TokenCache(net(), **options)
    with pytest.raises(UsageError, match="warmup >= 3 for 'stability', got 2"):
        TokenCache(net(), urgency="stability", warmup=2)
    with pytest.raises(UsageError, match="the first call computes all tokens"):
        net()(X, torch.zeros(3), torch.zeros(3, dtype=torch.long), Tokens(active=torch.zeros(3, 2, dtype=torch.long)))
    with pytest.raises(UsageError, match="sizes do not divide: size=9 by patch=2"):
        DiT(size=9)

    class Deaf(torch.nn.Module):
        def forward(self, x, t, tokens=None):
            return x

    with torch.no_grad(), nfe.count(), pytest.raises(UsageError, match=r"Deaf took tokens= but told no answers"):
        nfe.call(TokenCache(Deaf()), X, torch.tensor(0.0))
