"""How much memory a device has left."""

import psutil
import torch


def available_memory(device: torch.device) -> int:
    """Bytes free on the device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
