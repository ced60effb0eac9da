"""The image data sets that `load_images` knows: their splits, where their files lie, their terms, whom to cite."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageSetTerms:
    """What is known of an image data set before it is opened.

    Parameters
    ----------
    name : str
        What `load_images` is asked for.
    what, size, terms, citation : str
        Content; size of its archive; the terms its publisher states; the paper.
    splits : tuple of str
        Allowed splits, the default first; empty for folders, whose subfolders decide.
    folder : str
        The path below the root that holds its files, ``.`` for the root itself.
    download : bool
        Whether torchvision can fetch it.
    """

    name: str
    what: str
    size: str
    splits: tuple[str, ...]
    folder: str
    terms: str
    citation: str
    download: bool = True


_SETS = [
    ImageSetTerms(
        "cifar10",
        "60,000 colour images of 32 x 32 pixels in 10 classes",
        "170 MB",
        ("train", "test"),
        "cifar-10-batches-py",
        "no licence stated; its page asks for the citation",
        "Krizhevsky (2009), Learning multiple layers of features from tiny images",
    ),
    ImageSetTerms(
        "cifar100",
        "60,000 colour images of 32 x 32 pixels in 100 classes and 20 superclasses",
        "169 MB",
        ("train", "test"),
        "cifar-100-python",
        "no licence stated; its page asks for the citation",
        "Krizhevsky (2009), Learning multiple layers of features from tiny images",
    ),
    ImageSetTerms(
        "dtd",
        "5,640 textures in 47 classes, partition 1 of 10",
        "625 MB",
        ("train", "val", "test"),
        "dtd/dtd",
        "for research purposes",
        "Cimpoi, Maji, Kokkinos, Mohamed & Vedaldi (2014), Describing textures in the wild, CVPR",
    ),
    ImageSetTerms(
        "sun397",
        "108,754 scenes in 397 classes",
        "39 GB",
        ("all",),
        "SUN397",
        "no licence stated; photographs from the web, whose rights stay with their owners",
        "Xiao, Hays, Ehinger, Oliva & Torralba (2010), SUN database, CVPR",
    ),
    ImageSetTerms(
        "flowers102",
        "8,189 flowers in 102 classes",
        "345 MB",
        ("train", "val", "test"),
        "flowers-102",
        "no licence stated; photographs from the web, whose rights stay with their owners",
        "Nilsback & Zisserman (2008), Automated flower classification over a large number of classes, ICVGIP",
    ),
    ImageSetTerms(
        "imagenet",
        "the ImageNet folder you have: class folders below ROOT, ROOT/train or ROOT/val",
        "about 150 GB",
        (),
        ".",
        "non-commercial research and education only, after registration at image-net.org",
        "Russakovsky et al. (2015), ImageNet large scale visual recognition challenge, IJCV",
        download=False,
    ),
    ImageSetTerms(
        "imagefolder",
        "any folder of class folders, below ROOT or ROOT/SPLIT",
        "yours",
        (),
        ".",
        "those of your images",
        "none",
        download=False,
    ),
]
IMAGE_SETS: dict[str, ImageSetTerms] = {one.name: one for one in _SETS}
