"""The captions of the book figures, one table per language; the numbers in braces come from the figure's data."""

from __future__ import annotations

ENGLISH: dict[str, str] = {
    "caption:fc-flow": (
        "RMS over B × D of ∂loss/∂output at each Linear layer with PyTorch's default initialisation. Left: the five "
        "8×8 layers of the source chapter; right: 10 and 50 layers of width 64, pre-activation, a shortcut over every "
        "two. Lines: median over {repeats} seeds ({deep_repeats} for 10 and 50 layers); bands: quartiles; dots: "
        "theory. B = {batch} N(0,1) samples, loss = {loss} (mean), {mode} mode, {dtype}. "
        "With five layers the shortcut multiplies the gradient at FC1 by {first_gain:.1f}. Plain {plain}; "
        "with shortcut {residual}. With 50 layers plain {fifty_plain}; with shortcuts {fifty_residual}."
    ),
    "caption:conv-flow": (
        "RMS over B × C × H × W of ∂loss/∂output in stacks of 49 3×3 convolutions (16 channels, 8×8 maps, PyTorch's "
        "default initialisation) and a Linear head behind global pooling (the single marker at layer 50, left out of "
        "the verdicts). Lines: median over {repeats} seeds; bands: quartiles; dots: theory where it has a closed "
        "form. B = {batch} N(0,1) samples, loss = {loss} (mean), {mode} mode, {dtype}. Without BatchNorm plain "
        "{plain}; with shortcuts {residual}. With BatchNorm plain {norm_plain}; with shortcuts {norm_residual}."
    ),
    "caption:why-rms": (
        "One gradient, four norms: ∂loss/∂weight of the convolutions of plain-20 and ResNet-20 at initialisation, each "
        "relative to the last convolution; below, the number of weights. From the first to the last 3×3 layer of the "
        "stages the kernel grows by a factor of {size_ratio:.0f}, and in the plain net the L2 norm falls by {l2:.1f} "
        "where the size-normalised RMS falls by {rms:.1f}: size alone hides a factor of {understated:.1f}. The mean "
        "absolute value ({mean_abs:.1f}) agrees with the RMS; the maximum ({max:.1f}) depends on the tail. Median of "
        "{repeats} seeds, B = {batch}, train mode."
    ),
    "caption:init-theory": (
        "Factor by which the RMS of ∂loss/∂output changes per layer toward the input, in plain stacks of {depth} "
        "Linear layers of width {width}: markers measured (median of {seeds} seeds, whiskers their range, float64, B = "
        "32), bars mean field theory. They differ by {middle:.1f} % in the median and by {largest:.1f} % at most "
        "({where}): theory is exact for infinite width only. The loss is the product of the output with fixed N(0,1) "
        "numbers; a squared error, whose gradient contains the output itself, is not independent of the weights and "
        "gives factors a few per cent larger where signals survive."
    ),
    "caption:degradation": (
        "Plain and residual 6n+2 nets of width 8 on the embedded digits (1,347 training and 450 test images of 8×8 "
        "pixels; SGD, one-cycle with peak .1, B = {batch}, {epochs} epochs = {steps} steps; median and range of "
        "{seeds} seeds). Final test error plain-8/20/56 {plain_8:.1f} / {plain_20:.1f} / {plain_56:.1f} %, residual "
        "{residual_8:.1f} / {residual_20:.1f} / {residual_56:.1f} %; one test image is 0.22 points, so differences "
        "under 1 point are noise. The training error of plain-56 is {train_56:.1f} %: this is not overfitting. "
        "Trained for {longer_epochs} epochs plain-56 reaches {longer_train_56:.1f} % (test {longer_test_56:.1f} %): "
        "the gap is {verdict}."
    ),
    "caption:weight-drift": (
        "Distance of each layer's weights from their start while stacks of {depth} Linear layers (width {width}, "
        "default initialisation, no weight decay) learn the digits for {epochs} epochs (B = {batch}, one seed), after "
        "the number of steps in the legend. Plain with SGD the first layer has moved by {sgd_plain_first:.1e} of its "
        "length, the last by {sgd_plain_last:.1e}, and nothing is learnt (training error {sgd_plain_error:.0f} %): "
        "the front layers hardly move. With shortcuts they move by {sgd_residual_first:.1e} and "
        "{sgd_residual_last:.1e} (training error {sgd_residual_error:.0f} %). Adam divides by the size of the "
        "gradient, so even the plain net's first layer moves by {adam_plain_first:.1e} (training error "
        "{adam_plain_error:.0f} %)."
    ),
}
