"""An exported labeler behind the call of a torch model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from finbert2 import onnx_graph
from finbert2.errors import UserError

FILES = {"onnx": "model.onnx", "onnx-int8": "model_int8.onnx"}
FOLDER = "onnx"


class OnnxModel:
    """A session of ONNX Runtime on the CPU, with as many threads as torch would use."""

    def __init__(self, folder: Path, engine: str, config: Any) -> None:
        import torch

        path = folder / FOLDER / FILES[engine]
        if not path.exists():
            raise UserError(f"{path} does not exist: run  finbert2 labeler export --model_name_or_path {folder}  first")
        self.session = onnx_graph.session(path, torch.get_num_threads())
        self.names = {one.name for one in self.session.get_inputs()}
        self.config = config
        self.device = "cpu"

    def eval(self) -> "OnnxModel":
        """Return itself: nothing here trains."""
        return self

    def __call__(self, output_hidden_states: bool = False, **batch: Any) -> SimpleNamespace:
        """Return `logits` of a padded batch; hidden states are not in the exported graph, asking is a `UserError`."""
        import torch

        if output_hidden_states:
            raise UserError("--cls_vectors needs --engine torch: the exported graph has no hidden states")
        feed = {name: value.numpy() for name, value in batch.items() if name in self.names}
        return SimpleNamespace(logits=torch.from_numpy(self.session.run(["logits"], feed)[0]))
