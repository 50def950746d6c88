//! K-means against the plainest way.
