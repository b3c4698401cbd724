# Any Python: python bytecode.py >> ../bytecode.jsonl
"""What `marshal` of this Python makes of a few lambdas, as Keras writes it into its configurations."""
from __future__ import print_function

import base64
import json
import marshal
import sys


def closed(n):
    return lambda x: x * n


functions = {
    "one": lambda x: x / 255.0,
    "slice": lambda x: x[:, 1:],
    "call": lambda x: tf.nn.relu(x) if x is not None else K.abs(x, axis=-1),  # noqa: F821
    "lines": lambda x, n=3: (
        x
        * n),
    "same": lambda x: x,
    "closed": closed(3),
}
code = {name: base64.b64encode(marshal.dumps(f.__code__)).decode() for name, f in functions.items()}
print(json.dumps({"python": list(sys.version_info[:2]), "code": code}, sort_keys=True))
