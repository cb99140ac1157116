"""Every training command that documents, help and configs print can start, with as many processes as it says."""

import re
import shlex

import pytest
import torch
from training_processes import REPOSITORY

from sdic.commands import train as train_command
from sdic.config import load_config
from sdic.errors import ConfigError
from sdic.training.distributed import World
from sdic.training.loop import Trainer
from sdic.training.task import find_task, tasks

WITHOUT_FILES = (
    *("model.frozen=tiny", "model.generator=''", "model.layer=3", "device=cpu"),
    *("loss.lpips=0", "loss.id=0", "loss.id_network=none", "validation.metrics=[l2]", "validation.best=l2"),
)
"""In the place of the files that a command names: what is tested is the command, not whether somebody has them."""


def printed():
    """The commands as words, from READMEs, docs, configs' comments and the help, each once."""
    files = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("configs/**/*.yaml")]
    texts = [path.read_text() for path in files] + [train_command.EPILOG]
    found = {}
    for text in texts:
        for line in text.replace("\\\n", " ").splitlines():
            start = re.search(r"^[\s#]*((?:sdic train|torchrun|python scripts/train\.py) .*--config .*)", line)
            if start:
                words = shlex.split(re.split(r"\s{3,}|\s#", start.group(1))[0])
                found[" ".join(words)] = words
    return list(found.values())


def settings(words):
    return [word for word in words if re.match(r"[\w.]+=", word)]


@pytest.mark.parametrize("words", printed(), ids=" ".join)
def test_a_printed_command_starts(words, tmp_path):
    size = next((int(words[place + 1]) for place, word in enumerate(words) if re.match("--nproc.per.node", word)), 1)
    config = str(REPOSITORY / words[words.index("--config") + 1])
    task = words[words.index("--config") - 1]
    entry = find_task(task)
    if task != "sdic":
        assert load_config(entry.config, config, settings(words)).optim.batch % size == 0
        return
    for rank in range(size):
        world = World(rank, size, torch.device("cpu"))
        own = (*settings(words), *WITHOUT_FILES, f"run.dir={tmp_path}")
        assert Trainer(entry.task(load_config(entry.config, config, own), world)).config.optim.batch % size == 0


def test_commands_of_every_kind_are_found():
    starts = {tuple(words[:2]) for words in printed()}
    assert starts == {
        ("sdic", "train"),
        ("torchrun", "--nproc_per_node"),
        ("torchrun", "--nproc-per-node"),
    }
    assert {words[2] for words in printed() if words[0] == "sdic"} <= set(tasks())


def test_the_command_that_could_not_start_would_be_seen(tmp_path):
    entry = find_task("sdic")
    words = [*WITHOUT_FILES, f"run.dir={tmp_path}"]
    config = load_config(entry.config, REPOSITORY / "configs/train/ffhq.yaml", words)
    with pytest.raises(ConfigError, match=r"optim\.batch=2 cannot be split over 4 processes"):
        Trainer(entry.task(config, World(0, 4, torch.device("cpu"))))
