"""MnasNet's controller: an LSTM that makes one choice of a network after the other."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.spaces.staged import Indices

_IMPOSSIBLE = -1e9
"""The score of a value that a choice does not have: its probability is 0 exactly."""
_INITIAL = 0.1


class Controller(nn.Module):
    """A distribution over networks, as a product over choices given the choices before.

    Each step of a one-layer LSTM reads the embedding of the choice before it, and has a softmax
    head of its own, over the values of its choice. All parameters begin evenly in −0.1..0.1 (Zoph
    et al. 2018, Learning Transferable Architectures, appendix A).

    Args:
        amounts: how many values each choice has.
        units: of the LSTM, and of an embedding.
        seed: of the first parameters. torch's own generator is left alone.
    """

    values: Tensor
    offsets: Tensor

    def __init__(self, amounts: Sequence[int], *, units: int, seed: int) -> None:
        super().__init__()
        sizes = torch.tensor(amounts)
        self.register_buffer("values", torch.arange(int(sizes.max())) < sizes[:, None])
        self.register_buffer("offsets", 1 + torch.cumsum(sizes, 0) - sizes)
        # Made as "meta", which draws nothing. Row 0 stands for the beginning.
        embedding = nn.Embedding(1 + int(sizes.sum()), units, device="meta")
        self.embedding = embedding.to_empty(device="cpu")
        lstm = nn.LSTM(units, units, batch_first=True, device="meta")
        self.lstm = lstm.to_empty(device="cpu")
        self.heads = nn.Parameter(torch.empty(len(sizes), units, int(sizes.max())))
        self.biases = nn.Parameter(torch.empty(len(sizes), int(sizes.max())))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-_INITIAL, _INITIAL, generator=generator)

    def forward(self, networks: Tensor) -> tuple[Tensor, Tensor]:
        """Of (networks, choices) indices, the log-probability and the entropy of each choice.

        Both are (networks, choices), in nats, given the choices before.
        """
        before = (networks + self.offsets)[:, :-1]
        begin = torch.zeros(len(networks), 1, dtype=torch.long)
        hidden, _ = self.lstm(self.embedding(torch.cat([begin, before], dim=1)))
        scores = torch.einsum("ncu,cuv->ncv", hidden, self.heads) + self.biases
        scores = scores.masked_fill(~self.values, _IMPOSSIBLE)
        logs = scores.log_softmax(dim=-1)
        chosen = logs.gather(-1, networks[..., None])[..., 0]
        return chosen, -(logs.exp() * logs).sum(dim=-1)

    @torch.no_grad()
    def sample(self, count: int, rng: np.random.Generator) -> Indices:
        """(count, choices): networks drawn from the distribution."""
        choices, widest = self.values.shape
        # The largest of scores with Gumbel noise is a draw from their softmax.
        noise = torch.from_numpy(rng.gumbel(size=(choices, count, widest)).astype(np.float32))
        offers = (noise + self.biases[:, None]).masked_fill(~self.values[:, None], _IMPOSSIBLE)
        lstm = self.lstm
        weights = tuple(lstm.parameters())
        hidden = cell = torch.zeros(count, lstm.hidden_size)
        networks = torch.empty(count, choices, dtype=torch.long)
        tokens = torch.zeros(count, dtype=torch.long)
        for choice in range(choices):
            # A third of the time that nn.LSTM takes for a single step.
            hidden, cell = torch.lstm_cell(self.embedding(tokens), (hidden, cell), *weights)
            chosen = torch.addmm(offers[choice], hidden, self.heads[choice]).argmax(dim=-1)
            networks[:, choice] = chosen
            tokens = chosen + self.offsets[choice]
        return networks.numpy().astype(np.uint8)
