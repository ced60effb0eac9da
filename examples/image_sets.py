"""Write CIFAR-10, CIFAR-100, DTD (partition 1) and Flowers-102 as folders of classes.

    python image_sets.py FOLDER

torchvision downloads the sets. FOLDER/NAME/SPLIT/CLASS/NUMBER.png are then images that glocal
extract reads with their classes; cifar100/SPLIT-superclasses.csv has the superclass of each image.
Cite the authors of a set; DTD is for research purposes, the others state no licence.
"""

import csv
import sys
from pathlib import Path

SETS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "dtd": "DTD", "flowers102": "Flowers102"}
SPLITS = ("train", "test")


def write_folders(images, classes, folder):
    """Write pairs of an image and the number of its class, one folder a class."""
    for number, (image, label) in enumerate(images):
        place = folder / str(classes[label])
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{number:05d}.png")


def write_superclasses(folder, table):
    """Write the superclass of each image below the splits of a folder."""
    superclass_of = dict(csv.reader(table.read_text("utf-8").splitlines()))
    for split in SPLITS:
        images = (folder / split).glob("*/*.png")
        rows = [
            (f"{file.parent.name}/{file.name}", superclass_of[file.parent.name]) for file in images
        ]
        with (folder / f"{split}-superclasses.csv").open(
            "w", encoding="utf-8", newline=""
        ) as stream:
            csv.writer(stream).writerows([("image", "superclass"), *sorted(rows)])


def main(root):
    """Download and write all sets."""
    from torchvision import datasets

    for name, kind in SETS.items():
        for split in SPLITS:
            part = {"train": split == "train"} if name.startswith("cifar") else {"split": split}
            images = getattr(datasets, kind)(root / "downloads", download=True, **part)
            write_folders(images, getattr(images, "classes", range(102)), root / name / split)
    table = Path(__file__).with_name("cifar100-superclasses.csv")
    write_superclasses(root / "cifar100", table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
