"""Divide the weights of the base model's blocks among processes (fully sharded data parallel, torch's FSDP).

Each process keeps a share of each block, and gets the rest from the others while the block computes. What is not in a
block (embeddings, the last norm, the head) is whole in each process, and so are adapters, which are small: they are
trained as without sharding. Adapted layers compute by peft, as the fused ones need a weight that is there all the time.
"""

from __future__ import annotations

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from star_al.models.backbone import Backbone
from star_al.models.model_body import body_of
from star_al.models.target_layers import transformer_blocks


def shard_blocks(backbone: Backbone) -> None:
    """Load the base model into main memory, and leave a share of its blocks on the device.

    Args:
        backbone: The base model, which is not loaded yet.
    """
    model = Backbone(backbone.folder, backbone.dtype, torch.device("cpu")).model
    mesh = init_device_mesh(backbone.device.type, (torch.distributed.get_world_size(),))
    _, blocks = transformer_blocks(model)
    for block in blocks:
        fully_shard(block, mesh=mesh)
    inside = {parameter for block in blocks for parameter in block.parameters()}
    # The body itself has nothing to share; it makes the blocks one group, which are fetched ahead of time.
    whole = {parameter for parameter in model.parameters() if parameter not in inside}
    fully_shard(body_of(model), mesh=mesh, ignored_params=whole)
    model.to(backbone.device)
    # Blocks keep the memory that they first fetch the others' shares into. Made in the inference mode of the readout's
    # checks, it could not be written in training.
    with torch.no_grad():
        model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=backbone.device))
    backbone.__dict__["model"] = model
