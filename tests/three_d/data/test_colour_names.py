"""Names of colours."""

import numpy as np
import pytest

from fewstep.three_d.corpus.draft import COLOURS
from fewstep.three_d.data.colour_names import commonest, named


def test_the_named_colours_have_their_names():
    colours = np.rint(np.array(list(COLOURS.values())) * 255).astype(np.uint8)
    assert [list(COLOURS)[i] for i in named(colours)] == list(COLOURS)


@pytest.mark.parametrize(
    ("rgb", "word"),
    [((100, 165, 205), "blue"), ((140, 90, 60), "brown"), ((250, 180, 200), "pink"), ((30, 30, 34), "black"),
     ((120, 190, 60), "green"), ((250, 250, 245), "white"), ((128, 132, 130), "grey"),
     ((205, 100, 45), "orange"), ((150, 85, 55), "brown")],
)  # fmt: skip
def test_colours_beside_them(rgb, word):
    assert commonest(np.array([rgb, rgb, (255, 0, 0)], np.uint8)) == word
