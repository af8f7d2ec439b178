"""Physics of MRI: the SENSE operator, coil maps, noise, masks; centred orthonormal FFT over (y, x) throughout."""

from fewstep.mri.physics.acs import Region, find_acs
from fewstep.mri.physics.birdcage import birdcage
from fewstep.mri.physics.compress import compress
from fewstep.mri.physics.espirit import espirit
from fewstep.mri.physics.maps import CoilMaps, estimate_maps
from fewstep.mri.physics.noise import combine, noise_std, whitening
from fewstep.mri.physics.readout import crop, crop_picture, remove_oversampling
from fewstep.mri.physics.sense import sampling, sense
from fewstep.mri.physics.walsh import low_resolution, walsh

__all__ = [
    "Region",
    "find_acs",
    "birdcage",
    "compress",
    "espirit",
    "CoilMaps",
    "estimate_maps",
    "combine",
    "noise_std",
    "whitening",
    "crop",
    "crop_picture",
    "remove_oversampling",
    "sampling",
    "sense",
    "low_resolution",
    "walsh",
]
