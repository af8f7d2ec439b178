"""The processes: one constructor each, all returning an `AffinePath`."""

from fewstep.core.paths.affine import AffinePath
from fewstep.core.paths.bridge import brownian_bridge, sb_ve
from fewstep.core.paths.flow import rectified_flow
from fewstep.core.paths.ou import ir_sde, ou
from fewstep.core.paths.resshift import resshift
from fewstep.core.paths.ve import edm, ve
from fewstep.core.paths.vp import vp_cosine, vp_linear, vp_table

__all__ = [
    "AffinePath",
    "vp_linear",
    "vp_cosine",
    "vp_table",
    "ve",
    "edm",
    "rectified_flow",
    "ou",
    "ir_sde",
    "resshift",
    "brownian_bridge",
    "sb_ve",
]
