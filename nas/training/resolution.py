"""At which image size a network is trained that is deployed at another."""


def image_size(deployed: int, resolution: int, full_resolution: int | None) -> int:
    """The image size of training, in pixels.

    Args:
        deployed: the image size that the network is deployed at.
        resolution: the size of training for a network that is deployed at ``full_resolution``.
        full_resolution: the largest of the space; smaller ones are trained at proportionally
            smaller images. ``None``: every network is trained at ``resolution``.
    """
    if full_resolution is None:
        return resolution
    return max(1, round(resolution * deployed / full_resolution))
