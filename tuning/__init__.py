"""Search over a recipe's hyperparameters as batch jobs that survive being killed."""
