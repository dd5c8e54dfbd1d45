"""The engine: K networks of one architecture, trained as one stack.

PyTorch and NumPy only. Nothing here knows an estimator, a data frame or
scikit-learn. Letters used throughout: **K** networks, **n** rows, **b** rows of a
minibatch, **d** inputs, **h** hidden units, **m** outputs, **P** parameters of one
network. K is the first axis and is always there.
"""
