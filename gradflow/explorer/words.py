"""Every word of the explorer, in one table."""

from __future__ import annotations

ENGLISH: dict[str, str] = {
    # controls: label, and what the tooltip says
    "stack": "Stack",
    "stack?": "What the network is made of: Linear layers, 3×3 convolutions, or a CIFAR-style ResNet",
    "depth": "Depth",
    "depth?": "Weighted layers; 6n + 2 for a ResNet",
    "width": "Width",
    "width?": "Features of each layer, channels of a convolution, or channels of a ResNet's first stage",
    "activation": "Activation",
    "activation?": "Behind each layer; a ResNet has ReLU",
    "init": "Init",
    "init?": "How weights are drawn: choose one, or type normal(0.05) for a standard deviation of your own",
    "batch_norm": "BatchNorm",
    "batch_norm?": "BatchNorm in front of each activation; a ResNet always has it",
    "shortcut": "Shortcut",
    "shortcut?": "What a unit of the residual net adds to its branch F(x) (He et al. 2016, Table 1)",
    "lam": "λ",
    "lam?": "The factor in λx + F(x), any number; other kinds of shortcut have none",
    "dtype": "Dtype",
    "dtype?": "The numbers' format: small gradients fall below the floor of float32 and float16",
    "mode": "Mode",
    "mode?": "train or eval: at the start BatchNorm does nothing in eval mode",
    "batch": "Batch",
    "batch?": "Samples in the batch; the gradient of a batch mean falls as 1/batch",
    "seed": "Seed",
    "seed?": "Another seed draws other weights and another batch",
    "tab": "View",
    "tab?": "Which picture",
    "step": "Step",
    "step?": "Optimiser step of the recorded training; arrow keys move it",
    "play": "Play the training",
    "pause": "Pause",
    "stop": "Stop, back to the first step",
    "repeat": "Play again and again",
    "code_text": "Code of this picture",
    "name": "File name",
    "name?": "Name of the saved files, without ending; a folder may stand in front",
    "save": "Save figure",
    "save?": "Write the figure in book quality (pdf, svg, png) and its numbers (json)",
    "code": "Copy code",
    "code?": "Show and copy the Python code that gives these numbers",
    "numbers": "Numbers",
    # choices
    "stack:fc": "FC",
    "stack:conv": "conv",
    "stack:resnet": "ResNet",
    "shortcut:original": "λx + F(x)",
    "tab:flow": "Gradient by layer",
    "tab:split": "λ-split",
    "tab:paths": "Path spectrum",
    "tab:replay": "Replay of training",
    # mistakes
    "whole": "{label} must be a whole number from {low} to {high}; got {value}",
    "number": "{label} must be a number such as 0.9; got {value}",
    "choice": "{label} must be one of {choices}; got {value}",
    "norm_of_one": "BatchNorm of an FC net in train mode needs at least two samples; got batch=1",
    "no_name": "type a file name first",
    "disk": "{reason}: {path}",
    "no_picture": "there is no picture yet; wait until it is there",
    # status
    "computing": "computing…",
    "training": "training both nets on the digits…",
    "at_training_step": "training both nets on the digits… {kind} net, step {step} of {total}",
    "done": "done in {seconds:.2f} s",
    "failed": "{error}; the picture is the last one that worked",
    "saved": "saved {names} in {folder}",
    "replaced": "saved {names} in {folder}, in place of the earlier ones of that name",
    "not_saved": "could not save: {error}",
    "copied": "the code is below, and on the clipboard if the browser allows it",
    # pictures
    "picture": "{tab} of {title}",
    "coming": "{picture}: the picture is not there yet",
    "described": "{picture}: what it says stands above it, its numbers below",
    "title": "{stack}, depth {depth}, width {width}",
    "unit_0": "at unit 0, relative to the output: shortcut part {shortcut}, residual part {residual}, whole {whole}",
    "lengths": "95 % of the gradient at unit 0 comes from paths through {low} to {high} of the {units} branches",
    "at_step": "step {step} of {last}",
    "ends": "{kind}: training error {error:.1f} % after {steps} steps",
    "stopped": "{kind}: {reason}",
    "verdict": "{kind}: {verdict}",
    "verdict_then": "{kind}, still at step {step}: {verdict}",
    # where there is no notebook
    "text": "{picture}\n{sentences}\nThe controls show in a notebook (JupyterLab), as the last line of a cell.",
}


def word(key: str, **values: object) -> str:
    """The words for a key."""
    return ENGLISH[key].format(**values) if values else ENGLISH[key]


def choice_word(field: str, choice: str) -> str:
    """The words for one choice of a menu: its own name unless the table has better."""
    return ENGLISH.get(f"{field}:{choice}", choice)
