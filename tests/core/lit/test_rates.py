import pytest

from fewstep.core.lit import rates


def test_cosine_rises_and_falls():
    values = [rates.cosine(i, steps=100, warmup=10) for i in range(101)]
    assert values[9] == values[10] == 1
    assert values[:10] == sorted(values[:10])
    assert values[10:] == sorted(values[10:], reverse=True)
    assert values[100] == pytest.approx(0.002)
