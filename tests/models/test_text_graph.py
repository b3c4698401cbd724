"""Sampling the next token, the window graph, and the session that runs text graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.errors import InvalidInput, LoadError
from app.serving.cards.card import Runtime
from app.serving.engine.sessions.text_session import TextSession
from app.serving.reading.convert import convert
from app.serving.reading.text_graph import TokenSampler
from app.serving.signature import GenerationRequest
from tests.conversions import shared_reader
from tests.models.fixtures import Array, fixture
from tests.models.generations import VOCABULARY, Replay, answer, converted, draw, saved, texts

LAST_UNIFORM = 1 - 2.0**-24


def _drawn(
    probabilities: Sequence[float] | Array,
    uniform: Sequence[float] | Array,
    *,
    diversity: float = 1.0,
    top_k: int | Sequence[int] = 0,
    never: tuple[int, ...] = (),
    logits: bool = False,
) -> Array:
    """Return the tokens drawn from one distribution, one for each `uniform`."""
    rows = len(uniform)
    output = np.tile(np.asarray(probabilities, np.float32), (rows, 1))
    drawn, _ = TokenSampler(logits, output.shape[1], never)(
        tf.constant(output),
        tf.constant(uniform, tf.float32),
        tf.fill((rows,), diversity),
        tf.constant(np.broadcast_to(top_k, rows), tf.int32),
    )
    return np.asarray(drawn)


# --- what is drawn --------------------------------------------------------------------------------


def _distribution(size: int = 20) -> Array:
    weights = np.random.default_rng(3).exponential(size=size) ** 3
    weights[4] = 0.0
    return np.asarray(weights / weights.sum())


def _chi_square(counts: Array, probabilities: Array) -> float:
    """Return by how many standard deviations the counts differ from what chance explains."""
    expected = probabilities * counts.sum()
    assert (counts[expected == 0] == 0).all()
    counts, expected = counts[expected > 0], expected[expected > 0]
    freedom = len(counts) - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom))


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("top_k", [0, 7])
@pytest.mark.parametrize("diversity", [0.5, 1.0, 5.0])
def test_tokens_are_as_frequent_as_the_model_says(
    diversity: float, top_k: int, logits: bool
) -> None:
    p = _distribution()
    if logits:
        p = (p + 1e-3) / (p + 1e-3).sum()
    expected = p ** (1 / diversity)
    expected[[0, 1]] = 0.0
    if top_k:
        expected[np.argsort(expected)[:-top_k]] = 0.0
    drawn = _drawn(
        np.log(p) + 4 if logits else p,
        np.random.default_rng(5).uniform(size=100_000),
        diversity=diversity,
        top_k=top_k,
        never=(0, 1),
        logits=logits,
    )
    assert _chi_square(np.bincount(drawn, minlength=20), expected / expected.sum()) < 4


def test_the_ends_of_uniform() -> None:
    p = [0.5, 0.0, 0.2, 0.0, 0.3, 0.0, 0.1]
    ends = [0.0, LAST_UNIFORM]
    assert _drawn(p, ends, never=(0, 6)).tolist() == [2, 4]
    # Thousands of small ones, whose sum in float32 stops growing.
    many = np.full(60_000, 1e-5)
    assert _drawn(many, ends).tolist() == [0, 59_999]
    assert _drawn(np.zeros(9), ends, never=(0, 8)).tolist() == [1, 7]


@pytest.mark.parametrize("diversity", [0.5, 5.0])
def test_tiny_probabilities_do_no_harm(diversity: float) -> None:
    p = np.array([0.0, 1e-45, 2e-38, 1e-30, 1.0, 0.0], np.float32)
    drawn = _drawn(p, np.linspace(0, LAST_UNIFORM, 1000), diversity=diversity)
    assert set(drawn) <= ({4} if diversity == 0.5 else {2, 3, 4})
    assert _drawn(p, [0.0, LAST_UNIFORM], never=(4,)).tolist() == [2, 3]


def test_each_row_has_its_own_draw() -> None:
    p = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]] * 2, np.float32)
    drawn, probabilities = TokenSampler(False, 4, ())(
        tf.constant(p),
        tf.constant([0.0, 0.99, 0.99, 0.0]),
        tf.constant([1.0, 1.0, 0.5, 5.0]),
        tf.constant([0, 1, 2, 3]),
    )
    assert np.asarray(drawn).tolist() == [0, 0, 3, 0]
    np.testing.assert_array_equal(probabilities, p)


def test_the_k_most_probable() -> None:
    p, fine = [0.1, 0.2, 0.2, 0.2, 0.3], np.linspace(0, LAST_UNIFORM, 500)
    chosen = {k: set(_drawn(p, fine, top_k=k)) for k in (1, 2, 3, 4, 5, 99)}
    everything = {0, 1, 2, 3, 4}
    # Of equal ones those that come first.
    assert chosen == {
        1: {4},
        2: {1, 4},
        3: {1, 2, 4},
        4: {1, 2, 3, 4},
        5: everything,
        99: everything,
    }
    assert set(_drawn(p, fine, top_k=2, never=(4,))) == {1, 2}


@pytest.mark.parametrize("vocabulary", [2, 96, 97, 1009])
@pytest.mark.parametrize("top_k", [0, 3])
def test_what_a_softmax_gives_is_drawn_from_its_scores(vocabulary: int, top_k: int) -> None:
    """As from the probabilities themselves; NaN is no token."""
    random = np.random.default_rng(vocabulary)
    scores = random.normal(scale=3, size=(40, vocabulary)).astype(np.float32)
    nan = np.array([0, 1, vocabulary - 1])  # token 1 is never drawn
    scores[[-3, -2, -1], nan] = np.nan
    sampler = TokenSampler(False, vocabulary, (1,))
    draw = (
        tf.constant(random.uniform(size=40), tf.float32),
        tf.fill((40,), 0.8),
        tf.fill((40,), top_k),
    )
    said = tf.nn.softmax(tf.constant(scores))
    inside = tf.function(lambda x: sampler(tf.nn.softmax(x), *draw))
    assert "Log" not in {
        node.op for node in inside.get_concrete_function(said).graph.as_graph_def().node
    }
    drawn, probabilities = inside(tf.constant(scores))
    expected, _ = sampler(said, *draw)
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(probabilities, said)
    assert (np.asarray(drawn) < 0).tolist() == [False] * 37 + [True] * 3


def test_something_must_be_left_to_say() -> None:
    with pytest.raises(LoadError, match="none of the model's 3 tokens"):
        TokenSampler(False, 3, (0, 1, 2))


# --- sessions -------------------------------------------------------------------------------------


def _words(mask: bool = True) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None,)),
            layers.Embedding(VOCABULARY, 5, mask_zero=mask),
            layers.LSTM(7),
            layers.Dense(VOCABULARY, activation="softmax"),
        ]
    )


def _both_ways(*, one_hot: bool = False) -> Any:
    layers = keras.layers
    start = (
        [keras.Input((None, VOCABULARY)), layers.Masking()]
        if one_hot
        else [keras.Input((None,)), layers.Embedding(VOCABULARY, 5, mask_zero=True)]
    )
    return keras.Sequential(
        [
            *start,
            layers.Bidirectional(layers.LSTM(7, return_sequences=True)),
            layers.Dense(VOCABULARY, activation="softmax"),
        ]
    )


def test_a_text_is_written_alone_as_in_company(tmp_path: Path) -> None:
    """Rounding differs with the number of rows, in the last digit: too little to change a word."""
    saved(_words(), tmp_path / "m.keras")
    request = GenerationRequest(never=(0, 1))
    session = TextSession(converted(tmp_path / "m.keras", request), Runtime())
    uniform = np.random.default_rng(0).uniform(size=(100, 17)).astype(np.float32)

    def written(rows: slice) -> Array:
        token = texts(17, 1)[rows, 0]
        states = session.zero_states(len(token))
        tokens = []
        for u in uniform[:, rows]:
            token, states = session.step(token, states, u, *draw(len(token))[1:])
            assert token.dtype == np.int32
            assert all(s.dtype == np.float32 and len(s) == len(token) for s in states)
            tokens.append(token)
        return np.stack(tokens, axis=1)

    together = written(slice(None))
    assert set(together.ravel()) == set(range(2, VOCABULARY))
    for i in (0, 7, 16):
        assert (written(slice(i, i + 1)) == together[i]).all()
    assert (written(slice(3, 8)) == together[3:8]).all()
    session.close()


@pytest.mark.parametrize("one_hot", [False, True])
def test_a_window_is_padded_on_its_left(one_hot: bool, tmp_path: Path) -> None:
    model = saved(_both_ways(one_hot=one_hot), tmp_path / "m.keras")
    generation = converted(tmp_path / "m.keras", GenerationRequest(never=(0, 1), window=9))
    assert (generation.kind, generation.window) == ("window", 9)
    assert "in both directions" in (generation.reason or "")
    text = texts(3, 4)
    window = np.pad(text, ((0, 0), (5, 0)))
    replay = Replay(generation)
    said, _ = replay.probabilities(window, [])
    np.testing.assert_allclose(said, answer(model, text), atol=1e-5)
    drawn, states = replay.step(window, replay.zero_states(3), *draw(3))
    assert drawn.dtype == np.int32
    assert states == []
    ends = [replay.step(window, [], np.full(3, u, "f4"), *draw(3)[1:]) for u in (0, LAST_UNIFORM)]
    assert [tokens.tolist() for tokens, _ in ends] == [[2] * 3, [VOCABULARY - 1] * 3]
    replay.close()


def test_where_0_is_a_character(tmp_path: Path) -> None:
    """If padding is not excluded, 0 is a token like any other."""
    layers = keras.layers
    recurrent = layers.Bidirectional(layers.SimpleRNN(7))
    model = keras.Sequential(
        [
            keras.Input((6, VOCABULARY)),
            recurrent,
            layers.Dense(VOCABULARY, activation="softmax"),
        ]
    )
    saved(model, tmp_path / "m.keras")
    text = texts(2, 6)
    text[:, :3] = 0
    replay = Replay(converted(tmp_path / "m.keras"))
    said, _ = replay.probabilities(text, [])
    replay.close()
    np.testing.assert_allclose(said, answer(model, text), atol=1e-5)


def test_a_token_that_the_model_does_not_know(tmp_path: Path) -> None:
    saved(_words(), tmp_path / "m.keras")
    session = TextSession(converted(tmp_path / "m.keras"), Runtime(max_batch_size=1))
    with pytest.raises(InvalidInput, match="refuses this input"):
        session.step(np.array([VOCABULARY], np.int32), session.zero_states(1), *draw(1))
    session.close()


def test_a_graph_that_tensorflow_refuses(tmp_path: Path) -> None:
    saved(_words(), tmp_path / "m.keras")
    generation = converted(tmp_path / "m.keras")
    with pytest.raises(LoadError, match=r"cannot run the model.*nowhere"):
        TextSession(replace(generation, token="nowhere:0"), Runtime())


def test_the_loader_process_makes_the_graph(tmp_path: Path) -> None:
    model = saved(_words(), tmp_path / "m.keras")
    request = GenerationRequest(never=(0, 1))
    reader = shared_reader()
    with reader.convert(tmp_path / "m.keras", trusted=False, generation=request) as found:
        assert found.generation is not None
        assert (found.generation.kind, found.generation.vocabulary) == ("step", VOCABULARY)
        replay = Replay(found.generation)
    text = texts(2, 6)
    *_, said = replay.each(text)
    replay.close()
    np.testing.assert_allclose(said, answer(model, text), atol=1e-5)


# --- models of something else ---------------------------------------------------------------------


def test_nothing_is_made_without_a_request(tmp_path: Path) -> None:
    saved(_words(), tmp_path / "m.keras")
    (tmp_path / "out").mkdir()
    assert convert(tmp_path / "m.keras", tmp_path / "out", trusted=False).generation is None
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["graph.pb"]


def _model(shape: tuple[int | None, ...], *layers: Any, dtype: str = "float32") -> Any:
    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers])


def _two_inputs() -> Any:
    a, b = keras.Input((3,)), keras.Input((3,))
    return keras.Model([a, b], keras.layers.Dense(4)(keras.layers.Add()([a, b])))


OTHERS: dict[str, tuple[Callable[[], Any], str]] = {
    "numbers": (
        lambda: _model((5, 1), keras.layers.LSTM(3), keras.layers.Dense(8)),
        r"one-hot vectors of its 8 tokens; this one reads \(None, 5, 1\) float32",
    ),
    "one number": (lambda: _model((5,), keras.layers.Dense(1)), r"this one gives \(None, 1\)"),
    "pictures": (
        lambda: _model((8, 8, 3), keras.layers.Conv2D(2, 3)),
        r"a probability for each token.*this one gives \(None, 6, 6, 2\)",
    ),
    "two inputs": (_two_inputs, "one input and one output"),
    "texts": (
        lambda: _model(
            (1,),
            keras.layers.TextVectorization(vocabulary=["a"], output_sequence_length=3),
            keras.layers.Embedding(3, 2),
            keras.layers.LSTM(3),
            dtype="string",
        ),
        r"this one reads \(None, 1\) string",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_models_of_something_else_are_refused(name: str, tmp_path: Path) -> None:
    make, reason = OTHERS[name]
    make().save(tmp_path / "m.keras")
    with pytest.raises(LoadError, match=reason):
        converted(tmp_path / "m.keras")


def test_savedmodels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="needs the model as a Keras file"):
        convert(fixture("tf1_savedmodel"), tmp_path, trusted=False, generation=GenerationRequest())
