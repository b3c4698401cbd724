"""What Keras models show of the pictures that they were trained on."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from app.serving.pixels import CAFFE_MEAN_BGR, TORCH_MEAN_RGB, scaled
from app.serving.reading.picture_scale.evidence import picture_evidence
from app.serving.reading.picture_scale.families import FAMILIES, family_of
from app.serving.signature import Order, PictureEvidence, Scale, TensorSpec

Array = NDArray[Any]
both = pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "keras2"])


def evidence(model: Any, *inputs: str) -> dict[str, PictureEvidence]:
    specs = [
        TensorSpec(
            name,
            f"{name}:0",
            tensor.dtype if isinstance(tensor.dtype, str) else tensor.dtype.name,
            tuple(tensor.shape),
        )
        for name, tensor in zip(inputs or ("x",), model.inputs, strict=True)
    ]

    def call(tensors: list[Any]) -> Any:
        return model(tensors if len(tensors) > 1 else tensors[0], training=False)

    return picture_evidence(model, call, specs)


def classifier(library: Any, begin: Callable[[Any], Any], shape: Any = (32, 32, 3)) -> Any:
    """A model that begins with these operations, with random weights."""
    x = library.Input(shape)
    y = library.layers.Conv2D(4, 3)(begin(x))
    y = library.layers.GlobalAveragePooling2D()(y)
    return library.Model(x, library.layers.Dense(3, activation="softmax")(y))


def preprocessed(library: Any, name: str) -> Callable[[Any], Any]:
    found: Callable[[Any], Any] = getattr(library.applications, name).preprocess_input
    return found


# --- arithmetic -----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("begin", "scale", "order"),
    [
        (lambda lib: lib.layers.Rescaling(1 / 255), "none", None),
        (lambda lib: lib.layers.Rescaling(1 / 127.5, -1), "none", None),
        (lambda lib: lib.layers.Rescaling(1 / 128, -1), "none", None),
        (lambda lib: lib.layers.Rescaling(2, -1), "0..1", None),
        (lambda lib: lib.layers.Rescaling(0.5, 0.5), "-1..1", None),
        (lambda lib: lib.layers.Rescaling(255), "0..1", None),
        (lambda lib: lambda x: x / 255.0, "none", None),
        (lambda lib: lambda x: x / 127.5 - 1.0, "none", None),
        (lambda lib: lambda x: (x - 127.5) / 127.5, "none", None),
        (lambda lib: lambda x: x - 0.5, "0..1", None),
        (lambda lib: lambda x: x - 120.0, "none", None),
        (lambda lib: preprocessed(lib, "mobilenet_v2"), "none", None),
        (lambda lib: preprocessed(lib, "vgg16"), "none", "rgb"),
        (lambda lib: preprocessed(lib, "densenet"), "none", "rgb"),
        (lambda lib: lambda x: x - tf.constant(CAFFE_MEAN_BGR), "none", "bgr"),
        (lambda lib: lambda x: x[..., ::-1] - tf.constant(CAFFE_MEAN_BGR), "none", "rgb"),
        (lambda lib: lambda x: x / 255.0 - tf.constant(TORCH_MEAN_RGB), "none", "rgb"),
        (lambda lib: lambda x: x - tf.constant(TORCH_MEAN_RGB), "0..1", "rgb"),
        (lambda lib: lib.layers.Normalization(mean=[120.0] * 3, variance=[4000.0] * 3),
         "none", None),
        (lambda lib: lib.layers.Normalization(mean=[0.45] * 3, variance=[0.06] * 3),
         "0..1", None),
        (lambda lib: lib.layers.Normalization(mean=[-0.1] * 3, variance=[0.3] * 3),
         "-1..1", None),
    ],
)  # fmt: skip
def test_arithmetic_is_read_by_its_effect(
    library: Any, begin: Any, scale: Scale, order: Order | None
) -> None:
    found = evidence(classifier(library, begin(library)))["x"]
    assert (found.scale, found.proven, found.order) == (scale, True, order)
    assert scale not in found.others
    assert {scale, *found.others} == set(get_args(Scale))


@both
@pytest.mark.parametrize(
    "begin",
    [
        lambda lib: lambda x: x,
        lambda lib: lib.layers.RandomFlip(),
        lambda lib: lib.layers.ZeroPadding2D(),
        lambda lib: lib.layers.Resizing(16, 16),
        lambda lib: lambda x: x[..., ::-1],
        lambda lib: lib.layers.GaussianNoise(0.1),
    ],
)
def test_what_leaves_the_pixels_alone_shows_nothing(library: Any, begin: Any) -> None:
    found = evidence(classifier(library, begin(library)))["x"]
    assert (found.scale, found.proven, found.order) == ("0..1", False, None)
    assert set(found.others) == {"-1..1", "none", "caffe", "torch"}


@both
def test_arithmetic_that_no_scale_explains_is_a_guess(library: Any) -> None:
    found = evidence(classifier(library, library.layers.Rescaling(10, 3)))["x"]
    assert (found.scale, found.proven) == ("none", False)
    assert "arithmetic" in found.reason


@both
@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (28, 28, 3), (28, 28, 4)])
def test_arithmetic_before_flatten_in_a_model_in_a_model(library: Any, shape: Any) -> None:
    layers = library.layers
    inner = library.Sequential([layers.Input(shape), layers.Rescaling(1 / 255), layers.Flatten()])
    model = library.Sequential([layers.Input(shape), inner, layers.Dense(10)])
    found = evidence(model)["x"]
    assert (found.scale, found.proven) == ("none", True)
    assert len(found.others) == (4 if shape[2:] == (3,) else 2)


@both
def test_inputs_are_told_apart(library: Any) -> None:
    """Two pictures of different scales, and a table."""
    layers = library.layers
    left, right, table = library.Input((32, 32, 3)), library.Input((16, 16, 1)), library.Input((4,))

    def branch(x: Any) -> Any:
        return layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(x))

    joined = layers.Concatenate()(
        [
            branch(layers.Rescaling(1 / 255)(left)),
            branch(layers.Rescaling(2, -1)(right)),
            layers.Dense(4)(table),
        ]
    )
    model = library.Model([left, right, table], layers.Dense(1)(joined))
    found = evidence(model, "left", "right", "table")
    assert {name: (e.scale, e.proven) for name, e in found.items()} == {
        "left": ("none", True),
        "right": ("0..1", True),
    }


# --- which inputs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype", "is_picture"),
    [
        ((None, None, 3), "float32", True),
        ((None, None, 1), "float32", True),
        ((32, 32, 4), "float16", True),
        ((32, 32, 3), "uint8", True),
        ((32, 32, 2), "float32", False),
        ((32, 32, 3), "int32", False),
        ((28, 28), "float32", True),
        ((50, 7), "float32", False),
        ((100, 20), "float32", False),
        ((7,), "float32", False),
        ((4, 32, 32, 3), "float32", False),
    ],
)
def test_inputs_in_the_shape_of_a_picture(shape: Any, dtype: str, is_picture: bool) -> None:
    x = keras.Input(shape, dtype=dtype)
    model = keras.Model(x, keras.layers.Identity()(x))
    assert ("x" in evidence(model)) == is_picture


def test_whole_numbers_are_pixels_as_they_are() -> None:
    x = keras.Input((8, 8, 3), dtype="uint8")
    y = keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(x)))
    found = evidence(keras.Model(x, y))["x"]
    assert (found.scale, found.proven) == ("none", True)


@pytest.mark.parametrize("layer", [keras.layers.LSTM(4), keras.layers.Conv1D(4, 3)])
def test_rows_of_rows_of_a_model_for_series_are_none(layer: Any) -> None:
    x = keras.Input((28, 28))
    assert evidence(keras.Model(x, keras.layers.Dense(2)(layer(x)))) == {}


def test_a_layer_that_fails_makes_it_a_guess() -> None:
    model = classifier(keras, lambda x: x)

    def call(tensors: list[Any]) -> Any:
        raise ValueError("no kernel")

    found = picture_evidence(model, call, [TensorSpec("x", "x:0", "float32", (None, 32, 32, 3))])
    assert (found["x"].scale, found["x"].proven) == ("0..1", False)


def test_the_model_is_the_same_afterwards() -> None:
    model = classifier(keras, keras.layers.Rescaling(1 / 255))
    rows = np.ones((1, 32, 32, 3), np.float32)
    before = model(rows)
    evidence(model)
    assert not any("call" in vars(layer) for layer in model._flatten_layers())
    assert np.array_equal(model(rows), before)


# --- families -------------------------------------------------------------------------------------

MODELS = {
    "MobileNet": "MobileNet",
    "MobileNetV2": "MobileNetV2",
    "MobileNetV3Small": "MobileNetV3",
    "VGG16": "VGG16",
    "VGG19": "VGG19",
    "ResNet50": "ResNet",
    "ResNet50V2": "ResNetV2",
    "DenseNet121": "DenseNet",
    "EfficientNetB0": "EfficientNet",
    "EfficientNetV2B0": "EfficientNetV2",
    "InceptionV3": "InceptionV3",
    "InceptionResNetV2": "InceptionResNetV2",
    "Xception": "Xception",
    "NASNetMobile": "NASNet",
    "ConvNeXtTiny": "ConvNeXt",
}
# Those whose layers have names that are theirs alone.
BY_LAYERS = [f.name for f in FAMILIES if f.layers is not None]
# Hundreds of layers, which Keras makes in seconds.
LARGE = ("DenseNet121", "EfficientNetV2B0", "InceptionResNetV2", "NASNetMobile")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in MODELS]
)
def test_a_family_is_known_by_the_names_in_a_file(name: str) -> None:
    """With the scale that its `preprocess_input` makes, as Keras itself has it."""
    model = getattr(keras.applications, name)(weights=None)
    family = family_of([model.name])
    assert family is not None
    assert family.name == MODELS[name]
    module = importlib.import_module(getattr(keras.applications, name).__module__)
    white = module.preprocess_input(np.full((1, 1, 1, 3), 255.0, np.float32))
    wanted = scaled(tf.fill((1, 1, 1, 3), 255.0), family.scale)
    np.testing.assert_allclose(white, wanted, rtol=1e-5)
    if family.name in BY_LAYERS:
        by_layers = family_of(["my_model", *(layer.name for layer in model.layers)])
        assert by_layers is not None
        assert by_layers.name == MODELS[name]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("densenet121", "DenseNet"),
        ("conv2_block1_concat", "DenseNet"),
        ("efficientnetv2-b0", "EfficientNetV2"),
        ("inception_resnet_v2", "InceptionResNetV2"),
        ("block35_1_conv", "InceptionResNetV2"),
        ("nasnet_mobile", "NASNet"),
        ("stem_bn1", "NASNet"),
    ],
)
def test_the_large_ones_by_a_name(name: str, family: str) -> None:
    """Whether these are the names in a file, the test above asks Keras before a release."""
    found = family_of(["my_model", name])
    assert found is not None
    assert found.name == family
    assert found.scale == {"DenseNet": "torch", "EfficientNetV2": "none"}.get(family, "-1..1")


@pytest.mark.parametrize("name", ["sequential", "model_1", "mini_XCEPTION", "my_net", "resnext"])
def test_other_names_are_of_no_family(name: str) -> None:
    assert family_of([name, "conv2d", "dense", "input_1"]) is None


def test_a_family_gives_a_guess_and_its_usual_size() -> None:
    backbone = keras.Sequential(
        [keras.layers.Input((None, None, 3)), keras.layers.Conv2D(2, 3)], name="inception_v3"
    )
    model = classifier(keras, backbone, (None, None, 3))
    found = evidence(model)["x"]
    assert (found.scale, found.proven, found.size) == ("-1..1", False, (299, 299))
    assert found.reason == "its layers are those of InceptionV3, which was made for it"
