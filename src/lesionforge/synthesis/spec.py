"""One sampled synthetic subject: everything that chance decided, frozen and saved."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from lesionforge.errors import DataError
from lesionforge.lesions.spec import LesionSpec
from lesionforge.synthesis.artifacts import ArtifactSpec
from lesionforge.synthesis.config import Mode
from lesionforge.synthesis.warp import WarpSpec


@dataclass(frozen=True)
class CarveSpec:
    """What is copied into a host, and how much around it.

    Attributes:
        region: id of the real patient whose lesion gives the shape and the place.
        donor: id of the real subject whose tissue is copied: the same patient, or for a control
            another control, so that the marks of copying tell no label.
        flip: whether both are mirrored left to right first.
        margin: how far beyond the lesion's border tissue is copied, in inradii of the lesion; below
            0 an inner part of the lesion is copied alone.
    """

    region: str
    donor: str
    flip: bool
    margin: float


@dataclass(frozen=True)
class SynthesisSpec:
    """One drawn synthetic subject; replaying it gives the same voxels.

    Attributes:
        mode: `insert`, `whole` or `paste`.
        group: `patient` or `control`; a control's lesion is a null one and is not labelled.
        host: id of the real subject whose anatomy is used.
        attempt: how many draws before this one were rejected.
        warp: how the host is mirrored or bent.
        lesion: the lesion; None for a control in mode `whole`.
        styles: ids of the real subjects whose style codes are mixed.
        style_weights: their weights; they sum to 1.
        noise_seed: of the generator's noise with the lesion.
        null_noise_seed: of its noise without.
        carve: paste: what is copied; None in the other modes.
        artifact: what is spoilt on purpose, in controls alone; None in most.
    """

    mode: Mode
    group: Literal["patient", "control"]
    host: str
    attempt: int
    warp: WarpSpec
    lesion: LesionSpec | None
    styles: tuple[str, ...]
    style_weights: tuple[float, ...]
    noise_seed: int
    null_noise_seed: int
    carve: "CarveSpec | None" = None
    artifact: ArtifactSpec | None = None

    def __post_init__(self) -> None:
        """Refuse a artifact where a lesion is.

        Raises:
            DataError: a patient has a artifact.
        """
        if self.artifact is not None and self.group == "patient":
            raise DataError("Artifacts are for controls, so that they mark no lesion.")

    @property
    def shows(self) -> bool:
        """Whether a lesion is to be seen at `lesion`."""
        return self.group == "patient"

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON-able values; `from_json` gives the same spec back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "SynthesisSpec":
        """Make a spec from `to_json`'s values or from what JSON made of them.

        Raises:
            DataError: a field is missing or unknown.
        """
        try:
            warp = WarpSpec(**values["warp"])
            lesion = values["lesion"] and LesionSpec.from_json(values["lesion"])
            carve = values.get("carve") and CarveSpec(**values["carve"])
            artifact = values.get("artifact") and ArtifactSpec.from_json(values["artifact"])
            known = {"warp": warp, "lesion": lesion, "carve": carve, "artifact": artifact}
            spec = cls(**{**values, **known})
        except (KeyError, TypeError) as error:
            raise DataError(
                f"This is no synthesis spec ({error}). Synthesize the set again."
            ) from None
        (a, b, c), (x, y, z) = warp.scaling, warp.rotation_deg
        warp = dataclasses.replace(warp, scaling=(a, b, c), rotation_deg=(x, y, z))
        return dataclasses.replace(
            spec, warp=warp, styles=tuple(spec.styles), style_weights=tuple(spec.style_weights)
        )
