"""How much memory the arrays between a layer's vectors and its statistics may take."""

import torch

LIMIT = {"cpu": 54 * 2**20, "cuda": 27 * 2**28}  # bytes, of one worker
SHARE = 4  # of a GPU's free memory, one part


def scratch_bytes(device: torch.device) -> int:
    """Bytes for one worker; on a GPU no more than a part of what is free there now."""
    if device.type != "cuda":
        return LIMIT["cpu"]
    free = torch.cuda.mem_get_info(device)[0]
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(LIMIT["cuda"], (free + cached) // SHARE)
