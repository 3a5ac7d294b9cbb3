"""Draw the CT sample that ships with the extension: a synthetic head CT, the FLAIR of that patient, and the truth.

``python -m training.sample_ct --data ../shared/data``. The network for CT did not learn from this head; those for FLAIR
learned from all. Whole head on its table, slices of 5 mm; the FLAIR, which is the sample of WMH Segmenter too, lies
elsewhere, as in another scanner. File names say that it is synthetic.
"""

from __future__ import annotations

import numpy as np

from csvd.image import write_image

from .ct import CTGenerator, CTSettings, nod
from .heads import load_lesion_shapes
from .patients import Stack
from .sample import PRIORS, head_named, read_arguments

CT = Stack((256, 288, 30), 0.8, 5.0, 5.0, nod(0))
FLAIR = Stack((224, 256, 28), 0.9, 5.0, 5.0, nod(0))


def main() -> None:
    arguments = read_arguments(__doc__, "14", 5)
    head = head_named(arguments.data, arguments.head)
    settings = CTSettings(healthy=0.0, infarct=0.0, priors=PRIORS, leukoaraiosis_hu=(9.0, 12.0), noise_hu=(2.5, 2.5))
    generator = CTGenerator([head], *load_lesion_shapes(arguments.data), settings, arguments.seed)
    ct, flair, _ = generator.pair(head, CT, FLAIR)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_image(ct.image, arguments.output / "synthetic_ct_5mm.nii.gz")
    write_image(
        ct.lesion.like(ct.lesion.voxels.astype(np.uint8)), arguments.output / "synthetic_ct_5mm_true_lesions.nii.gz"
    )
    write_image(flair.image, arguments.output / "synthetic_ct_5mm_flair.nii.gz")
    print(f"{ct.lesion.voxels.sum() * 0.8**2 * 5 / 1000:.1f} mL of leukoaraiosis in {arguments.output}")


if __name__ == "__main__":
    main()
