"""The families of Keras Applications, by the names in a configuration, with the scale and the size
of the pictures that they were made for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.serving.signature import Scale


@dataclass(frozen=True, slots=True)
class Family:
    """A family. name: of people. models: matches the names of its models. layers: matches the name
    of a layer that no other family has."""

    name: str
    scale: Scale
    size: int
    models: re.Pattern[str]
    layers: re.Pattern[str] | None = None


def _family(name: str, scale: Scale, size: int, models: str, layers: str | None = None) -> Family:
    return Family(
        name, scale, size, re.compile(models, re.IGNORECASE), re.compile(layers) if layers else None
    )


# The scales are those of each module's `preprocess_input`, of which some leave the pixels alone:
# their models scale them. In the order in which names are tried.
FAMILIES = (
    _family("InceptionResNetV2", "-1..1", 299, r"inception_?resnet_?v2", r"block35_1_conv"),
    _family("InceptionV3", "-1..1", 299, r"inception_?v3", r"mixed10"),
    _family("Xception", "-1..1", 299, r"(?<!mini_)xception", r"block14_sepconv2"),
    _family("MobileNetV3", "none", 224, r"mobilenet_?v3"),
    _family("MobileNetV2", "-1..1", 224, r"mobilenet_?v2", r"block_1_expand_BN"),
    _family("MobileNet", "-1..1", 224, r"mobilenet", r"conv_dw_1(_bn)?"),
    _family("NASNet", "-1..1", 224, r"nasnet", r"stem_bn1"),
    _family("DenseNet", "torch", 224, r"densenet", r"conv2_block1_concat"),
    _family("ResNetV2", "-1..1", 224, r"resnet\d+_?v2", r"conv2_block1_preact_bn"),
    _family("ResNet", "caffe", 224, r"resnet_?(50|101|152)", r"conv2_block1_1_conv|res2a_branch2a"),
    _family("VGG19", "caffe", 224, r"vgg_?19", r"block5_conv4"),
    _family("VGG16", "caffe", 224, r"vgg_?16", r"block5_conv3"),
    _family("EfficientNetV2", "none", 224, r"efficientnet_?v2"),
    _family("EfficientNet", "none", 224, r"efficientnet", r"block2a_expand_conv"),
    _family("ConvNeXt", "none", 224, r"convnext"),
)


def seems_exported(model: Any) -> bool:
    """Tell whether a model is built as Google's Teachable Machine builds them: a backbone and a
    head, each a model, for pictures of 224x224, whose last layer has no bias.

    https://github.com/googlecreativelab/teachablemachine-community, libraries/image
    """
    layers = getattr(model, "layers", [])
    if len(layers) != 2 or not all(hasattr(layer, "layers") for layer in layers):
        return False
    last = layers[1].layers[-1:]
    return model.input_shape[1:] == (224, 224, 3) and all(
        getattr(layer, "use_bias", True) is False for layer in last
    )


def family_of(names: Iterable[str]) -> Family | None:
    """Find the family that the names of a model, of the models in it and of its layers show."""
    names = list(dict.fromkeys(names))
    for family in FAMILIES:
        if any(family.models.search(name) for name in names):
            return family
    for family in FAMILIES:
        if family.layers is not None and any(family.layers.fullmatch(name) for name in names):
            return family
    return None
