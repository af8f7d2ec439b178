"""Four motion kernels that others measure on, after Boracchi and Foi 2012 and Levin et al. 2009.

As in ``kernels_12.mat`` of KAIR (MIT licence, copyright 2019 Kai Zhang), 25 x 25, here on 256 levels of each maximum.
"""

from __future__ import annotations

import base64
import zlib
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

_LEVELS = """
eNpjYKAYMDLikGBSYMUuofVGAas5ion35LCYziicXT1TAE2cpUCYgUEi0FiACd3W/ywMDJzCmI4ytQASIrKYFieKA61RF8J0kC0nAwOXJguGBKccMwO7
tiCmSYKiLNwqYphWM0kKC8nzYwknQUUJcQ4sYcGsqCqBNfBEtZWxqWdgFtcVxRrWrCXN/NhjISiNiWF4AVwJkYFNGIdXVd4oYZfg+44jTdv8V8MqwVH8
RAzNUjaQexhZPOzQxKM8hFgZGdhF2dDcy+Ghp2HCwiHDge4PdmEGJgMRQU4MT/CJMzLLiLJj+JtZj52RiZsP09NSEswMDMLcmKlEnx3oN1lMDdyqQDFO
KcyQZdNnASVTTAlGMXFWBk11LHHBJKmg6oE19TIws7EN2sQoYohdnOd8NlZx3sNzmLEmqVNzsGZp1p3Y1TNUHmPDKq76VQZ78j+Qj92lFk/YsUusLMQu
zvVNBLuE62kcgdTUiUNifgYOicXJOCQmVOGQ8DvHjCN7n1wgxa2NTVJg+pf/s1gZRgF6acWHTVQgd8Ov/3MxSwfDT5vTRfnWHcUIyFWN4Kr4ShC6ROEW
SBVzAV2C/5sxiNL9iWFJ2mlggaL0MBczdi8lMTh8L8Kshhlyl9Z8dcTITsB61v7LDSn0inP6t39fLt19LomuXi5XjlnSxpRz6EYmAOZFUbg=
"""


@lru_cache(maxsize=1)
def shakes() -> Tensor:
    """The kernels.

    Returns
    -------
    Tensor
        float32, [4, 25, 25], each summing to 1.
    """
    levels = np.frombuffer(zlib.decompress(base64.b64decode("".join(_LEVELS.split()))), np.uint8)
    kernels = torch.from_numpy(levels.reshape(4, 25, 25).astype(np.float32))
    return kernels / kernels.sum((1, 2), keepdim=True)
