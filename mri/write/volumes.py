"""Volumes for programs: NIfTI with the patient's coordinates, and complex values as `.npz`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fewstep.core.files import replacing
from fewstep.mri.write.product import Product


def write_nifti(file: Path, made: Product, values: np.ndarray) -> None:
    """One volume.

    Parameters
    ----------
    file
        `.nii.gz`.
    made
        Gives place and spacing.
    values
        float32 [slice, rows, columns]; axes of the file are (column, row, slice).
    """
    import nibabel

    affine = made.geometry.affine(made.size, made.spacing)
    image = nibabel.Nifti1Image(np.ascontiguousarray(values.transpose(2, 1, 0), np.float32), affine)
    image.header.set_xyzt_units("mm")
    code = 1 if made.geometry.known else 0
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    image.header["descrip"] = made.name.encode("ascii", "replace")[:79]
    with replacing(file) as temporary:
        nibabel.save(image, temporary)


def write_npz(file: Path, made: Product) -> None:
    """Complex pictures and what belongs to them.

    Parameters
    ----------
    file
        `.npz`, read by ``numpy.load(file, allow_pickle=False)``.
    made
        Image, standard deviation and other methods' images as complex64 and float32 [slice, rows, columns]; spacing in
        mm; affine of NIfTI.
    """
    arrays = {"image": made.image, "spacing": np.array(made.spacing)}
    arrays["affine"] = made.geometry.affine(made.size, made.spacing)
    if made.std is not None:
        arrays["std"] = made.std
    arrays |= {name.replace("-", "_"): values for name, values in made.others.items()}
    with replacing(file) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
