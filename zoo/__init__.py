"""The library: ports, pipelines, layers, models, preprocessing, data sets, metrics."""
