"""LSTM and GRU on TensorFlow/CPU: the equations, and two ways to run them over time.

`equations` holds one step of each cell, forwards and backwards. `compiled` runs it as
loops that XLA compiles, for training. `stock` runs it with TensorFlow's own operations,
for exported models, which must not need XLA.
"""
