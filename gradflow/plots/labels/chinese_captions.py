"""The captions of the book figures, in Chinese; the numbers in braces come from the figure's data."""

from __future__ import annotations

CAPTIONS: dict[str, str] = {
    "caption:fc-flow": (
        "采用 PyTorch 默认初始化时，各线性层处 ∂损失/∂输出 在 B × D（样本 × 特征）上的均方根。5 层：原书章节的五个 8×"
        "8 层；10 层和 50 层：宽度 64，预激活，每两层有一个快捷连接。线：{repeats} 个随机种子的中位数（10 层和 50 层"
        "为 {deep_repeats} 个）；色带：四分位数；点：理论值。B = {batch} 个 N(0,1) 样本，损失 = {loss}（对批取平均）"
        "，{mode}模式，{dtype}。五层时，快捷连接使 FC1 处的梯度变为 {first_gain:.1f} 倍。普通网络的梯度{plain}；有快"
        "捷连接时{residual}。50 层时，普通网络的梯度{fifty_plain}；有快捷连接时{fifty_residual}。"
    ),
    "caption:conv-flow": (
        "由 49 个 3×3 卷积层（16 个通道，8×8 的特征图，PyTorch 默认初始化）和全局池化之后的线性输出层（第 50 层处的单"
        "个标记，不计入判定）组成的网络中，∂损失/∂输出 在 B × C × H × W（样本 × 通道 × 高 × 宽）上的均方根。线："
        "{repeats} 个随机种子的中位数；色带：四分位数；点：有闭式解之处的理论值。B = {batch} 个 N(0,1) 样本，损失 = "
        "{loss}（对批取平均），{mode}模式，{dtype}。没有批量归一化时，普通网络的梯度{plain}；有快捷连接时{residual}。"
        "有批量归一化时，普通网络的梯度{norm_plain}；有快捷连接时{norm_residual}。"
    ),
    "caption:why-rms": (
        "同一梯度，四种范数：普通-20 和 ResNet-20 初始化时各卷积层的 ∂损失/∂权重，均相对于最后一个卷积层；下方为权重"
        "的个数。在各阶段中，从第一个到最后一个 3×3 层，卷积核的权重数增至 {size_ratio:.0f} 倍；在普通网络中，L2 范数"
        "的首尾之比为 {l2:.1f}，而按元素个数归一化的均方根为 {rms:.1f}：仅尺寸一项就掩盖了 {understated:.1f} 倍的差"
        "别。平均绝对值（{mean_abs:.1f}）与均方根大致相符；最大值（{max:.1f}）取决于分布的尾部。{repeats} 个随机种子"
        "的中位数，B = {batch} 个 N(0,1) 样本，损失 = {loss}（对批取平均），{mode}模式，{dtype}。"
    ),
    "caption:init-theory": (
        "在 {depth} 个宽度为 {width} 的线性层组成的普通网络中，∂损失/∂输出 的均方根向输入方向每层变化的倍数。标记：实"
        "测值（{seeds} 个随机种子的中位数，须线为极差；B = 32 个 N(0,1) 样本，float64，训练模式，而模式对这些网络没有"
        "影响）；竖线：平均场理论。两者之差的中位数为 {middle:.1f}%，最大为 {largest:.1f}%（{where}）：理论仅在宽度无"
        "穷大时才精确。这里的损失是输出与一组固定的 N(0,1) 数的内积；若用平方误差，其梯度含有输出本身，与权重并不独"
        "立，在信号得以保持之处，倍数会大百分之几。"
    ),
    "caption:degradation": (
        "内置手写数字数据（1,347 幅训练图像和 450 幅测试图像，8×8 像素）上宽度为 8 的普通和残差 6n+2 网络（SGD，单周"
        "期学习率，峰值 0.1，B = {batch}，{epochs} 轮 = {steps} 步，以{mode}模式训练，{dtype}；误差为评估模式下整个数"
        "据集上的值；{seeds} 个随机种子的中位数与极差）。最终测试误差：普通-8/20/56 为 {plain_8:.1f} / {plain_20:.1f} "
        "/ {plain_56:.1f}%，残差网络为 {residual_8:.1f} / {residual_20:.1f} / {residual_56:.1f}%；一幅测试图像相当于 "
        "0.22 个百分点，因此小于 1 个百分点的差异只是噪声。普通-56 的训练误差为 {train_56:.1f}%：这不是过拟合。训练 "
        "{longer_epochs} 轮后，普通-56 达到 {longer_train_56:.1f}%（测试 {longer_test_56:.1f}%）：差距{verdict}。"
    ),
    "caption:weight-drift": (
        "由 {depth} 个线性层组成的网络（宽度 {width}，默认初始化，无权重衰减）用 {epochs} 轮学习手写数字时（B = "
        "{batch}，一个随机种子，{mode}模式，{dtype}），各层权重离初值的距离与初值长度之比；每条线对应图例中的优化步"
        "数。用 SGD 训练 {steps} 步后，普通网络第一层移动的距离为其长度的 {sgd_plain_first:.2g}，最后一层为 "
        "{sgd_plain_last:.2g}，什么也没有学到（训练误差 {sgd_plain_error:.0f}%）：靠前的层几乎不动。有快捷连接时，两"
        "者分别移动 {sgd_residual_first:.2g} 和 {sgd_residual_last:.2g}（训练误差 {sgd_residual_error:.0f}%）。Adam "
        "要除以梯度的大小，因此即使是普通网络的第一层也移动了 {adam_plain_first:.2g}（训练误差 "
        "{adam_plain_error:.0f}%）。"
    ),
    "caption:degradation-anatomy": (
        "20 层和 56 层的普通和残差网络（宽度 8，手写数字，{epochs} 轮 = {steps} 步，B = {batch}，{mode}模式，"
        "{dtype}，误差在评估模式下测得；{seeds} 个随机种子的中位数）。a：普通-56 的训练误差为 {plain_56_error:.0f}%，"
        "普通-20、残差-20 和残差-56 分别为 {plain_20_error:.1f}%、{residual_20_error:.1f}% 和 "
        "{residual_56_error:.1f}%：这不是过拟合。b：第一步时，普通-56 的梯度（∂损失/∂权重 的均方根）向输入方向不是消"
        "失，而是爆炸（第一个 3×3 层 ÷ 最后一层：{plain_56_start:.0f}；普通-20 为 {plain_20_start:.0f}，残差-56 为 "
        "{residual_56_start:.0f}）。c：此后它也没有消失（第一层 ÷ 最后一层为 {plain_56_later:.1g}；第一个 3×3 层处的"
        "均方根为 {plain_56_first:.0e}，有快捷连接时为 {residual_56_first:.0e}）。自 b 以来的下降，部分只是尺度问题："
        "在批量归一化之前，卷积核 w 的梯度与 w 正交，因此每走一步 w 都会变长；它又正比于 1/‖w‖，因此 w 越长，梯度越"
        "小。{traced} 步之后，第一个 3×3 层的 w 的均方根是初始时的 {plain_56_growth_first:.0f} 倍，最后一层的是 "
        "{plain_56_growth_last:.2f} 倍（残差-56 为 {residual_56_growth_first:.1f} 和 {residual_56_growth_last:.2f}）。"
        "去掉这一尺度，即取梯度的均方根与 w 的均方根之积，第一层 ÷ 最后一层在第一步为 {plain_56_scaled_start:.0f}，此后"
        "为 {plain_56_scaled_later:.0f}（残差-56 为 {residual_56_scaled_start:.0f} 和 "
        "{residual_56_scaled_later:.0f}）。d：在两个普通网络中，不同输入处的梯度经过几层便不再相关，在学得会的普通-20 "
        "中也是如此：梯度破碎伴随普通网络出现，但仅凭它不能区分两者；有快捷连接时则需要更多的层（在第一个单元处分别还剩"
        " {residual_20_correlation:.2f} 和 {residual_56_correlation:.2f}；取 {correlated} 个样本两两之间余弦的平均，批"
        "量归一化的统计量固定不变）。e：训练好的普通-20 在每个阶段再加上 {extra} 个恒等层单元，计算的是同一函数（训练"
        "误差 {deepened_start:.1f}%），所以 56 层的好的普通网络是存在的；但当学习率升高时，训练会离开它（误差最高达 "
        "{deepened_worst:.0f}%，最终为 {deepened_end:.0f}%）。因此，退化是优化的问题。f：分支从零开始的残差-56 学得同"
        "样好（训练误差 {zero_error:.1f}%，测试误差 {zero_test:.1f}%；通常初始化时为 {usual_error:.1f}% 和 "
        "{usual_test:.1f}%）。"
    ),
    "caption:lambda-product": (
        "{units} 个单元 x → λx + W relu(x) 对梯度的作用（宽度 {width}，Var(W) = 1/{width}，无偏置；最后一个单元之后为"
        "随机的 N(0,1) 梯度；B = {batch} 个 N(0,1) 样本，{mode}模式，{dtype}；{draws} 次抽样的中位数与四分位数；点："
        "理论值）。乘积 λ⁵⁰ 只是快捷连接部分：λ = 0.5 时它为 {product_0_5:.1e}，而到达第一个单元的梯度仍有 "
        "{whole_0_5:.1e}，它们来自各分支；λ = 1.1 时乘积为 {product_1_1:.0f}，整体为 {whole_1_1:.1e}。所以 λ < 1 使乘"
        "积消失，λ > 1 使乘积爆炸，而不是相反。前向，λ = 1：快捷连接所传递的初始信号保持不变，残差之和使信号变为 "
        "{signal:.1e} 倍；普通线性网络是矩阵的乘积，使信号变为 {linear:.2f} 倍。单元 0 处，λ = 1：残差部分 ÷ 快捷连接"
        "部分，对样本和坐标逐元素计算，在 asinh 轴上等宽分组计数，该轴在零点两侧近似于对数轴。只有比值为 −1 时整体才"
        "为零：{cancelled:.2f}% 的元素与它相差不到十分之一（F × 0.1 时整体为末端梯度的 {small_whole:.2f} 倍，这样的元"
        "素占 {small_cancelled:.1f}%）。所以几乎没有元素互相抵消，这是对的，但并不能证明梯度不会消失：起决定作用的是"
        "两个部分的大小。"
    ),
    "caption:path-lengths": (
        "ResNet-{depth}（{units} 个单元，宽度 8，手写数字，B = {batch}，{mode}模式，{dtype}；{seeds} 个随机种子的中位"
        "数与四分位数）第一个单元处的梯度，按其路径所经过的分支数精确分解：一次反向传播便给出所有长度。a：路径条数，"
        "其中 {veit_paths:.2f}% 的长度在 5 到 17 之间。b：同一长度所有路径的平均的均方根；点线为随机抽取的单条路径（"
        "每个长度和随机种子 {single} 条），即 Veit16 的做法：初始时，长度为最大值一半的单条路径是其平均的 "
        "{start_cancel:.0e} 倍，可见同一长度的路径相互抵消。c：同一长度的所有路径之和。初始时，95% 的梯度来自长度 "
        "{start_low} 到 {start_high}（峰值在 {start_peak}；长度 5 到 17 占 {start_veit:.0f}%），与 Veit16 在 CIFAR-10 "
        "上训练好的网络中所见大致相同。在手写数字上训练到训练误差约为零之后，它来自长度 {trained_low} 到 "
        "{trained_high}（峰值在 {trained_peak}；5 到 17 占 {trained_veit:.0f}%）：路径比论文中的还要短。"
    ),
    "caption:forward-signal": (
        "信号在 ResNet-{depth} 中的前向传播（27 个单元，宽度 8，手写数字，B = {batch}，{mode}模式，{dtype}，c 中为 "
        "float32；{seeds} 个随机种子的中位数与四分位数，c 中为极差）。a、b：各单元输入的均方根与第一个单元之比；通道"
        "数加倍之处它会下降，因为那时有一半的通道为零。若 ReLU 在相加之前，阶段之内没有任何元素会变小（变小的占 "
        "{activation_start_falling:.0f}%，原始单元为 {original_start_falling:.0f}%，完全预激活为 "
        "{preactivation_start_falling:.0f}%）：原文说此时信号在阶段内只会增大，这是对的。从第一个到最后一个单元，它在"
        "初始时增至 {activation_start:.1f} 倍，训练后为 {activation_trained:.1f} 倍；原始单元为 {original_start:.1f} "
        "倍和 {original_trained:.1f} 倍，完全预激活为 {preactivation_start:.1f} 倍和 {preactivation_trained:.1f} 倍："
        "三者在阶段之内都增大，后两者如同随机游走。c：各 3×3 层的响应经批量归一化之后的标准差，同 He15 图 7：中位数为 "
        "{plain_20:.2f}（普通-20）、{residual_20:.2f} 和 {residual_56:.2f}（残差-20 和残差-56）。论文在 64,000 步之后"
        "发现残差网络远低于普通网络；而这里 165 步之后，批量归一化的 γ 仍接近 1，三者几乎没有差别。d：训练后，各分支"
        "输出的均方根与其单元输入的均方根之比。"
    ),
    "caption:lambda-training": (
        "所有快捷连接都乘以 λ 的 ResNet-{depth}（27 个单元，宽度 8，手写数字），{epochs} 轮 = {steps} 步，B = "
        "{batch}，{mode}模式，{dtype}，误差在评估模式下测得；{seeds} 个随机种子的中位数与极差；与 He16 相同，测试误"
        "差超过 20%（点线）即为失败。a：F 不缩放时，λ = 0.5、0.9、1、1.1 的测试误差为 {whole_0_5:.1f}%、"
        "{whole_0_9:.1f}%、{whole_1:.1f}% 和 {whole_1_1:.1f}%（失败次数为 {whole_0_5_fails}、{whole_0_9_fails}、"
        "{whole_1_fails} 和 {whole_1_1_fails}，各 {seeds} 次训练）。b：F × (1 − λ) 时为 {scaled_0_5:.1f}%、"
        "{scaled_0_9:.1f}%、{scaled_1:.1f}% 和 {scaled_1_1:.1f}%（失败 {scaled_0_5_fails}、{scaled_0_9_fails}、"
        "{scaled_1_fails} 和 {scaled_1_1_fails} 次）。与 He16 表 1 一致，λ = 0.5 失败，而把 F 也乘以 0.5 会降低误差"
        "的中位数（各种子的范围有重叠）；论文中降到 12.35%，这里 {steps} 步之内降到 {scaled_0_5:.0f}%。论文中没有的"
        " λ = 0.9 和 1.1，就中位数而言能够学会，分支较小时更可靠：{seeds} 次训练中最差的误差为 "
        "{scaled_0_9_worst:.1f}% 和 {scaled_1_1_worst:.1f}%，F 不缩放时为 {whole_0_9_worst:.1f}% 和 "
        "{whole_1_1_worst:.1f}%。λ = 1 时，缩放使 F 乘以零，只剩下第一个卷积层和最后一层；λ = 1.1 时，F 被乘以 −0.1。"
        "c：训练误差（空心）与测试误差（实心）。"
    ),
    "caption:shortcut-variants": (
        "采用 He16 表 1 各种快捷连接的 ResNet-{depth}（27 个单元，宽度 8，手写数字，{epochs} 轮 = {steps} 步，B = "
        "{batch}，{mode}模式，{dtype}，误差在评估模式下测得；{seeds} 个随机种子的中位数与极差）；论文的测试误差是 "
        "ResNet-110 在 CIFAR-10 上的。a：这个小实验与论文一致之处在于哪些快捷连接学得最好（x + F："
        "{test_original:.1f}%，b = −6 的仅快捷连接门控：{test_shortcut_only_gate:.1f}%），以及 {rows} 种中有 {agree} "
        "种位于 20% 的同一侧。不一致的是：{others}。{difference}前两者之间的差异只是噪声（一幅测试图像相当于 0.22 个"
        "百分点）。b：初始时仅由快捷连接传回的梯度，即第一个单元处与最后一个单元之后的均方根之比（B = {gain_batch}，"
        "训练模式；每次相加之后的 ReLU 也包括在内）：x + F 为 {gain_original:.2g}，1×1 卷积为 {gain_conv1x1:.1g}，λ = "
        "0 时为零，就中位数而言，以下各种也恰好为零：{blocked}。这时每个元素在 27 个单元的至少一个之中都会遇到关闭的 "
        "ReLU 或被丢弃的位置。"
    ),
    "caption:placements": (
        "采用 He16 图 4 各种激活顺序的 ResNet-{depth}（27 个单元，宽度 8，手写数字，{epochs} 轮 = {steps} 步，B = "
        "{batch}，{mode}模式，{dtype}，误差在评估模式下测得；{seeds} 个随机种子的中位数与极差）；论文的测试误差（表 "
        "2）是 ResNet-110 在 CIFAR-10 上的。这里的测试误差：原始 {test_original:.1f}%，相加后 BN "
        "{test_norm_after_addition:.1f}%，相加前 ReLU {test_activation_before_addition:.1f}%，仅 ReLU 预激活 "
        "{test_activation_only_preactivation:.1f}%，完全预激活 {test_preactivation:.1f}%。与论文一致之处：相加后 BN "
        "最差，相加前 ReLU 次之，而完全预激活不比原始单元差。两种预激活孰优，凭 450 幅图像无法判断。"
    ),
    "caption:lesions": (
        "仿照 Veit16（图 3 和图 5），去除或交换训练好的网络的单元：宽度为 8 的 ResNet-56（{residual_units} 个单元）和"
        "普通-20（{plain_units} 个单元）在 {samples} 幅测试数字上的误差（一幅图像相当于 {image:.2f} 个百分点）。普通"
        "-56 在这样的训练量下学不会手写数字，所以普通网络取较浅的一个。{seeds} 个训练随机种子；{mode}模式，{dtype}，"
        "每批至多 {batch} 个。去除一个单元后留下恒等映射；改变尺寸之处留下其快捷连接，在普通网络中则为补零。a：各随机"
        "种子的中位数与极差；细线：未去除任何单元。去除一个单元后，残差网络的误差从 {residual_intact:.1f}% 变为 "
        "{residual_one:.1f}%（各单元的中位数），普通网络则从 {plain_intact:.1f}% 变为 {plain_least:.0f}% 到 "
        "{plain_worst:.0f}%。{sizes}：去除单元 {residual_worst_unit}（第一个为 0）后，残差网络的误差为 "
        "{residual_worst:.0f}%，去除改变尺寸的单元后至多为 {residual_changing:.1f}%。b：每个随机种子抽取 {draws} 次，"
        "取中位数与四分位数。误差达到完好网络与瞎猜（{chance:.0f}%）的中点时，残差网络已失去 {residual_half} 个单元（"
        "{residual_half_part:.0f}%），普通网络为 {plain_half} 个。{gradual}。c：小标记为单次打乱的顺序，每个随机种子"
        "和交换次数各 {draws} 次（每次交换两个形状相同的单元）；线经过交换 0、1、2、4、… 次的中位数；τ 对全部单元计"
        "算。交换一次后误差为 {residual_swap:.1f}%（残差）和 {plain_swap:.0f}%（普通），交换 {residual_swaps} 次后为 "
        "{residual_swapped:.0f}%（残差，τ = {residual_tau:.2f}）。单元少时，每个单元更为重要：单元数与普通网络相同（"
        "{small_units} 个）的 ResNet-20，去除一个单元后误差为 {small_one:.1f}%（各单元的中位数），去除单元 "
        "{small_worst_unit} 后为 {small_worst:.0f}%。"
    ),
    "caption:shattering": (
        "由一个数到一个数的全连接网络的 dy/dx（每层 {width} 个整流单元，He 初始化，N(0, 1) 偏置，线性读出层；残差：每"
        "层为 x + βW relu(x)），输入为从 {low:g} 到 {high:g} 等距的 {inputs} 个点，作为一批。dy/dx 随 x 的变化：各一"
        "个随机种子，并列布朗噪声和白噪声。自相关随滞后的变化：{seeds} 个随机种子的平均，色带为上下各两个标准误（"
        "{mode}模式，{dtype}）。没有批量归一化（BN）时，1 / 10 / 24 / 50 层的普通网络在滞后 16 处为 {plain_1:.2f} / "
        "{plain_10:.2f} / {plain_24:.2f} / {plain_50:.2f}（标准误至多 {error:.2f}）；布朗噪声为 {brown:.2f}，白噪声为"
        " {white:.2f}。有快捷连接时，50 层在 β = 0.1 时为 {weak_50:.2f}，但在 β = 1 时为 {residual_50:.2f}，"
        "{versus_plain}普通网络（在 Balduzzi17 关于相距很远的输入的模型中，L 层时为 (3/4)^L，对照 1/2^L）。BN 使每个"
        "整流单元的输入在一批之内以零为中心，于是每个单元都在其中某处切换。这样，24 层的普通网络即使在滞后 1 处也只有"
        " {plain_norm_24_next:.2f}，如同白噪声；有快捷连接时，β = 1 为 {residual_norm_24_next:.2f}，β = 0.1 为 "
        "{weak_norm_24_next:.2f}。BN 还会消去它之前的偏置，并把各输入耦合起来：此时 dy/dx 是一个输入对所有输出之和的"
        "影响。图中未画：偏置为零且没有 BN 时，什么也不会破碎，{zero_depths} 层的网络中 dy/dx 的跳变次数都是 "
        "{zero_jumps}；整流单元在 W 之后，即 x + 0.1 relu(Wx + b) 时，50 层在滞后 16 处为 {relu_last:.2f}。"
    ),
    "caption:loss-shape": (
        "宽度为 8 的普通和残差网络（手写数字）周围的损失，沿随机方向，其中每个滤波器的长度等于网络自身相应滤波器的"
        "长度（Li 等 2018，§4）：在 1 处，每个滤波器都移动了与自身长度相等的距离。一批 {samples} 幅训练图像上的交叉"
        "熵，{mode}模式（批量归一化在每一点都取这一批的统计量），{dtype}；每个网络只用一个随机种子训练一次。a、d："
        "{directions} 个方向的中位数与极差；b、c、e、f：一个随机平面，+ 为网络本身，等高线相同，从 {low:g} 到 "
        "{high:g}。普通-56（{plain_56_epochs} 轮，训练误差 {plain_56_error:.0f}%）的损失为 {plain_56_loss:.2f}；在"
        "距离 {plain_56_reach:.1f} 处损失增加 1（网格步长 {step:.1g}），曲线在线性轴上有 {plain_56_up:.0f}% 的点向"
        "上弯曲。残差-56（{residual_56_epochs} 轮，{residual_56_error:.0f}%）：{residual_56_loss:.3f}、"
        "{residual_56_reach:.1f} 和 {residual_56_up:.0f}%。这是否只是因为极小值更好？训练 "
        "{residual_56_short_epochs} 轮的残差-56 在这一批上的损失为 {residual_56_short_loss:.2f}，另两个数为 "
        "{residual_56_short_reach:.1f} 和 {residual_56_short_up:.0f}%；训练 {residual_56_shorter_epochs} 轮的为 "
        "{residual_56_shorter_loss:.2f}、{residual_56_shorter_reach:.1f} 和 {residual_56_shorter_up:.0f}%：{losses}，"
        "{verdict}。普通-20（损失 {plain_20_loss:.3f}）为 {plain_20_reach:.1f} 和 {plain_20_up:.0f}%，{depth}。训"
        "练之前，向上弯曲的点所占比例为 {plain_56_untrained_up:.0f}%（普通）和 {residual_56_untrained_up:.0f}%（残"
        "差）。若像论文的代码那样在评估模式下使用中心点的滑动统计量（{running_directions} 个方向），损失增加 1 的距"
        "离为 {plain_56_running:.1f}、{residual_56_running:.1f}，短训练后（该处损失 "
        "{residual_56_short_running_loss:.1f}）为 {residual_56_short_running:.1f}。{paper}（论文中 CIFAR-10 上的 "
        "ResNet-56 没有快捷连接时一片混乱，有快捷连接时近乎凸），快捷连接{smoother}。这些证据是弱的：极小值各不相同，"
        "各只训练一次，只从 {moved:,} 个维度中随机抽取一两个方向；滤波器归一化所消除的只是批量归一化之前没有意义"
        "的尺度，仅此而已。"
    ),
    "caption:he15-figure6": (
        "仿照 He15 图 6：CIFAR-10 上普通（a）和残差（b）6n+2 网络的训练误差（细线）与测试误差（粗线）随优化步数的变"
        "化，以及训练结束时随深度的变化（c）；{runs}，B = {batch}，{dtype}；{train_curve}，测试曲线在评估模式下测得。"
        "{budget}。最终测试误差：普通-{plain_depths} 为 {plain_test}%，残差-{residual_depths} 为 {residual_test}%。普"
        "通：{plain_verdict}。残差：{residual_verdict}。{agreement}{deepest} 层时，最终训练误差{gap}。{noise}空心标记"
        "供比较：已发表的最终测试误差，残差-{published_residual_depths} 为 {published_residual}%（He15 表 6），普通-"
        "{published_plain_depths} 为 {published_plain}%（某公开复现），普通-{above_depth} 高于 {above:g}%（He15 图 "
        "6）。"
    ),
    "caption:resnet18-cifar100": (
        "仿照原书章节（15.6.3）：采用 3×3 输入端的 ResNet-18 在 CIFAR-100 上的测试准确率（a）、训练准确率（b）和学习"
        "率（c）随训练进度的变化；{runs}，B = {batch}，{dtype}；{train_curve}，测试曲线在评估模式下测得。{budget}。点"
        "线：学习率乘以 {factor:g} 之处（{milestones}%）。最终测试准确率：{finals}。{comparisons}深色空心标记供比较："
        "原书章节采用 3×3 输入端，四个阶段之后为 {chapter}%，采用 224 输入端为 {stem:.1f}%，某公开代码库为 "
        "{repository:.2f}%。"
    ),
}
