"""How fast the models, the parts of training and the flow are."""
