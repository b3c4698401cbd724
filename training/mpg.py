"""Train the tabular model shipped in `models/mpg`: a car's data to miles per gallon.

Data: Auto MPG of the UCI Machine Learning Repository, as CSV in
https://github.com/mwaskom/seaborn-data (file `mpg.csv`).

    python training/mpg.py --data auto_mpg.csv

The error on the card is that of nested cross-validation over all cars: ten folds, repeated. For
each fold, `RECIPES` are compared by cross-validation among the other nine; the one that does best
there is trained on these nine and measured on the fold. Means and deviations for normalisation
are those of the cars trained on, too. The shipped model is trained on all cars by the recipe that
does best in cross-validation among all of them.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import click
import keras
import numpy as np
import numpy.typing as npt
import yaml
from keras import layers
from rich.console import Console

# Column of the CSV, name of the field.
COLUMNS = {
    "cylinders": "cylinders",
    "displacement": "displacement",
    "horsepower": "horsepower",
    "weight": "weight",
    "acceleration": "acceleration",
    "model_year": "year",
    "origin": "origin",
}
NUMBERS = len(COLUMNS) - 1  # all but the origin, which comes last
ORIGINS = ("usa", "europe", "japan")
FOLDS = 10
CHOICE_FOLDS = 5
MEMBERS = 8
CHOICE_MEMBERS = 2
RATE = 6e-3
BOOTSTRAPS = 10_000
SEED = 1


class Recipe(NamedTuple):
    """How a network is built and trained.

    hidden: units of its hidden layers. noise: deviation of the noise on the normalised numbers
    while training. decay: of the weights, by AdamW. steps: of all the cars at once.
    """

    hidden: tuple[int, ...]
    noise: float
    decay: float
    steps: int


RECIPES = (
    Recipe((32, 16), noise=0.0, decay=0.3, steps=500),
    Recipe((32, 16), noise=0.2, decay=0.3, steps=500),
    Recipe((16, 16), noise=0.2, decay=0.3, steps=500),
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
console = Console()


def read_cars(path: Path) -> tuple[Floats, Floats]:
    """Return the cars whose horsepower is known: (n, 7) in the order of COLUMNS, and mpg (n,).

    `origin` becomes 1, 2 or 3.
    """
    cars, mpg = [], []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["horsepower"]:
                row["origin"] = str(ORIGINS.index(row["origin"]) + 1)
                cars.append([float(row[column]) for column in COLUMNS])
                mpg.append(float(row["mpg"]))
    return np.array(cars), np.array(mpg)


class SideBySide(layers.Layer):  # type: ignore[misc]
    """A dense layer of several networks at once: (networks, cars, in) to (networks, cars, out)."""

    def __init__(self, units: int, activation: str | None = None) -> None:
        super().__init__()
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, shape: tuple[int, int, int]) -> None:
        """Create one kernel and one bias for each network."""
        networks, _, size = shape
        normal = keras.initializers.RandomNormal(stddev=size**-0.5)
        self.kernel = self.add_weight((networks, size, self.units), normal, name="kernel")
        self.bias = self.add_weight((networks, 1, self.units), "zeros", name="bias")

    def call(self, x: Any) -> Any:
        """Apply each network's kernel and bias to its cars."""
        return self.activation(keras.ops.matmul(x, self.kernel) + self.bias)


class Networks(NamedTuple):
    """Several networks for each of some sets of cars, trained on these alone.

    means, deviations: of the numbers, (sets, NUMBERS). target: mean and deviation of log(mpg),
    (sets, 2). layers: kernels and biases, each with one row a network, those of a set adjacent.
    mpg: the mean of each set's networks for all cars, (sets, cars).
    """

    means: Floats
    deviations: Floats
    target: Floats
    layers: list[tuple[Any, Any]]
    mpg: Floats


