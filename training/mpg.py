"""Train the tabular model shipped in `models/mpg`: a car's data to miles per gallon.

Data: Auto MPG of the UCI Machine Learning Repository, as CSV in
https://github.com/mwaskom/seaborn-data (file `mpg.csv`).

    python training/mpg.py --data auto_mpg.csv

Sixty-four rows are set aside by the hash of their content before anything is trained; they are
measured once, at the end. The ensemble's size and the number of epochs were fixed beforehand.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import numpy.typing as npt
import yaml
from keras import layers
from rich.console import Console
from rich.progress import track

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
ORIGINS = ("usa", "europe", "japan")
HELD_OUT = 64
MEMBERS = 8
SEED = 1

Array = npt.NDArray[np.float32]
console = Console()


def read_cars(path: Path) -> tuple[Array, Array]:
    """The cars whose horsepower is known: float32 (n, 7) in the order of COLUMNS, and mpg (n, 1).

    `origin` becomes 1, 2 or 3.
    """
    cars, mpg = [], []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["horsepower"]:
                row["origin"] = str(ORIGINS.index(row["origin"]) + 1)
                cars.append([float(row[column]) for column in COLUMNS])
                mpg.append([float(row["mpg"])])
    return np.array(cars, np.float32), np.array(mpg, np.float32)


def held_out(cars: Array) -> npt.NDArray[np.bool_]:
    """Which cars are set aside: those whose content has the lowest hashes."""
    ranks = [hashlib.sha256(car.tobytes()).digest() for car in cars]
    limit = sorted(ranks)[HELD_OUT - 1]
    return np.array([rank <= limit for rank in ranks])


def build_member(inputs: Any, normal: Any) -> Any:
    """One small network: the numbers normalised and the origin one-hot, to mpg."""
    numbers = normal(inputs)
    origin = layers.CategoryEncoding(num_tokens=len(ORIGINS) + 1, output_mode="one_hot")
    x = layers.Concatenate()([numbers, origin(inputs[:, 6:7])])
    x = layers.Dense(32, activation="gelu")(x)
    x = layers.Dense(16, activation="gelu")(x)
    return layers.Dense(1)(x)


def train(cars: Array, mpg: Array, epochs: int) -> Any:
    """The mean of several networks that differ in their first weights; normalisation inside."""
    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((len(COLUMNS),), name="car")
    normal = layers.Normalization(name="normalization")
    normal.adapt(cars)
    outputs = []
    for _ in track(range(MEMBERS), "training", console=console):
        output = build_member(inputs, normal)
        member = keras.Model(inputs, output)
        member.layers[-1].bias.assign(mpg.mean(axis=0))
        rate = keras.optimizers.schedules.CosineDecay(3e-3, epochs * (len(cars) // 32 + 1))
        member.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), "huber")
        member.fit(cars, mpg, batch_size=32, epochs=epochs, verbose=0)
        outputs.append(output)
    return keras.Model(inputs, layers.Average(name="mpg")(outputs))


def card(cars: Array, metrics: dict[str, Any]) -> dict[str, Any]:
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
        "description": "How far a car of 1970 to 1982 goes on a gallon, from seven of its data.",
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
    "--epochs",
    type=click.IntRange(1),
    default=150,
    show_default=True,
    help="Passes over the training cars, for each network of the ensemble.",
)
def main(data: Path, out: Path, epochs: int) -> None:
    """Train the miles-per-gallon model and write it with its card."""
    cars, mpg = read_cars(data)
    aside = held_out(cars)
    console.print(f"{(~aside).sum()} cars to train on, {aside.sum()} held back")
    model = train(cars[~aside], mpg[~aside], epochs)
    errors = keras.ops.convert_to_numpy(model(cars[aside], training=False)) - mpg[aside]
    rmse, mae = float(np.sqrt((errors**2).mean())), float(np.abs(errors).mean())
    console.print(f"held back: RMSE {rmse:.2f} mpg, mean absolute error {mae:.2f} mpg")
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.keras")
    metrics = {
        "rmse": round(rmse, 2),
        "mae": round(mae, 2),
        "measured_on": f"{aside.sum()} held-out cars",
    }
    text = yaml.safe_dump(card(cars, metrics), sort_keys=False, allow_unicode=True)
    (out / "model.yaml").write_text(text, encoding="utf-8")
    console.print(f"wrote {out}")


if __name__ == "__main__":
    main()
