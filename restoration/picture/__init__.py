"""Pictures as people have them: any file that Pillow reads, 8 and 16 bits, gray, colour, transparency, EXIF and ICC."""

from fewstep.restoration.picture.picture import Picture, of_pil, to_pil
from fewstep.restoration.picture.read import SUFFIXES, read
from fewstep.restoration.picture.write import FORMATS, write

__all__ = ["Picture", "of_pil", "to_pil", "read", "write", "SUFFIXES", "FORMATS"]
