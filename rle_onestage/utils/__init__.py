"""Files, images, fonts and signals: what knows nothing of poses.

Import from the modules: some of them must not wait for OpenCV or torch.
"""
