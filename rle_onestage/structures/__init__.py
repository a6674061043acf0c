"""The domain's types: skeletons, object keypoint similarity, the density of the error."""
