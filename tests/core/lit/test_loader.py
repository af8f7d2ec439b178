import pytest
import torch
from torch.utils.data import TensorDataset

from fewstep.core.lit import loader as module
from fewstep.core.lit.loader import ResumableLoader


def _loader(**options):
    return ResumableLoader(TensorDataset(torch.arange(10)), 3, **options)


def _epoch(loader):
    return [batch[0].tolist() for batch in loader]


def test_each_epoch_has_all_items_in_an_order_of_its_own():
    loader = _loader()
    first, second = _epoch(loader), _epoch(loader)
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == list(range(10))
    assert first != second
    assert len(loader) == 4


def test_order_depends_on_seed_and_epoch_alone():
    torch.manual_seed(1)
    one = _epoch(_loader(seed=5))
    torch.manual_seed(2)
    assert _epoch(_loader(seed=5)) == one
    assert _epoch(_loader(seed=6)) != one


def test_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    _epoch(_loader())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_without_shuffling():
    assert _epoch(_loader(shuffle=False)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert _epoch(_loader(shuffle=False, drop_last=True)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize("taken", [0, 1, 3, 4, 5, 8, 9])
def test_goes_on_where_it_stopped(taken):
    unbroken = _loader(seed=3)
    expected = sum((_epoch(unbroken) for _ in range(4)), [])
    stopped, seen = _loader(seed=3), []
    while len(seen) < taken:
        for batch in stopped:
            seen.append(batch[0].tolist())
            if len(seen) == taken:
                break
    resumed = _loader(seed=3)
    resumed.load_state_dict(stopped.state_dict())
    while len(seen) < len(expected):
        seen += _epoch(resumed)
    assert seen == expected


def test_workers_see_the_resumed_place():
    loader = _loader(shuffle=False, num_workers=1)
    loader.load_state_dict({"epoch": 0, "position": 2})
    assert _epoch(loader) == [[6, 7, 8], [9]]
    assert len(_epoch(loader)) == 4


def test_processes_share_the_items(monkeypatch):
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr(module, "_share", lambda rank=rank: {"num_replicas": 2, "rank": rank})
        shares.append(sum(_epoch(_loader(seed=4)), []))
    assert sorted(sum(shares, [])) == list(range(10))


class _Epochs(torch.utils.data.Dataset):
    """Four batches of its own making, which differ between epochs."""

    def __len__(self):
        return 4

    def __getitem__(self, place):
        epoch, i = place
        return [10 * epoch + i]


def test_items_may_depend_on_the_epoch_and_be_whole_batches():
    make = lambda: ResumableLoader(_Epochs(), None, shuffle=False, with_epoch=True)  # noqa: E731
    loader = make()
    assert [list(loader) for _ in range(2)] == [[[0], [1], [2], [3]], [[10], [11], [12], [13]]]
    stopped = make()
    stopped.load_state_dict({"epoch": 1, "position": 2})
    assert list(stopped) == [[12], [13]]
    assert next(iter(stopped)) == [20]
    assert len(loader) == 4
