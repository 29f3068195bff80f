"""Datasets on disk and in memory, as map-style datasets of (float32 image [C, H, W] in [0, 1], int label)."""

from coreselect.data.image_folder import ImageFolder
from coreselect.data.images import Images, ImageSet, labels_of, names_of
from coreselect.data.loading import load

__all__ = ["ImageFolder", "ImageSet", "Images", "labels_of", "load", "names_of"]
