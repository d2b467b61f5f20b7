"""The knobs that strategies share: types, ranges and meanings, which `strategy.build` enforces."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]

ForgetWeight = Annotated[Weight, Field(description="what the forget term weighs beside the retain term")]
NoiseRate = Annotated[Fraction, Field(description="fraction of a forget scan's voxels that get a random class")]
Noise = Annotated[
    Literal["uniform", "gaussian"],
    Field(description="random classes: each as often, or of the mean and spread that the scan's class numbers have"),
]
Level = Annotated[
    Positive, Field(description="nats a voxel by which a forget scan's loss rises above the baseline's")
]
Resample = Annotated[
    Literal["never", "epoch", "step"],
    BeforeValidator(lambda value: ("never", "epoch")[value] if isinstance(value, bool) else value),  # until 0.1
    Field(description="when what the forget batch is taught is drawn anew: never, in every epoch or in every step"),
]
Ceiling = Annotated[Positive, Field(description="loss from which on nothing more is gained")]
Temperature = Annotated[Positive, Field(description="divides both logits of a divergence")]
Stages = Annotated[
    int, Field(ge=1, le=6, description="that move: 1 for the decoder, 2 for layer4 too, ... 6 for all")
]
NoiseImage = Annotated[
    Literal["normal", "uniform", "constant"], Field(description="of mean 0 and variance 1, but for the constant: 0")
]