def train(recipe: Recipe, cars: Floats, mpg: Floats, sets: Bools, members: int) -> Networks:
    """Train `members` networks for each set of cars, all side by side.

    sets: which cars each may see, (sets, cars). The others have weight 0 in its loss.
    """
    keras.utils.set_random_seed(SEED)
    share = sets / sets.sum(axis=1, keepdims=True)
    numbers, log = cars[:, :NUMBERS], np.log(mpg)
    means = share @ numbers
    deviations = np.sqrt(share @ numbers**2 - means**2)
    target = np.stack([share @ log, np.sqrt(share @ log**2 - (share @ log) ** 2)], axis=1)

    def each(of_sets: Floats) -> npt.NDArray[np.float32]:
        return np.repeat(of_sets, members, axis=0).astype(np.float32)

    x = each((numbers - means[:, None]) / deviations[:, None])
    origins = np.eye(len(ORIGINS))[cars[:, NUMBERS].astype(int) - 1]
    origin = each(np.tile(origins, (len(sets), 1, 1)))
    y = each((log - target[:, :1]) / target[:, 1:])[..., None]

    inputs = [keras.Input(batch_shape=part.shape) for part in (x, origin)]
    inner: Any = layers.GaussianNoise(recipe.noise)(inputs[0])
    inner = layers.Concatenate()([inner, inputs[1]])
    for units in recipe.hidden:
        inner = SideBySide(units, "tanh")(inner)
    model = keras.Model(inputs, SideBySide(1)(inner))
    rate = keras.optimizers.schedules.CosineDecay(RATE, recipe.steps)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    # A sum, so that a network learns the same however many are beside it.
    model.compile(optimizer, keras.losses.MeanSquaredError(reduction="sum"))
    for _ in range(recipe.steps):
        model.train_on_batch([x, origin], y, each(share))
    found = model.predict_on_batch([x, origin]).reshape(len(sets), members, -1)
    return Networks(
        means,
        deviations,
        target,
        [layer.get_weights() for layer in model.layers if isinstance(layer, SideBySide)],
        np.exp(found * target[:, 1, None, None] + target[:, 0, None, None]).mean(axis=1),
    )


def folds(which: npt.NDArray[np.int_], count: int, seed: int) -> list[npt.NDArray[np.int_]]:
    """Split these cars at random."""
    mixed = np.random.default_rng(seed).permutation(which)
    return [mixed[i::count] for i in range(count)]


