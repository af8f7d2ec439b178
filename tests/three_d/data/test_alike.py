import numpy as np
import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.three_d.data.alike import LEAST, Alike, grouped
from fewstep.three_d.data.shapes import Shapes
from fewstep.three_d.text import IDS, LENGTH, encode


def _words(n=60):
    """Red or blue chairs and tables by turns, and at last the only mug; a further caption says the kind alone."""
    found = np.zeros((n, 2, LENGTH), np.uint8)
    for i in range(n):
        kind = "mug" if i == n - 1 else ("chair", "table")[i % 2]
        found[i] = encode(f"a tall {('red', 'blue')[i // 2 % 2]} {kind}").ids, encode(f"a {kind}").ids
    return found


def _alike(words, **options):
    latents = torch.arange(len(words)).float()[:, None, None, None, None].expand(-1, 1, 2, 2, 2)
    settings = {"picture": 8, "groups": 3, "members": 4, "near": 40, "tells_all": 0.5, "seed": 0} | options
    return Alike(words, latents, **settings)


def test_groups_say_the_same_without_colours():
    groups = grouped(_words()[:, :1])
    assert sorted(len(rows) for rows in groups) == [29, 30]  # the mug is alone
    assert {tuple(rows[:, 0] % 2) for rows in groups} == {(0,) * 30, (1,) * 29}
    assert all((rows[:, 1] == 1).all() for rows in grouped(_words()[:, 1:], first=1))
    assert grouped(_words(LEAST)) == []


def test_items_and_data_of_a_group_are_of_one_kind_and_captions_are_true():
    words = _words()
    data = _alike(words)
    seen = []
    for number in range(len(data)):
        batch = data[(2, number)]
        own, near = (batch[key].flatten(1 if key == "x0" else 2)[..., 0].long() for key in ("x0", "near"))
        assert own.shape == (12,)
        assert near.shape == (3, 40)
        assert batch["cond"]["words"].dtype == torch.int64
        assert not batch["cond"]["image"].any()
        for group, members in enumerate(own.view(3, 4)):
            assert len({int(i) % 2 for i in [*members, *near[group]]}) == 1
            assert len(set(near[group].tolist())) >= 29  # each before one is there twice
        told = batch["cond"]["words"].numpy()
        true = [any((told[i] == caption).all() for caption in words[shape]) for i, shape in enumerate(own.tolist())]
        assert all(true)
        seen += [(told[i] != 0).sum() > 1 for i in range(0, 12, 4)]
    assert 0.15 < np.mean(seen) < 0.85  # half of the groups are told all


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_or_no_groups_are_told_all(share):
    told = _alike(_words(), tells_all=share)[0]["cond"]["words"]
    assert ((told != 0).sum(1) > 1).all() == bool(share)


def test_groups_with_a_word_come_more_often():
    counts = np.zeros(2)
    data = _alike(_words(), often={"table": 4, "tall": 1})
    for number in range(60):
        told = data[divmod(number, len(data))]["cond"]["words"]
        kinds = [int((told[4 * group] == IDS["table"]).any()) for group in range(3)]
        counts += np.bincount(kinds, minlength=2)
    assert 2.5 < counts[1] / counts[0] < 6.5  # of about as many tables as chairs


@pytest.mark.parametrize("often", [{"spoon": 2.0}, {"chair": 0.0}, {"chair": -1}, {"chair": float("inf")}])
def test_what_comes_more_often_is_a_word_with_a_positive_factor(often):
    with pytest.raises(UsageError, match="each with a positive factor"):
        _alike(_words(), often=often)
    with pytest.raises(UsageError, match="each with a positive factor"):  # before any shape is made
        Shapes(stage="structure", vae="shapes-vae", alike=4, near=8, batch_size=8, often=often)
    with pytest.raises(UsageError, match="give alike too"):
        Shapes(stage="structure", vae="shapes-vae", often=often)


def test_batches_repeat():
    first, second = (_alike(_words())[(1, 2)] for _ in range(2))
    assert torch.equal(first["near"], second["near"])
    assert not torch.equal(first["near"], _alike(_words())[(2, 2)]["near"])
    with pytest.raises(IndexError):
        _alike(_words())[5]


def test_too_few_shapes_are_said():
    with pytest.raises(UsageError, match="is there 16 times among 9 shapes"):
        _alike(_words(9))


@pytest.mark.parametrize("options", [{"stage": "slat"}, {"alike": 1}, {"near": 1}, {"batch_size": 10}])
def test_groups_that_do_not_fit_are_refused(options):
    with pytest.raises(UsageError, match="groups that are told the same"):
        Shapes(**{"stage": "structure", "vae": "shapes-vae", "alike": 4, "near": 8, "batch_size": 8} | options)
