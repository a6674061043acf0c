"""Several processes: starting them, where they meet, what a signal or a lost one means, one training in a folder."""
