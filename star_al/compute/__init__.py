"""Predict on the workers of a Ray cluster, and train the members of an ensemble there.

The campaign's process (``on_ray``) turns the calls of a learner into tasks (``tasks``): plain values with a hash of all
that the result depends on. A process beside it (``ray_driver``, started by ``driver_process``) speaks with Ray, since
Ray ends the process that speaks with it when the head of the cluster is lost. Workers (``worker``) open the model once
and keep it; a result is a file in the artefact folder (``results``), by the task's hash and the hash of its content.
So a task may be run twice, by anybody, and what is done is found again after any crash.

Only ``ray_driver`` imports ray.
"""
