"""A converted model as the reader leaves it, which needs no reader, and the cache that keeps it."""

from __future__ import annotations

from pathlib import Path

from app.serving.reading.cache import Cache
from app.serving.signature import (
    Converted,
    Generation,
    Grid,
    OutputMeaning,
    PictureEvidence,
    Signature,
    SignatureDef,
    TensorSpec,
    Weight,
)

KEY = "0" * 40
EVIDENCE = PictureEvidence("-1..1", True, "seen", ("0..1", "none"), "bgr", (96, 96))
GB = 10**9


def always() -> bool:
    return True


def made(folder: Path, size: int = 1000, fill: bytes = b"g") -> Converted:
    """A converted model of about so many bytes, as the reader leaves it."""
    (folder / "graph.pb").write_bytes(fill * size)
    (folder / "weight").write_bytes(b"w" * 12)
    spec = TensorSpec("x", "x:0", "float32", (None, 3))
    generation = Generation(
        path=folder / "generation" / "graph.pb",
        kind="step",
        token="t:0",
        states=(spec,),
        next_states=("s:0",),
        uniform="u:0",
        diversity="d:0",
        top_k="k:0",
        next_token="n:0",
        probabilities="p:0",
        vocabulary=3,
        window=None,
        reason=None,
    )
    (folder / "generation").mkdir()
    generation.path.write_bytes(b"generation")
    return Converted(
        folder / "graph.pb",
        Signature(
            (spec,),
            (spec,),
            meanings=(OutputMeaning("softmax", True, True, "a softmax"),),
            parameters=3,
            pictures={"x": EVIDENCE},
            grids={"x": Grid((1.0, 0.5), (2.0, -0.25))},
        ),
        frozen=True,
        others={"other": SignatureDef((spec,), ())},
        generation=generation,
        weights=(Weight("w:0", "weight", "float32", (3,), mapped=True),),
    )


def kept(store: Cache, key: str = KEY, size: int = 1000) -> Converted:
    """The model, put into the cache."""
    with store.lock(key, always) as take:
        take(True)
        with store.work_folder(size) as out:
            found = store.keep(key, out, made(out, size))
    assert found is not None
    return found


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
