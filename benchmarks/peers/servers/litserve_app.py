"""LitServe: `python -m benchmarks.peers.servers.litserve_app KIND PORT WORKERS`."""

import base64
import sys
from typing import Any

import litserve
import numpy as np

from benchmarks.peers.servers.card import MAX_BATCH, TIMEOUT_S

Array = np.ndarray[Any, np.dtype[Any]]

# How long a worker collects a batch. Zero would make it poll without a pause, on a core that the
# model needs; longer costs every request that much.
BATCH_TIMEOUT_S = 0.002


class Rows(litserve.LitAPI):
    """A JSON row to one number."""

    def setup(self, device: str) -> None:
        """Load the model, in each worker."""
        # TensorFlow: the process that answers HTTP does without.
        from benchmarks.peers.servers.keras_model import Model

        self.model = Model()

    def decode_request(self, request):
        """The row as the model takes it."""
        return self.model.row(request)

    def predict(self, batch: Any) -> Array:
        """The scores of a batch."""
        return self.model.run(np.stack(batch))

    def encode_response(self, scores: Array) -> Any:
        """The answer to one request."""
        return {"prediction": float(scores[0])}


class Pictures(Rows):
    """A picture in a form to a label."""

    def decode_request(self, request):
        """The picture as the model takes it."""
        return self.model.picture(request["image"].file.read())

    def encode_response(self, scores: Array) -> Any:
        """The answer to one request."""
        label, probability = self.model.label(scores)
        return {"label": label, "probability": probability}


class Tensors(Rows):
    """A batch of float32 pixels in base64 to the scores in base64."""

    def decode_request(self, request):
        """The batch as the model takes it."""
        pixels = np.frombuffer(base64.b64decode(request["tensor"]), np.float32)
        return pixels.reshape(-1, *self.model.size, 3)

    def predict(self, batch: Any) -> Array:
        """The scores of the one batch that a request brings."""
        return self.model.run(batch)

    def encode_response(self, scores: Array) -> Any:
        """The answer to one request."""
        return {"tensor": base64.b64encode(scores.tobytes()).decode()}


def main() -> None:
    """Serve until the process is ended."""
    kind, port, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if kind == "tensor":  # a batch already
        api = Tensors(api_path="/tensor")
    else:
        api = {"row": Rows, "picture": Pictures}[kind](
            api_path=f"/{kind}", max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S
        )
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=workers, timeout=TIMEOUT_S, fast_queue=True
    )
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
