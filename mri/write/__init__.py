"""Results as files: DICOM, NIfTI, PNG, `.npz`, JSON and HTML, each under a temporary name first."""

from fewstep.mri.write.dicom import write_dicom
from fewstep.mri.write.files import write_json
from fewstep.mri.write.pictures import write_sheet
from fewstep.mri.write.product import Product, product, restored
from fewstep.mri.write.report import write_report
from fewstep.mri.write.volumes import write_nifti, write_npz

__all__ = [
    "Product",
    "product",
    "restored",
    "write_dicom",
    "write_json",
    "write_nifti",
    "write_npz",
    "write_report",
    "write_sheet",
]
