# Python 3.10:  pip install tensorflow-cpu==2.12.1 autokeras==1.0.20
"""What AutoKeras exports: a model of Keras with layers of its own that only cast and reshape."""
import os
import tempfile

import autokeras as ak
import numpy as np
import tensorflow as tf

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
tf.keras.utils.set_random_seed(74)
r = np.random.RandomState(74)
x, y = r.randint(0, 255, (40, 6, 6)).astype("uint8"), r.randint(0, 3, 40)
picture = ak.ImageInput()
h = ak.Normalization()(picture)
h = ak.ConvBlock(kernel_size=3, num_blocks=1, num_layers=1, filters=4, separable=False)(h)
automatic = ak.AutoModel(picture, ak.ClassificationHead()(ak.SpatialReduction()(h)), max_trials=1, directory=tempfile.mkdtemp())
automatic.fit(x, y, epochs=1, verbose=0)
m = automatic.export_model()
names = [type(layer).__name__ for layer in m.layers]
assert {"CastToFloat32", "ExpandLastDim"} <= set(names), names
m.save(os.path.join(DATA, "models", "autokeras.h5"), include_optimizer=False)
np.savez_compressed(os.path.join(DATA, "expected", "autokeras.npz"), in_0=x[:3], out_0=m.predict(x[:3], verbose=0))
