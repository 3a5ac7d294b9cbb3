"""Synthetic head slices: disease and physics as a list of steps, on CPU or GPU, one slab of a head at a time.

A slice is drawn as a scanner would see it: a slab is laid through a deformed head (``lay_slab``), lesions grow in it
as random implicit functions (``grow_lesions``), every tissue gets a signal (``flair_signal`` or ``any_signal``), the
slab is averaged through its thickness, and the scanner adds what scanners add (``acquire``). Every range below that is
not followed by a source is a choice, made wide on purpose (domain randomisation: Billot et al., Med Image Anal 2023).
Measured on real FLAIRs of multiple sclerosis: lesion / median brain 1.34, SD .16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from csvd.anatomy import steps_beside
from csvd.preprocessing import foreground_scaled

from .heads import ANATOMY, ANATOMY_OF_CODE, BRAIN, CODE, HEAD, STEP_MM, TISSUES, Head

UNKNOWN = -1.0  # of a target: nothing is learned there
FOUND, DOUBTED = 0.4, 0.1  # choice: what the teacher gave more is lesion, less is none, and between is unknown
REAL_CORTEX = 1.21  # 90th percentile of cortex over the brain median in real FLAIRs: pasted lesions are brighter
REAL_NOISE = 0.5  # of the noise that is added: choice, as a real scan has its own
FAMILIES = {"t1": 0.25, "t2star": 0.15, "ct": 0.3, "random": 0.3}  # choice: contrasts of the anatomy but for FLAIR
MAX_SUBSLICES = 5  # a slab of up to 8 mm is the mean of at most five planes: finer changes nothing visible
WHITE = [CODE["white_matter"], CODE["lesion"], CODE["vessel"]]
FLUID = [CODE[t] for t in ("csf", "lateral_ventricle", "third_ventricle", "fourth_ventricle")]
FOLD = [CODE["cortex"], CODE["csf"]]
DEEP = [CODE[t] for t in ("ventral_diencephalon", "brain_stem", "hippocampus", "cerebellar_cortex", "thalamus")]


@dataclass(frozen=True)
class Settings:
    """What one recipe, or one member of the ensemble, draws differently from another."""

    shape: tuple[int, int] = (160, 192)  # pixels along R and A
    pixel_mm: float = 1.0
    size_sd: float = 0.07  # of the logarithm of a head's size
    thickness_mm: tuple[float, float] = (1.0, 8.0)
    thin: float = 0.25  # share of slabs at 1 mm
    low_slices: float = 0.25  # share drawn from the whole brain; the rest lie above its base, where lesions are
    lesion_contrast: tuple[float, float] = (1.18, 1.8)  # lesion core / white matter
    above_cortex: tuple[float, float] = (1.06, 1.25)  # the core is at least this many times the cortex
    target_fraction: float = 0.35  # a pixel is lesion when this share of it is: experts outline generously
    edge_mm: tuple[float, float] = (0.25, 0.8)  # softness of a lesion's outline
    cortex: tuple[float, float] = (1.0, 1.35)  # cortex / white matter
    ribbon: float = 0.8  # the thin ribbon of cortex, sharing its voxels with fluid, loses up to so much of its contrast
    folds: float = 0.8  # share of slabs whose cortex folds deeper than in the map, where the map says white matter
    healthy: float = 0.18  # share of slabs without any lesion
    infarct: float = 0.1  # share of slabs with an infarct
    blur_mm: tuple[float, float] = (0.2, 0.85)  # SD of what the scanner blurs in plane
    coarse: float = 0.15  # share of slices of a coarse matrix, blurred by .8 to 1.4 mm besides
    grainy: float = 0.4  # share of slices whose noise is correlated
    grain: tuple[float, float] = (0.6, 0.6)  # its length, pixels
    reach: tuple[float, float] = (1.2, 0.7)  # of a halo around the ventricles, mm: mean and SD of its logarithm
    beside_mm: float = 0.0  # how far off the slices are that the anatomy network sees with the one in question; 0: none
    real: float = 0.4  # share of slabs laid through real unlabelled scans, where there are any
    priors: dict[str, float] = field(
        default_factory=lambda: {"halo": 0.6, "confluent": 0.4, "punctate": 0.55, "map": 0.25, "shape": 0.55}
    )


class SmoothNoise:
    """Endless smooth random fields in space: unit SD, a chosen correlation length, sampled at any world point."""

    SIDE, SIGMAS = 128, (3.0, 8.0, 16.0)
    STEEPEST = 4.0  # no slope is more than this over the length, of which its SD is one
    STEP = 0.25  # of the length: over it a slope is measured
    SURFACE_STEP_MM = 0.5  # the same on a surface, whose slopes change within a voxel or two

    def __init__(self, rng: np.random.Generator, device: torch.device):
        frequency = np.fft.fftfreq(self.SIDE)
        square = sum(f**2 for f in np.meshgrid(frequency, frequency, frequency, indexing="ij", sparse=True))
        self.fields = []
        for sigma in self.SIGMAS:
            low_pass = np.exp(-2 * (np.pi * sigma) ** 2 * square)
            values = np.fft.ifftn(np.fft.fftn(rng.standard_normal((self.SIDE,) * 3)) * low_pass).real
            self.fields.append(torch.from_numpy((values / values.std()).astype(np.float32)).to(device))

    def __call__(self, points: torch.Tensor, length_mm: float, rng: np.random.Generator) -> torch.Tensor:
        """points (3, N) in mm -> values (N,)."""
        return self.field(length_mm, rng)(points)

    def field(self, length_mm: float, rng: np.random.Generator) -> Callable[[torch.Tensor], torch.Tensor]:
        """One field: a function of points (3, N) in mm."""
        level = min(np.searchsorted(self.SIGMAS, length_mm), len(self.SIGMAS) - 1)
        scale = self.SIGMAS[level] / length_mm
        ways = [(axis, float(scale * rng.choice((-1, 1))), rng.uniform(0, self.SIDE)) for axis in rng.permutation(3)]

        def values(points: torch.Tensor) -> torch.Tensor:
            x, y, z = ((points[axis] * step + offset).floor().int() & (self.SIDE - 1) for axis, step, offset in ways)
            return self.fields[level].view(-1).index_select(0, (x * self.SIDE + y) * self.SIDE + z)

        return values

    def from_curves(
        self, points: torch.Tensor, length_mm: float, near_mm: float, rng: np.random.Generator,
        surface: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """Distance (N,) of points (3, N) in mm from random curves, which are where two fields are 0; inf if not near.

        To first order, by the slopes of both fields: where they only come near to 0 together there is no curve. With a
        ``surface``, which is 0 on it and nowhere steeper than 1 a mm, the curves run on that.
        """

        def random_field() -> Callable[[torch.Tensor], torch.Tensor]:
            field = self.field(length_mm, rng)
            return lambda points: field(points) * (length_mm / self.STEEPEST)

        fields = [surface or random_field(), random_field()]
        distance = torch.full(points.shape[1:], torch.inf, device=points.device)
        near, level = torch.arange(points.shape[1], device=points.device), points[:0]
        for level_of in fields:  # the second only where the first is near to 0
            level = torch.cat([level, level_of(points)[None]])
            here = lengths(level) < near_mm
            near, points, level = near[here], points[:, here], level[:, here]
            if not len(near):
                return distance
        steps = (self.SURFACE_STEP_MM if surface else self.STEP * length_mm, self.STEP * length_mm)
        slopes = []
        for level_of, step, here in zip(fields, steps, level, strict=True):
            moved = [points + step * unit[:, None] for unit in torch.eye(3, device=points.device)]
            slopes.append((torch.stack([level_of(p) for p in moved]) - here) / step)
        a, b, c = (slopes[i].mul(slopes[j]).sum(0) for i, j in ((0, 0), (0, 1), (1, 1)))
        square = (level[0] ** 2 * c - 2 * level[0] * level[1] * b + level[1] ** 2 * a) / (a * c - b**2).clamp(min=1e-9)
        distance[near] = square.clamp(min=0).sqrt()
        return distance


def sample(volume: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Nearest voxel of ``volume`` (X, Y, Z) at ``points`` (3, N) in voxels; 0 outside."""
    size = torch.tensor(volume.shape, dtype=torch.int32, device=points.device)[:, None]
    index = points.round().int()
    inside = ((index >= 0) & (index < size)).all(0)
    x, y, z = torch.minimum(index.clamp(min=0), size - 1)
    return volume.reshape(-1).index_select(0, (x * volume.shape[1] + y) * volume.shape[2] + z) * inside


