"""Colour spaces that are not RGB, converted to sRGB: by the picture's own profile where it has one."""

from __future__ import annotations

import io
from typing import Any


def to_srgb(image: Any) -> Any:
    """A Pillow image in RGB.

    Parameters
    ----------
    image
        CMYK (by its ICC profile, else without one), LAB (CIE L*a*b*, D50), HSV or YCbCr.

    Returns
    -------
    PIL.Image.Image
    """
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    srgb = ImageCms.createProfile("sRGB")
    if image.mode == "LAB":
        transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), srgb, "LAB", "RGB")
        return ImageCms.applyTransform(image, transform)
    if image.mode == "CMYK" and profile:
        try:
            return ImageCms.profileToProfile(
                image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb, outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile: as if there were none
    return image.convert("RGB")
