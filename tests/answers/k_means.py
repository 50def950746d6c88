"""What scikit-learn makes of the rows of a file, from given centroids: prints one JSON object.

Usage: k_means.py FILE START ROUNDS TOLERANCE scale|plain
"""

import json
import sys

import numpy as np
from sklearn.cluster import KMeans

read = lambda path: np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
x, start = read(sys.argv[1]), read(sys.argv[2])
scale = x.std(axis=0) if sys.argv[5] == "scale" else np.ones(x.shape[1])
model = KMeans(len(start), init=start / scale, n_init=1, max_iter=int(sys.argv[3]), tol=float(sys.argv[4]),
               algorithm="lloyd").fit(x / scale)
print(json.dumps({"rounds": int(model.n_iter_), "inertia": float(model.inertia_),
                  "sizes": np.bincount(model.labels_, minlength=len(start)).tolist(),
                  "centroids": (model.cluster_centers_ * scale).tolist()}))
