"""Eight motion kernels that were measured on shaken photographs (Levin et al. 2009, doi:10.1109/CVPR.2009.5206815).

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
eNrtV0toG1cUnfeZvzQfjT7W2B5blu3UHhLVdoMcsKsaUqFVHceLQBcBRcQxBNNG1sZ2N61JoGQRb0Jo7eKC6KJdmCbtIs7KUNLiBtoqdFEILggCJSTZ
FMehXVQdOSSW3nsDKXSRupmFBPe8++675555R+K4ffUAADHmMYYANIUhL2vheGs8rMk83IMAEg1nIHvi5InsgGOICDxbL+iJzPTl9e/WL09nErrwNAcg
yXInLmw8rD3cuDDhWtLTFN8M3xr+p/Lv4+Xzr+sFsFWEEKSQ+rwCqoQhEYeCZieTtiY0AwAFnCPHJjPdOt88W94aLCwtL+Q6lKYEIMTGzm9WbxSHTAyI
+MU7tTsXx2JCUxybQ8Ub1c3zRJyDSkduYXmpMGiRhfXuzOSxI04AgedpwAOwpAZIbT6hok4QeG5G/+8iY5MCEC8wyK1PSjVDAWocdS2YyZRrqwhQGaHU
ZGHcNTCJwIBbWC6X0iESAYI9Xq5WFtMGIlNUt1SpVUquSp4AGenFSrU8bgvkZjiULpWXC26ATAHYcMcLk6kQT50ZqbabSpoCzQAUAiFT5VnUQI8zBP4R
z/taWpDRdN0+eJ6nXlEAkKAEtaAiYsJvkKhFna6EbSpNgvTYDtruSPbocG9UbRSQZ4ThvuzpufmpXH9EbjQ1pNjp/KWr11dns0mdhw06UNszxbWt+5WV
/GBU2qviZbSOFq/dq927VhxtVfb2AlCKDuZXKve31oqZ9sbykNeT2dnV61cv5dO20lRdjvTnpubnTmf7wlKjTLzy0d7ho9kR1w6SLSqmnehyopqIiF8N
WNxlS0AUjxB5/LLs2WciL7yOfADYybOB/gedzH0S+V8dxu7AOrvwkUHE8bsWx7VMDBmU79Qwx8kWfajDw95HuJ0unI95ZQ6E6AONyhyn9GEKkB3Eia5J
72RGsNodZVxJcSvUoTN4MhMtMYnBBUr0tDDJi7hJ1noOxQ5GmFzzpUWdPYXjU3C/3Wh+gGD5tNr9oIsNaI99ND1S62UC0uzdKFF015sAzr1OxN/O1f1M
jJDeJeUOvfIaltoksg/R4uCrYVOmmtBiALVFRKpvdEgEUNXopu0Wz68tlVZJSvR6a6cT1B4vJts0s0IK12VKAyAa47m+A4xZwHhnT46pXg4JwgsrxvAA
Ox748SwzHvxmBTEl9f0K85Xm19nrublvBWa851EbW/4b77BPOnxXZAOfn2PHlZ0wG3jzlg9JH3zoA6xO+wDlgg+wNO8DvPUD8nm9Nz+1VZcFGle2ax/z
L/9GULeVxooaM1/+WfuEvh0Gfv/qTERbu0kR+cX7u1b883ESOPf1E4v5iQT0naH618E/qCJTt7wLpas6Q0/39inujcdF2oa5mc/eezRGvU6ez2a2f7FJ
47yy89f27a3f4uR6Z8ZB8ZHD8n93mH8DGDq6tg==
"""


@lru_cache(maxsize=1)
def shakes() -> Tensor:
    """The kernels.

    Returns
    -------
    Tensor
        float32, [8, 25, 25], each summing to 1.
    """
    levels = np.frombuffer(zlib.decompress(base64.b64decode("".join(_LEVELS.split()))), np.uint8)
    kernels = torch.from_numpy(levels.reshape(8, 25, 25).astype(np.float32))
    return kernels / kernels.sum((1, 2), keepdim=True)