def choose(cars: Floats, mpg: Floats, sets: Bools) -> list[int]:
    """Return for each set of cars the index of the recipe that does best among them.

    A cross-validation inside the set: the cars outside it are not looked at.
    """
    inside, asides = [], []
    for i, one in enumerate(sets):
        for aside in folds(np.flatnonzero(one), CHOICE_FOLDS, seed=i):
            inside.append(one & ~np.isin(np.arange(len(cars)), aside))
            asides.append(aside)
    errors = np.zeros((len(RECIPES), len(sets)))
    for r, recipe in enumerate(RECIPES):
        found = train(recipe, cars, mpg, np.array(inside), members=1).mpg
        for i, (predicted, aside) in enumerate(zip(found, asides, strict=True)):
            errors[r, i // CHOICE_FOLDS] += ((predicted - mpg)[aside] ** 2).sum()
        console.print(recipe, f"squared error {errors[r].sum() / sets.sum():.3f}")
    return [int(i) for i in errors.argmin(axis=0)]


def measure(cars: Floats, mpg: Floats, repeats: int) -> Floats:
    """Return the errors of nested cross-validation, in miles per gallon: (repeats, cars)."""
    asides = [a for i in range(repeats) for a in folds(np.arange(len(cars)), FOLDS, seed=i)]
    sets = np.array([~np.isin(np.arange(len(cars)), aside) for aside in asides])
    chosen = np.array(choose(cars, mpg, sets))
    errors = np.zeros((repeats, len(cars)))
    for r, recipe in enumerate(RECIPES):
        if (those := np.flatnonzero(chosen == r)).size:
            console.print(recipe, f"chosen for {those.size} of {len(sets)} folds")
            found = train(recipe, cars, mpg, sets[those], MEMBERS).mpg
            for i, predicted in zip(those, found, strict=True):
                errors[i // FOLDS, asides[i]] = (predicted - mpg)[asides[i]]
    return errors


def quality(errors: Floats) -> dict[str, Any]:
    """Return `metrics` of the card. errors: (repeats, cars)."""
    rmse = np.sqrt((errors**2).mean(axis=1))
    # Other cars would have given another figure: resample them.
    squared = (errors**2).mean(axis=0)
    drawn = np.random.default_rng(SEED).integers(len(squared), size=(BOOTSTRAPS, len(squared)))
    low, high = np.sqrt(np.quantile(squared[drawn].mean(axis=1), [0.025, 0.975]))
    console.print(f"RMSE {rmse.round(3)}, standard deviation {rmse.std(ddof=1):.3f}")
    return {
        "rmse": round(float(rmse.mean()), 2),
        "mae": round(float(np.abs(errors).mean()), 2),
        "measured_on": f"{errors.shape[1]} cars by cross-validation "
        f"(95 % interval of the RMSE {low:.2f} to {high:.2f})",
    }


def assemble(networks: Networks) -> Any:
    """Return the mean of the networks of one set as one model: a row of COLUMNS to mpg."""
    car = keras.Input((len(COLUMNS),), name="car")
    (means,), (deviations,), ((mean, deviation),) = networks[:3]
    normal = layers.Normalization(mean=means, variance=deviations**2, name="normalization")
    coding = layers.CategoryEncoding(len(ORIGINS) + 1, output_mode="one_hot", name="origin")
    known = layers.Concatenate()([normal(car[:, :NUMBERS]), coding(car[:, NUMBERS:])])
    outputs = []
    for i in range(MEMBERS):
        x = known
        for depth, (kernels, biases) in enumerate(networks.layers):
            kernel, bias = kernels[i], biases[i, 0]
            if depth == 0:  # the coding has a column for the origin 0, which no car has
                kernel = np.insert(kernel, NUMBERS, 0, axis=0)
            if last := depth == len(networks.layers) - 1:
                kernel, bias = kernel * deviation, bias * deviation + mean
            dense = layers.Dense(len(bias), activation="exponential" if last else "tanh")
            x = dense(x)
            dense.set_weights([kernel, bias])
        outputs.append(x)
    return keras.Model(car, layers.Average(name="mpg")(outputs))


# Cars that are none of the data, for people to try.
EXAMPLES = """\
examples:
- name: A small car from Japan, 1980
  input: {cylinders: 4, displacement: 97, horsepower: 67, weight: 2065, acceleration: 17.8,
    year: 80, origin: Japan}
- name: A family car from Europe, 1976
  input: {cylinders: 4, displacement: 120, horsepower: 95, weight: 2950, acceleration: 17,
    year: 76, origin: Europe}
- name: A large car from the USA, 1970
  input: {cylinders: 8, displacement: 400, horsepower: 175, weight: 4400, acceleration: 11,
    year: 70, origin: USA}
"""


def card(cars: Floats, metrics: dict[str, Any]) -> dict[str, Any]:
    """`model.yaml`, with the ranges of the data."""
    low, high = cars.min(axis=0), cars.max(axis=0)
    about: dict[str, dict[str, Any]] = {
        "cylinders": {"type": "integer", "help": "Cylinders of the engine"},
        "displacement": {"unit": "cu in", "help": "Volume swept by the pistons"},
        "horsepower": {"unit": "hp", "help": "Power of the engine"},
        "weight": {"unit": "lb", "help": "Curb weight"},
        "acceleration": {"unit": "s", "help": "Seconds from 0 to 60 mph"},
        "year": {"type": "integer", "help": "Model year, two digits"},
    }
    # A Chevrolet Chevelle Malibu of 1970.
    example = dict(zip(about, (8, 307, 130, 3504, 12, 70), strict=True))
    fields: list[dict[str, Any]] = [
        {"name": name, **extra, "min": float(low[i]), "max": float(high[i]),
         "example": example[name]}
        for i, (name, extra) in enumerate(about.items())
    ]  # fmt: skip
    fields.append(
        {
            "name": "origin",
            "choices": {1: "USA", 2: "Europe", 3: "Japan"},
            "example": 1,
            "help": "Where it was built",
        }
    )
    for field in fields:
        for key in ("min", "max"):
            if key in field and float(field[key]).is_integer():
                field[key] = int(field[key])
            elif key in field:
                field[key] = round(field[key], 1)
    return {
        "title": "Miles per gallon",
        "description": "Predicts the fuel economy of a car from 1970 to 1982, from seven of its "
        "properties.",
        "task": "tabular-regression",
        "fields": fields,
        "output": {"name": "mpg", "unit": "miles per gallon", "decimals": 1},
        "metrics": metrics,
    }


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="CSV file with one car a line.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("models/mpg"),
    show_default=True,
    help="Folder to write model.keras and model.yaml into.",
)
@click.option(
    "--repeats",
    type=click.IntRange(2),
    default=3,
    show_default=True,
    help="How often the cars are split into folds.",
)
def main(data: Path, out: Path, repeats: int) -> None:
    """Measure and train the miles-per-gallon model, and write it with its card."""
    cars, mpg = read_cars(data)
    metrics = quality(measure(cars, mpg, repeats))
    console.print(metrics)
    everything = np.ones((1, len(cars)), np.bool_)
    recipe = RECIPES[choose(cars, mpg, everything)[0]]
    console.print("training on all cars:", recipe)
    networks = train(recipe, cars, mpg, everything, MEMBERS)
    model = assemble(networks)
    found = model.predict(cars.astype(np.float32), verbose=0)[:, 0]
    np.testing.assert_allclose(found, networks.mpg[0], rtol=1e-4)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.keras")
    text = yaml.safe_dump(card(cars, metrics), sort_keys=False, width=100) + EXAMPLES
    (out / "model.yaml").write_text(text, encoding="utf-8")
    console.print(f"wrote {out}")


if __name__ == "__main__":
    main()
