"""One set of weights for all networks of a space.

It is no second model. For every place, kind of block and parameter (``depthwise.conv.weight``) it
holds one tensor, as large as the largest that a network of the space has there, and a network's
weights are parts of these: the first channels, and the middle of the kernels. So whatever a block
is made of, squeeze-and-excite or a shuffle, is shared without anything said of it here.

Channel ``i`` of a wide layer is channel ``i`` of a narrow one, also behind a residual, a gate or
ShuffleNetV2's shuffle. Where a block cuts its input in halves or groups, as ShuffleNets do, the
second half begins at another channel for every width, and its weights learn to serve all of them.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn

from nas.supernet.layers import Layer
from search_spaces import Architecture, build_model
from search_spaces.blocks import Block
from search_spaces.torch_model import Network, build_block, initialise

Shape = tuple[int, ...]


def slice_part(whole: Tensor, shape: Shape) -> Tensor:
    """A view: the first channels, out and in, and the middle of a kernel (out, in, k, k)."""
    view = whole
    for dimension, length in enumerate(shape):
        spare = whole.shape[dimension] - length
        if spare:
            view = view.narrow(dimension, spare // 2 if dimension >= 2 else 0, length)
    return view


class WeightlessBlock:
    """A block that is called with its weights; its norms count on the batch alone.

    As ``torch.func.functional_call``, without what that does to find every weight's place again.
    """

    def __init__(self, block: Block, in_channels: int, norm_epsilon: float) -> None:
        # Without moving on the generator: what training draws must not depend on what is cached.
        with torch.random.fork_rng(devices=[]):
            self._module = build_block(block, in_channels)
        for norm in _norms(self._module):
            norm.eps = norm_epsilon
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
        self._places = [
            (module._parameters, name, f"{path}.{name}" if path else name)
            for path, module in self._module.named_modules()
            for name, parameter in module.named_parameters(recurse=False)
        ]
        self._empty()

    def __call__(self, weights: Mapping[str, Tensor], maps: Tensor) -> Tensor:
        """``weights`` are by the paths of the block's module."""
        for parameters, name, path in self._places:
            parameters[name] = weights[path]
        try:
            answer: Tensor = self._module(maps)
        finally:
            self._empty()
        return answer

    def _empty(self) -> None:
        for parameters, name, _ in self._places:
            parameters[name] = None


weightless_block = lru_cache(maxsize=4096)(WeightlessBlock)


@lru_cache(maxsize=16384)
def parameter_shapes(block: Block, in_channels: int) -> Mapping[str, Shape]:
    """The shape of each parameter of a block, by its path."""
    parameters = _meta_block(block, in_channels).named_parameters()
    return {path: tuple(parameter.shape) for path, parameter in parameters}


def _meta_block(block: Block, in_channels: int) -> nn.Module:
    with torch.device("meta"):
        return build_block(block, in_channels)


def key_of(layer: Layer, path: str) -> str:
    """The name of a block's parameter in the store."""
    return f"{layer.place}.{type(layer.block).__name__}.{path}"


class WeightStore:
    """The weights by name, channels last; training changes them in place."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = dict(tensors)

    @staticmethod
    def initial(layers: Iterable[Layer], seed: int) -> "WeightStore":
        """Fresh weights, as large as ``layers`` need them, initialised like a network's."""
        shapes: dict[str, Shape] = {}
        owners: dict[str, tuple[Layer, str]] = {}
        for layer in dict.fromkeys(layers):
            for path, shape in parameter_shapes(layer.block, layer.in_channels).items():
                key = key_of(layer, path)
                known = shapes.setdefault(key, shape)
                shapes[key] = tuple(map(max, known, shape))
                owners.setdefault(key, (layer, path))
        torch.manual_seed(seed)
        return WeightStore({key: _fresh(*owners[key], shapes[key]) for key in shapes})

    @property
    def device(self) -> torch.device:
        return next(iter(self.tensors.values())).device

    def to(self, device: torch.device) -> "WeightStore":
        """The same weights on a device; those that are there already are shared."""
        return WeightStore({key: tensor.to(device) for key, tensor in self.tensors.items()})

    def parts(self, layer: Layer) -> dict[str, Tensor]:
        """Views of a layer's weights, by the paths of its module."""
        shapes = parameter_shapes(layer.block, layer.in_channels)
        return {
            path: slice_part(self.tensors[key_of(layer, path)], shape)
            for path, shape in shapes.items()
        }

    @torch.no_grad()
    def fill(self, model: Network, layers: Iterable[Layer]) -> None:
        """Copy the weights of ``layers`` into the model that they are; its norms are reset."""
        for module, layer in zip(model.blocks, layers, strict=True):
            parts = self.parts(layer)
            for path, parameter in module.named_parameters():
                parameter.copy_(parts.pop(path))
            assert not parts
        for norm in _norms(model):
            norm.reset_running_stats()

    def network(self, architecture: Architecture, layers: Iterable[Layer]) -> Network:
        """A model with the weights that it has here, on their device, and with reset norms."""
        model = build_model(architecture).to(self.device)
        self.fill(model, layers)
        return model


def _fresh(layer: Layer, path: str, shape: Shape) -> Tensor:
    """A parameter of that shape, initialised as its own module would be."""
    owner_path, _, name = path.rpartition(".")
    owner = _meta_block(layer.block, layer.in_channels).get_submodule(owner_path)
    parameter = nn.Parameter(torch.empty(shape))
    setattr(owner, name, parameter)
    initialise(owner)
    return channels_last(parameter.detach())


def channels_last(weights: Tensor) -> Tensor:
    """The same weights, laid out as convolutions train fastest."""
    if weights.dim() != 4:
        return weights.contiguous()
    return weights.contiguous(memory_format=torch.channels_last)


def _norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
