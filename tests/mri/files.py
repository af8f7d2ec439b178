"""Small files as scanners write them, with known content: k-space of a head with known maps, place and contrast."""

import warnings

import numpy as np
import torch

from fewstep.core.operators import Fourier
from fewstep.mri.physics import birdcage

ROWS, COLUMNS, COILS, SLICES = 24, 20, 4, 2
FIELD = (240.0, 220.0, 8.0)  # mm along the readout (without oversampling), the phase, the slice
READ, PHASE, NORMAL = np.linalg.qr(np.array([[0.9, 0.1, 0.2], [0.2, -0.8, 0.3], [0.1, 0.3, 1.0]]))[0].T
NORMAL = np.cross(READ, PHASE)


def head(rows, columns, turn=0.0):
    """A lopsided object with phase, complex128 [rows, columns]."""
    y, x = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in (rows, columns))
    y, x = torch.meshgrid(y, x, indexing="ij")
    image = torch.zeros(rows, columns, dtype=torch.float64)
    for height, width, down, right, value in [
        (0.7, 0.6, 0, 0, 1.0), (0.5, 0.4, 0.1, 0, -0.4), (0.15, 0.2, 0.35, 0.2, 0.6), (0.12, 0.1, -0.4, 0.1, 0.8),
    ]:  # fmt: skip
        image += value * (((y - down) / height) ** 2 + ((x - right) / width) ** 2 < 1)
    return torch.polar(image, 0.3 + 0.5 * x - 0.4 * y + turn)


def images(slices=SLICES, rows=ROWS, columns=COLUMNS):
    """complex128 [slice, rows, columns]."""
    return torch.stack([(1 + 0.3 * s) * head(rows, columns, 0.2 * s) for s in range(slices)])


def coil_images(oversampling=2, **options):
    """complex128 [slice, coil, rows, columns]; with oversampling, empty rows on both sides of the object."""
    pictures = images(**options)
    rows, columns = pictures.shape[1:]
    maps = birdcage(COILS, (rows, columns), dtype=torch.complex128)
    seen = maps * pictures.unsqueeze(1)
    pad = (rows * oversampling) // 2 - rows // 2
    return torch.nn.functional.pad(seen, (0, 0, pad, rows * oversampling - rows - pad))


def kspace(oversampling=2, **options):
    """complex64 [slice, coil, readout, phase]."""
    seen = coil_images(oversampling, **options)
    return Fourier(tuple(seen.shape[1:]), (-2, -1)).apply(seen).to(torch.complex64).numpy()