def interpolate(volume: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """``volume`` (X, Y, Z) between its voxels at ``points`` (3, N) in voxels, float32; 0 outside."""
    low = int(points[2].min().clamp(0, volume.shape[2] - 1))  # only the slices that are asked for
    volume = volume[:, :, low : int(points[2].max().clamp(low)) + 2].float()
    size = torch.tensor(volume.shape, device=points.device)[:, None]
    grid = (2 * (points - points.new_tensor([[0], [0], [low]])) + 1) / size - 1
    return F.grid_sample(volume[None, None], grid.flip(0).T[None, None, None], align_corners=False).reshape(-1)


def lengths(vectors: torch.Tensor) -> torch.Tensor:
    """Euclidean lengths (N,) of (D, N); ``Tensor.norm`` over a first axis took 70 times as long (3 x 700,000, CPU)."""
    return vectors.square().sum(0).sqrt()


def blur(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of (R, A) with mirrored edges; sigma in pixels."""
    if sigma < 0.2:
        return image
    radius = max(1, int(3 * sigma + 0.5))
    t = torch.arange(-radius, radius + 1, device=image.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (t / sigma) ** 2)
    kernel = (kernel / kernel.sum())[None, None]
    x = F.pad(image[None, None], (radius,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(x, kernel[..., None]), kernel[:, :, None])[0, 0]


@dataclass(frozen=True)
class Slab:
    """Points of one slab through a head: ``points`` (3, N) in its voxels, ``tissue`` (N,), ``keep`` (T, R, A)."""

    head: Head
    points: torch.Tensor
    tissue: torch.Tensor
    keep: torch.Tensor

    def fill(self, values: torch.Tensor) -> torch.Tensor:
        """Values (N,) back in place, 0 where no point was kept: (T, R, A)."""
        full = torch.zeros(self.keep.shape, device=values.device)
        full[self.keep] = values
        return full

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean through the slab's thickness of values (N,): (R, A)."""
        return self.fill(values).mean(0)

    def parts(self, count: int) -> list[Slab]:
        """So many slabs of as many planes each, in which the points of this one follow each other."""
        planes = self.keep.chunk(count)
        sizes = [int(part.sum()) for part in planes]
        each = zip(self.points.split(sizes, 1), self.tissue.split(sizes), planes, strict=True)
        return [Slab(self.head, *part) for part in each]


class Generator:
    """Draws one slice at a time; ``rng`` decides everything, so a seed repeats a data set on one device."""

    def __init__(
        self,
        heads: list[Head],
        shapes: list[torch.Tensor],
        shape_box: tuple[tuple[int, int], ...],
        settings: Settings,
        seed: int,
        device: str | torch.device = "cpu",
        scans: Sequence[Head] = (),
    ):
        self.scans = scans
        self.heads, self.shapes, self.shape_box, self.settings = heads, shapes, shape_box, settings
        self.rng = np.random.default_rng(seed)
        self.device = torch.device(device)
        self.torch_rng = torch.Generator(self.device).manual_seed(seed)
        self.noise = SmoothNoise(np.random.default_rng(seed), self.device)
        self.anatomy_of = ANATOMY_OF_CODE.to(self.device)
        self.is_air, self.is_brain, self.is_csf, self.is_fluid, self.is_white, self.is_deep, self.is_grey_fold = (
            torch.zeros(len(TISSUES), device=self.device).index_fill(0, torch.tensor(codes, device=self.device), 1)
            for codes in ([CODE["air"]], BRAIN, [CODE["csf"]], FLUID, WHITE, DEEP, FOLD)
        )

    # Draws

    def flair(self, whole_head: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """One FLAIR slice and its lesions: two (R, A) tensors.

        The slice is the brain alone over its median or, if asked for, mostly a whole head in the scanner's scale. The
        target is 1, 0, or ``UNKNOWN`` where the slice is a real one and its teacher was in doubt.
        """
        wanted = self.is_brain + self.is_csf
        while True:
            real = len(self.scans) > 0 and self.rng.random() < self.settings.real
            if whole_head:
                wanted = torch.ones_like(self.is_air) if real else 1 - self.is_air
            slab = self.lay_slab(wanted, self.scans if real else self.heads)
            brain = slab.mean(self.is_brain[slab.tissue])
            if (brain > 0.5).sum() * self.settings.pixel_mm**2 < 800:
                continue
            image, target = (self.real_slice if real else self.synthetic_slice)(slab)
            if not whole_head or self.rng.random() < 0.3:
                image = self.brain_only(image, brain)
            return image, target

    def synthetic_slice(self, slab: Slab) -> tuple[torch.Tensor, torch.Tensor]:
        """Picture and lesions of a slab through a label map: two (R, A) tensors."""
        infarct = self.grow_infarct(slab)
        lesion = self.grow_lesions(slab) * (infarct < -4)
        signal = self.show_infarct(self.flair_signal(slab, lesion), infarct)
        return self.acquire(slab.mean(signal)), (slab.mean(lesion) > self.settings.target_fraction).float()

    def real_slice(self, slab: Slab) -> tuple[torch.Tensor, torch.Tensor]:
        """Picture of a slab through a real scan with lesions pasted in, and all its lesions: two (R, A) tensors."""
        image, pasted, found = map(slab.mean, self.pasted_signal(slab))
        return self.acquire(image, REAL_NOISE), self.real_target(pasted, found)

    def pasted_signal(self, slab: Slab) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Signal of a real scan with lesions pasted in, these, and those that its teacher found: (N,) each."""
        s, u = self.settings, self.uniform
        image = interpolate(slab.head.image, slab.points)
        found = interpolate(slab.head.lesion, slab.points) / 255
        pasted = self.grow_lesions(slab) * (found < DOUBTED)
        core = max(u(*s.lesion_contrast), REAL_CORTEX * u(*s.above_cortex))
        texture = u(0, 0.08) * self.noise(slab.points, u(2, 6), self.rng)
        bright = torch.maximum(image, core * image.clamp(min=0.5) ** u(0, 0.7) * (1 + texture))
        return image * (1 - pasted) + bright * pasted, pasted, found

    def real_target(self, pasted: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
        """1, 0, or ``UNKNOWN`` where the teacher was in doubt, from the shares of ``pasted_signal``."""
        lesion = (pasted > self.settings.target_fraction) | (found > FOUND)
        return torch.where(~lesion & (found > DOUBTED), UNKNOWN, lesion.float())

    def anatomy(self) -> tuple[torch.Tensor, torch.Tensor]:
        """One head slice of any contrast scaled to about 0..1, and its anatomy: (R, A) float and (R, A) long.

        With ``beside_mm`` three slices, (3, R, A): it stands between those that lie about so far off.
        """
        while True:
            slab = self.lay_slab(1 - self.is_air, self.heads, beside_mm=self.settings.beside_mm)
            if self.is_brain[slab.tissue].sum() < 0.01 * slab.keep.numel():
                continue
            lesion, infarct = self.grow_lesions(slab), self.grow_infarct(slab)
            if self.rng.random() < 0.4:
                image, stripped = self.show_infarct(self.flair_signal(slab, lesion), infarct), 0.35
            else:
                family = self.rng.choice(list(FAMILIES), p=list(FAMILIES.values()))
                image = self.any_signal(slab, lesion, family)
                within = torch.sigmoid(infarct / self.uniform(0.5, 1.5))
                image = image * (1 - within) + within * self.uniform(0.1, 1.0)
                stripped = 0.8 if family == "ct" else 0.35  # in use a CT is what the skull encloses
            strip = self.rng.random() < stripped
            parts = slab.parts(3 if self.settings.beside_mm else 1)
            seen = []
            for part, signal in self.alike(zip(parts, image.split([len(p.tissue) for p in parts]), strict=True)):
                signal = self.strip_skull(signal, part) if strip else signal
                seen.append(self.acquire(part.mean(signal)))
            middle = parts[len(parts) // 2]
            labels = self.anatomy_of[middle.tissue]
            shares = [middle.mean((labels == label).float()) for label in range(1, len(ANATOMY))]
            shares.insert(0, 1 - sum(shares))
            return self.head_only(torch.stack(seen)).squeeze(0), torch.stack(shares).argmax(0)

    # Steps

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def alike(self, items: Iterable) -> Iterator:
        """The items, before each of which the same random numbers start anew: one scanner, one mask for all slices."""
        seed = int(self.rng.integers(2**31))
        for item in items:
            self.rng = np.random.default_rng(seed)
            yield item

    def lay_slab(self, wanted: torch.Tensor, heads: Sequence[Head], slices: int = 1, beside_mm: float = 0.0) -> Slab:
        """Lay a slab through one of ``heads`` and keep the points whose tissue is ``wanted`` (one flag per code).

        It is one slice, or several that touch, each of as many planes (``sample.by_slice``), or with ``beside_mm`` one
        between two that lie about so far off, as whole slices of the scan can.
        """
        s, rng = self.settings, self.rng
        head = heads[rng.integers(len(heads))]
        thickness = 1.0 if rng.random() < s.thin else self.uniform(*s.thickness_mm)
        if head.image is not None:  # its slices are thick already
            thickness = max(1.0, thickness / 2)
        planes = int(np.clip(round(thickness), 1, MAX_SUBSLICES)) * slices
        depths_mm = (np.arange(planes) - (planes - 1) / 2) * (thickness * slices / planes)
        if beside_mm:
            spacing = thickness * self.uniform(1.0, 1.2)
            away_mm = spacing * steps_beside(spacing, beside_mm)
            depths_mm = (depths_mm + np.array([[-away_mm], [0], [away_mm]])).ravel()
        low, high = head.brain_box[2]
        if rng.random() < s.low_slices:
            height = self.uniform(low - 4, high + 2)
        else:
            height = self.uniform(0.65 * low + 0.35 * high, high - 8)
        return self.deform(head, height, depths_mm, wanted)

    def deform(self, head: Head, height: float, depths_mm: np.ndarray, wanted: torch.Tensor) -> Slab:
        """Planes at ``depths_mm`` around voxel ``height`` through the head, turned, scaled, mirrored and warped."""
        s, rng = self.settings, self.rng
        (rows, columns), pixel = s.shape, s.pixel_mm
        grid = torch.meshgrid(
            torch.from_numpy(depths_mm.astype(np.float32)),
            (torch.arange(rows) - (rows - 1) / 2) * pixel,
            (torch.arange(columns) - (columns - 1) / 2) * pixel,
            indexing="ij",
        )
        offset = torch.stack([grid[1], grid[2], grid[0]]).to(self.device)
        warp = torch.from_numpy(rng.standard_normal((1, 3, 5, 6)).astype(np.float32)).to(self.device)
        warp = F.interpolate(warp, size=(rows, columns), mode="bicubic", align_corners=True)[0]
        offset = offset + warp[:, None] * self.uniform(0, 3.5)

        tilt = np.deg2rad(rng.normal(0, (9, 5, 7)))  # nodding most, as slices follow the skull base or the AC-PC line
        if head.image is not None:
            tilt[:2] = 0  # a real slice is only turned in its own plane
        rotation = np.eye(3)
        for axis, angle in enumerate(tilt):
            a, b = [i for i in range(3) if i != axis]
            turn = np.eye(3)
            turn[a, a] = turn[b, b] = np.cos(angle)
            turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
            rotation = rotation @ turn
        scale = np.diag(np.exp(rng.normal(0, s.size_sd, 3)) * np.array([rng.choice((-1, 1)), 1, 1]))
        matrix = torch.from_numpy((rotation @ scale).astype(np.float32)).to(self.device)
        centre = head.centre + torch.tensor([self.uniform(-10, 10), self.uniform(-12, 12), 0])
        centre[2] = height
        points = matrix @ offset.reshape(3, -1) + centre.to(self.device)[:, None]
        tissue = sample(head.tissue, points).long()
        keep = wanted[tissue] > 0
        return Slab(head, points[:, keep], tissue[keep], keep.reshape(len(depths_mm), rows, columns))

    def grow_lesions(self, slab: Slab) -> torch.Tensor:
        """Share of each point that is lesion, 0..1, (N,): a union of implicit functions (mm inside the outline)."""
        rng, priors = self.rng, self.settings.priors
        head, points, tissue = slab.head, slab.points, slab.tissue
        depth = torch.full(tissue.shape, -9.0, device=self.device)
        if rng.random() < self.settings.healthy:
            return torch.zeros_like(depth)
        ventricle = sample(head.ventricle_mm, points).float() * STEP_MM
        cortex = sample(head.cortex_mm, points).float() * STEP_MM
        allowed = self.is_white[tissue] * (cortex > self.uniform(0.5, 4.5))  # short fibres are mostly spared
        if rng.random() < priors["halo"]:
            # A halo around the ventricles whose reach wanders, thicker at the horns: caps, bands, grade 3 extensions.
            reach = np.exp(rng.normal(*self.settings.reach))
            (front, back), middle = head.brain_box[1], head.centre[1]
            horn = ((points[1] - middle).abs() / (0.5 * (back - front)) * 2).clamp(0, 1)
            wander = 1 + self.uniform(0.2, 1.0) * self.noise(points, self.uniform(6, 14), rng)
            depth = torch.maximum(depth, reach * wander * (0.55 + self.uniform(0.3, 1.3) * horn) - ventricle)
        if rng.random() < priors["confluent"]:
            rough = self.uniform(0.2, 0.6)
            length = self.uniform(5, 11)
            texture = (1 - rough) * self.noise(points, length, rng) + rough * self.noise(points, length / 2.5, rng)
            level = self.uniform(0.5, 1.5) + self.uniform(0.01, 0.08) * ventricle
            depth = torch.maximum(depth, (texture - level) * length)
        if rng.random() < priors["punctate"]:
            length = self.uniform(1.5, 3.5)
            depth = torch.maximum(depth, (self.noise(points, length, rng) - self.uniform(1.9, 3.0)) * length)
        if head.image is None and rng.random() < priors["map"]:
            depth = torch.maximum(depth, (sample(head.lesion, points).float() / 255 - 0.5) * 3)
        if self.shapes and rng.random() < priors["shape"]:
            found = sample(self.shapes[rng.integers(len(self.shapes))], self.to_shape_space(head, points))
            depth = torch.maximum(depth, (found.float() / 255 - 0.5) * 3 + self.uniform(-0.4, 0.6))
            if rng.random() < 0.5:  # leukocortical and juxtacortical lesions do exist
                juxtacortical = (tissue == CODE["cortex"]) * (found > 127)
                allowed = torch.maximum(allowed, juxtacortical.float())
        return torch.sigmoid(depth / self.uniform(*self.settings.edge_mm)) * allowed

    def grow_infarct(self, slab: Slab) -> torch.Tensor:
        """How far each point lies inside an infarct of the cortex and what is under it, mm; -9 in most slabs: (N,)."""
        depth = torch.full(slab.tissue.shape, -9.0, device=self.device)
        cortex = (slab.tissue == CODE["cortex"]).nonzero()
        if self.rng.random() < 1 - self.settings.infarct or not len(cortex):
            return depth
        centre = slab.points[:, cortex[self.rng.integers(len(cortex))]]
        radius = self.uniform(6, 32)
        away = lengths((slab.points - centre) * torch.tensor(self.rng.uniform(0.7, 1.4, (3, 1)), device=self.device))
        ragged = radius * (1 + self.uniform(0.1, 0.4) * self.noise(slab.points, self.uniform(5, 12), self.rng))
        return (ragged - away).float()

    def show_infarct(self, image: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        """Fresh: bright throughout. Old: a cavity with a bright rim. Neither is white matter hyperintensity: (N,)."""
        if depth.max() < 0:
            return image
        u = self.uniform
        inside, bright = torch.sigmoid(depth / u(0.5, 1.5)), u(1.1, 1.9)
        if self.rng.random() < 0.35:
            return image * (1 - inside) + inside * image.clamp(min=0.6) * bright
        rim = u(1, 6)
        cavity = torch.sigmoid((depth - rim) / u(0.5, 1.5))
        image = image * (1 - inside) + inside * bright * u(0.85, 1.1)
        return image * (1 - cavity) + cavity * u(0.1, 0.6)

    def to_shape_space(self, head: Head, points: torch.Tensor) -> torch.Tensor:
        """Carry points of a head into the space of the lesion shapes, brain box to brain box, with some play."""
        result = []
        for axis in range(3):
            (a, b), (u, v) = head.brain_box[axis], self.shape_box[axis]
            ratio = (v - u) / (b - a) * np.exp(self.rng.normal(0, 0.06))
            result.append((points[axis] - (a + b) / 2) * ratio + (u + v) / 2 + self.rng.normal(0, 3))
        return torch.stack(result)

    def eccentricity(self, head: Head, points: torch.Tensor) -> torch.Tensor:
        """0 in the middle of the brain, about 1 on its surface: the radius in an ellipsoid that fits its box."""
        half = torch.tensor([(b - a) / 2 for a, b in head.brain_box])
        return lengths((points - head.centre.to(self.device)[:, None]) / half.to(self.device)[:, None])

    def pulled_in(self, head: Head, points: torch.Tensor) -> torch.Tensor:
        """Points moved outwards from the middle of the head, so that what is sampled there appears further inside."""
        centre = head.centre.to(self.device)[:, None]
        outward = torch.tensor([self.uniform(1.1, 1.4), self.uniform(1.05, 1.25), self.uniform(1.0, 1.2)])
        return centre + (points - centre) * outward.to(self.device)[:, None]

    def flair_signal(self, slab: Slab, lesion: torch.Tensor) -> torch.Tensor:
        """Signal of a FLAIR with white matter at 1: (N,)."""
        s, rng, u = self.settings, self.rng, self.uniform
        head, points, tissue = slab.head, slab.points, slab.tissue
        csf, cortex = u(0.08, 0.5), u(*s.cortex)
        mean = dict.fromkeys(TISSUES, 0.0)
        mean.update(
            white_matter=1.0,
            lesion=1.0,
            vessel=u(0.5, 1.1),
            cortex=cortex,
            lateral_ventricle=csf * u(0.7, 1.1),
            third_ventricle=csf * u(0.7, 1.3),
            fourth_ventricle=csf * u(0.7, 1.6),
            csf=csf,
            thalamus=u(0.95, 1.2),
            caudate=cortex * u(0.9, 1.1),
            putamen=cortex * u(0.8, 1.05),
            pallidum=u(0.65, 1.05),
            hippocampus=cortex * u(0.95, 1.15),
            ventral_diencephalon=u(0.85, 1.2),
            brain_stem=u(0.9, 1.2),
            cerebellar_white_matter=u(0.9, 1.1),
            cerebellar_cortex=cortex * u(0.85, 1.05),
            choroid_plexus=u(0.4, 1.9),
            septum=u(0.9, 1.45),
            artery=u(0.0, 1.2),
            eye=u(0.05, 0.6),
            soft_tissue=u(0.2, 1.0),
            mucosa=u(0.6, 1.8),
            skin=u(0.2, 2.0),
            bone=u(0.0, 0.3),
            marrow=u(0.05, 1.5),
        )
        image = torch.tensor(list(mean.values()), device=self.device)[tissue]
        # Normal white matter is not flat: fibre tracts and myelin make broad, weak waves; cortex is brighter at
        # the insula and the limbic lobe.
        image = image * (1 + u(0, 0.05) * self.noise(points, u(6, 16), rng))
        is_cortex = tissue == CODE["cortex"]
        if rng.random() < 0.7:  # the thin ribbon shares its voxels with fluid: only thick, folded grey is fully bright
            image = image + is_cortex * (cortex - 1) * u(-s.ribbon, 0)
        image = image * (1 + is_cortex * u(0, 0.13) * self.noise(points, u(8, 16), rng))
        to_cortex = sample(head.cortex_mm, points).float() * STEP_MM
        ventricle = sample(head.ventricle_mm, points).float() * STEP_MM
        white = self.is_white[tissue]
        if rng.random() < 0.75:  # closed sulci: the maps have fluid in every sulcus, but many real ones show none
            closed = torch.sigmoid(3 * (self.noise(points, u(6, 16), rng) - u(-2.5, 1.0)))
            if rng.random() < 0.5:  # their deep ends first
                closed = torch.maximum(closed, torch.sigmoid(20 * (u(0.6, 1.0) - self.eccentricity(head, points))))
            closed = closed * u(0.5, 1.05)
            image = image + self.is_csf[tissue] * closed * (cortex - csf)
        if rng.random() < s.folds:  # folds of cortex reach deeper than in the maps: islands and ribbons in white matter
            where = torch.sigmoid(4 * (self.noise(points, u(8, 16), rng) - u(-0.8, 1.0)))
            folds = self.is_grey_fold[sample(head.tissue, self.pulled_in(head, points)).long()]
            folds = folds * where * torch.sigmoid((ventricle - u(3, 9)) / 1.5) * u(0.6, 1.1)
            image = image + white * folds * (cortex - 1)
        if rng.random() < 0.6:  # grey fades into white matter: short fibres, and folds cut at a slant
            image = image + white * (cortex - 1) * u(0.2, 1.0) * torch.exp(-to_cortex / u(0.6, 2.5))
        if rng.random() < 0.4:  # claustrum and thin folds of cortex: sheets of grey in white matter, near the cortex
            near = torch.exp(-(((to_cortex - 3) / 1.5) ** 2))
            sheet = torch.exp(-((self.noise(points, u(4, 9), rng) / u(0.05, 0.2)) ** 2))
            image = image + white * near * sheet * (cortex - 1) * u(0.4, 1.1)
        if rng.random() < 0.3:  # tracts: streaks of white matter a little brighter than the rest
            streak = torch.exp(-((self.noise(points, u(6, 14), rng) / u(0.1, 0.3)) ** 2))
            image = image + white * streak * u(0, 0.16)
        if rng.random() < 0.4:  # periaqueductal grey, tegmentum, hippocampus and vermis are unevenly bright
            patches = torch.sigmoid(3 * (self.noise(points, u(3, 8), rng) - u(0.3, 1.2)))
            image = image * (1 + self.is_deep[tissue] * patches * u(0, 0.35))
        if rng.random() < 0.6:  # the ependymal lining, pencil-thin: bright in the healthy, not counted as lesion
            image = image + white * torch.exp(-((ventricle / u(0.6, 1.3)) ** 2)) * u(0, 0.35)
        fluid = self.is_fluid[tissue]
        if rng.random() < 0.35:  # inflow of unsaturated fluid: bright patches in cisterns, faint in the ventricles
            flow = ((self.noise(points, u(3, 9), rng) - u(0.6, 1.8)) * 1.5).clamp(0, 1)
            lateral = tissue == CODE["lateral_ventricle"]
            image = image + fluid * flow * u(0.2, 1.3) * (1 - lateral * u(0.6, 1.0))
        if rng.random() < 0.4:  # choroid plexus beyond its label: clumps that hang in the lateral ventricles
            clumps = torch.sigmoid(4 * (self.noise(points, u(2.5, 6), rng) - u(0.9, 2.2)))
            image = image + (tissue == CODE["lateral_ventricle"]) * clumps * u(0.3, 1.7)
        if rng.random() < 0.4:  # pallor around and between lesions, below what readers outline
            image = image + white * u(0.02, 0.14) * torch.sigmoid(2 * self.noise(points, u(5, 12), rng) - ventricle / 6)
        if rng.random() < 0.3:  # perivascular spaces and small cavities: dark dots in white matter
            dots = torch.sigmoid((self.noise(points, u(1.2, 2.5), rng) - u(2.2, 3.0)) * 6)
            image = image * (1 - white * dots * u(0.2, 0.7))
        if rng.random() < 0.2:  # lacunes: 3 to 15 mm of fluid, most with a thin bright rim (STRIVE-2)
            length = u(2, 5)
            depth = (self.noise(points, length, rng) - u(2.2, 3.0)) * length
            home = torch.maximum(white, (image > 0.5) * (to_cortex > 6))
            image = image + home * u(0, 0.6) * torch.exp(-(((depth + 0.5) / u(0.5, 1.0)) ** 2))
            cavity = home * torch.sigmoid(depth / 0.4)
            image = image * (1 - cavity) + csf * u(0.8, 1.6) * cavity
        core = max(u(*s.lesion_contrast), cortex * u(*s.above_cortex))
        texture = u(0, 0.1) * self.noise(points, u(2, 6), rng) + u(0, 0.12) * self.noise(points, u(8, 14), rng)
        bright = core + (core - 1) * (2 * texture).clamp(min=-0.5)
        if rng.random() < 0.12:  # a cavity inside a large lesion
            cavity = torch.sigmoid((self.noise(points, u(2, 4), rng) - u(1.2, 2.2)) * 5)
            bright = bright * (1 - cavity) + csf * cavity
        image = image * (1 - lesion) + bright * lesion
        spread = torch.full((len(TISSUES),), u(0.01, 0.06), device=self.device)
        spread[HEAD] = u(0.05, 0.4)
        return image + torch.randn(tissue.shape, generator=self.torch_rng, device=self.device) * spread[tissue]

    def any_signal(self, slab: Slab, lesion: torch.Tensor, family: str) -> torch.Tensor:
        """Signal of t1, t2star, ct or of no sequence at all (random), as anatomy must not depend on contrast: (N,)."""
        rng, u = self.rng, self.uniform
        points, tissue = slab.points, slab.tissue
        mean = {name: u(0.05, 1.0) for name in TISSUES}
        mean["air"] = u(0, 0.1)
        white, grey, fluid = {
            "t1": (u(0.75, 1.0), u(0.5, 0.75), u(0.1, 0.35)),
            "t2star": (u(0.5, 0.7), u(0.55, 0.8), u(0.5, 1.0)),
            "ct": (u(0.40, 0.48), u(0.46, 0.56), u(0.1, 0.25)),
            "random": (u(0.1, 1), u(0.1, 1), u(0.05, 1)),
        }[family]
        for name, row in TISSUES.items():
            base = {
                "white_matter": white, "brain_stem": white, "cortex": grey, "cerebellum": grey, "deep_grey": grey,
                "csf": fluid, "lateral_ventricles": fluid, "third_ventricle": fluid, "fourth_ventricle": fluid,
            }.get(row["anatomy"])  # fmt: skip
            if base is not None:
                mean[name] = base * u(0.93, 1.07)
        mean["cerebellar_white_matter"] = white * u(0.93, 1.07)
        mean["pallidum"] = u(min(white, grey), max(white, grey)) * u(0.6 if family == "t2star" else 0.9, 1.05)
        mean["thalamus"] = u(min(white, grey), max(white, grey))
        mean["choroid_plexus"] = u(min(fluid, grey), max(fluid, grey))
        if family == "ct":
            mean.update(bone=1.0, marrow=u(0.8, 1.0), skin=u(0, 0.6), soft_tissue=u(0, 0.7), air=0.0)
        elif family == "t1":
            mean.update(bone=u(0, 0.2), marrow=u(0.1, 1.0), skin=u(0.5, 1.3))
        image = torch.tensor(list(mean.values()), device=self.device)[tissue]
        image = image * (1 + u(0, 0.06) * self.noise(points, u(5, 16), rng))
        if family == "ct":  # 5 to 15 HU below white matter, which is about 20 above fluid
            image = image + lesion * u(0.2, 0.8) * (fluid - white)
        else:
            image = image * (1 + lesion * (-u(0, 0.25) if family == "t1" else u(-0.3, 0.5)))
        spread = torch.full((len(TISSUES),), u(0.01, 0.08), device=self.device)
        spread[HEAD] = u(0.03, 0.25)
        return image + torch.randn(tissue.shape, generator=self.torch_rng, device=self.device) * spread[tissue]

    def strip_skull(self, image: torch.Tensor, slab: Slab) -> torch.Tensor:
        """What skull-stripping tools leave: the brain, and its outer fluid wholly, partly or not at all."""
        brain = self.is_brain[slab.tissue]
        near = blur(slab.mean(brain), self.uniform(0.5, 2.5)) > self.uniform(0.1, 0.6)
        kept_fluid = near.expand(slab.keep.shape)[slab.keep] * self.is_csf[slab.tissue]
        return image * torch.maximum(brain, kept_fluid)

    def acquire(self, image: torch.Tensor, noise: float = 1.0) -> torch.Tensor:
        """What the scanner and its software do to a slice (R, A); ``noise`` is a factor on its level."""
        rng, u = self.rng, self.uniform
        pixel = self.settings.pixel_mm
        image = blur(image, u(*self.settings.blur_mm) / pixel)
        if rng.random() < self.settings.coarse:  # in-plane matrix
            image = blur(image, u(0.8, 1.4) / pixel)
        if rng.random() < 0.2:  # edge enhancement of the console
            image = (image + u(0.2, 0.8) * (image - blur(image, 1.2))).clamp(min=0)
        low = torch.from_numpy(rng.standard_normal((1, 1, 4, 4)).astype(np.float32)).to(self.device)
        field = F.interpolate(low, size=image.shape, mode="bicubic", align_corners=True)[0, 0]
        image = image * torch.exp(u(0, 0.14) * field)
        if rng.random() < 0.12:  # motion: a weak displaced copy along one axis
            image = image + u(0.02, 0.12) * torch.roll(image, int(rng.integers(5, 40)), int(rng.integers(2)))
        level = noise * (u(0.0, 0.07) if rng.random() < 0.8 else u(0.05, 0.12))
        real, imaginary = (
            torch.randn(image.shape, generator=self.torch_rng, device=self.device) * level for _ in range(2)
        )
        if rng.random() < self.settings.grainy:  # interpolated matrices and filters of the console correlate the noise
            length = u(*self.settings.grain)
            real, imaginary = (blur(n, length) * (3.3 * length) for n in (real, imaginary))
        return torch.sqrt((image + real) ** 2 + imaginary**2)

    def brain_only(self, image: torch.Tensor, brain: torch.Tensor, level: torch.Tensor | None = None) -> torch.Tensor:
        """The network's view: divided by the brain median, a random gamma, zero outside an imperfect brain mask.

        ``level`` is the median to take, if it is not that of this slice.
        """
        level = image[brain > 0.5].median() if level is None else level
        image = (image / level.clamp(min=1e-3)).clamp(0, 4) ** np.exp(self.rng.normal(0, 0.18))
        image = image * np.exp(self.rng.normal(0, 0.04))
        if self.rng.random() < 0.25:  # scalp, meninges or orbit that an imperfect mask lets in
            scalp = torch.from_numpy(self.rng.standard_normal((1, 1, 12, 14)).astype(np.float32)).to(self.device)
            scalp = F.interpolate(scalp, size=image.shape, mode="bicubic", align_corners=True)[0, 0].clamp(0, 2)
            image = image + (brain == 0) * scalp * self.uniform(0.3, 1.2)
        if self.rng.random() < 0.3:
            keep = brain > self.uniform(0.3, 0.7)
        else:
            keep = blur((brain > 0.5).float(), self.uniform(1.5, 4)) > self.uniform(0.15, 0.5)
        return image * keep

    def head_only(self, image: torch.Tensor) -> torch.Tensor:
        """The anatomy network's view of one slice or several, with the play that whole volumes and odd slices bring."""
        image = foreground_scaled(image) * float(np.exp(self.rng.normal(0, 0.25)))
        return image ** float(np.exp(self.rng.normal(0, 0.2)))
