"""HyperStyle's five passes of one photo at 1024 px, beside a plain implementation in the same run: CPU seconds.

Plain: every layer's whole change is made in every pass, the shared hypernetwork once for each layer, changes repeated
over all taps and added up; reference operations. Untrained networks of the released sizes; the pictures are compared.
"""

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sdic.changes import Changes
from sdic.domains import DOMAINS
from sdic.fast import optimize_for_inference
from sdic.methods import find_method
from sdic.networks.hyperstyle import WEncoder, WEncoderConfig
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.ops import use_reference


@torch.no_grad()
def plain(inverter, photo):
    """The five passes by the straightforward loop."""
    network, synthesis = inverter.hypernet, inverter.generator.synthesis
    latent, one = inverter._code(photo), torch.ones(1)
    image, whole = synthesis(latent), {}
    for _ in range(5):
        vectors = network(torch.cat([photo, inverter.geometry.at_input_size(image)], 1))
        for layer in network.config.layers:
            gain = network.gains(vectors, one)[layer].expand(-1, -1, -1, 3, 3).contiguous()
            whole[layer] = whole[layer] + gain if layer in whole else gain
        image = synthesis(latent, changes=Changes(weight_gains=whole))
    return image


def main() -> None:
    """Print both times."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    geometry, kind = DOMAINS["face"].geometry, find_method("hyperstyle")
    generator = Generator(GeneratorConfig())
    networks = {"generator": generator, "encoder": WEncoder(WEncoderConfig())}
    networks |= kind.trainable(kind.Settings(), generator, geometry)
    for head in networks["hypernet"].outputs.values():  # changes of some percent, as trained ones are
        head.weight.data.mul_(0.02)
    inverter = kind(networks, geometry).requires_grad_(False).eval()
    photo = torch.rand(1, 3, 256, 256) * 2 - 1
    began = time.process_time()
    with use_reference():
        expected = plain(inverter, photo)
    straightforward = time.process_time() - began
    optimize_for_inference(inverter, torch.device("cpu"))
    began = time.process_time()
    found = inverter.invert(photo).image
    ours = time.process_time() - began
    apart = float((found - expected).abs().max() / expected.std())
    print(f"plain {straightforward:.1f} s, ours {ours:.1f} s: {straightforward / ours:.1f} times as fast")
    print(f"largest difference, in standard deviations of the picture: {apart:.1e}")


if __name__ == "__main__":
    main()
