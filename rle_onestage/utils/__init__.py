"""Files, images, fonts and signals: what knows nothing of poses."""
