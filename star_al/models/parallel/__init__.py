"""Training one adapter in several processes, by accelerate: ``adapter.training.processes``.

Each process has the base model on a device of its own and takes a part of each minibatch. ``group`` divides a
minibatch and adds up gradients, ``launch`` starts the processes and gives them work, ``process`` is one of them as
seen from there, ``worker`` is what it runs, ``orders`` are what they exchange, and ``sharding`` divides the base model
itself.
"""