def header(
    *, rows=2 * ROWS, columns=COLUMNS, partitions=1, recon=None, recon_field=None, centre=None, trajectory="cartesian",
    calibration=None, echoes=(3.5, 7.0), extra="",
):  # fmt: skip
    """An ISMRMRD header as XML."""
    recon = recon or (rows // 2, columns, partitions)
    recon_field = recon_field or FIELD
    centre = columns // 2 if centre is None else centre
    parallel = (
        f"<parallelImaging><accelerationFactor><kspace_encoding_step_1>2</kspace_encoding_step_1>"
        f"<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>"
        f"<calibrationMode>{calibration}</calibrationMode></parallelImaging>"
        if calibration
        else ""
    )

    def space(name, matrix, field):
        sides = "".join(f"<{axis}>{n}</{axis}>" for axis, n in zip("xyz", matrix, strict=True))
        lengths = "".join(f"<{axis}>{n}</{axis}>" for axis, n in zip("xyz", field, strict=True))
        return f"<{name}><matrixSize>{sides}</matrixSize><fieldOfView_mm>{lengths}</fieldOfView_mm></{name}>"

    encoding = (
        space("encodedSpace", (rows, columns, partitions), (2 * FIELD[0], FIELD[1], FIELD[2]))
        + space("reconSpace", recon, recon_field)
        + f"<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{columns - 1}</maximum>"
        f"<center>{centre}</center></kspace_encoding_step_1></encodingLimits>"
        f"<trajectory>{trajectory}</trajectory>{parallel}"
    )
    times = "".join(f"<TE>{t}</TE>" for t in echoes)
    return (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
        "<subjectInformation><patientName>DOE^JANE</patientName><patientID>P7</patientID>"
        "<patientBirthdate>1970-02-03</patientBirthdate><patientGender>F</patientGender></subjectInformation>"
        "<studyInformation><studyDate>2020-03-04</studyDate><studyTime>10:11:12</studyTime>"
        "<studyInstanceUID>1.2.3.4.5</studyInstanceUID></studyInformation>"
        "<measurementInformation><patientPosition>HFS</patientPosition><protocolName>t1_test</protocolName>"
        "<frameOfReferenceUID>1.2.3.9</frameOfReferenceUID></measurementInformation>"
        "<acquisitionSystemInformation><systemVendor>ACME</systemVendor>"
        "<systemFieldStrength_T>3</systemFieldStrength_T></acquisitionSystemInformation>"
        "<experimentalConditions><H1resonanceFrequency_Hz>123000000</H1resonanceFrequency_Hz></experimentalConditions>"
        f"<encoding>{encoding}</encoding>"
        f"<sequenceParameters><TR>500</TR>{times}<flipAngle_deg>15</flipAngle_deg></sequenceParameters>{extra}"
        "</ismrmrdHeader>"
    )


def write_fastmri(file, *, data=None, mask=None, xml=None, target=True, drop=()):
    """A fastMRI file; `drop` names data sets to leave out."""
    import h5py

    data = kspace() if data is None else data
    with h5py.File(file, "w") as h5:
        if "kspace" not in drop:
            h5["kspace"] = data
        if "ismrmrd_header" not in drop:
            h5["ismrmrd_header"] = header() if xml is None else xml
        if mask is not None:
            h5["mask"] = mask
        if target:
            h5["reconstruction_rss"] = images().abs().float().numpy()
        h5.attrs["acquisition"] = "AXT1"
        h5.attrs["patient_id"] = "0123"
    return file


def noise(coils, samples, seed=0, scale=0.05):
    """Correlated noise, complex64 [coil, sample]."""
    mix = np.eye(coils) + 0.3 * np.random.default_rng(99).standard_normal((coils, coils))
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((coils, samples)) + 1j * rng.standard_normal((coils, samples))
    return (scale * mix @ white / 2**0.5).astype(np.complex64)


class Mrd:
    """An ISMRMRD file, readout by readout, written when it is closed."""

    def __init__(self, file, *, xml=None):
        self.file, self.xml, self.lines = file, header() if xml is None else xml, []

    def line(self, samples, *, flags=(), centre=None, place=None, dwell=5.0, directions=None, **counters):
        import ismrmrd

        one = ismrmrd.AcquisitionHeader()
        one.version = 1
        one.active_channels, one.number_of_samples = samples.shape
        for flag in flags:
            one.setFlag(flag)
        one.center_sample = samples.shape[1] // 2 if centre is None else centre
        one.sample_time_us = dwell
        one.position[:] = (0, 0, 0) if place is None else place
        read, phase, normal = (READ, PHASE, NORMAL) if directions is None else directions
        one.read_dir[:], one.phase_dir[:], one.slice_dir[:] = read, phase, normal
        for name, value in counters.items():
            setattr(one.idx, name, value)
        self.lines.append((one, np.ascontiguousarray(samples, np.complex64)))

    def slices(self, data, *, lines=None, flags=(), reverse=(), **counters):
        """All lines of k-space [slice, coil, readout, phase], the `reverse` ones from the end."""
        for s in range(len(data)):
            for k in range(data.shape[-1]) if lines is None else lines:
                samples = data[s, :, :, k]
                extra = (22,) if k in reverse else ()
                self.line(
                    samples[:, ::-1] if k in reverse else samples,
                    flags=(*flags, *extra),
                    centre=samples.shape[1] // 2 - 1 if k in reverse else None,
                    place=middle(s),
                    kspace_encode_step_1=k,
                    slice=s,
                    **counters,
                )
        return self

    def close(self):
        import h5py
        from ismrmrd.hdf5 import acquisition_dtype, acquisition_header_dtype

        table = np.empty(len(self.lines), acquisition_dtype)
        for row, (head, samples) in zip(table, self.lines, strict=True):
            row["head"] = np.frombuffer(head, acquisition_header_dtype)[0]
            row["traj"] = np.zeros(0, np.float32)
            row["data"] = samples.view(np.float32).ravel()
        with h5py.File(self.file, "w") as h5:
            group = h5.create_group("dataset")
            group.create_dataset("data", data=table, dtype=acquisition_dtype)
            if self.xml:
                group.create_dataset("xml", data=[self.xml], dtype=h5py.special_dtype(vlen=bytes))


def middle(s):
    """Where slice s lies, mm."""
    return np.array([10.0, -20.0, 30.0]) + 8.0 * s * NORMAL


def write_mrd(file, **options):
    """A plain ISMRMRD file of two slices."""
    made = Mrd(file, xml=options.pop("xml", None)).slices(options.pop("data", kspace()), **options)
    made.close()
    return file


def magnitude(slices=5, rows=32, columns=28):
    """uint16 [slice, rows, columns] whose k-space is zero outside of the middle 16 x 14, as if interpolated."""
    pictures = images(slices, 16, 14).abs().to(torch.complex128)
    k = Fourier((16, 14), (0, 1)).apply(pictures)
    full = torch.zeros(slices, rows, columns, dtype=k.dtype)
    full[:, rows // 2 - 8 : rows // 2 + 8, columns // 2 - 7 : columns // 2 + 7] = k
    out = Fourier((rows, columns), (0, 1)).apply_adjoint(full).real.clamp(min=0)
    return (out / out.max() * 900).round().numpy().astype(np.uint16)


def write_series(folder, *, pixels=None, edit=None, order=None, directions=(PHASE, READ)):
    """A classic MR series; `edit(dataset, i)` changes slice i; files are written in `order`."""
    pixels = magnitude() if pixels is None else pixels
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is wrong on purpose
        for n, i in enumerate(order or range(len(pixels))):
            _slice(folder / f"im{n:03d}.dcm", pixels, i, n, edit, directions)
    return folder


def _slice(file, pixels, i, n, edit, directions):
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

    one = pydicom.Dataset()
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, f"1.2.826.99.{i + 1}"
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = "1.2.826.1", "1.2.826.2", "1.2.826.3"
    one.Modality, one.ImageType = "MR", ["ORIGINAL", "PRIMARY", "OTHER"]
    one.PatientName, one.PatientID, one.PatientSex, one.PatientBirthDate = "Doe^Jane", "P7", "F", "19700203"
    one.StudyDate, one.StudyTime, one.StudyID, one.AccessionNumber = "20200304", "101112", "1", ""
    one.ReferringPhysicianName, one.Manufacturer, one.SeriesNumber = "", "ACME", 7
    one.SeriesDescription, one.PatientPosition, one.ProtocolName = "t1 test", "HFS", "t1_test"
    one.ScanningSequence, one.SequenceVariant, one.ScanOptions = "GR", "SP", ["FS", "FAST_GEMS"]
    one.MRAcquisitionType, one.RepetitionTime, one.EchoTime, one.EchoTrainLength = "2D", 500, 3.5, 1
    one.InversionTime, one.FlipAngle, one.MagneticFieldStrength = 400, 15, 3
    one.PositionReferenceIndicator, one.AcquisitionDate = "", "***"
    one.InstanceNumber = 99 - n
    one.AcquisitionMatrix, one.InPlanePhaseEncodingDirection = [16, 0, 0, 14], "ROW"
    one.PixelSpacing, one.SliceThickness = [1.5, 1.25], 4
    one.ImageOrientationPatient = [float(round(v, 9)) for v in (*directions[0], *directions[1])]
    place = np.array([-30.0, 12.5, 7.25]) + 4.5 * i * np.cross(*directions)
    one.ImagePositionPatient = [float(round(v, 6)) for v in place]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.Rows, one.Columns = pixels.shape[1:]
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
    one.PixelData = pixels[i].astype("<u2").tobytes()
    one.add_new(0x00091001, "LO", "private")
    if edit is not None:
        edit(one, i)
    one.save_as(file, enforce_file_format=True)


def write_enhanced(file, *, pixels=None, order=None, edit=None):
    """An enhanced MR object, its frames in `order`."""
    import pydicom
    from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian

    def item(**values):
        one = pydicom.Dataset()
        for keyword, value in values.items():
            setattr(one, keyword, value)
        return one

    pixels = magnitude() if pixels is None else pixels
    order = list(order or range(len(pixels)))
    one = item(
        SOPClassUID=EnhancedMRImageStorage, SOPInstanceUID="1.2.826.50", StudyInstanceUID="1.2.826.1",
        SeriesInstanceUID="1.2.826.51", FrameOfReferenceUID="1.2.826.3", Modality="MR", PatientName="Doe^Jane",
        PatientID="P7", ImageType=["ORIGINAL", "PRIMARY", "T1", "NONE"], SeriesNumber=8, SeriesDescription="enhanced",
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", Rows=pixels.shape[1], Columns=pixels.shape[2],
        BitsAllocated=16, BitsStored=12, HighBit=11, PixelRepresentation=0, NumberOfFrames=len(order),
        Manufacturer="ACME",
    )  # fmt: skip
    measures = item(PixelSpacing=[1.5, 1.25], SliceThickness=4)
    orientation = item(ImageOrientationPatient=[float(v) for v in (*PHASE, *READ)])
    steps = item(
        MRAcquisitionFrequencyEncodingSteps=16, MRAcquisitionPhaseEncodingStepsInPlane=14,
        InPlanePhaseEncodingDirection="ROW",
    )  # fmt: skip
    shared = item(
        PixelMeasuresSequence=[measures], PlaneOrientationSequence=[orientation], MRFOVGeometrySequence=[steps],
        MREchoSequence=[item(EffectiveEchoTime=23.05562400817871)],
        PixelValueTransformationSequence=[item(RescaleSlope=2, RescaleIntercept=1, RescaleType="US")],
    )  # fmt: skip
    one.SharedFunctionalGroupsSequence = [shared]
    one.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[
                item(
                    ImagePositionPatient=[
                        float(v) for v in np.array([-30.0, 12.5, 7.25]) + 4.5 * i * np.cross(PHASE, READ)
                    ]
                )
            ]
        )
        for i in order
    ]
    one.PixelData = pixels[order].astype("<u2").tobytes()
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if edit is not None:
        edit(one)
    one.save_as(file, enforce_file_format=True)
    return file
