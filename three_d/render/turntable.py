"""Pictures of shapes in files: a view, a turn around it as GIF or MP4, and many shapes on one sheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.files import replacing
from fewstep.three_d.mesh.mesh import Mesh
from fewstep.three_d.render.raster import render

MOVING, STILL = (".gif", ".mp4", ".webp"), (".png", ".jpg", ".jpeg", ".webp")
PAPER = (0.96, 0.96, 0.95)
CLOSE = 2.6
"""Distance of the camera for pictures that people look at: nearer than where nothing can be cut off."""
ELEVATION, AZIMUTH = 22.0, 30.0


def frames(
    mesh: Mesh,
    *,
    count: int = 36,
    size: int = 256,
    elevation: float = ELEVATION,
    background: tuple[float, float, float] = PAPER,
    supersample: int = 2,
    progress: Callable[[float], None] | None = None,
) -> list[np.ndarray]:
    """Views all around.

    Parameters
    ----------
    mesh
        Around the origin.
    count
        Of views, evenly from azimuth 0.
    size, elevation, background, supersample
        See `fewstep.three_d.render.raster.render`.
    progress
        Called with the part that is done.

    Returns
    -------
    list of numpy.ndarray
        uint8 [size, size, 3].

    Raises
    ------
    UsageError
        If the count is not positive.
    """
    if count < 1:
        raise UsageError(f"count is at least 1, got {count}")
    made = []
    for k in range(count):
        picture = render(
            mesh, azimuth=360 * k / count, elevation=elevation, size=size, background=background,
            supersample=supersample, distance=distance(mesh),
        )  # fmt: skip
        made.append(picture[..., :3])
        if progress is not None:
            progress((k + 1) / count)
    return made


def distance(mesh: Mesh, *, fov: float = 30.0, margin: float = 1.06) -> float:
    """How far the camera must be so that a mesh, however it is turned about y, just fits."""
    x, y, z = np.abs(mesh.vertices.astype(np.float64)).max(0) if len(mesh.vertices) else (0.5, 0.5, 0.5)
    round_y = float(np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 2]).max()) if len(mesh.vertices) else float(x + z)
    return max(float(np.hypot(round_y, y)) * margin / np.sin(np.deg2rad(fov / 2)), 0.1)


def save_turntable(path: str | Path, mesh: Mesh, *, fps: int = 18, **options: Any) -> Path:
    """Write a turn around a mesh.

    Parameters
    ----------
    path
        Ends in one of `MOVING`.
    mesh
        Around the origin.
    fps
        Pictures a second.
    **options
        See `frames`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    UsageError
        If the suffix is unknown, or OpenCV has no codec for MP4.
    OSError
        If it cannot be written.
    """
    path = moving_of(path)
    pictures = frames(mesh, **options)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".mp4":
            _mp4(temporary, pictures, fps)
        else:
            _animation(temporary, pictures, fps)
    return path


def moving_of(path: str | Path) -> Path:
    """The path, if a turntable can have its name; a UsageError else."""
    if Path(path).suffix.lower() not in MOVING:
        raise UsageError(f"{path}: a turntable ends in {', '.join(MOVING)}")
    return Path(path)


def still_of(path: str | Path) -> Path:
    """The path, if a picture can have its name; a UsageError else."""
    if Path(path).suffix.lower() not in STILL:
        raise UsageError(f"{path}: a picture ends in {', '.join(STILL)}")
    return Path(path)


def portrait(
    mesh: Mesh,
    *,
    size: int = 512,
    azimuth: float = AZIMUTH,
    elevation: float = ELEVATION,
    background: tuple[float, float, float] | None = None,
) -> np.ndarray:
    """One nice view, uint8 [size, size, 4], that fills the picture; see `fewstep.three_d.render.raster.render`."""
    return render(
        mesh, azimuth=azimuth, elevation=elevation, size=size, background=background, supersample=3,
        distance=distance(mesh),
    )  # fmt: skip


def save_picture(path: str | Path, picture: np.ndarray) -> Path:
    """Write a picture, uint8 [rows, columns, 3 or 4]; what is transparent becomes white where the format has none.

    Raises
    ------
    UsageError
        If the suffix is none of `STILL`.
    """
    from PIL import Image

    path = still_of(path)
    image = Image.fromarray(np.ascontiguousarray(picture))
    if image.mode == "RGBA" and path.suffix.lower() in (".jpg", ".jpeg"):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    with replacing(path) as temporary:
        image.save(temporary)
    return path


def sheet(
    meshes: Sequence[Mesh],
    captions: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    size: int = 256,
    azimuth: float = AZIMUTH,
    elevation: float = ELEVATION,
    background: tuple[float, float, float] = PAPER,
) -> np.ndarray:
    """Many meshes on one picture.

    Parameters
    ----------
    meshes
        At least one.
    captions
        One for each, written below it.
    columns
        None: as square as can be.
    size, azimuth, elevation, background
        Of each view.

    Returns
    -------
    numpy.ndarray
        uint8 [rows, columns, 3].

    Raises
    ------
    UsageError
        If there is no mesh, or not one caption for each.
    """
    from PIL import Image, ImageDraw

    if not meshes:
        raise UsageError("a sheet needs at least one mesh")
    if captions is not None and len(captions) != len(meshes):
        raise UsageError(f"expected one caption per mesh, {len(meshes)}, got {len(captions)}")
    columns = columns or int(np.ceil(np.sqrt(len(meshes))))
    line = 0 if captions is None else 2 * (size // 20) + 12
    rows = -(-len(meshes) // columns)
    paper = Image.new("RGB", (columns * size, rows * (size + line)), tuple(round(255 * v) for v in background))
    pen = ImageDraw.Draw(paper)
    for k, mesh in enumerate(meshes):
        x, y = k % columns * size, k // columns * (size + line)
        view = portrait(mesh, size=size, azimuth=azimuth, elevation=elevation, background=background)
        paper.paste(Image.fromarray(np.ascontiguousarray(view[..., :3])), (x, y))
        if captions is not None:
            _write(pen, captions[k], x + size // 2, y + size, size)
    return np.asarray(paper)


def _write(pen: Any, text: str, x: int, y: int, wide: int) -> None:
    from PIL import ImageFont

    tall = max(wide // 20, 9)
    font = ImageFont.load_default(tall)
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and pen.textlength(longer, font=font) > wide * 0.94:
            lines.append(line)
            line = word
        else:
            line = longer
    for k, part in enumerate([*lines, line][:2]):
        pen.text((x, y + k * (tall + 3)), part, font=font, fill=(60, 60, 60), anchor="ma")


def _animation(file: Path, pictures: list[np.ndarray], fps: int) -> None:
    """GIF (with one palette for all, so that nothing flickers) or WebP."""
    from PIL import Image

    images = [Image.fromarray(np.ascontiguousarray(p)) for p in pictures]
    if file.suffix.lower() == ".gif":
        chosen = np.concatenate(pictures[:: max(1, len(pictures) // 6)])
        palette = Image.fromarray(np.ascontiguousarray(chosen)).quantize(256)
        images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    images[0].save(
        file, save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0,
        **({"optimize": False} if file.suffix.lower() == ".gif" else {"quality": 85}),
    )  # fmt: skip


def require_mp4() -> None:
    """Raise a UsageError if OpenCV is not installed."""
    try:
        import cv2  # noqa: F401
    except ImportError:
        raise UsageError("MP4 needs OpenCV: pip install opencv-python-headless; or write a .gif") from None


def _mp4(file: Path, pictures: list[np.ndarray], fps: int) -> None:
    require_mp4()
    import cv2

    rows, columns = (side - side % 2 for side in pictures[0].shape[:2])  # MPEG-4 has even sides
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(file), code, float(fps), (columns, rows))
    try:
        if not writer.isOpened():
            raise UsageError("OpenCV has no codec for MP4 here: write a .gif")
        for picture in pictures:
            writer.write(np.ascontiguousarray(picture[:rows, :columns, ::-1]))
    finally:
        writer.release()
    if not file.is_file() or not file.stat().st_size:
        raise UsageError("OpenCV could not write MP4 here: write a .gif")
